"""Who plays in a video: how many actors, where they may go, which families, and what they do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.actions import FAMILY_OF, Family
from stad_data.synthetic.choreography import (
    GOLDEN,
    Channel,
    Walker,
    act_on_the_spot,
    dance,
    deck,
    perform,
    pick,
    stroll,
)

# Heights of the actors over the frame's height, by how many they are.
HEIGHTS: dict[int, tuple[float, float]] = {1: (0.48, 0.64), 2: (0.41, 0.53), 3: (0.33, 0.41)}
ACTOR_SHARES: dict[str, float] = {"1": 0.25, "2": 0.47, "3": 0.28}
DUET_SHARE = 0.85
MIRRORED_SHARE = 0.55
# Of the actors without a partner; partners walk.
GAIT_SHARE = 0.45

# The stride of a low-discrepancy sequence in two dimensions (R. Roberts' R2).
_R2 = (0.7548776662466927, 0.5698402909980532)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a cast must know of its video: size in pixels, rate, number of frames."""

    size: tuple[int, int]
    fps: float
    frames: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Role:
    """One actor before it has a body.

    Attributes:
        height: In pixels, standing upright.
        ground: Row of the ground under it.
        width: How stout it is; 1 is average.
        arms: What the arms do.
        legs: What the legs do.
        walker: Where the legs carry it.
    """

    height: float
    ground: float
    width: float
    arms: Channel
    legs: Channel
    walker: Walker

    def active(self, action: str | None) -> NDArray[np.bool_]:
        """[T], whether the actor performs the action."""
        out_T = np.zeros(self.arms.state.size, dtype=np.bool_)
        for run in (*self.arms.runs, *self.legs.runs):
            if run.action == action:
                out_T[run.start : run.stop] = True
        return out_T


def free_cast(
    rng: np.random.Generator,
    offsets: NDArray[np.float64],
    index: int,
    stage: Stage,
) -> list[Role]:
    """One to three actors; families and actions are dealt evenly over the dataset's videos."""
    count = int(pick(ACTOR_SHARES, (offsets[0] + index * GOLDEN) % 1.0))
    duet = count > 1 and (offsets[1] + index * _R2[0]) % 1.0 < DUET_SHARE
    first = int(rng.integers(0, count - 1)) if duet else 0
    pair = (first, first + 1) if duet else ()
    arms_cards = deck(offsets[2] + 3 * index * _R2[0])
    legs_cards = deck(offsets[3] + index * _R2[1])
    families: list[tuple[Family, Family]] = []
    for actor in range(count):
        arms: Family = "mirrored" if next(arms_cards) < MIRRORED_SHARE else "opposite"
        gait = actor in pair or next(legs_cards) < GAIT_SHARE
        families.append((arms, "gait" if gait else "knees"))
    roles = _place(rng, families, stage, pair)
    for actor, role in enumerate(roles):
        number = 3 * index + actor
        act_on_the_spot(role.arms, deck(offsets[4] + number * _R2[0]), rng)
        if actor in pair:
            continue
        cards = deck(offsets[5] + number * _R2[1])
        if role.legs.family == "gait":
            stroll(role.walker, cards, rng)
        else:
            act_on_the_spot(role.legs, cards, rng)
            role.walker.x[:] = role.walker.now
    if duet:
        cards = deck(offsets[6] + index * _R2[1])
        dance((roles[first].walker, roles[first + 1].walker), cards, rng)
    return roles


def single_cast(
    rng: np.random.Generator,
    label: str,
    stage: Stage,
    *,
    trimmed: bool,
) -> list[Role]:
    """One actor (trimmed), or one to two who perform the label and perhaps one who only stands."""
    performers = 1 if trimmed else int(rng.choice((1, 2), p=(0.65, 0.35)))
    bystanders = 0 if trimmed or performers == 2 else int(rng.random() < 0.4)
    families: list[tuple[Family, Family]] = []
    for actor in range(performers + bystanders):
        arms: Family = "mirrored" if rng.random() < 0.5 else "opposite"
        legs: Family = "gait" if rng.random() < 0.5 else "knees"
        if actor < performers and FAMILY_OF[label] in ("mirrored", "opposite"):
            arms = FAMILY_OF[label]
        elif actor < performers:
            legs = FAMILY_OF[label]
        families.append((arms, legs))
    roles = _place(rng, families, stage, ())
    for actor, role in enumerate(roles):
        if actor < performers and label in ("walk_left", "walk_right"):
            walker = role.walker
            share = rng.uniform(0.0, 0.15)
            start = 1.0 - share if label == "walk_left" else share
            walker.now = walker.low + start * (walker.high - walker.low)
        if actor < performers and FAMILY_OF[label] in ("mirrored", "opposite"):
            perform(role.arms, label, rng, pauses=not trimmed)
        elif actor < performers:
            perform(role.legs, label, rng, walker=role.walker, pauses=not trimmed)
        role.arms.hold(role.arms.left)
        role.walker.hold(role.legs.left)
    return roles


def _place(
    rng: np.random.Generator,
    families: Sequence[tuple[Family, Family]],
    stage: Stage,
    pair: tuple[int, ...],
) -> list[Role]:
    """Give every actor a body height, a stretch of ground of its own (partners share one)."""
    width, height = stage.size
    unit = min(float(height), 0.75 * width)
    count = len(families)
    zones = [(width * n / count, width * (n + 1) / count) for n in range(count)]
    common = float(rng.uniform(*HEIGHTS[count]))
    roles: list[Role] = []
    for actor, (arms, legs) in enumerate(families):
        tall = unit * float(rng.uniform(*HEIGHTS[count]))
        zone = zones[actor]
        if actor in pair:
            tall = unit * common * float(rng.uniform(0.92, 1.08))
            zone = (zones[pair[0]][0], zones[pair[1]][1])
        low = zone[0] + tall * float(rng.uniform(0.0, 0.3) if zone[0] == 0 else 0.27)
        high = zone[1] - tall * float(rng.uniform(0.0, 0.3) if zone[1] == width else 0.27)
        half = (low + high) / 2
        edges = (low, high)
        if actor in pair:
            edges = (low, half - 0.4 * tall) if actor == pair[0] else (half + 0.4 * tall, high)
        legs_channel = _channel(rng, legs, stage)
        walker = Walker(
            channel=legs_channel,
            x=np.zeros(stage.frames),
            now=float(rng.uniform(*edges)),
            low=low,
            high=high,
            height=tall,
        )
        roles.append(
            Role(
                height=tall,
                ground=float(rng.uniform(0.83, 0.97)) * height,
                width=float(rng.uniform(0.85, 1.2)),
                arms=_channel(rng, arms, stage),
                legs=legs_channel,
                walker=walker,
            )
        )
    return roles


def _channel(rng: np.random.Generator, family: Family, stage: Stage) -> Channel:
    return Channel(
        family=family, state=np.zeros(stage.frames), fps=stage.fps, now=float(rng.random())
    )

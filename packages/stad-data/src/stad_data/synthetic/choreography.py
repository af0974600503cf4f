"""Who does what when: each actor's channels as runs of actions with pauses between, and its walk.

Positions are in actor-independent world pixels along the ground. Suffix legend: T = frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.actions import FAMILIES, PERIODS, Family, direction, states

GOLDEN = 0.6180339887498949
PAUSE = (0.8, 3.2)
RUN = (1.5, 4.0)
SHORTEST = 1.1
WALK_SPEED = (0.40, 0.58)
DUET_SPEED = (0.34, 0.46)
NEAREST = 0.75

# What two partners do next. Only the first two are interactions; the others resemble them.
DUET_SHARES: dict[str, float] = {
    "approach": 0.42,
    "part": 0.30,
    "follow_left": 0.07,
    "follow_right": 0.07,
    "first_walks": 0.07,
    "second_walks": 0.07,
    "march": 0.03,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One action of one channel over the frames [start, stop)."""

    action: str
    start: int
    stop: int


@dataclass(kw_only=True, eq=False)
class Channel:
    """One channel's state over the video, filled from the front."""

    family: Family
    state: NDArray[np.float64]
    fps: float
    now: float
    filled: int = 0
    runs: list[Run] = field(default_factory=list[Run])

    @property
    def left(self) -> int:
        """Frames not filled yet."""
        return self.state.size - self.filled

    def hold(self, frames: int) -> None:
        """Keep the present pose for so many frames."""
        frames = min(frames, self.left)
        self.state[self.filled : self.filled + frames] = self.now
        self.filled += frames

    def act(self, action: str, frames: int, rng: np.random.Generator) -> None:
        """Perform an action for so many frames, at a rate of its own."""
        sense = direction(action, rng)
        if action == "flap_arms":
            sense = float(rng.choice((-1.0, 1.0)))
        period = float(rng.uniform(*PERIODS[action]))
        frames = min(frames, self.left)
        if frames == 0:
            return
        seconds = np.arange(1, frames + 1) / self.fps
        values = states(action, self.now, seconds, period=period, sense=sense)
        self.state[self.filled : self.filled + frames] = values
        self.now = float(values[-1])
        self.runs.append(Run(action=action, start=self.filled, stop=self.filled + frames))
        self.filled += frames


@dataclass(kw_only=True, eq=False)
class Walker:
    """A legs channel together with the place of its actor.

    Attributes:
        channel: The legs.
        x: [T], world pixels.
        now: The present place.
        low: The leftmost place allowed.
        high: The rightmost place allowed.
        height: The actor's height in pixels, the unit of speed.
    """

    channel: Channel
    x: NDArray[np.float64]
    now: float
    low: float
    high: float
    height: float

    def room(self, action: str) -> float:
        """World pixels that are free in the direction of a walk."""
        return self.now - self.low if action == "walk_left" else self.high - self.now

    def hold(self, frames: int) -> None:
        """Stand still."""
        self._stay(frames)
        self.channel.hold(frames)

    def act(self, action: str, frames: int, rng: np.random.Generator, *, speed: float) -> None:
        """March or squat on the spot, or walk at `speed` pixels per second."""
        if action not in ("walk_left", "walk_right"):
            self._stay(frames)
        else:
            frames = min(frames, self.channel.left)
            velocity = -speed if action == "walk_left" else speed
            path = self.now + velocity * np.arange(1, frames + 1) / self.channel.fps
            self.x[self.channel.filled : self.channel.filled + frames] = path
            self.now = float(path[-1]) if frames else self.now
        self.channel.act(action, frames, rng)

    def _stay(self, frames: int) -> None:
        self.x[self.channel.filled : self.channel.filled + frames] = self.now


def deck(offset: float) -> Iterator[float]:
    """Numbers in [0, 1) that cover the interval evenly even when few are drawn."""
    place = 0
    while True:
        yield (offset + place * GOLDEN) % 1.0
        place += 1


def pick(shares: dict[str, float], at: float) -> str:
    """The key at `at` in [0, 1) of the cumulated shares (normalised to 1)."""
    edges = np.cumsum(list(shares.values()))
    return list(shares)[min(int(np.searchsorted(edges, at * edges[-1], "right")), len(shares) - 1)]


def act_on_the_spot(channel: Channel, cards: Iterator[float], rng: np.random.Generator) -> None:
    """Fill a channel that moves nobody about: arms and knees."""
    channel.hold(_first_pause(channel.fps, rng))
    while channel.left:
        action = pick(FAMILIES[channel.family], next(cards))
        channel.act(action, _frames(rng, RUN, channel.fps), rng)
        channel.hold(_frames(rng, PAUSE, channel.fps))


def stroll(walker: Walker, cards: Iterator[float], rng: np.random.Generator) -> None:
    """Fill the legs of an actor that walks on its own, turning where its room ends."""
    fps = walker.channel.fps
    walker.hold(_first_pause(fps, rng))
    while walker.channel.left:
        action = pick(FAMILIES["gait"], next(cards))
        speed = walker.height * float(rng.uniform(*WALK_SPEED))
        frames = _frames(rng, RUN, fps)
        if action != "march":
            action = _with_room(walker, action, speed)
            frames = min(frames, int(walker.room(action) / speed * fps))
        if frames >= SHORTEST * fps:
            walker.act(action, frames, rng, speed=speed)
        walker.hold(_frames(rng, PAUSE, fps))


def dance(pair: tuple[Walker, Walker], cards: Iterator[float], rng: np.random.Generator) -> None:
    """Fill the legs of two partners, the first left of the second.

    They approach each other and part, both at the same speed; at the same distances they also walk
    after each other, or only one of them walks.
    """
    first, second = pair
    fps = first.channel.fps
    pause = _first_pause(fps, rng)
    first.hold(pause)
    second.hold(pause)
    while first.channel.left:
        speed = (first.height + second.height) / 2 * float(rng.uniform(*DUET_SPEED))
        wanted = _frames(rng, RUN, fps)
        at = next(cards)
        figures = {
            name: frames
            for name in DUET_SHARES
            if (frames := min(wanted, _figure_frames(pair, name, speed))) >= SHORTEST * fps
        }
        name = pick({name: DUET_SHARES[name] for name in figures}, at)
        for walker, action in zip(pair, _steps(name, pair), strict=True):
            if action is None:
                walker.hold(figures[name])
            else:
                walker.act(action, figures[name], rng, speed=speed)
        pause = _frames(rng, PAUSE, fps)
        first.hold(pause)
        second.hold(pause)


def _steps(name: str, pair: tuple[Walker, Walker]) -> tuple[str | None, str | None]:
    """What each partner does in a figure; None stands still."""
    first, second = pair
    match name:
        case "approach":
            return "walk_right", "walk_left"
        case "part":
            return "walk_left", "walk_right"
        case "follow_left":
            return "walk_left", "walk_left"
        case "follow_right":
            return "walk_right", "walk_right"
        case "first_walks":
            return ("walk_left" if first.room("walk_left") > _gap(pair) else "walk_right"), None
        case "second_walks":
            return None, ("walk_right" if second.room("walk_right") > _gap(pair) else "walk_left")
        case _:
            return "march", "march"


def _figure_frames(pair: tuple[Walker, Walker], name: str, speed: float) -> int:
    """How many frames a figure can last before somebody has no room left."""
    first, second = pair
    gap = _gap(pair)
    leftwards, rightwards = first.room("walk_left"), second.room("walk_right")
    match name:
        case "approach":
            room = gap / 2
        case "part":
            room = min(leftwards, rightwards)
        case "follow_left":
            room = leftwards
        case "follow_right":
            room = rightwards
        case "first_walks":
            room = max(leftwards, gap)
        case "second_walks":
            room = max(rightwards, gap)
        case _:
            return np.iinfo(np.int64).max
    return int(room / speed * first.channel.fps)


def _gap(pair: tuple[Walker, Walker]) -> float:
    """World pixels between two partners, less what keeps them apart."""
    first, second = pair
    return second.now - first.now - NEAREST * (first.height + second.height) / 2


def perform(
    channel: Channel,
    action: str,
    rng: np.random.Generator,
    *,
    walker: Walker | None = None,
    pauses: bool = True,
) -> None:
    """Fill a channel with runs of one action; `pauses=False` performs it throughout.

    With a `walker` the legs' action is walked; a walk ends for good where the room ends.
    """
    fps = channel.fps
    speed = 0.0
    if walker is not None:
        speed = walker.height * float(rng.uniform(*WALK_SPEED))
    walks = walker is not None and action in ("walk_left", "walk_right")
    if pauses:
        # Short videos show their action, too.
        _hold(channel, walker, min(_first_pause(fps, rng), channel.left // 3))
    while channel.left:
        frames = _frames(rng, RUN, fps) if pauses else channel.left
        if walks and walker is not None:
            if not pauses:
                speed = min(speed, walker.room(action) / (channel.left / fps))
            frames = min(frames, round(walker.room(action) / speed * fps))
            if frames < SHORTEST * fps:
                _hold(channel, walker, channel.left)
                return
        if walker is None:
            channel.act(action, frames, rng)
        else:
            walker.act(action, frames, rng, speed=speed)
        _hold(channel, walker, _frames(rng, PAUSE, fps) if pauses else 0)


def _hold(channel: Channel, walker: Walker | None, frames: int) -> None:
    if walker is None:
        channel.hold(frames)
    else:
        walker.hold(frames)


def _with_room(walker: Walker, action: str, speed: float) -> str:
    if walker.room(action) >= SHORTEST * speed:
        return action
    return "walk_right" if action == "walk_left" else "walk_left"


def _first_pause(fps: float, rng: np.random.Generator) -> int:
    return round(float(rng.uniform(0.0, PAUSE[1])) * fps)


def _frames(rng: np.random.Generator, seconds: Sequence[float], fps: float) -> int:
    return max(1, round(float(rng.uniform(seconds[0], seconds[1])) * fps))

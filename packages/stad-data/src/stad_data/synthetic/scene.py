"""One synthetic video's truth, without a picture: where every actor's joints are and what it does.

Suffix legend: T = frames, J = joints, L = limbs, C = classes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.actions import ACTIONS
from stad_data.synthetic.body import LIMB_RADII, Pose, extents, joints
from stad_data.synthetic.casting import Role, Stage, free_cast, single_cast

Layout = Literal["ava", "jhmdb", "ucf24", "youtube-vos"]
Part = Literal["train", "test"]

LEAST_INSIDE = 0.4

_STREAMS: dict[str, int] = {"motion": 0, "look": 1, "deck": 2}
_LAYOUTS: dict[Layout, int] = {"ava": 0, "jhmdb": 1, "ucf24": 2, "youtube-vos": 3}


@dataclass(frozen=True, kw_only=True, eq=False)
class Actor:
    """One actor over the whole video.

    Attributes:
        joints: [T,J,2] frame pixels, in the order of `body.JOINTS`.
        radii: [T,L,2] frame pixels, both ends of each limb in `body.LIMBS`.
        extents: [T,4] tight xyxy boxes of the body, beyond the frame's edge where it is there.
        labels: [T,C] bool, in the order of `ACTIONS`.
        performs: [T] bool, whether the actor performs its video's single label.
        ground: Row of the ground under the actor; who stands lower in the picture is nearer.
    """

    joints: NDArray[np.float64]
    radii: NDArray[np.float64]
    extents: NDArray[np.float64]
    labels: NDArray[np.bool_]
    performs: NDArray[np.bool_]
    ground: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One synthetic video before it is drawn.

    Attributes:
        size: (width, height) in pixels.
        fps: Frames per second.
        camera: [T,2], what camera shake and drift add to everything in the world, in pixels.
        actors: One to three, none named twice; their place in the tuple is their id.
    """

    size: tuple[int, int]
    fps: float
    camera: NDArray[np.float64]
    actors: tuple[Actor, ...]

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.camera)

    def boxes(self, actor: int) -> NDArray[np.float64]:
        """[T,4] half-open xyxy boxes of one actor, clipped to the frame."""
        return _clipped(self.actors[actor].extents, self.size)

    def visible(self, actor: int) -> NDArray[np.bool_]:
        """[T], whether enough of the actor's box is inside the frame for it to be annotated."""
        return _visible(self.actors[actor].extents, self.size)


def generator(
    seed: int, layout: Layout, part: Part, index: int, stream: str
) -> np.random.Generator:
    """The random stream of one purpose in one video; no two videos or purposes share one."""
    key = (_LAYOUTS[layout], 0 if part == "train" else 1, index, _STREAMS[stream])
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def simulate(
    seed: int = 0,
    *,
    layout: Layout = "ava",
    part: Part = "train",
    index: int = 0,
    label: str | None = None,
    size: tuple[int, int] = (160, 120),
    fps: float = 12.0,
    seconds: tuple[float, float] = (8.0, 14.0),
) -> Scene:
    """The truth of one video: milliseconds, since nothing is drawn.

    Args:
        seed: Of the dataset.
        layout: Which of the datasets: free scenes ("ava"), trimmed clips of one actor ("jhmdb"),
            untrimmed videos of one action ("ucf24"), free scenes that actors enter and leave
            ("youtube-vos").
        part: "train" or "test".
        index: Of the video in its part.
        label: The action of a video of a single-label layout; None for free scenes.
        size: (width, height) in pixels.
        fps: Frames per second.
        seconds: Shortest and longest duration; trimmed clips have 15 to 40 frames instead.
    """
    rng = generator(seed, layout, part, index, "motion")
    frames = int(rng.integers(15, 41))
    if layout != "jhmdb":
        frames = round(float(rng.uniform(*seconds)) * fps)
    stage = Stage(size=size, fps=fps, frames=frames)
    if label is None:
        offsets = generator(seed, layout, part, 0, "deck").random(7)
        roles = free_cast(rng, offsets, index, stage)
    else:
        roles = single_cast(rng, label, stage, trimmed=layout == "jhmdb")
    camera_T2 = _camera(rng, stage)
    ways = [camera_T2 for _ in roles]
    if layout == "youtube-vos":
        ways = [camera_T2 + way_T2 for way_T2 in _ways(roles, stage, rng)]
    bodies = [_embody(role, way, rng, fps) for role, way in zip(roles, ways, strict=True)]
    boxes = [extents(*body) for body in bodies]
    seen = [_visible(box_T4, size) for box_T4 in boxes]
    labels = _labels(roles, seen)
    actors = [
        Actor(
            joints=bodies[n][0],
            radii=bodies[n][1],
            extents=boxes[n],
            labels=labels[n],
            performs=role.active(label) & seen[n],
            ground=role.ground,
        )
        for n, role in enumerate(roles)
    ]
    return Scene(size=size, fps=fps, camera=camera_T2, actors=tuple(actors))


def _ways(
    roles: Sequence[Role], stage: Stage, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """[T,2] per actor, pixels: one of three stays, one comes in late, and one leaves early.

    They come from and go beyond the nearer side of the picture, a picture's width away, in two
    seconds.
    """
    width = stage.size[0]
    time_T = np.arange(stage.frames)
    kinds = rng.permutation(("stays", "enters", "leaves"))
    ways: list[NDArray[np.float64]] = []
    for role, kind in zip(roles, kinds.tolist(), strict=False):
        start = float(rng.uniform(0.15, 0.4)) * stage.frames
        side = -width if role.walker.x.mean() < width / 2 else width
        away_T = ((time_T - start) / (2.0 * stage.fps)).clip(0.0, 1.0)
        away_T = 3 * away_T**2 - 2 * away_T**3  # sets out and arrives slowly
        if kind == "stays":
            away_T = np.zeros_like(away_T)
        else:
            away_T = 1.0 - away_T if kind == "enters" else (1.0 - away_T)[::-1]
        ways.append(np.stack([side * away_T, np.zeros_like(away_T)], axis=-1))
    return ways


def smooth_noise(
    rng: np.random.Generator, seconds_T: NDArray[np.float64], hertz: tuple[float, float]
) -> NDArray[np.float64]:
    """[T], a sum of four sine waves within the band, of unit variance."""
    waves = np.sin(
        2 * np.pi * (rng.uniform(*hertz, 4)[:, None] * seconds_T + rng.random(4)[:, None])
    )
    return waves.sum(axis=0) / np.sqrt(2.0)


def _camera(rng: np.random.Generator, stage: Stage) -> NDArray[np.float64]:
    """[T,2] pixels: a slow drift and a quicker shake."""
    seconds_T = np.arange(stage.frames) / stage.fps
    unit = stage.size[1] / 120
    drift = float(rng.uniform(1.0, 5.0)) * unit
    shake = float(rng.uniform(0.2, 0.9)) * unit
    columns = [
        amount * drift * smooth_noise(rng, seconds_T, (0.04, 0.12))
        + shake * smooth_noise(rng, seconds_T, (0.8, 2.2))
        for amount in (1.0, 0.4)
    ]
    return np.stack(columns, axis=-1)


def _embody(
    role: Role, camera_T2: NDArray[np.float64], rng: np.random.Generator, fps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joints [T,J,2] and radii [T,L,2] in the picture: sway, size change, place, camera."""
    seconds_T = np.arange(len(camera_T2)) / fps
    pose = Pose(
        arms=role.arms.family,
        arms_state=role.arms.state,
        legs=role.legs.family,
        legs_state=role.legs.state,
        lean=0.05 * smooth_noise(rng, seconds_T, (0.1, 0.5)),
        bend=float(rng.uniform(-0.2, 0.4)) + 0.08 * smooth_noise(rng, seconds_T, (0.1, 0.5)),
        width=role.width,
    )
    height_T = role.height * (1.0 + 0.08 * smooth_noise(rng, seconds_T, (0.03, 0.1)))
    origin_T2 = np.stack([role.walker.x, np.full_like(role.walker.x, role.ground)], axis=-1)
    joints_TJ2 = joints(pose) * height_T[:, None, None] + origin_T2[:, None] + camera_T2[:, None]
    stout_L = np.array([role.width if n == 4 else 0.5 + 0.5 * role.width for n in range(10)])
    radii_TL2 = height_T[:, None, None] * LIMB_RADII * stout_L[:, None]
    return joints_TJ2, radii_TL2


def _labels(roles: Sequence[Role], seen: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """[T,C] per actor. Neighbours who walk towards or away from each other interact."""
    column = {name: place for place, name in enumerate(ACTIONS)}
    labels = [np.stack([role.active(name) for name in ACTIONS], axis=-1) for role in roles]
    order = sorted(range(len(roles)), key=lambda n: float(roles[n].walker.x.mean()))
    for one, other in itertools.pairwise(order):
        seen_T = seen[one] & seen[other]
        left, right = column["walk_left"], column["walk_right"]
        for name, steps in (("approach", (right, left)), ("part", (left, right))):
            both_T = labels[one][:, steps[0]] & labels[other][:, steps[1]] & seen_T
            labels[one][both_T, column[name]] = True
            labels[other][both_T, column[name]] = True
    for each in labels:
        each[:, column["stand"]] = ~each.any(axis=-1)
    return labels


def _clipped(extents_T4: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    return np.clip(extents_T4, 0.0, [*size, *size])


def _visible(extents_T4: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    return _area(_clipped(extents_T4, size)) >= LEAST_INSIDE * _area(extents_T4)


def _area(boxes_T4: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes_T4[:, 2] - boxes_T4[:, 0]) * (boxes_T4[:, 3] - boxes_T4[:, 1])

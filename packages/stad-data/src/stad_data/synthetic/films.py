"""Which videos a synthetic dataset holds: their names, parts and labels, from its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from stad_data.synthetic.actions import SINGLE_SHARES, camel_case
from stad_data.synthetic.scene import Layout, Part, Scene, generator, simulate
from stad_eval import InputError

LAYOUTS: tuple[Layout, ...] = ("ava", "jhmdb", "ucf24")
"""Those of action detection, which are made unless others are asked for."""
ALL_LAYOUTS: tuple[Layout, ...] = (*LAYOUTS, "youtube-vos")
PARTS: tuple[Part, ...] = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Everything that decides what a synthetic dataset contains.

    Attributes:
        seed: Any whole number from 0.
        videos: Training videos of each layout.
        test_videos: Test videos of each layout.
        size: (width, height) in pixels, both even.
        fps: Frames per second of the simulated world, a whole number, so that whole seconds fall
            on frames.
        seconds: Shortest and longest duration of untrimmed videos.
        layouts: Which layouts are written.

    Raises:
        InputError: A value out of its range.
    """

    seed: int
    videos: int
    test_videos: int
    size: tuple[int, int]
    fps: float
    seconds: tuple[float, float]
    layouts: tuple[Layout, ...]

    def __post_init__(self) -> None:
        width, height = self.size
        shortest, longest = self.seconds
        rules = (
            ("seed", self.seed >= 0, "a whole number from 0", self.seed),
            ("videos", self.videos >= 1, "at least 1", self.videos),
            ("test_videos", self.test_videos >= 1, "at least 1", self.test_videos),
            (
                "size",
                min(width, height) >= 48 and width % 2 == 0 == height % 2,
                "even width and height of at least 48 pixels",
                f"{width}x{height}",
            ),
            (
                "fps",
                4 <= self.fps <= 60 and float(self.fps).is_integer(),
                "a whole number from 4 to 60, so that whole seconds fall on frames",
                self.fps,
            ),
            (
                "seconds",
                2 <= shortest <= longest,
                "shortest and longest duration, at least 2 s",
                self.seconds,
            ),
            (
                "layouts",
                0 < len(self.layouts) == len(set(self.layouts))
                and set(self.layouts) <= set(ALL_LAYOUTS),
                f"one or more of {', '.join(ALL_LAYOUTS)}, each once",
                self.layouts,
            ),
        )
        for name, holds, expected, found in rules:
            if not holds:
                raise InputError(
                    f"synthetic data cannot be made with this {name}",
                    expected=expected,
                    found=str(found),
                    remedy=f"give another {name}",
                )

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "seed": self.seed,
            "videos": self.videos,
            "test_videos": self.test_videos,
            "size": list(self.size),
            "fps": float(self.fps),
            "seconds": [float(s) for s in self.seconds],
            "layouts": sorted(self.layouts),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        plain = {name: values[name] for name in ("seed", "videos", "test_videos", "fps")}
        return cls(
            **plain,
            size=(values["size"][0], values["size"][1]),
            seconds=(values["seconds"][0], values["seconds"][1]),
            layouts=tuple(values["layouts"]),
        )


@dataclass(frozen=True, kw_only=True)
class Film:
    """One video to be made.

    Attributes:
        layout: Its dataset.
        part: "train" or "test".
        index: Its place in that part.
        name: As the dataset's annotations call it, without class folder and ending.
        label: The action of a single-label layout, else None.
    """

    layout: Layout
    part: Part
    index: int
    name: str
    label: str | None

    def scene(self, parameters: Parameters) -> Scene:
        """What happens in it."""
        return simulate(
            parameters.seed,
            layout=self.layout,
            part=self.part,
            index=self.index,
            label=self.label,
            size=parameters.size,
            fps=parameters.fps,
            seconds=parameters.seconds,
        )

    def look(self, parameters: Parameters) -> np.random.Generator:
        """The random stream of its pictures."""
        return generator(parameters.seed, self.layout, self.part, self.index, "look")


def plan(parameters: Parameters) -> list[Film]:
    """All the videos of a dataset, layout by layout."""
    films: list[Film] = []
    for layout in ALL_LAYOUTS:
        if layout not in parameters.layouts:
            continue
        for part in PARTS:
            count = parameters.videos if part == "train" else parameters.test_videos
            if layout in ("ava", "youtube-vos"):
                films += [
                    Film(
                        layout=layout,
                        part=part,
                        index=index,
                        name=f"synth-{part}-{index:04d}",
                        label=None,
                    )
                    for index in range(count)
                ]
            else:
                films += _single_label_films(layout, part, count)
    return films


def _single_label_films(layout: Layout, part: Part, count: int) -> list[Film]:
    """Classes in their long-tailed shares, at least one video each where there are enough."""
    films: list[Film] = []
    for label, number in _shared_out(count).items():
        for place in range(number):
            name = f"{label}_{part}_{place:03d}"
            if layout == "ucf24":
                # As in UCF101: groups 1 to 7 are for test, 8 to 25 for training.
                first, groups = (1, 7) if part == "test" else (8, 18)
                group, clip = first + place % groups, 1 + place // groups
                name = f"v_{camel_case(label)}_g{group:02d}_c{clip:02d}"
            films.append(Film(layout=layout, part=part, index=len(films), name=name, label=label))
    return films


def _shared_out(count: int) -> dict[str, int]:
    """Videos per class: one each first, the most frequent class first, the rest by its share."""
    names = sorted(SINGLE_SHARES, key=lambda name: -SINGLE_SHARES[name])
    counts = {name: int(place < count) for place, name in enumerate(names)}
    for _ in range(max(count - len(names), 0)):
        neediest = max(names, key=lambda name: SINGLE_SHARES[name] * count - counts[name])
        counts[neediest] += 1
    return counts

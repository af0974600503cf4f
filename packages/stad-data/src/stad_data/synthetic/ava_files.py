"""Write AVA's annotation files: CSV at 1 Hz, label map, excluded seconds; and the dense truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.actions import ACTIONS
from stad_data.synthetic.films import Film
from stad_data.synthetic.scene import Part, Scene

FIRST_SECOND = 900
_NAMES: dict[Part, str] = {"train": "train", "test": "val"}


def keyframes(scene: Scene) -> NDArray[np.int64]:
    """Frames at whole seconds after the first, up to half a second before the end."""
    rate = round(scene.fps)
    return np.arange(rate, scene.num_frames - rate // 2, rate)


def write(root: Path, films: Sequence[tuple[Film, Scene]]) -> None:
    """Write `annotations/` and `dense/` for films of the AVA layout.

    A keyframe in which nobody is visible has a row of two columns, video and second. Every sixth
    training or validation video has one excluded second; its rows stand in the CSV all the same.
    """
    (root / "annotations").mkdir(parents=True)
    (root / "dense").mkdir()
    for part, name in _NAMES.items():
        sparse: list[str] = []
        dense: list[str] = []
        excluded: list[str] = []
        for film, scene in films:
            if film.part != part:
                continue
            frames = keyframes(scene)
            seconds = FIRST_SECOND + np.arange(1, len(frames) + 1)
            sparse += _rows(film.name, scene, frames, seconds)
            every = np.arange(scene.num_frames)
            dense += _rows(film.name, scene, every, every)
            if film.index % 6 == 2 and len(frames) > 2:
                excluded.append(f"{film.name},{seconds[film.index % len(seconds)]:04d}")
        _write_lines(root / "annotations" / f"{name}.csv", sparse)
        _write_lines(root / "annotations" / f"{name}_excluded_timestamps.csv", excluded)
        _write_lines(root / "dense" / f"{name}.csv", dense)
    items = [
        f'item {{\n  name: "{action}"\n  id: {number}\n}}'
        for number, action in enumerate(ACTIONS, start=1)
    ]
    _write_lines(root / "annotations" / "label_map.pbtxt", items)


def _rows(
    video: str, scene: Scene, frames: NDArray[np.int64], times: NDArray[np.int64]
) -> list[str]:
    """One row per label of each visible actor, in the order of time, actor, label."""
    width, height = scene.size
    people = range(len(scene.actors))
    boxes = [scene.boxes(n) / [width, height, width, height] for n in people]
    seen = [scene.visible(n) for n in people]
    rows: list[str] = []
    for frame, time in zip(frames, times, strict=True):
        before = len(rows)
        for n in people:
            if not seen[n][frame]:
                continue
            box = ",".join(f"{side:.3f}" for side in boxes[n][frame])
            labels = np.flatnonzero(scene.actors[n].labels[frame])
            rows += [f"{video},{time:04d},{box},{label + 1},{n}" for label in labels]
        if len(rows) == before:
            rows.append(f"{video},{time:04d}")
    return rows


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())

"""A contact sheet of annotated frames: the quickest way to see whether boxes and labels fit."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stad_cli.drawing import draw_boxes
from stad_cli.whole_file import naming, whole_file
from stad_data import ActionClasses, VideoAnnotation, VideoReader
from stad_data.drawing import contact_sheet, palette_color
from stad_eval import InputError

TILE = 320
"""Width of a frame on the sheet, in pixels."""


def choose(
    videos: Sequence[VideoAnnotation], count: int, rng: np.random.Generator
) -> list[tuple[VideoAnnotation, int]]:
    """Some frames that hold actors: of as many videos as there are, in turn over the actions.

    Rare actions are seen as often as frequent ones. Fewer than ``count`` where there are no more;
    none for videos without actors.
    """
    pools: dict[int, deque[tuple[VideoAnnotation, list[int]]]] = {}
    for annotation in (videos[index] for index in rng.permutation(len(videos)).tolist()):
        for label, frames in _frames_by_action(annotation, rng).items():
            pools.setdefault(label, deque()).append((annotation, frames))
    chosen: dict[tuple[str, int], tuple[VideoAnnotation, int]] = {}
    while pools and len(chosen) < count:
        for label in sorted(pools):
            annotation, frames = pools[label].popleft()
            frame = frames.pop()
            if frames:
                pools[label].append((annotation, frames))
            elif not pools[label]:
                del pools[label]
            if len(chosen) < count:
                chosen.setdefault((annotation.video, frame), (annotation, frame))
    return list(chosen.values())


def _frames_by_action(
    annotation: VideoAnnotation, rng: np.random.Generator
) -> dict[int, list[int]]:
    """In which frames each action is seen, in any order; -1 for actors that do nothing."""
    frames: dict[int, list[int]] = {}
    for track in annotation.tracks:
        for row in rng.permutation(len(track)).tolist():
            for label in np.flatnonzero(track.labels[row]).tolist() or [-1]:
                frames.setdefault(label, []).append(int(track.frames[row]))
    return frames


def sheet(
    videos: Sequence[VideoAnnotation],
    classes: ActionClasses,
    *,
    count: int,
    seed: int,
    seen: Callable[[int], None] = lambda _: None,
) -> NDArray[np.uint8]:
    """The contact sheet, uint8 [H, W, 3]: frames with the boxes and actions of their actors.

    Raises:
        InputError: No annotated actor in any of the videos, or a video that cannot be read.
    """
    chosen = choose(videos, count, np.random.default_rng(seed))
    if not chosen:
        raise InputError("nothing to show: no actor is annotated in these videos")
    tiles: list[NDArray[np.uint8]] = []
    for annotation, frame in chosen:
        tiles.append(_tile(annotation, frame, classes))
        seen(1)
    # The tail of a name tells more than its head, and six pixels are a letter.
    captions = [f"{frame} {annotation.video[9 - TILE // 6 :]}" for annotation, frame in chosen]
    return contact_sheet(tiles, max(1, round(math.sqrt(len(tiles) * 0.9))), captions)


def _tile(annotation: VideoAnnotation, frame: int, classes: ActionClasses) -> NDArray[np.uint8]:
    with VideoReader(annotation.path, gaps=annotation.gaps) as reader:
        image = Image.fromarray(reader.read([frame])[0])
    height = max(1, round(image.height * TILE / image.width))
    pixels = np.array(image.resize((TILE, height), Image.Resampling.BICUBIC))
    actors = annotation.at(frame)
    scale_4 = np.array([TILE, height] * 2) / np.array(annotation.size * 2)
    texts = [
        "\n".join(classes.names[label] for label in np.flatnonzero(row).tolist())
        for row in actors.labels
    ]
    colors = [palette_color(actor) for actor in actors.actors.tolist()]
    return draw_boxes(pixels, actors.boxes * scale_4, texts, colors)


def save_png(image: NDArray[np.uint8], path: Path) -> None:
    """Write an image as PNG, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    with whole_file(path, "bytes") as file, naming(path):
        Image.fromarray(image).save(file, format="PNG")

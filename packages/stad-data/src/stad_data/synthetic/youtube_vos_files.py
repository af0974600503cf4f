"""Write YouTube-VOS's files: images and palette masks of a video's frames, and meta.json."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.films import Film
from stad_data.synthetic.renderer import Renderer
from stad_data.synthetic.scene import Actor, Part, Scene
from stad_data.video_image_files import BEST_QUALITY, JpegEncoder
from stad_eval.formats.mask_png import write_mask_png

# The published set keeps every fifth frame of 30 a second.
_RATE = 6.0
_FOLDERS: dict[Part, str] = {"train": "train", "test": "valid"}


def kept_frames(scene: Scene) -> NDArray[np.int64]:
    """The frames of a video that have an image and a mask, about six a second."""
    return np.arange(0, scene.num_frames, max(1, round(scene.fps / _RATE)))


def category(actor: Actor, *, height: int) -> str:
    """The class of an object: "tall" from 0.36 of the picture's height, else "small"."""
    heights = np.ptp(actor.joints[:, :, 1], axis=1)
    return "tall" if np.median(heights) >= 0.36 * height else "small"


def write(root: Path, films: Sequence[tuple[Film, Scene]]) -> None:
    """Write `meta.json` of both parts: per object its category and the frames it is inside of.

    That something else may hide it there is left to the masks.
    """
    for part, folder in _FOLDERS.items():
        own = [(film.name, scene) for film, scene in films if film.part == part]
        videos = {name: {"objects": dict(_objects(scene))} for name, scene in own}
        (root / folder).mkdir()
        content = json.dumps({"videos": videos}, indent=1, sort_keys=True) + "\n"
        (root / folder / "meta.json").write_bytes(content.encode())


def write_film(root: Path, film: Film, renderer: Renderer) -> None:
    """Write `JPEGImages/<video>/<frame>.jpg` and `Annotations/<video>/<frame>.png` of one film.

    Frames are named by their place in the film, with five digits; object k is actor k - 1. Like an
    annotator's, the masks of an object begin with the first frame that shows enough of it to say
    what is meant: a quarter of what is seen of it at best.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    part = root / _FOLDERS[film.part]
    images, masks = (part / name / film.name for name in ("JPEGImages", "Annotations"))
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    encoder = JpegEncoder(renderer.scene.size, quality=BEST_QUALITY)
    frames = kept_frames(renderer.scene).tolist()
    found = without_slivers(np.stack([renderer.index_mask(frame) for frame in frames]))
    for frame, mask in zip(frames, found, strict=True):
        (images / f"{frame:05d}.jpg").write_bytes(encoder.encode(renderer.frame(frame)))
        write_mask_png(masks / f"{frame:05d}.png", mask)


def without_slivers(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Index masks uint8 [T, H, W] without objects that just enter.

    An object becomes background before the first frame on which it has a quarter of the most pixels
    that it has on any.
    """
    result = masks.copy()
    for index in range(1, int(masks.max()) + 1):
        areas = (masks == index).sum(axis=(1, 2))
        first = int(np.argmax(4 * areas >= areas.max()))
        before = result[:first]
        before[before == index] = 0
    return result


def _objects(scene: Scene) -> Iterator[tuple[str, dict[str, object]]]:
    for number, actor in enumerate(scene.actors):
        boxes = scene.boxes(number)[kept_frames(scene)]
        inside = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
        frames = kept_frames(scene)[inside].tolist()
        kind = category(actor, height=scene.size[1])
        yield str(number + 1), {"category": kind, "frames": [f"{frame:05d}" for frame in frames]}

"""Videos annotated by index masks, one PNG per frame: what DAVIS and YouTube-VOS share.

Suffix legend: T = frames asked for, H, W = height and width of the masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.tree import blaming
from stad_eval import InputError
from stad_eval.formats.mask_png import read_mask_png

VOID = 255
"""Pixels that no one decided on."""


@dataclass(frozen=True, kw_only=True)
class IndexMasks:
    """The mask files of a video by its frames; a `MaskSource`. Object k is actor k - 1.

    Attributes:
        files: One PNG file per annotated frame.
        size: (width, height) that every mask must have.
    """

    files: Mapping[int, Path]
    size: tuple[int, int]

    def read(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Masks uint8 [T, H, W]: 0 background, k object k, 255 undecided; 0 where no file is.

        Raises:
            InputError: A file that is no index mask, or one of another size.
        """
        width, height = self.size
        masks = np.zeros((len(frames), height, width), np.uint8)
        for at, frame in enumerate(frames):
            if int(frame) in self.files:
                masks[at] = _read(self.files[int(frame)], self.size)
        return masks


def annotate(
    *,
    video: str,
    masks: Path,
    images: Path,
    labels: Mapping[int, int] | None,
    num_classes: int,
    source: Path,
) -> VideoAnnotation:
    """One video: the box of an object in a frame is the smallest that holds its pixels.

    Frames are counted by the images of the video, where they are there, in the order of their
    numbers, whichever of these are missing (``gaps="close"``); otherwise by the numbers in the
    names of the masks, or by their order where those hold none. Frames with a mask file are the
    keyframes. Reads every mask.

    Args:
        video: Name of the video.
        masks: Folder of its mask files.
        images: Folder of its images, its `path`.
        labels: The class of every object index; None if all objects are of class 0.
        num_classes: Number of classes C.
        source: The file that gives the objects their classes, for errors.

    Raises:
        InputError: No mask, a damaged one, one without an image, masks of different sizes, or an
            object without a class.
    """
    files = [path for path in video_files.images(masks) if path.suffix.lower() == ".png"]
    if not files:
        raise InputError("a video without masks", path=masks, expected="<frame>.png")
    frames, num_frames = _frames(files, images)
    rows: dict[int, list[tuple[int, list[float]]]] = {}
    size = (0, 0)
    for frame, path in zip(frames, files, strict=True):
        mask = _read(path, size)
        size = (mask.shape[1], mask.shape[0])
        for index, box in _boxes(mask):
            rows.setdefault(index, []).append((frame, box))
    tracks: list[Track] = []
    for index, found in sorted(rows.items()):
        label = 0 if labels is None else labels.get(index)
        if label is None:
            raise InputError(
                f"video {video!r}: object {index} has no class",
                path=source,
                expected=f"objects {sorted(rows)}",
                found=f"objects {sorted(labels or ())}",
            )
        table = np.zeros((len(found), num_classes), np.bool_)
        table[:, label] = True
        numbers = np.array([frame for frame, _ in found])
        boxes = np.array([box for _, box in found])
        tracks.append(Track(actor=index - 1, frames=numbers, boxes=boxes, labels=table))
    with blaming(masks):
        return VideoAnnotation(
            video=video,
            path=images,
            num_frames=num_frames,
            size=size,
            fps=None,
            tracks=tuple(tracks),
            keyframes=np.array(frames),
            num_classes=num_classes,
            gaps="close",
            masks=IndexMasks(files=dict(zip(frames, files, strict=True)), size=size),
        )


def _frames(files: Sequence[Path], images: Path) -> tuple[list[int], int]:
    """The frame of every mask file, and the number of frames of the video."""
    shown = {path.stem: frame for frame, path in enumerate(video_files.images(images))}
    if shown:
        for path in files:
            if path.stem not in shown:
                raise InputError(
                    "a mask without an image",
                    path=path,
                    expected=str(images / f"{path.stem}.jpg"),
                    found="no such file",
                )
        return [shown[path.stem] for path in files], len(shown)
    if all(path.stem.isascii() and path.stem.isdigit() and len(path.stem) < 10 for path in files):
        frames = [int(path.stem) for path in files]
        if len(set(frames)) == len(frames):
            return frames, max(frames) + 1
    return list(range(len(files))), len(files)


def _read(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = read_mask_png(path)
    if size != (0, 0) and mask.shape != size[::-1]:
        raise InputError(
            "a mask of another size than the others of its video",
            path=path,
            expected=f"{size[0]}x{size[1]}",
            found=f"{mask.shape[1]}x{mask.shape[0]}",
        )
    return mask


def _boxes(mask: NDArray[np.uint8]) -> list[tuple[int, list[float]]]:
    """The objects of a mask [H, W] and their boxes ``[xmin, ymin, xmax + 1, ymax + 1]``."""
    found: list[tuple[int, list[float]]] = []
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    for index in present.tolist():
        if index in (0, VOID):
            continue
        inside = mask == index
        xs, ys = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        found.append((index, [float(xs[0]), float(ys[0]), xs[-1] + 1.0, ys[-1] + 1.0]))
    return found

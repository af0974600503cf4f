"""JHMDB-21, in its official layout.

``<root>/videos/<class>/<video>.mp4`` (or ``.avi``; the official folder name ``ReCompress_Videos``
is taken too), ``<root>/puppet_mask/<class>/<video>/puppet_mask.mat`` with ``part_mask`` uint8
[H, W, T] in {0, 1}, and ``<root>/splits/<class>_test_split<n>.txt`` with lines
``<video>.avi 1`` (training), ``2`` (test) or ``0`` (neither). One actor per video does the class's
action in every frame where the mask shows him; ``VideoAnnotation.masks`` reads his pixels. Where
``<root>/joint_positions/<class>/<video>/joint_positions.mat`` is there, `read_joints` reads it.

Suffix legend: T = frames of the video, H, W = height and width of the mask, J = 15 joints.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.mat_file import read_arrays
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.protocols import FRAME_PROTOCOLS

_VIDEO_FOLDERS = ("videos", "ReCompress_Videos")
_PARTS = {"1": "train", "2": "test", "0": "neither"}
# JHMDB was cut to clips of one rate; the containers agree on it.
_FPS = 30.0
_SUFFIXES = (".mp4", ".avi")

JOINTS = (
    "neck",
    "belly",
    "face",
    "right shoulder",
    "left shoulder",
    "right hip",
    "left hip",
    "right elbow",
    "left elbow",
    "right knee",
    "left knee",
    "right wrist",
    "left wrist",
    "right ankle",
    "left ankle",
)
"""The joints in the order of the files."""


def read(root: Path | str, *, split: int = 1, missing: Missing = "refuse") -> Dataset:
    """The dataset with one of its splits.

    Classes are the folder names in alphabetical order, so any set in this layout can be read, not
    only the 21 published classes. The number of frames is the mask's, one per decoded frame; no
    video is opened (``stad_data.check`` decodes them). Reads every mask of the split.

    Args:
        root: Folder that holds ``videos``, ``puppet_mask`` and ``splits``.
        split: Number of the split, published: 1 to 3.
        missing: What to do about listed videos without a file. Their masks are needed all the
            same, except for videos that are skipped.

    Raises:
        InputError: A missing folder, split, video or mask, an unreadable mask, or a bad line of a
            split file.
    """
    root = Path(root)
    folder = _video_folder(root, missing)
    names = _class_names(root, folder, split)
    listed = {
        f"{name}/{video}": (part, label, row, listed_in)
        for label, name in enumerate(names)
        for part, video, row, listed_in in _split_lines(root, name, split)
    }
    paths = _video_paths(folder, listed, missing)
    entries: list[tuple[str, int, str, Path, Path]] = []
    for video, path in paths.items():
        part, label, row, listed_in = listed[video]
        mask = root / "puppet_mask" / video / "puppet_mask.mat"
        if not mask.is_file():
            raise InputError(
                f"no puppet mask for video {video}",
                path=listed_in,
                row=row,
                expected=f"{mask}",
                found="no such file",
                remedy="unpack puppet_mask.zip of JHMDB into the folder, or take the line out",
            )
        entries.append((part, label, video, path, mask))

    def annotate(entry: tuple[str, int, str, Path, Path]) -> VideoAnnotation:
        _, label, video, path, mask = entry
        return _annotation(video, path, mask, label, len(names))

    # Inflating the masks is most of the time and runs outside the interpreter's lock.
    with ThreadPoolExecutor(max_workers=4) as pool:
        annotations = list(pool.map(annotate, entries))
    parts = {
        part: tuple(a for a, e in zip(annotations, entries, strict=True) if e[0] == part)
        for part in ("train", "test")
    }
    return Dataset(
        name=f"jhmdb{len(names)}",
        classes=ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=True),
        train=parts["train"],
        test=parts["test"],
        protocol=_protocol(names, split),
    )


def _protocol(names: tuple[str, ...], split: int) -> str:
    """The published protocol for the published classes, else that of any densely labelled set."""
    published = (p for p in FRAME_PROTOCOLS if p.name == f"jhmdb21-split{split}")
    return next((p.name for p in published if p.classes == names), "dense")


def read_mask(path: Path) -> NDArray[Any]:
    """A puppet mask [H, W, T], published as uint8 in {0, 1}; anything but 0 is the actor.

    Raises:
        InputError: A file that is not a puppet mask.
    """
    arrays = read_arrays(path)
    mask = arrays.get("part_mask")
    if mask is None:
        raise InputError(
            "no puppet mask in the file",
            path=path,
            expected="an array part_mask",
            found=", ".join(arrays) or "no array",
        )
    if mask.ndim == 2:  # MATLAB drops a last axis of length one
        mask = mask[:, :, None]
    if mask.ndim != 3 or mask.size == 0:
        raise InputError(
            "a puppet mask of the wrong form",
            path=path,
            expected="part_mask [height, width, frames]",
            found=str(mask.shape),
        )
    return mask


def mask_boxes(mask: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The published boxes of a puppet mask: frames int64 [F], boxes float64 [F, 4].

    Frames where the mask is empty have no box, so F <= T. With 0-based extents of the mask the
    published box is ``[xmin + 1, ymin + 1, min(xmax + 2, W), min(ymax + 2, H)]`` in 1-based
    inclusive coordinates. Its lower edges lie at ``xmin, ymin`` in 0-based half-open ones, and an
    inclusive 1-based upper edge is the half-open 0-based one; so the box here is
    ``[xmin, ymin, min(xmax + 2, W), min(ymax + 2, H)]``: one pixel wider than the mask to the
    right and below, where there is room.

    Args:
        mask: [H, W, T], anything but 0 inside the actor.
    """
    height, width, _ = mask.shape
    columns_TW: NDArray[np.bool_] = np.logical_or.reduce(mask, axis=0).T
    rows_TH: NDArray[np.bool_] = np.logical_or.reduce(mask, axis=1).T
    frames = np.flatnonzero(columns_TW.any(axis=1))
    columns_TW, rows_TH = columns_TW[frames], rows_TH[frames]
    x_min, y_min = columns_TW.argmax(axis=1), rows_TH.argmax(axis=1)
    x_max = width - 1 - columns_TW[:, ::-1].argmax(axis=1)
    y_max = height - 1 - rows_TH[:, ::-1].argmax(axis=1)
    boxes = np.stack(
        [x_min, y_min, np.minimum(x_max + 2, width), np.minimum(y_max + 2, height)], axis=1
    )
    return frames.astype(np.int64), boxes.astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class PuppetMasks:
    """The actor's pixels in the frames of one video; a `MaskSource`."""

    path: Path

    def read(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Masks uint8 [T, H, W] of the named frames: 1 inside the actor, else 0.

        Raises:
            InputError: A file that is not a puppet mask, or a frame that it does not have.
        """
        mask = read_mask(self.path)
        wanted = np.asarray(frames, np.int64).reshape(-1)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < mask.shape[2]:
            raise InputError(
                "no mask of this frame",
                path=self.path,
                expected=f"0 to {mask.shape[2] - 1}",
                found=f"{wanted.min()} to {wanted.max()}",
            )
        return np.moveaxis(mask[:, :, wanted], 2, 0).astype(np.bool_).astype(np.uint8)


def read_joints(path: Path | str) -> NDArray[np.float64]:
    """The actor's joints float64 [T, J, 2], ``x, y`` in pixels of the frame, in order of `JOINTS`.

    The file's ``pos_img`` [2, J, T] counts pixel centres from 1, MATLAB's way; here the left edge
    of the first pixel is 0 and its centre 0.5, as for boxes. Joints may lie outside the frame.

    Raises:
        InputError: A file that holds no joint positions.
    """
    arrays = read_arrays(Path(path))
    found = arrays.get("pos_img")
    if found is not None and found.ndim == 2:  # MATLAB drops a last axis of length one
        found = found[:, :, None]
    if found is None or found.ndim != 3 or found.shape[:2] != (2, len(JOINTS)):
        raise InputError(
            "no joint positions in the file",
            path=Path(path),
            expected=f"an array pos_img [2, {len(JOINTS)}, frames]",
            found=", ".join(f"{name} {values.shape}" for name, values in arrays.items()) or "none",
        )
    joints = found.astype(np.float64).transpose(2, 1, 0) - 0.5
    if not np.isfinite(joints).all():
        raise InputError("a joint that is no number", path=Path(path), found="NaN or infinity")
    return joints


def _annotation(name: str, path: Path, mask_path: Path, label: int, count: int) -> VideoAnnotation:
    mask = read_mask(mask_path)
    height, width, num_frames = mask.shape
    frames, boxes = mask_boxes(mask)
    tracks: tuple[Track, ...] = ()
    if frames.size:
        labels = np.zeros((frames.size, count), np.bool_)
        labels[:, label] = True
        tracks = (Track(actor=0, frames=frames, boxes=boxes, labels=labels),)
    return VideoAnnotation(
        video=name,
        path=path,
        num_frames=num_frames,
        size=(width, height),
        fps=_FPS,
        tracks=tracks,
        keyframes=np.arange(num_frames),
        num_classes=count,
        masks=PuppetMasks(path=mask_path),
    )


def _video_folder(root: Path, missing: Missing) -> Path:
    for name in _VIDEO_FOLDERS:
        if (root / name).is_dir():
            return root / name
    if missing == "keep":
        return root / _VIDEO_FOLDERS[0]
    raise InputError(
        "no folder of JHMDB videos",
        path=root,
        expected="<root>/videos/<class>/<video>.mp4",
        found="no such folder",
        remedy="name the folder that holds videos, puppet_mask and splits",
    )


def _class_names(root: Path, folder: Path, split: int) -> tuple[str, ...]:
    """Class names in alphabetical order; every class folder needs a list of this split."""
    lists = {
        match[1]: int(match[2])
        for path in sorted((root / "splits").glob("*_test_split*.txt"))
        if (match := re.fullmatch(r"(.+)_test_split(\d+)\.txt", path.name))
        and int(match[2]) == split
    }
    if not lists:
        there = {
            match[1]
            for path in (root / "splits").glob("*.txt")
            if (match := re.search(r"_test_split(\d+)\.txt$", path.name))
        }
        raise InputError(
            f"no lists of split {split}",
            path=root / "splits",
            expected=f"<class>_test_split{split}.txt",
            found=f"lists of splits {', '.join(sorted(there))}" if there else "no split lists",
        )
    inside = folder.iterdir() if folder.is_dir() else ()
    folders = {path.name for path in inside if path.is_dir() and not path.name.startswith(".")}
    if missing := sorted(folders - set(lists)):
        raise InputError(
            "classes with videos but without a list of this split",
            path=root / "splits",
            expected=f"{missing[0]}_test_split{split}.txt",
            found=f"no list for {', '.join(missing)}",
            remedy="add the lists, or move these folders away",
        )
    return tuple(sorted(lists))


def _split_lines(root: Path, name: str, split: int) -> list[tuple[str, str, int, Path]]:
    """(part, video, row, file) for the training and test lines of one class, row from 1."""
    path = root / "splits" / f"{name}_test_split{split}.txt"
    found: dict[str, tuple[str, str, int, Path]] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError("a split list that is not text", path=path, found=str(error)) from error
    for row, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in _PARTS or "/" in words[0] or "\\" in words[0]:
            raise InputError(
                "a bad line in a split list",
                path=path,
                row=row,
                expected="<video>.avi 1 (training), 2 (test) or 0 (neither)",
                found=line,
            )
        video = words[0].removesuffix(".avi").removesuffix(".mp4")
        if video in found:
            raise InputError(
                f"video {video} is listed twice",
                path=path,
                row=row,
                expected="each video once",
                found=f"also in row {found[video][2]}",
            )
        found[video] = (_PARTS[words[1]], video, row, path)
    return [entry for entry in found.values() if entry[0] != "neither"]


def _video_paths(
    folder: Path, listed: dict[str, tuple[str, int, int, Path]], missing: Missing
) -> dict[str, Path]:
    found = {video: video_files.find([folder / video], _SUFFIXES) for video in listed}
    first = next((video for video, path in found.items() if path is None), None)
    return video_files.present(
        found,
        expected=lambda video: folder / f"{video}.mp4",
        missing=missing,
        listed_in=folder if first is None else listed[first][3],
        row=lambda video: listed[video][2],
    )

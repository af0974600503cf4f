"""Videos that no one annotated: a folder of files as an unlabelled set."""

from pathlib import Path
from typing import Literal

import numpy as np

from stad_data.annotation import VideoAnnotation
from stad_data.datasets import video_files
from stad_data.video import VideoReader
from stad_eval import InputError


def external_videos(
    root: Path | str, *, num_classes: int = 0, damaged: Literal["refuse", "skip"] = "refuse"
) -> tuple[VideoAnnotation, ...]:
    """Every video below a folder, in the order of its path, without tracks and keyframes.

    Files ending in .mp4, .mkv, .webm, .avi or .mov, in any case, and folders that hold images and
    no other folder are videos; other files are ignored. A video is named by its path from the
    folder, without suffix. Each is opened for its size, rate and number of frames.

    Args:
        root: The folder.
        num_classes: Classes C of the dataset that it is used beside, for clips of one form.
        damaged: What to do about a video that cannot be read: refuse the folder, or leave it out.

    Raises:
        InputError: No such folder, no video in it, two of one name, or a damaged one.
    """
    root = Path(root)
    found: dict[str, Path] = {}
    for path in _videos(root):
        inner = path.relative_to(root)
        name = (inner if path.is_dir() else inner.with_suffix("")).as_posix()
        if name in found:
            raise InputError(
                f"two videos of the name {name!r}", path=path, expected="one", found=found[name]
            )
        found[name] = path
    annotations: list[VideoAnnotation] = []
    for name, path in found.items():
        try:
            annotations.append(_opened(name, path, num_classes))
        except InputError:
            if damaged == "refuse":
                raise
    if not annotations:
        raise InputError(
            "a folder without videos",
            path=root,
            expected=f"files ending in {', '.join(video_files.SUFFIXES)}, or folders of images",
            found="no folder" if not root.is_dir() else f"{len(found)} damaged ones",
        )
    return tuple(annotations)


def _videos(root: Path) -> list[Path]:
    below = sorted(root.rglob("*")) if root.is_dir() else []
    parents = {path.parent for path in below if path.is_dir()}
    return [
        path
        for path in below
        if (path.is_file() and path.suffix.lower() in video_files.SUFFIXES)
        or (path.is_dir() and path not in parents and video_files.images(path))
    ]


def _opened(name: str, path: Path, num_classes: int) -> VideoAnnotation:
    with VideoReader(path) as reader:
        return VideoAnnotation(
            video=name,
            path=path,
            num_frames=reader.num_frames,
            size=reader.size,
            fps=reader.fps,
            tracks=(),
            keyframes=np.zeros(0, np.int64),
            num_classes=num_classes,
        )

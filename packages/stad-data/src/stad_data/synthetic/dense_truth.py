"""The truth of every frame, which synthetic sets in AVA's layout keep beside their annotation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stad_data.annotation import VideoAnnotation
from stad_data.datasets import ava
from stad_eval import InputError

FOLDER = "dense"
_NAMES = {"train": "train", "test": "val"}


def has_dense_truth(root: Path | str) -> bool:
    """Whether a folder keeps the truth of every frame of its videos."""
    return (Path(root) / FOLDER).is_dir()


def read_dense_truth(
    root: Path | str, videos: Sequence[VideoAnnotation], *, part: Literal["train", "test"]
) -> tuple[VideoAnnotation, ...]:
    """The same videos with every frame annotated, in the same order; none for no videos.

    Args:
        root: Folder of the set: `<root>/dense/train.csv` and `val.csv` are rows in AVA's form that
            count frames instead of seconds.
        videos: As `datasets.ava.read` gave them, of one part.
        part: Which.

    Raises:
        InputError: No such files, a bad row, or a video without rows.
    """
    if not videos:
        return ()
    path = Path(root) / FOLDER / f"{_NAMES[part]}.csv"
    if not path.is_file():
        raise InputError(
            "this set does not keep the truth of every frame",
            path=path,
            expected="a synthetic set in AVA's layout (stad data make synthetic)",
        )
    # Its rows are shares of the frame, and the videos of one set have one size.
    read = ava.read(
        path,
        label_map=Path(root) / "annotations" / "label_map.pbtxt",
        missing="keep",
        time="frame",
        size=videos[0].size,
        fps=videos[0].fps or 30.0,
    )
    found = {truth.video: truth for truth in (*read.train, *read.test)}
    for video in videos:
        if video.video not in found:
            raise InputError(f"no dense truth of video {video.video!r}", path=path)
    return tuple(
        replace(
            video,
            tracks=found[video.video].tracks,
            keyframes=found[video.video].keyframes,
            timestamps=None,
        )
        for video in videos
    )

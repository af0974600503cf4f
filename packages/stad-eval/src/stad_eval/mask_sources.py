"""Where the masks of a video come from: a folder of PNG files, or arrays; and what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.formats.mask_png import MaskFolder, natural_order
from stad_eval.input_error import InputError
from stad_eval.masks import index_mask

EXAMPLES = 3


class MaskSource(Protocol):
    """Index masks by video and frame, read when asked for (from several threads at once)."""

    def videos(self) -> tuple[str, ...]:
        """Names of the videos."""
        ...

    def frames(self, video: str) -> tuple[str, ...]:
        """Names of a video's frames in order of time; none of a video that is not there."""
        ...

    def read(self, video: str, frame: str) -> NDArray[np.uint8]:
        """The mask of one frame, [H, W]."""
        ...


MaskArrays = Mapping[str, ArrayLike | Mapping[str, ArrayLike]]


def mask_source(masks: str | Path | MaskSource | MaskArrays) -> MaskSource:
    """The source behind a folder's path, or arrays by video.

    Arrays are [T, H, W], whose frames are named 00000, 00001 and so on, or mappings from frame
    name to [H, W].

    Raises:
        InputError: if there is no such folder, or an array is not [T, H, W].
    """
    if isinstance(masks, (str, Path)):
        return MaskFolder(root=Path(masks))
    if isinstance(masks, Mapping):
        return _Arrays(masks)
    return masks


class _Arrays:
    """Arrays by video as a source."""

    def __init__(self, arrays: MaskArrays) -> None:
        self._stacks: dict[str, NDArray[np.generic]] = {}
        self._named: dict[str, Mapping[str, ArrayLike]] = {}
        for video, masks in arrays.items():
            if isinstance(masks, Mapping):
                self._named[video] = masks
                continue
            stack = np.asarray(masks)
            if stack.ndim != 3:
                raise InputError(
                    f"masks of video '{video}' have the wrong shape",
                    expected="[T, H, W], or a mapping of frame names to [H, W]",
                    found=list(stack.shape),
                )
            self._stacks[video] = stack
        self._videos = tuple(arrays)

    def videos(self) -> tuple[str, ...]:
        return self._videos

    def frames(self, video: str) -> tuple[str, ...]:
        if video in self._named:
            return tuple(sorted(self._named[video], key=natural_order))
        if video in self._stacks:
            return tuple(f"{at:05d}" for at in range(len(self._stacks[video])))
        return ()

    def read(self, video: str, frame: str) -> NDArray[np.uint8]:
        named = self._named.get(video)
        mask = self._stacks[video][int(frame)] if named is None else named[frame]
        return index_mask(mask, f"mask of video '{video}', frame '{frame}'")


@dataclass(frozen=True, kw_only=True)
class MaskCoverage:
    """Which frames of the ground truth a result covers, (video, frame) by name.

    Attributes:
        missing_videos: videos of the ground truth without any mask in the result.
        missing_frames: frames that are scored and missing, those of missing videos left out.
        extra_videos: videos of the result that the ground truth does not have.
        extra_frames: frames of the result that the ground truth does not have, in videos it has.
    """

    missing_videos: tuple[str, ...]
    missing_frames: tuple[tuple[str, str], ...]
    extra_videos: tuple[str, ...]
    extra_frames: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """One line: how many of each, with examples; empty if nothing is missing or extra."""
        parts = (
            ("videos without a result", self.missing_videos),
            ("frames without a result", [f"{v}/{f}" for v, f in self.missing_frames]),
            ("videos without ground truth", self.extra_videos),
            ("frames without ground truth", [f"{v}/{f}" for v, f in self.extra_frames]),
        )
        return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in parts if names)


def mask_coverage(
    truth: MaskSource, found: MaskSource, scored: Mapping[str, Sequence[str]]
) -> MaskCoverage:
    """What the result lacks of the `scored` frames (by video), and what it has beyond the truth."""
    known = set(truth.videos())
    missing_videos: list[str] = []
    missing: list[tuple[str, str]] = []
    extra: list[tuple[str, str]] = []
    for video, wanted in scored.items():
        there = set(found.frames(video))
        if not there and wanted:
            missing_videos.append(video)
            continue
        missing += [(video, frame) for frame in wanted if frame not in there]
        true_frames = set(truth.frames(video))
        extra += [(video, frame) for frame in sorted(there - true_frames, key=natural_order)]
    return MaskCoverage(
        missing_videos=tuple(missing_videos),
        missing_frames=tuple(missing),
        extra_videos=tuple(name for name in found.videos() if name not in known),
        extra_frames=tuple(extra),
    )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:EXAMPLES]) + (", ..." if len(listed) > EXAMPLES else "")

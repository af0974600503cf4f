"""Which clips there are to draw: rows (video number, frame) for `stad_data.sampling`.

Keyframes are in `sampling.keyframe_samples`; here are tubelets, frames between keyframes, and
frames of videos that no one annotated. Suffix legend: S = samples, K = frames of a tubelet.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import VideoAnnotation
from stad_eval import InputError


def tubelet_samples(
    annotations: Sequence[VideoAnnotation],
    *,
    boxes: int,
    stride: int = 1,
    step: int = 1,
    partial: bool = True,
    empty: bool = True,
) -> NDArray[np.int64]:
    """One sample per window of K annotated frames: int64 [S, 2] rows (video number, keyframe).

    Windows begin at every ``step``-th frame of a video; the row's frame is the one at ``K // 2``,
    as `windows.tubelet` takes it. A window counts if all of its K frames are keyframes, so nothing
    that was not looked at passes for empty. A video shorter than a window gives none.

    Args:
        annotations: The videos; the video number points into them.
        boxes: Frames K of a window.
        stride: Frames of the video per frame of the window.
        step: Frames from a window to the next.
        partial: Whether windows that an actor enters or leaves belong to them. The ACT and MOC
            detectors train without.
        empty: Whether windows without any actor belong to them.

    Raises:
        InputError: A number below 1.

    Source: Kalogeiton et al., "Action tubelet detector", Sec. 3.2.
    """
    if min(boxes, stride, step) < 1:
        raise InputError(
            "tubelets need frames and steps",
            expected="boxes, stride and step >= 1",
            found=f"boxes {boxes}, stride {stride}, step {step}",
        )
    offsets = np.arange(boxes, dtype=np.int64) * stride
    rows: list[NDArray[np.int64]] = []
    for annotation in annotations:
        starts = np.arange(0, annotation.num_frames - int(offsets[-1]), step, dtype=np.int64)
        windows_SK = starts[:, None] + offsets
        good = np.isin(windows_SK, annotation.keyframes).all(axis=1)
        busy = np.zeros(len(starts), np.bool_)
        for track in annotation.tracks:
            there = np.isin(windows_SK, track.frames).sum(axis=1)
            busy |= there > 0
            if not partial:
                good &= (there == 0) | (there == boxes)
        if not empty:
            good &= busy
        rows.append(starts[good] + offsets[boxes // 2])
    return _numbered(rows)


def between_samples(
    annotations: Sequence[VideoAnnotation],
    *,
    per_gap: int | None = None,
    widest: int | None = None,
) -> NDArray[np.int64]:
    """Frames between two neighbouring keyframes: int64 [S, 2] rows (video number, frame), in order.

    Args:
        annotations: The videos; the video number points into them.
        per_gap: How many frames of each gap, evenly spread; all where None or where the gap has no
            more.
        widest: Gaps with more than this many frames give none: what lies between keyframes far
            apart is not known from them (AVA leaves seconds out). None takes all.

    Raises:
        InputError: ``per_gap`` or ``widest`` below 1.
    """
    if min((limit for limit in (per_gap, widest) if limit is not None), default=1) < 1:
        raise InputError(
            "cannot draw frames between keyframes",
            expected="per_gap and widest >= 1, or None",
            found=f"per_gap {per_gap}, widest {widest}",
        )
    rows: list[NDArray[np.int64]] = []
    for annotation in annotations:
        keys = annotation.keyframes
        starts, inside = keys[:-1] + 1, np.diff(keys) - 1
        if widest is not None:
            starts, inside = starts[inside <= widest], inside[inside <= widest]
        counts = inside if per_gap is None else np.minimum(inside, per_gap)
        gap = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(len(gap)) - np.repeat(np.cumsum(counts) - counts, counts)
        # The middles of `counts` equal parts of the gap.
        rows.append(starts[gap] + (2 * nth + 1) * inside[gap] // (2 * counts[gap]))
    return _numbered(rows)


def frame_samples(annotations: Sequence[VideoAnnotation], *, every: int = 1) -> NDArray[np.int64]:
    """Frames of videos, annotated or not: int64 [S, 2] rows (video number, frame), in order.

    Args:
        annotations: The videos; the video number points into them.
        every: Take each ``every``-th frame, beginning in the middle of the first step; a shorter
            video gives its middle frame.

    Raises:
        InputError: ``every`` below 1.
    """
    if every < 1:
        raise InputError("a step between samples", expected="every >= 1", found=str(every))
    return _numbered(
        [
            np.arange(min(every, frames) // 2, frames, every, dtype=np.int64)
            for frames in (annotation.num_frames for annotation in annotations)
        ]
    )


def _numbered(frames: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Rows (video number, frame) from the frames of every video."""
    rows = [np.stack([np.full_like(some, video), some], 1) for video, some in enumerate(frames)]
    return np.concatenate([np.zeros((0, 2), np.int64), *rows])

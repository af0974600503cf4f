"""Video object segmentation: masks of the objects of videos against ground truth.

One frame is in memory at a time (per worker), so that the length and number of videos are bounded
by the disk only; results of parts of the videos combine exactly (`combine_masks`).
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError
from stad_eval.mask_objects import MaskVideo, planned, scored_objects
from stad_eval.mask_protocols import VOID, MaskProtocol, mask_protocol
from stad_eval.mask_result import MaskResult, ObjectScores, combine_masks, mask_result
from stad_eval.mask_sources import MaskArrays, MaskSource, mask_coverage, mask_source
from stad_eval.masks import FrameMeasures, boundary_radius, index_mask, measure_frame

ObjectClasses = Mapping[str, Mapping[int, str]]
MOST_WORKERS = 8


def score_masks(
    truth: str | Path | MaskSource | MaskArrays,
    found: str | Path | MaskSource | MaskArrays,
    protocol: str | MaskProtocol = "davis2017",
    *,
    videos: Collection[str] | None = None,
    classes: ObjectClasses | None = None,
    missing: Literal["refused", "empty"] = "refused",
    workers: int | None = None,
) -> MaskResult:
    """Score masks of many videos, from folders (ROOT/<video>/<frame>.png) or arrays.

    Arrays are given by video, as [T, H, W] or as a mapping from frame name to [H, W]. `videos`
    names the ones to score; by default all of the ground truth. `classes` names the class of each
    object, by video and index; protocols with seen and unseen classes need it. Masks that are
    `missing` on scored frames stop the evaluation, or count as empty. Frames and videos that only
    the result has are left out. `workers` threads read and measure frames (by default one per
    processor, at most 8); their number changes no bit of the result.

    Raises:
        InputError: on an unknown protocol or video, missing masks, masks of another size, unknown
            objects or too many of them where the protocol refuses them, an object without a class
            where classes are needed, or a file that cannot be read.
    """
    options = mask_protocol(protocol) if isinstance(protocol, str) else protocol
    sides = mask_source(truth), mask_source(found)
    plans = [_plan(sides[0], name, classes, options) for name in _chosen(sides[0], videos)]
    absent = _absent(*sides, plans, refused=missing == "refused")
    threads = min(os.cpu_count() or 1, MOST_WORKERS) if workers is None else workers
    if threads < 1:
        raise InputError("bad number of workers", expected="1 or more", found=workers)
    if threads == 1:
        parts = [_score_video(*sides, plan, absent, options, map) for plan in plans]
    else:
        pool = ThreadPoolExecutor(threads)
        try:
            parts = [_score_video(*sides, plan, absent, options, pool.map) for plan in plans]
        finally:
            pool.shutdown(cancel_futures=True)
    if not parts:
        return mask_result([], _counts(), options)
    return combine_masks(parts, options)


def score_mask_video(
    truth: Iterable[ArrayLike],
    found: Iterable[ArrayLike],
    protocol: str | MaskProtocol = "davis2017",
    *,
    video: str,
    classes: Mapping[int, str] | None = None,
) -> MaskResult:
    """Score one video whose masks [H, W] come one by one, in order of time; `combine_masks` joins.

    Only two frames are kept at a time. Both sides have the same frames; what `found` holds on
    frames that the protocol does not score is not looked at.

    Raises:
        InputError: as `score_masks`, or if one side ends before the other.
    """
    options = mask_protocol(protocol) if isinstance(protocol, str) else protocol
    measures: list[FrameMeasures] = []
    names: list[str] = []
    first: NDArray[np.uint8] | None = None
    held: tuple[str, NDArray[np.uint8], ArrayLike] | None = None
    for at, (true_mask, found_mask) in enumerate(_paired(truth, found, video)):
        names.append(f"{at:05d}")
        mask = index_mask(true_mask, f"true mask of video '{video}', frame {at}")
        if first is None:
            first = mask.copy()  # copies, since a reader may fill one array again and again
            if options.frames != "all":
                continue
        pair: tuple[str, NDArray[np.uint8], ArrayLike] | None = (names[-1], mask, found_mask)
        if options.frames == "inner":  # whether a frame is the last shows with the next
            pair, held = held, (names[-1], mask.copy(), np.array(found_mask))
        if pair is not None:
            place = f"found mask of video '{video}', frame {pair[0]}"
            measures.append(_measure(video, *pair[:2], index_mask(pair[2], place), options))
    if first is None:
        raise InputError(f"video '{video}' has no frames", expected="at least one", found="none")
    plan = planned(video, tuple(names), classes, options)
    objects, unknown = scored_objects(plan, first, measures, options)
    counts = _counts(videos=1, frames=len(measures), unknown_objects=unknown)
    return mask_result(objects, counts, options)


def _counts(
    *, videos: int = 0, frames: int = 0, missing: int = 0, extra: int = 0, unknown_objects: int = 0
) -> dict[str, int]:
    return {
        "videos": videos,
        "frames": frames,
        "frames_missing": missing,
        "frames_without_truth": extra,
        "unknown_objects": unknown_objects,
    }


def _chosen(truth: MaskSource, videos: Collection[str] | None) -> tuple[str, ...]:
    known = truth.videos()
    if videos is None:
        return known
    unknown = sorted(set(videos) - set(known))
    if unknown:
        raise InputError(
            f"{len(unknown)} video(s) have no ground truth",
            expected=f"videos of the ground truth ({len(known)})",
            found=", ".join(unknown[:3]),
        )
    return tuple(dict.fromkeys(videos))


def _plan(
    truth: MaskSource, name: str, classes: ObjectClasses | None, options: MaskProtocol
) -> MaskVideo:
    labels = None if classes is None else classes.get(name, {})
    return planned(name, truth.frames(name), labels, options)


def _absent(
    truth: MaskSource, found: MaskSource, plans: Sequence[MaskVideo], *, refused: bool
) -> dict[str, tuple[frozenset[str], int]]:
    """By video: scored frames that the result lacks, and how many it has too many."""
    coverage = mask_coverage(truth, found, {plan.name: plan.scored for plan in plans})
    if refused and (coverage.missing_videos or coverage.missing_frames):
        raise InputError(
            f"the result lacks masks: {coverage}",
            expected=f"one mask for every scored frame of {len(plans)} video(s)",
            remedy="Write them, empty where nothing was found, or let missing ones count as empty.",
        )
    lost = set(coverage.missing_videos)
    by_video: dict[str, set[str]] = {
        plan.name: set(plan.scored) if plan.name in lost else set() for plan in plans
    }
    for video, frame in coverage.missing_frames:
        by_video[video].add(frame)
    extra = Counter(video for video, _ in coverage.extra_frames)
    return {name: (frozenset(gone), extra[name]) for name, gone in by_video.items()}


def _score_video(
    truth: MaskSource,
    found: MaskSource,
    plan: MaskVideo,
    absent: Mapping[str, tuple[frozenset[str], int]],
    options: MaskProtocol,
    each: Callable[..., Iterable[FrameMeasures]],
) -> MaskResult:
    gone, extra = absent[plan.name]

    def measured(frame: str) -> FrameMeasures:
        true_mask = truth.read(plan.name, frame)
        empty = frame in gone
        found_mask = np.zeros_like(true_mask) if empty else found.read(plan.name, frame)
        return _measure(plan.name, frame, true_mask, found_mask, options)

    objects: list[ObjectScores] = []
    unknown = 0
    if plan.frames:
        first = truth.read(plan.name, plan.frames[0])
        measures = list(each(measured, plan.scored))
        objects, unknown = scored_objects(plan, first, measures, options)
    counts = _counts(
        videos=1,
        frames=len(plan.scored),
        missing=len(gone),
        extra=extra,
        unknown_objects=unknown,
    )
    return mask_result(objects, counts, options)


def _measure(
    video: str,
    frame: str,
    truth: NDArray[np.uint8],
    found: NDArray[np.uint8],
    options: MaskProtocol,
) -> FrameMeasures:
    if truth.shape != found.shape:
        raise InputError(
            f"video '{video}', frame '{frame}': the result is of another size",
            expected=f"{truth.shape[1]} x {truth.shape[0]}",
            found=f"{found.shape[1]} x {found.shape[0]}",
            remedy="Resize results to the size of the ground truth, nearest neighbour.",
        )
    void = truth == VOID
    if void.any():
        truth = np.where(void, np.uint8(0), truth)
        if options.void == "ignored":
            found = np.where(void, np.uint8(0), found)
    radius = boundary_radius(*truth.shape, tolerance=options.boundary_tolerance)
    return measure_frame(truth, found, radius=radius, every_pair=options.pairing == "best")


def _paired(
    truth: Iterable[ArrayLike], found: Iterable[ArrayLike], video: str
) -> Generator[tuple[ArrayLike, ArrayLike]]:
    end = object()
    for at, (one, other) in enumerate(zip_longest(truth, found, fillvalue=end)):
        if one is end or other is end:
            raise InputError(
                f"video '{video}': one side has more frames than the other",
                expected="one found mask for every true one",
                found=f"only {at} {'true' if one is end else 'found'} masks",
            )
        yield cast(ArrayLike, one), cast(ArrayLike, other)

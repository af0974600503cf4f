"""What every error analysis asks of a detection, for boxes on frames and for tubes alike.

The overlaps with ground truth are computed once; the three analyses (`error_types`,
`error_breakdown`, `error_gains`) look at the same columns.
Suffix legend: N = detections, M = ground truths, P = overlapping pairs of them, C = classes.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stad_eval.class_columns import ClassColumn, class_column
from stad_eval.input_error import InputError
from stad_eval.matching import Pairs, TruthKey
from stad_eval.precision import Rule, Ties, score_order
from stad_eval.ranking import resolve_ties


@dataclass(frozen=True, kw_only=True, eq=False)
class BestOverlaps:
    """The ground truth that each detection overlaps most, within some set of them.

    Attributes:
        iou: float64 [N], 0 where it overlaps none.
        truth: integers [N], -1 where it overlaps none.
    """

    iou: NDArray[np.float64]
    truth: NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class Factors:
    """Temporal IoU and mean box IoU of tubes, float64 [N].

    Attributes:
        own_time, own_space: with the `own.truth` of a `Judgement`; 0 where there is none.
        time, space: with whichever of `own.truth` and `other.truth` is overlapped more.
    """

    own_time: NDArray[np.float64]
    own_space: NDArray[np.float64]
    time: NDArray[np.float64]
    space: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """Detections with all that decides what went wrong with them.

    Attributes:
        protocol: id of the protocol.
        tubes: whether detections are tubes, else boxes on frames.
        iou: the threshold; a match needs IoU >= iou.
        classes: names of the evaluated classes.
        average, ties: of the protocol, see `stad_eval.precision`.
        label, score: integers and numbers [N].
        order: int64 [N], detections by class, then by falling score as the protocol has it.
        start: int64 [C + 1]; those of class c stand in `order` from start[c] to start[c + 1].
        truth_label: int64 [M].
        truths: int64 [C], the denominators of recall.
        taken: integers [N], the ground truth that a detection found; -1 for a false positive.
        own: best overlap with ground truth of the detection's class.
        other: best overlap with ground truth of another class.
        own_here: bool [N], ground truth of its class stands on the frame (for tubes: shares a
            frame with the tube).
        other_here: bool [N], the same of another class.
        own_in_video: bool [N], the video holds ground truth of its class.
        factors: tubes only, what the overlaps are made of.
    """

    protocol: str
    tubes: bool
    iou: float
    classes: tuple[str, ...]
    average: Rule
    ties: Ties
    label: NDArray[np.integer]
    score: NDArray[np.floating]
    order: NDArray[np.intp]
    start: NDArray[np.int64]
    truth_label: NDArray[np.int64]
    truths: NDArray[np.int64]
    taken: NDArray[np.integer]
    own: BestOverlaps
    other: BestOverlaps
    own_here: NDArray[np.bool_]
    other_here: NDArray[np.bool_]
    own_in_video: NDArray[np.bool_]
    factors: Factors | None = None

    @cached_property
    def late(self) -> NDArray[np.bool_]:
        """Which overlaps with `own.truth` are lost in time rather than in space; none on frames."""
        if self.factors is None:
            return np.zeros(self.score.size, dtype=np.bool_)
        return self.factors.own_time < self.factors.own_space

    @cached_property
    def columns(self) -> tuple[ClassColumn, ...]:
        """The detections of every class as they stand in `order`."""
        score, grouped = self.score[self.order], self.ties == "grouped"
        return tuple(
            class_column(score[low:high], grouped=grouped)
            for low, high in pairwise(self.start.tolist())
        )

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Which detections are true positives, [N]."""
        return self.taken >= 0

    @cached_property
    def duplicate(self) -> NDArray[np.bool_]:
        """False positives that overlap ground truth of their class enough, which was taken."""
        return (self.own.iou >= self.iou) & ~self.correct

    @cached_property
    def wrong_class(self) -> NDArray[np.bool_]:
        """False positives that overlap ground truth of another class enough."""
        return (self.other.iou >= self.iou) & ~self.correct


def ranked(
    by_class: NDArray[np.intp],
    start: NDArray[np.int64],
    score: NDArray[np.floating],
    ties: Ties,
) -> NDArray[np.intp]:
    """Detections by class and falling score, [N].

    `by_class` [N] are the detections by class, those of class c from start[c] to start[c + 1].
    """
    order = by_class.copy()
    for low, high in pairwise(start.tolist()):
        part = by_class[low:high]
        order[low:high] = part[score_order(score[part], ties)]
    return order


def best_overlaps(count: int, pairs: Pairs, truth_key: TruthKey) -> BestOverlaps:
    """The best overlap of each of `count` detections; pairs as of `best_pairs`."""
    iou, truth = np.zeros(count), np.full(count, -1, dtype=np.int64)
    best = best_pairs(pairs, truth_key)
    found = pairs.found[best]
    iou[found], truth[found] = pairs.iou[best], pairs.truth[best]
    return BestOverlaps(iou=iou, truth=truth)


def best_pairs(pairs: Pairs, truth_key: TruthKey) -> NDArray[np.intp]:
    """Place of the best pair of each detection that has one; pairs are sorted by detection."""
    heads = np.diff(pairs.found, prepend=-1) != 0
    starts = np.flatnonzero(heads)
    if starts.size == pairs.found.size:
        return starts
    most = np.maximum.reduceat(pairs.iou, starts)
    best = np.flatnonzero(pairs.iou == most[np.cumsum(heads) - 1])
    if best.size > starts.size:
        # Equal overlaps are few: they alone are told apart by the key.
        equal = np.diff(pairs.found[best]) == 0
        resolve_ties(best, equal, lambda rows: truth_key(pairs.truth[rows]))
        best = best[np.append(True, ~equal)]
    return best


def check_thresholds(iou: float, floor: float) -> None:
    """Refuse thresholds that leave no room for an error of localisation.

    Raises:
        InputError: unless 0 < floor < iou <= 1.
    """
    if not 0.0 < iou <= 1.0:
        raise InputError("bad IoU threshold", expected="0 < iou <= 1", found=iou)
    if not 0.0 < floor < iou:
        expected = f"0 < floor < {iou}"
        raise InputError("bad floor of overlap", expected=expected, found=floor)

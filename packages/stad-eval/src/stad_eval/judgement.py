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

from stad_eval.input_error import InputError
from stad_eval.matching import Pairs, TruthKey
from stad_eval.precision import Rule, Ties, score_order


@dataclass(frozen=True, kw_only=True, eq=False)
class BestOverlaps:
    """The ground truth that each detection overlaps most, within some set of them.

    Attributes:
        iou: float64 [N], 0 where it overlaps none.
        truth: int64 [N], -1 where it overlaps none.
        pair: int64 [N], place of the pair among those that were compared; -1 for none.
    """

    iou: NDArray[np.float64]
    truth: NDArray[np.int64]
    pair: NDArray[np.int64]


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
        label, score: [N].
        order: int64 [N], detections by class, then by falling score as the protocol has it.
        start: int64 [C + 1]; those of class c stand in `order` from start[c] to start[c + 1].
        truth_label: int64 [M].
        truths: int64 [C], the denominators of recall.
        taken: int64 [N], the ground truth that a detection found; -1 for a false positive.
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
    label: NDArray[np.int64]
    score: NDArray[np.floating]
    order: NDArray[np.intp]
    start: NDArray[np.int64]
    truth_label: NDArray[np.int64]
    truths: NDArray[np.int64]
    taken: NDArray[np.int64]
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
    label: NDArray[np.int64], score: NDArray[np.floating], classes: int, ties: Ties
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Detections by class and falling score, [N], and where each class starts, [C + 1]."""
    # A sort of small integers takes a tenth of the time of one of int64.
    small = label.astype(np.min_scalar_type(max(classes, 1)))
    order = np.argsort(small, kind="stable")
    start = np.searchsorted(small[order], np.arange(classes + 1))
    for low, high in pairwise(start.tolist()):
        part = order[low:high]
        order[low:high] = part[score_order(score[part], ties)]
    return order, start.astype(np.int64)


def best_overlaps(count: int, pairs: Pairs, truth_key: TruthKey) -> BestOverlaps:
    """The best pair of each of `count` detections; pairs are sorted by detection, IoUs over 0."""
    iou = np.zeros(count)
    truth = np.full(count, -1, dtype=np.int64)
    place = np.full(count, -1, dtype=np.int64)
    if pairs.found.size:
        head = np.flatnonzero(np.diff(pairs.found, prepend=-1))
        iou[pairs.found[head]] = np.maximum.reduceat(pairs.iou, head)
        best = np.flatnonzero(pairs.iou == iou[pairs.found])
        if (np.diff(pairs.found[best]) == 0).any():
            # Equal overlaps are few: they alone are told apart by the key.
            found, key = pairs.found[best], truth_key(pairs.truth[best]).astype(np.float64)
            best = best[np.lexsort((*key.T[::-1], found))]
            best = best[np.diff(pairs.found[best], prepend=-1) != 0]
        truth[pairs.found[best]] = pairs.truth[best]
        place[pairs.found[best]] = best
    return BestOverlaps(iou=iou, truth=truth, pair=place)


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

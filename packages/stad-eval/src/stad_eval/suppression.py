"""Greedy non-maximum suppression of boxes and tubelets, all groups of a table at once.

In each group, rows in order of score: the best one left is kept and suppresses those that overlap
it by more than a threshold. Suffix legend: N = rows, K = boxes of a tubelet, P = pairs of rows.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention, paired_iou
from stad_eval.input_error import InputError
from stad_eval.ranking import place_in_group, rank_order

Rescoring = Literal["remove", "mean", "sum"]

PAIRS_AT_ONCE = 1 << 19


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """What happens to rows that overlap a better one.

    Attributes:
        iou: a row is suppressed by a kept one where the mean IoU of their K boxes is > iou.
        rescoring: "remove" (hard suppression); "mean": the score is multiplied by 1 minus the mean
            IoU; "sum": by 1 minus the *sum* of the K IoUs, as MOC does, so that suppressed scores
            turn negative where K > 1 (for K = 1 it is the same as "mean").
        convention: width and height of boxes, see `stad_eval.boxes`.

    Raises:
        InputError: if an option is out of range.
    """

    iou: float = 0.6
    rescoring: Rescoring = "mean"
    convention: Convention = "half-open"

    def __post_init__(self) -> None:
        if not 0.0 <= self.iou <= 1.0:
            raise InputError(
                "bad IoU threshold of suppression", expected="0 <= iou <= 1", found=self.iou
            )
        if self.rescoring not in ("remove", "mean", "sum"):
            expected = "'remove', 'mean' or 'sum'"
            raise InputError("unknown rescoring", expected=expected, found=self.rescoring)


def suppress(
    group: NDArray[np.int64],
    box: NDArray[np.float64],
    score: NDArray[np.float64],
    options: Suppression,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which rows [N] remain, and the new score [N] of every row.

    Args:
        group: rows of equal number [N] can suppress each other.
        box: [N, K, 4].
        score: [N]; rows of equal score are ordered by box.
        options: see `Suppression`.

    Returns:
        Mask (all true unless suppressed rows are removed) and scores, both [N].
    """
    count, length = box.shape[:2]
    order = rank_order(group, score, box.reshape(count, 4 * length))
    upper_P, lower_P, overlap_P = _overlapping(group[order], box[order], options)
    kept = _kept(upper_P, lower_P, count)
    by_kept = kept[upper_P]
    lower_P, overlap_P = lower_P[by_kept], overlap_P[by_kept]
    # Pairs are sorted by the suppressed row and then by rank: the first kept row suppresses it.
    first = np.append(True, np.diff(lower_P) != 0)[: lower_P.size]
    weight = np.ones(count)
    weight[order[lower_P[first]]] = 1.0 - overlap_P[first] * (
        length if options.rescoring == "sum" else 1.0
    )
    remain = np.ones(count, dtype=np.bool_)
    if options.rescoring == "remove":
        remain[order[~kept]] = False
        return remain, score
    return remain, score * weight


def _overlapping(
    group: NDArray[np.int64], box: NDArray[np.float64], options: Suppression
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs (better, worse) of rows whose mean IoU is over the threshold, sorted by worse, better.

    Rows are sorted by rank within their group.
    """
    before_N = place_in_group(group)
    uppers: list[NDArray[np.int64]] = []
    lowers: list[NDArray[np.int64]] = []
    overlaps: list[NDArray[np.float64]] = []
    rows = np.flatnonzero(before_N)
    # Chunks of rows bound the memory that their pairs take.
    chunk = np.cumsum(before_N[rows]) // PAIRS_AT_ONCE
    for part in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        count = before_N[part]
        lower = np.repeat(part, count)
        offset = np.arange(lower.size) - np.repeat(np.cumsum(count) - count, count)
        upper = lower - np.repeat(count, count) + offset
        total = np.zeros(lower.size)
        for k in range(box.shape[1]):
            total += paired_iou(box[upper, k], box[lower, k], convention=options.convention)
        mean = total / max(box.shape[1], 1)
        over = np.flatnonzero(mean > options.iou)
        uppers.append(upper[over])
        lowers.append(lower[over])
        overlaps.append(mean[over])
    return np.concatenate(uppers), np.concatenate(lowers), np.concatenate(overlaps)


def _kept(upper_P: NDArray[np.int64], lower_P: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Which rows greedy suppression keeps: in rounds, those that no open row could suppress."""
    kept = np.zeros(count, dtype=np.bool_)
    open_ = np.ones(count, dtype=np.bool_)
    while open_.any():
        threatened = np.zeros(count, dtype=np.bool_)
        threatened[lower_P] = True
        safe = open_ & ~threatened
        kept |= safe
        open_ &= ~safe
        open_[lower_P[safe[upper_P]]] = False
        left = open_[upper_P] & open_[lower_P]
        upper_P, lower_P = upper_P[left], lower_P[left]
    return kept

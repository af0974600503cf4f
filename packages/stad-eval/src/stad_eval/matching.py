"""Which detection finds which ground truth. Suffix legend: N = detections, M = truths, P = pairs.

Both rules process detections in order of rank. Neither loops over them: "argmax" is one sort, and
"best-unmatched" is the stable matching in which every truth prefers the lower rank, so that rounds
of proposals, all detections at once, give the same result as one pass in order of rank.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention, paired_iou
from stad_eval.protocols import Matching

PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """Overlapping (detection, truth) pairs, ordered by detection, then by `truth`."""

    found: NDArray[np.int64]
    truth: NDArray[np.int64]
    iou: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Boxes [N, 4] on one side of the match; only boxes of equal `cell` (int64 [N]) can meet."""

    cell: NDArray[np.int64]
    box: NDArray[np.float64]


def match(
    found: Side,
    truth: Side,
    *,
    score: NDArray[np.float64] | None,
    iou: float,
    rule: Matching,
    convention: Convention = "half-open",
) -> NDArray[np.int64]:
    """The truth that each detection finds, int64 [N]; -1 for none. No truth is found twice.

    `score` [N] ranks detections, equal ones by their box; None ranks them by row.
    """
    result = np.full(found.cell.size, -1, dtype=np.int64)
    # Truths in an order of their own, so that equal IoUs do not depend on the rows' order.
    canonical_M = np.lexsort((*truth.box.T[::-1], truth.cell))
    sorted_truth = Side(cell=truth.cell[canonical_M], box=truth.box[canonical_M])
    pairs = _overlaps(found, sorted_truth, iou=iou, rule=rule, convention=convention)
    if pairs.found.size == 0:
        return result
    rows, first = np.unique(pairs.found, return_index=True)
    rank = np.empty(rows.size, dtype=np.int64)
    if score is None:
        rank[:] = np.arange(rows.size)
    else:
        box = found.box[rows]
        rank[np.lexsort((*box.T[::-1], -score[rows]))] = np.arange(rows.size)
    ends = np.append(first[1:], pairs.found.size)
    won = _propose(pairs, first, ends, rank, truths=truth.cell.size)
    result[rows] = np.where(won >= 0, canonical_M[won], -1)
    return result


def _overlaps(
    found: Side, truth: Side, *, iou: float, rule: Matching, convention: Convention
) -> _Pairs:
    """The truths that each detection may go for, the most wanted first; `truth` sorted by cell."""
    start_N = np.searchsorted(truth.cell, found.cell, side="left")
    count_N = np.searchsorted(truth.cell, found.cell, side="right") - start_N
    rows = np.flatnonzero(count_N)
    parts: list[_Pairs] = []
    # Chunks of detections bound the memory that their pairs take.
    chunk = np.cumsum(count_N[rows]) // PAIRS_AT_ONCE
    for part in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        count = count_N[part]
        found_P = np.repeat(part, count)
        offset_P = np.arange(found_P.size) - np.repeat(np.cumsum(count) - count, count)
        truth_P = np.repeat(start_N[part], count) + offset_P
        iou_P = paired_iou(found.box[found_P], truth.box[truth_P], convention=convention)
        keep = np.flatnonzero(iou_P >= iou)
        parts.append(_Pairs(found=found_P[keep], truth=truth_P[keep], iou=iou_P[keep]))
    found_P = np.concatenate([each.found for each in parts])
    truth_P = np.concatenate([each.truth for each in parts])
    iou_P = np.concatenate([each.iou for each in parts])
    order = np.lexsort((truth_P, -iou_P, found_P))
    if rule == "argmax":
        head = np.diff(found_P[order], prepend=-1) != 0
        order = order[head]
    return _Pairs(found=found_P[order], truth=truth_P[order], iou=iou_P[order])


def _propose(
    pairs: _Pairs,
    first: NDArray[np.intp],
    ends: NDArray[np.intp],
    rank: NDArray[np.int64],
    *,
    truths: int,
) -> NDArray[np.int64]:
    """Stable matching by rounds: who is turned down goes for the next truth of its list."""
    nobody = rank.size
    holder = np.full(truths, nobody, dtype=np.int64)
    at = first.astype(np.int64)
    movers = np.arange(rank.size)
    while movers.size:
        np.minimum.at(holder, pairs.truth[at[movers]], rank[movers])
        live = np.flatnonzero(at < ends)
        turned_down = live[holder[pairs.truth[at[live]]] != rank[live]]
        at[turned_down] += 1
        movers = turned_down[at[turned_down] < ends[turned_down]]
    won = np.full(rank.size, -1, dtype=np.int64)
    done = np.flatnonzero(at < ends)
    won[done] = pairs.truth[at[done]]
    return won

"""Which detection finds which ground truth. Suffix legend: N = detections, M = truths, P = pairs.

Both rules process detections in order of rank. Neither loops over them: with "argmax" every truth
keeps the best of the detections that go for it, and "best-unmatched" is the stable matching in
which every truth prefers the lower rank, so that rounds of proposals, all detections at once, give
the same result as one pass in order of rank.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention
from stad_eval.protocols import Matching
from stad_eval.ranking import rank_order

PAIRS_AT_ONCE = 1 << 18

# From rows of the truth to what tells them apart where IoUs are equal, [n, D]; the smaller wins.
TruthKey = Callable[[NDArray[np.int64]], NDArray[np.floating]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Boxes [N, 4] on one side of the match; only boxes of equal `cell` (int64 [N]) can meet.

    Boxes may be float32, and areas then are too. Cells below zero meet nothing.
    """

    cell: NDArray[np.int64]
    box: NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """What may be matched: (detection, truth) rows [P] and their IoU, best first per detection."""

    found: NDArray[np.int64]
    truth: NDArray[np.int64]
    iou: NDArray[np.float64]

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Pairs":
        """The pairs of the given places, mask or indices."""
        return Pairs(found=self.found[keep], truth=self.truth[keep], iou=self.iou[keep])


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
    pairs = candidates(found, truth, least=iou, rule=rule, convention=convention)
    if score is None:
        score = -np.arange(found.cell.size, dtype=np.float64)
    return assign(pairs, iou=iou, rule=rule, score=score, found=found, truths=truth.cell.size)


def candidates(
    found: Side,
    truth: Side,
    *,
    least: float,
    rule: Matching,
    convention: Convention = "half-open",
    truth_key: TruthKey | None = None,
) -> Pairs:
    """The pairs of IoU >= `least`, sorted by detection; "argmax" keeps the best of each only.

    Truths of equal IoU are told apart by `truth_key`, by default by their box.
    """
    pairs = overlapping(found, truth, least=least, convention=convention)
    return best_first(pairs, rule, truth_key or (lambda rows: truth.box[rows]))


def overlapping(
    found: Side, truth: Side, *, least: float, convention: Convention = "half-open"
) -> Pairs:
    """The pairs of IoU >= `least`, sorted by detection; those of one detection in any order."""
    order_M = np.argsort(truth.cell, kind="stable")
    start_N, count_N = _spans(truth.cell[order_M], found.cell)
    rows = np.flatnonzero(count_N)
    extra = 1.0 if convention == "inclusive" else 0.0
    parts: list[Pairs] = []
    # Chunks of detections bound the memory that their pairs take.
    chunk = np.cumsum(count_N[rows]) // PAIRS_AT_ONCE
    for part in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        count = count_N[part]
        found_P = np.repeat(part, count)
        before = np.cumsum(count) - count
        truth_P = order_M[np.repeat(start_N[part] - before, count) + np.arange(found_P.size)]
        iou_P = _iou(found.box[found_P], truth.box[truth_P], extra)
        keep = np.flatnonzero(iou_P >= least)
        parts.append(Pairs(found=found_P[keep], truth=truth_P[keep], iou=iou_P[keep]))
    return Pairs(
        found=np.concatenate([each.found for each in parts]),
        truth=np.concatenate([each.truth for each in parts]),
        iou=np.concatenate([each.iou for each in parts]),
    )


def assign(
    pairs: Pairs,
    *,
    iou: float,
    rule: Matching,
    score: NDArray[np.floating],
    found: Side,
    truths: int,
) -> NDArray[np.int64]:
    """The truth that each detection finds at a threshold, int64 [N]; -1 for none.

    `score` [N] ranks detections, equal ones by their box.
    """
    pairs = pairs.select(pairs.iou >= iou)
    taken = np.full(found.cell.size, -1, dtype=np.int64)
    if rule == "argmax" or not (np.diff(pairs.found) == 0).any():
        won = _winners(pairs, score, found)
        taken[pairs.found[won]] = pairs.truth[won]
        return taken
    first = np.flatnonzero(np.diff(pairs.found, prepend=-1))
    rows = pairs.found[first]
    rank = np.empty(rows.size, dtype=np.int64)
    everyone = np.zeros(rows.size, dtype=np.int64)
    rank[rank_order(everyone, _double(score[rows]), _double(found.box[rows]))] = np.arange(
        rows.size
    )
    ends = np.append(first[1:], pairs.found.size)
    taken[rows] = _propose(pairs, first, ends, rank, truths=truths)
    return taken


def _spans(
    truth_cell: NDArray[np.int64], found_cell: NDArray[np.int64]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Where the truths of each detection's cell start, and how many; cells of truths are sorted.

    Where cells are few the answers stand in a table, which costs a tenth of a binary search.
    """
    known = truth_cell >= 0
    low = int(truth_cell.size - known.sum())
    size = int(truth_cell[-1]) + 1 if low < truth_cell.size else 0
    if size > 8 * (truth_cell.size + found_cell.size) + (1 << 20):
        start = np.searchsorted(truth_cell, found_cell, side="left")
        count = np.searchsorted(truth_cell, found_cell, side="right") - start
        return start, np.where(found_cell >= 0, count, 0)
    count_C = np.zeros(size + 1, dtype=np.int32)
    count_C[:size] = np.bincount(truth_cell[low:], minlength=size)[:size]
    start_C = np.int32(low) + np.cumsum(count_C, dtype=np.int32) - count_C
    # The last entry stands for every cell without truths.
    place = np.where((found_cell >= 0) & (found_cell < size), found_cell, size)
    return start_C[place], count_C[place]


def best_first(pairs: Pairs, rule: Matching, truth_key: TruthKey) -> Pairs:
    """Pairs sorted by detection, with those of one detection by IoU; "argmax" keeps the best."""
    several = np.diff(pairs.found) == 0
    if not several.any():
        return pairs
    # Most detections have one candidate; only the others are sorted.
    rows = np.flatnonzero(np.append(several, False) | np.append(False, several))
    found, iou = pairs.found[rows], pairs.iou[rows]
    order = np.lexsort((-iou, found))
    equal = (np.diff(found[order]) == 0) & (np.diff(iou[order]) == 0)
    if equal.any():
        tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        run = np.cumsum(~np.append(False, equal))[tied]
        keys = truth_key(pairs.truth[rows[order[tied]]])
        order[tied] = order[tied][np.lexsort((*keys.T[::-1], run))]
    places = np.arange(pairs.found.size)
    places[rows] = rows[order]
    if rule == "argmax":
        places = places[np.diff(pairs.found, prepend=-1) != 0]
    return pairs.select(places)


def _winners(pairs: Pairs, score: NDArray[np.floating], found: Side) -> NDArray[np.intp]:
    """Places of the pairs whose detection ranks first among those of its truth."""
    if pairs.found.size == 0:
        return np.empty(0, dtype=np.intp)
    score_P = _double(score[pairs.found])
    best_M = np.full(int(pairs.truth.max()) + 1, -np.inf)
    np.maximum.at(best_M, pairs.truth, score_P)
    first = np.flatnonzero(score_P == best_M[pairs.truth])
    claims_M = np.bincount(pairs.truth[first], minlength=best_M.size)
    shared = claims_M[pairs.truth[first]] > 1
    if not shared.any():
        return first
    rivals = first[shared]
    truth = pairs.truth[rivals]
    order = rank_order(truth, score_P[rivals], _double(found.box[pairs.found[rivals]]))
    heads = np.diff(truth[order], prepend=-1) != 0
    return np.concatenate([first[~shared], rivals[order[heads]]])


def _propose(
    pairs: Pairs,
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


def _double(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return values.astype(np.float64, copy=False)


def _iou(
    a_P4: NDArray[np.floating], b_P4: NDArray[np.floating], extra: float
) -> NDArray[np.float64]:
    """IoU of pairs; the arithmetic of old evaluators, so that float32 boxes round as theirs do."""
    width = np.minimum(a_P4[:, 2] + extra, b_P4[:, 2] + extra) - np.maximum(a_P4[:, 0], b_P4[:, 0])
    height = np.minimum(a_P4[:, 3] + extra, b_P4[:, 3] + extra) - np.maximum(a_P4[:, 1], b_P4[:, 1])
    shared = _double(np.maximum(width, 0.0)) * _double(np.maximum(height, 0.0))
    union = _area(a_P4, extra) + _area(b_P4, extra) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)


def _area(box: NDArray[np.floating], extra: float) -> NDArray[np.floating]:
    width = np.maximum(box[:, 2] - box[:, 0] + extra, 0.0)
    return width * np.maximum(box[:, 3] - box[:, 1] + extra, 0.0)

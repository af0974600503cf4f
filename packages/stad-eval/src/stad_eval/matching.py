"""Which detection finds which ground truth. Suffix legend: N = detections, M = truths, P = pairs.

Both rules process detections in order of rank. Neither loops over them: with "argmax" every truth
keeps the best of the detections that go for it, and "best-unmatched" is the stable matching in
which every truth prefers the lower rank, so that rounds of proposals, all detections at once, give
the same result as one pass in order of rank.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention
from stad_eval.protocols import Matching
from stad_eval.ranking import falling_within, rank_order, resolve_ties

PAIRS_AT_ONCE = 1 << 15

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
        at = np.flatnonzero(keep) if keep.dtype == np.bool_ else keep
        return Pairs(found=self.found.take(at), truth=self.truth.take(at), iou=self.iou.take(at))


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
    pairs = overlapping(found, truth, least=iou, convention=convention)
    pairs = best_first(pairs, rule, lambda rows: truth.box[rows])
    if score is None:
        score = -np.arange(found.cell.size, dtype=np.float64)
    return assign(pairs, ious=(iou,), score=score, box=found.box, truths=truth.cell.size)[0]


def overlapping(
    found: Side, truth: Side, *, least: float, convention: Convention = "half-open"
) -> Pairs:
    """The pairs of IoU >= `least`, sorted by detection; those of one detection in any order."""
    order_M = np.argsort(truth.cell, kind="stable")
    start_N, count_N = _spans(truth.cell[order_M], found.cell)
    rows = np.flatnonzero(count_N)
    extra = 1.0 if convention == "inclusive" else 0.0
    columns_N = _columns(found.box, extra)
    columns_M = _columns(truth.box.take(order_M, axis=0), extra)
    parts: list[Pairs] = []
    # Chunks of detections bound the memory that their pairs take, and keep it within a cache.
    chunk = np.cumsum(count_N[rows]) // PAIRS_AT_ONCE
    for part in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        count = count_N[part]
        found_P = np.repeat(part, count)
        before = np.cumsum(count) - count
        place_P = np.repeat(start_N[part] - before, count) + np.arange(found_P.size)
        iou_P = _iou(columns_N, columns_M, found_P, place_P)
        keep = np.flatnonzero(iou_P >= least)
        parts.append(Pairs(found=found_P[keep], truth=order_M[place_P[keep]], iou=iou_P[keep]))
    return Pairs(
        found=np.concatenate([each.found for each in parts]),
        truth=np.concatenate([each.truth for each in parts]),
        iou=np.concatenate([each.iou for each in parts]),
    )


def best_first(pairs: Pairs, rule: Matching, truth_key: TruthKey) -> Pairs:
    """Pairs sorted by detection, with those of one detection by IoU; "argmax" keeps the best.

    Pairs come sorted by detection. Truths of equal IoU are told apart by `truth_key`.
    """
    several = np.diff(pairs.found) == 0
    if not several.any():
        return pairs
    # Most detections have one candidate; only the others are sorted.
    rows = np.flatnonzero(np.append(several, False) | np.append(False, several))
    found, iou, truth = pairs.found[rows], pairs.iou[rows], pairs.truth[rows]
    order = falling_within(found - found[0], iou)
    equal = (np.diff(found[order]) == 0) & (np.diff(iou[order]) == 0)
    resolve_ties(order, equal, lambda tied: truth_key(truth[tied]))
    places = np.arange(pairs.found.size)
    places[rows] = rows[order]
    if rule == "argmax":
        places = places[np.diff(pairs.found, prepend=-1) != 0]
    return pairs.select(places)


def assign(
    pairs: Pairs,
    *,
    ious: Sequence[float],
    score: NDArray[np.floating],
    box: NDArray[np.floating],
    truths: int,
) -> NDArray[np.int64]:
    """The truth that each detection finds at every threshold, int64 [T, N]; -1 for none.

    `pairs` are sorted as by `best_first`. `score` [N] ranks detections, equal ones by `box` [N, 4].
    """
    taken = np.full((len(ious), score.size), -1, dtype=np.int64)
    heads = np.diff(pairs.found, prepend=-1) != 0
    rows = pairs.found[heads]
    rank = np.empty(rows.size, dtype=np.int64)
    rank[rank_order(None, _double(score[rows]), _double(box[rows]))] = np.arange(rows.size)
    seeker = np.cumsum(heads) - 1
    for at, iou in enumerate(ious):
        # Of every list, best first, a threshold leaves the beginning.
        left = np.flatnonzero(pairs.iou >= iou)
        taken[at, rows] = _propose(seeker[left], pairs.truth[left], rank, truths=truths)
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


def _propose(
    seeker_P: NDArray[np.int64],
    truth_P: NDArray[np.int64],
    rank: NDArray[np.int64],
    *,
    truths: int,
) -> NDArray[np.int64]:
    """Stable matching by rounds: who is turned down goes for the next truth of its list.

    Pairs are sorted by seeker, a number that `rank` [n] points from; the result is int64 [n].
    """
    holder = np.full(truths, rank.size, dtype=np.int64)
    at = np.flatnonzero(np.diff(seeker_P, prepend=-1))
    ends = np.append(at[1:], seeker_P.size)
    rank_P = rank[seeker_P]
    movers = np.arange(at.size)
    while movers.size:
        np.minimum.at(holder, truth_P[at[movers]], rank_P[at[movers]])
        live = np.flatnonzero(at < ends)
        turned_down = live[holder[truth_P[at[live]]] != rank_P[at[live]]]
        at[turned_down] += 1
        movers = turned_down[at[turned_down] < ends[turned_down]]
    won = np.full(rank.size, -1, dtype=np.int64)
    done = at[at < ends]
    won[seeker_P[done]] = truth_P[done]
    return won


def _double(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return values.astype(np.float64, copy=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Columns:
    """Corners of boxes, one past x2 and y2, and their areas, as columns of their own."""

    x1: NDArray[np.floating]
    y1: NDArray[np.floating]
    x2: NDArray[np.floating]
    y2: NDArray[np.floating]
    area: NDArray[np.floating]


def _columns(box: NDArray[np.floating], extra: float) -> _Columns:
    x1, y1, x2, y2 = np.ascontiguousarray(box.T)
    width, height = np.maximum(x2 - x1 + extra, 0.0), np.maximum(y2 - y1 + extra, 0.0)
    return _Columns(x1=x1, y1=y1, x2=x2 + extra, y2=y2 + extra, area=width * height)


def _iou(
    a: _Columns, b: _Columns, a_P: NDArray[np.integer], b_P: NDArray[np.integer]
) -> NDArray[np.float64]:
    """IoU of pairs; the arithmetic of old evaluators, so that float32 boxes round as theirs do."""
    width = np.minimum(a.x2.take(a_P), b.x2.take(b_P)) - np.maximum(a.x1.take(a_P), b.x1.take(b_P))
    height = np.minimum(a.y2.take(a_P), b.y2.take(b_P)) - np.maximum(a.y1.take(a_P), b.y1.take(b_P))
    shared = _double(np.maximum(width, 0.0)) * _double(np.maximum(height, 0.0))
    union = a.area.take(a_P) + b.area.take(b_P) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)

"""The orders that public evaluators put detections in, where an order can change their number."""

import heapq
from collections import defaultdict
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stad_eval.precision import introsort_order
from stad_eval.protocols import FrameProtocol
from stad_eval.ranking import place_in_group, split_where


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows in the terms of one evaluation; `frame` is a slot of its `FrameIndex`.

    Attributes:
        frame: int64 [N].
        label: int64 [N], place among the evaluated classes.
        box: float64 or float32 [N, 4].
        score: float64 or float32 [N].
    """

    frame: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.floating]
    score: NDArray[np.floating]

    def __len__(self) -> int:
        return self.frame.size

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Rows":
        """The given rows, mask or indices."""
        if keep.dtype == np.bool_:
            if keep.all():
                return self
            keep = np.flatnonzero(keep)
        # Of rows of four numbers, `take` costs a third of what an index costs.
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return Rows(**{name: column.take(keep, axis=0) for name, column in columns.items()})


def within_limit(rows: Rows, limit: int | None) -> Rows:
    """The best `limit` rows of every frame, by score, then class, then box."""
    if limit is None or not len(rows):
        return rows
    crowded = np.flatnonzero(np.bincount(rows.frame)[rows.frame] > limit)
    if crowded.size == 0:
        return rows
    ties = (*rows.box[crowded].T[::-1], rows.label[crowded])
    order = crowded[np.lexsort((*ties, -rows.score[crowded], rows.frame[crowded]))]
    keep = np.ones(len(rows), dtype=np.bool_)
    keep[order[place_in_group(rows.frame[order]) >= limit]] = False
    return rows.select(keep)


def through_heap(rows: Rows, limit: int | None) -> Rows:
    """The best `limit` rows of every frame; equal scores in the order that `heap_order` gives.

    Rows change places within their frame only, and only where the heap can be told from a sort.
    """
    if not len(rows):
        return rows
    keep = np.ones(len(rows), dtype=np.bool_)
    unclear = rows.frame[_tied(rows)]
    if limit is not None:
        crowded = np.flatnonzero(np.bincount(rows.frame)[rows.frame] > limit)
        order = crowded[np.lexsort((-rows.score[crowded], rows.frame[crowded]))]
        place = place_in_group(rows.frame[order])
        keep[order[place >= limit]] = False
        out = np.flatnonzero(place == limit)
        cut = rows.score[order[out]] == rows.score[order[out - 1]]
        unclear = np.concatenate([unclear, rows.frame[order[out[cut]]]])
    places = np.arange(len(rows))
    for members in _by_frame(rows, unclear):
        ordered = heap_order(rows, members, limit)
        places[members[: ordered.size]] = ordered
        keep[members] = np.arange(members.size) < ordered.size
    return rows.select(places[keep])


def frame_ranks(rows: Rows, truth: Rows, options: FrameProtocol, frames: int) -> NDArray[np.int64]:
    """What an evaluator sorts frames by, int64 [frames]; of all rows, before any is dropped."""
    if options.arrangement in ("table", "time"):
        return np.arange(frames)
    source = truth if options.arrangement == "truth-frames" else rows
    first = np.full(frames, len(source), dtype=np.int64)
    # Written from behind, the first row of a frame is what stays.
    first[source.frame[::-1]] = np.arange(len(source))[::-1]
    return first


def arranged(rows: Rows, ranks: NDArray[np.int64], options: FrameProtocol) -> Rows:
    """The rows in the order in which an evaluator sees them; `ranks` as of `frame_ranks`."""
    if options.arrangement == "table":
        return rows
    key = ranks[rows.frame]
    return rows.select(_arrangement(rows, key, options))


def _arrangement(rows: Rows, key: NDArray[np.int64], options: FrameProtocol) -> NDArray[np.intp]:
    if options.within_frame == "table":
        return np.argsort(key, kind="stable")
    if options.within_frame != "argsort":
        return np.lexsort((-rows.score, key))
    place = np.zeros(len(rows), dtype=np.int64)
    tied = _tied(rows)
    cells = tied[np.lexsort((tied, rows.label[tied], rows.frame[tied]))]
    for cell in split_where(cells, rows.frame, rows.label):
        whole = np.sort(cell)
        place[whole[introsort_order(-rows.score[whole])]] = np.arange(whole.size)
    return np.lexsort((place, -rows.score, rows.label, key))


def heap_places(rows: Rows, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where each of the `wanted` rows stands among those of its frame, see `heap_order`."""
    place = np.zeros(len(rows))
    for frame in _by_frame(rows, rows.frame[wanted]):
        ordered = heap_order(rows, frame, None)
        place[ordered] = np.arange(ordered.size)
    return place[wanted]


def heap_order(rows: Rows, members: NDArray[np.intp], limit: int | None) -> NDArray[np.intp]:
    """Rows of one frame as ActivityNet's reader of AVA's files leaves them, int64 [n <= limit].

    It pushes (score, class, y1, x1, y2, x2) onto a binary heap; a full heap lets its smallest entry
    go for a row of a higher score. The heap's list is then sorted by falling score, which keeps
    equal scores as they lay. Numpy cannot tell what a heap does, hence the loop.
    """
    score, label = rows.score[members].tolist(), rows.label[members].tolist()
    corners = rows.box[members][:, [1, 0, 3, 2]].tolist()
    heap: list[tuple[float, ...]] = []
    owners: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for row, value, name, box in zip(members.tolist(), score, label, corners, strict=True):
        entry = (value, name, *box)
        if limit is None or len(heap) < limit:
            heapq.heappush(heap, entry)
        elif value > heap[0][0]:
            heapq.heapreplace(heap, entry)
        else:
            continue
        owners[entry].append(row)
    heap.sort(key=lambda entry: -entry[0])
    # Equal entries cannot be told apart: any of their rows will do.
    return np.array([owners[entry].pop() for entry in heap], dtype=np.intp)


def _by_frame(rows: Rows, frames: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """The rows of each of the given frames, in the table's order."""
    if frames.size == 0:
        return []
    wanted = np.zeros(int(rows.frame.max()) + 1, dtype=np.bool_)
    wanted[frames] = True
    members = np.flatnonzero(wanted[rows.frame])
    members = members[np.argsort(rows.frame[members], kind="stable")]
    return np.split(members, np.flatnonzero(np.diff(rows.frame[members])) + 1)


def _tied(rows: Rows) -> NDArray[np.intp]:
    """The rows of every frame and class that has two rows of equal score."""
    order = np.argsort(rows.score)
    equal = np.diff(rows.score[order]) == 0
    if not equal.any():
        return np.empty(0, dtype=np.intp)
    some = order[np.append(equal, False) | np.append(False, equal)]
    some = some[np.lexsort((rows.score[some], rows.label[some], rows.frame[some]))]
    same = np.diff(rows.score[some]) == 0
    for column in (rows.label, rows.frame):
        same &= np.diff(column[some]) == 0
    heads = some[1:][same]
    if heads.size == 0:
        return heads
    classes = int(rows.label.max()) + 1
    cell = rows.frame * classes + rows.label
    return np.flatnonzero(np.isin(cell, cell[heads]))

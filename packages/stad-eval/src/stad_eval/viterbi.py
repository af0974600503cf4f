"""Linking boxes to tubes by the best path through a video (Viterbi).

A path takes one box on every frame. Its energy is the sum, over neighbouring frames, of both
boxes' scores and a multiple of their overlap. The best path is taken out as a tube, and the search
is repeated on the boxes left. Source: Gkioxari and Malik, "Finding Action Tubes", Sec. 3.3.
Suffix legend: N = boxes, E = links between boxes of neighbouring frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention, paired_iou
from stad_eval.greedy_linking import check_at_least
from stad_eval.input_error import InputError
from stad_eval.ranking import place_in_group, rank_order
from stad_eval.tables import Boxes
from stad_eval.tube_rows import number_by_stream, streams_of


@dataclass(frozen=True, kw_only=True)
class ViterbiLinking:
    """What a path may be and what it is worth.

    Attributes:
        overlap_weight: what IoU 1 between neighbouring boxes is worth, in units of score (the
            paper's lambda).
        min_iou: boxes are neighbours on a path only where IoU >= min_iou; 0, as in the paper: any.
        max_gap: a path may skip so many frames in a row that hold no box (any more), in steps.
        stride: step between the frames that were looked at.
        max_boxes: only so many of the best boxes of a frame are linked; None: all.
        convention: width and height of boxes, see `stad_eval.boxes`.

    Raises:
        InputError: if an option is out of range.
    """

    overlap_weight: float = 1.0
    min_iou: float = 0.0
    max_gap: int = 0
    stride: int = 1
    max_boxes: int | None = 10
    convention: Convention = "half-open"

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_iou <= 1.0:
            raise InputError("bad min_iou", expected="0 <= min_iou <= 1", found=self.min_iou)
        if not 0.0 <= self.overlap_weight < np.inf:
            expected = "a number, 0 or more"
            raise InputError("bad overlap_weight", expected=expected, found=self.overlap_weight)
        check_at_least(0, "max_gap", self.max_gap)
        check_at_least(1, "stride", self.stride)
        check_at_least(1, "max_boxes", self.max_boxes)


def viterbi_rows(found: Boxes, options: ViterbiLinking | None = None) -> NDArray[np.int64]:
    """The tube number of every row, int64 [N], numbered over the whole table; -1 if not linked.

    Each video and label is linked on its own; its tubes are numbered in the order in which they
    were taken out. No box is used twice. The paper stops as soon as one frame of the video has no
    box left. Here the search goes on: frames without a box divide a video into parts (a path skips
    `max_gap` of them), and each part gives paths from its first to its last frame until nothing is
    left, so that its first paths are the paper's. Equal energies are ordered by score and box, not
    by row. No rows give no numbers.
    """
    options = options or ViterbiLinking()
    result = np.full(len(found), -1, dtype=np.int64)
    stream = streams_of(found.video, found.label, len(found.classes))
    rows = _candidates(found, stream, options.max_boxes)
    stream_N, frame_N = stream[rows], found.frame[rows]
    round_ = np.full(rows.size, -1, dtype=np.int64)
    left, taken = np.arange(rows.size), 0
    while left.size:
        links = _links(stream_N[left], frame_N[left], found.box[rows[left]], options)
        path = _best_paths(links, found.score[rows[left]], options.overlap_weight)
        inside = path >= 0
        round_[left[inside]] = taken + path[inside]
        taken += int(path.max()) + 1
        left = left[~inside]
    result[rows] = number_by_stream(stream_N, round_)
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class _Links:
    """Allowed links (before, after) of N boxes, sorted by after, then by rank of before."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    iou: NDArray[np.float64]
    step: NDArray[np.int64]  # [N], place of the box's frame among the frames of its stream


def _candidates(found: Boxes, stream: NDArray[np.int64], max_boxes: int | None) -> NDArray[np.intp]:
    """Rows by stream, frame and rank, at most `max_boxes` of a frame."""
    by_frame = np.lexsort((found.frame, stream))
    new = (np.diff(stream[by_frame]) != 0) | (np.diff(found.frame[by_frame]) != 0)
    cell = np.empty(len(found), dtype=np.int64)
    cell[by_frame] = np.cumsum(np.append(0, new)[: len(found)])
    order = rank_order(cell, found.score, found.box)
    if max_boxes is not None:
        order = order[place_in_group(cell[order]) < max_boxes]
    return order


def _links(
    stream: NDArray[np.int64],
    frame: NDArray[np.int64],
    box: NDArray[np.float64],
    options: ViterbiLinking,
) -> _Links:
    """Links between neighbouring frames; rows are sorted by stream, frame and rank."""
    new = np.append(True, (np.diff(stream) != 0) | (np.diff(frame) != 0))
    start = np.flatnonzero(new)
    size = np.diff(np.append(start, frame.size))
    cell = np.cumsum(new) - 1
    reach = (options.max_gap + 1) * options.stride
    near = (np.diff(stream[start]) == 0) & (np.diff(frame[start]) <= reach)
    joined = np.append(False, near)
    count = np.where(joined, np.append(0, size[:-1]), 0)[cell]
    after = np.repeat(np.arange(frame.size), count)
    offset = np.arange(after.size) - np.repeat(np.cumsum(count) - count, count)
    before = start[cell[after] - 1] + offset
    iou = paired_iou(box[before], box[after], convention=options.convention)
    allowed = np.flatnonzero(iou >= options.min_iou)
    return _Links(
        before=before[allowed],
        after=after[allowed],
        iou=iou[allowed],
        step=place_in_group(stream[start])[cell],
    )


def _best_paths(
    links: _Links, score: NDArray[np.float64], overlap_weight: float
) -> NDArray[np.int64]:
    """The best path of every set of linked boxes, as a number per box; -1 for boxes not on it."""
    # Here and not above: scipy takes longer to import than all of the package.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = score.size
    worth = score[links.before] + score[links.after] + overlap_weight * links.iou
    energy, came_from = np.zeros(count), np.full(count, -1, dtype=np.int64)
    step_E = links.step[links.after]
    by_step = np.argsort(step_E, kind="stable")
    for part in np.split(by_step, np.flatnonzero(np.diff(step_E[by_step])) + 1):
        if part.size:
            _advance(links, part, worth, energy, came_from)
    graph = coo_array((np.ones(links.after.size), (links.before, links.after)), (count, count))
    sets = connected_components(graph, directed=False)[1].astype(np.int64)
    last = np.ones(count, dtype=np.bool_)
    last[links.before] = False
    ends = np.flatnonzero(last)
    ends = ends[np.lexsort((ends, -energy[ends], sets[ends]))]
    ends = ends[np.append(True, np.diff(sets[ends]) != 0)]
    path = np.full(count, -1, dtype=np.int64)
    at, number = ends, np.arange(ends.size)
    while at.size:
        path[at] = number
        at, number = came_from[at], number
        on = at >= 0
        at, number = at[on], number[on]
    return path


def _advance(
    links: _Links,
    part: NDArray[np.intp],
    worth: NDArray[np.float64],
    energy: NDArray[np.float64],
    came_from: NDArray[np.int64],
) -> None:
    """Energy and best predecessor of every box that the links of one step lead to, in place."""
    after = links.after[part]
    head = np.append(True, np.diff(after) != 0)
    start = np.flatnonzero(head)
    total = energy[links.before[part]] + worth[part]
    best = np.maximum.reduceat(total, start)
    # The first of equal predecessors, which is the best-ranked.
    place = np.where(total == best[np.cumsum(head) - 1], np.arange(part.size), part.size)
    energy[after[start]] = best
    came_from[after[start]] = links.before[part][np.minimum.reduceat(place, start)]

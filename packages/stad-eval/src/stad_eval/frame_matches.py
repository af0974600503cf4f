"""What the detections on frames overlap and which of them are right, found once for all that asks.

Frame-mAP at any thresholds, the error analyses and the evidence for intervals all start here.
Frames are compared in blocks of neighbours, whose rows stay within a processor's cache: the time
per row is the same for any number of rows, in any order.
Suffix legend: N = detections, M = ground truths, T = thresholds, C = classes; n, m = of a block.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame_rows import NO_FRAMES, Scored, scored_rows
from stad_eval.input_error import InputError
from stad_eval.judgement import BestOverlaps, best_overlaps, ranked
from stad_eval.matching import Pairs, Side, assign, best_first, overlapping
from stad_eval.precision import score_order
from stad_eval.protocols import FrameProtocol, frame_protocol
from stad_eval.row_order import Rows, heap_places
from stad_eval.tables import Boxes, check_truth

# Rows of both sides in one block of frames.
ROWS_AT_ONCE = 1 << 15

# The smallest number over 0: pairs that overlap at all.
SOME = float(np.nextafter(0.0, 1.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings:
    """The ground truth around every detection.

    Attributes:
        own: best overlap with ground truth of the detection's class.
        other: best overlap with ground truth of another class.
        own_here: bool [N], ground truth of its class stands on the frame.
        other_here: bool [N], ground truth stands on the frame, none of its class.
    """

    own: BestOverlaps
    other: BestOverlaps
    own_here: NDArray[np.bool_]
    other_here: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameMatches:
    """Detections on frames with the ground truth that they find, both sorted by blocks of frames.

    Attributes:
        protocol: the options.
        ious: thresholds, in the order given.
        videos: names of the videos that either side has rows or annotated frames of.
        scored: the rows of both sides that count, in their own order.
        rows, true_rows: int64 [N], [M], where each detection and ground truth stands in `scored`.
        label: [N], small integers, places among the evaluated classes.
        score: [N].
        by_class: int64 [N], detections by class; where the protocol looks at the order of rows,
            those of one class as they stand in `scored`.
        start: int64 [C + 1]; those of class c stand in `by_class` from start[c] to start[c + 1].
        taken: int32 [T, N], the ground truth that each detection finds; -1 for a false positive.
        surroundings: what stands around each detection; None if it was not asked for.
    """

    protocol: FrameProtocol
    ious: tuple[float, ...]
    videos: tuple[str, ...]
    scored: Scored
    rows: NDArray[np.intp]
    true_rows: NDArray[np.intp]
    label: NDArray[np.integer]
    score: NDArray[np.floating]
    by_class: NDArray[np.intp]
    start: NDArray[np.int64]
    taken: NDArray[np.int32]
    surroundings: Surroundings | None

    @cached_property
    def by_score(self) -> NDArray[np.intp]:
        """Detections by class and falling score, [N]; equal scores as the protocol leaves them."""
        return ranked(self.by_class, self.start, self.score, self.protocol.ties)

    def taken_at(self, iou: float) -> NDArray[np.int32]:
        """The ground truth that each detection finds at one of the thresholds, [N].

        Raises:
            InputError: if they were not matched at it.
        """
        if iou not in self.ious:
            raise InputError("not matched at this threshold", expected=self.ious, found=iou)
        return self.taken[self.ious.index(iou)]


def frame_matches(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    ious: Sequence[float] = (0.5,),
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
    surroundings: bool = False,
) -> FrameMatches:
    """Match `found` with `truth` at every threshold, for `frame_maps_of` and its siblings.

    Arguments as of `frame_map`; `frame_errors_of` also needs the `surroundings`.

    Raises:
        InputError: as `frame_map`; if there is no threshold.
    """
    options = frame_protocol(protocol) if isinstance(protocol, str) else protocol
    for iou in ious:
        if not 0.0 < iou <= 1.0:
            raise InputError("bad IoU threshold", expected="0 < iou <= 1", found=iou)
    if not ious:
        raise InputError("no IoU threshold", expected="one or more", found="none")
    check_truth(truth)
    scored = scored_rows(truth, found, options, exclude)
    shift = _shift(scored)
    rows, edges_N = _sorted(scored.found, scored.index.size, shift)
    true_rows, edges_M = _sorted(scored.truth, scored.index.size, shift)
    label = scored.found.label.astype(np.min_scalar_type(len(scored.classes)))[rows]
    by_class = np.argsort(label, kind="stable")
    start = np.searchsorted(label[by_class], np.arange(len(scored.classes) + 1)).astype(np.int64)
    if options.ties != "grouped":
        by_class = _as_they_stand(by_class, rows, start)
    matches = FrameMatches(
        protocol=options,
        ious=tuple(float(iou) for iou in ious),
        videos=_videos(truth, found),
        scored=scored,
        rows=rows,
        true_rows=true_rows,
        label=label,
        score=scored.found.score[rows],
        by_class=by_class,
        start=start,
        taken=np.full((len(ious), rows.size), -1, dtype=np.int32),
        surroundings=_nothing_around(rows.size) if surroundings else None,
    )
    priority = _priority(matches)
    for found_n, truth_m in zip(_slices(edges_N), _slices(edges_M), strict=True):
        if found_n.start < found_n.stop and truth_m.start < truth_m.stop:
            _fill(matches, found_n, truth_m, priority[found_n])
    return matches


def _shift(scored: Scored) -> int:
    """By how many bits a frame's slot is shifted to give the number of its block."""
    rows = len(scored.found) + len(scored.truth)
    last = max(scored.index.size - 1, 0)
    return (last // min(max(rows // ROWS_AT_ONCE, 1), 1 << 15)).bit_length()


def _sorted(rows: Rows, frames: int, shift: int) -> tuple[NDArray[np.intp], list[int]]:
    """Rows by block, those of a block ascending, and where the blocks begin and end."""
    blocks = (max(frames - 1, 0) >> shift) + 1
    # Small integers are sorted by their digits, in a time that grows with their number only.
    block = (rows.frame >> shift).astype(np.min_scalar_type(blocks))
    ends = np.cumsum(np.bincount(block, minlength=blocks))
    return np.argsort(block, kind="stable"), [0, *ends.tolist()]


def _slices(edges: list[int]) -> list[slice]:
    return [slice(low, high) for low, high in pairwise(edges)]


def _as_they_stand(
    by_class: NDArray[np.intp], rows: NDArray[np.intp], start: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Detections by class, those of a class in the order of their rows."""
    result = by_class.copy()
    for low, high in pairwise(start.tolist()):
        part = by_class[low:high]
        result[low:high] = part[np.argsort(rows[part])]
    return result


def _fill(
    matches: FrameMatches, found_n: slice, truth_m: slice, priority: NDArray[np.floating]
) -> None:
    """Match the detections of one block."""
    scored, rows = matches.scored, matches.rows[found_n]
    block = _Block(
        found=Rows(
            frame=scored.found.frame[rows],
            label=matches.label[found_n].astype(np.int64),
            box=scored.found.box.take(rows, axis=0),
            score=matches.score[found_n],
        ),
        truth=scored.truth.select(matches.true_rows[truth_m]),
        classes=len(scored.classes),
        options=matches.protocol,
    )
    around = matches.surroundings
    own, other = block.pairs(min(matches.ious), any_class=around is not None)
    _numbered(block.won(own, priority, matches.ious), truth_m, matches.taken[:, found_n])
    if around is not None:
        for whole, pairs in ((around.own, own), (around.other, other)):
            best = best_overlaps(len(block.found), pairs, block.truth_key)
            whole.iou[found_n] = best.iou
            _numbered(best.truth, truth_m, whole.truth[found_n])
        around.own_here[found_n], around.other_here[found_n] = block.here()


def _numbered(truth: NDArray[np.integer], block: slice, out: NDArray[np.integer]) -> None:
    """Ground truths of a block as ground truths of all; -1 stays."""
    np.add(truth, block.start, out=out, where=truth >= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """The rows of a few frames."""

    found: Rows
    truth: Rows
    classes: int
    options: FrameProtocol

    def truth_key(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What tells the given ground truths apart where IoUs are equal, [n, D]."""
        if self.options.truth_order == "box":
            # The label tells apart boxes that are ground truth of several actions.
            return np.column_stack((self.truth.box[rows], self.truth.label[rows])).astype(
                np.float64
            )
        if self.options.truth_order == "heap":
            return heap_places(self.truth, rows)[:, None]
        return rows[:, None].astype(np.float64)

    def pairs(self, least: float, *, any_class: bool) -> tuple[Pairs, Pairs]:
        """Pairs of the same class and, if asked for, of different ones.

        With `any_class`, all that overlap at all; else those of IoU >= `least`.
        """
        compare = partial(overlapping, convention=self.options.convention)
        if any_class:
            pairs = compare(*self._sides(by_class=False), least=SOME)
            same = self.found.label[pairs.found] == self.truth.label[pairs.truth]
            return pairs.select(same), pairs.select(~same)
        own = compare(*self._sides(by_class=True), least=least)
        return own, own.select(np.empty(0, dtype=np.intp))

    def won(
        self, own: Pairs, priority: NDArray[np.floating], ious: Sequence[float]
    ) -> NDArray[np.int64]:
        """The ground truth that each detection finds at every threshold, [T, n]."""
        wanted = own.select(own.iou >= min(ious))
        wanted = best_first(wanted, self.options.matching, self.truth_key)
        return assign(wanted, ious=ious, score=priority, box=self.found.box, truths=len(self.truth))

    def here(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """See `Surroundings`."""
        wanted, cells = self._sides(by_class=True)
        own = _holds(wanted.cell, cells.cell)
        wanted, cells = self._sides(by_class=False)
        return own, _holds(wanted.cell, cells.cell) & ~own

    def _sides(self, *, by_class: bool) -> tuple[Side, Side]:
        low = min(int(self.found.frame.min()), int(self.truth.frame.min()))
        size = self.classes if by_class else 1
        found, truth = (
            Side(
                cell=(rows.frame - low) * size + (rows.label if by_class else 0),
                box=rows.box,
            )
            for rows in (self.found, self.truth)
        )
        return found, truth


def _priority(matches: FrameMatches) -> NDArray[np.floating]:
    """What decides who matches first, the higher the earlier, [N]."""
    if matches.protocol.match_order == "score":
        return matches.score
    if matches.protocol.match_order == "row":
        return -matches.rows.astype(np.float64)
    result = np.empty(matches.rows.size)
    for low, high in pairwise(matches.start.tolist()):
        members = matches.by_class[low:high]
        order = score_order(matches.score[members], matches.protocol.ties)
        result[members[order]] = -np.arange(members.size)
    return result


def _holds(wanted: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each wanted cell is among `cells`; all are 0 or more, `cells` is not empty."""
    size = int(max(wanted.max(), cells.max())) + 1
    if size > 8 * (wanted.size + cells.size) + (1 << 20):
        return np.isin(wanted, cells)
    table = np.zeros(size, dtype=np.bool_)
    table[cells] = True
    return table[wanted]


def _nothing_around(count: int) -> Surroundings:
    def nothing() -> BestOverlaps:
        return BestOverlaps(iou=np.zeros(count), truth=np.full(count, -1, dtype=np.int32))

    return Surroundings(
        own=nothing(),
        other=nothing(),
        own_here=np.zeros(count, dtype=np.bool_),
        other_here=np.zeros(count, dtype=np.bool_),
    )


def _videos(truth: Boxes, found: Boxes) -> tuple[str, ...]:
    pairs = [(truth, truth.video), (found, found.video)]
    if truth.annotated is not None:
        pairs.append((truth, truth.annotated[:, 0]))
    names: dict[str, None] = {}
    for table, column in pairs:
        present = np.zeros(len(table.videos), dtype=np.bool_)
        present[column] = True
        names |= dict.fromkeys(table.videos[at] for at in np.flatnonzero(present))
    return tuple(names)

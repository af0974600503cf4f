"""Overlap of many pairs of tubes at once. Suffix legend: P = pairs, F = frames that pairs share.

Two tubes that have a box on every frame of the span that they share are compared run against run;
for other pairs the shared frames are looked up. Boxes are compared in blocks, which bounds memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.tube_protocols import TubeProtocol
from stad_eval.tube_tables import FRAME_LIMIT, Tubes, runs

# Frames of one block: its arrays together stay within a processor's cache.
FRAMES_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of tubes, int64 [P]: indices into one table each."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]

    def select(self, pairs: NDArray[np.bool_] | NDArray[np.intp]) -> "Pairs":
        """The given pairs (mask or indices)."""
        return Pairs(a=self.a[pairs], b=self.b[pairs])


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """Overlaps of P pairs of tubes.

    Attributes:
        whole: float64 [P], as the protocol counts them: time, space, or time times space.
        time: float64 [P], temporal IoU.
    """

    whole: NDArray[np.float64]
    time: NDArray[np.float64]

    def select(self, pairs: NDArray[np.intp]) -> "Overlaps":
        """Those of the given pairs."""
        return Overlaps(whole=self.whole[pairs], time=self.time[pairs])


def pairs_within(group_a: NDArray[np.int64], group_b: NDArray[np.int64]) -> Pairs:
    """All pairs of equal group, ordered by a; groups are int64 [N] and [M], in any order."""
    order_b = np.argsort(group_b, kind="stable")
    sorted_b = group_b[order_b]
    first = np.searchsorted(sorted_b, group_a, side="left")
    count = np.searchsorted(sorted_b, group_a, side="right") - first
    a = np.repeat(np.arange(group_a.size), count)
    return Pairs(a=a, b=order_b[runs(first, count)])


def tube_overlaps(a: Tubes, b: Tubes, pairs: Pairs, protocol: TubeProtocol) -> NDArray[np.float64]:
    """The `whole` of `overlap_factors`: overlap of each pair as the protocol counts it, [P].

    Raises:
        InputError: as `overlap_factors`.
    """
    return overlap_factors(a, b, pairs, protocol).whole


def overlap_factors(a: Tubes, b: Tubes, pairs: Pairs, protocol: TubeProtocol) -> Overlaps:
    """Overlap of each pair, and the part that time has in it; [P] in [0, 1].

    A pair that shares no frame has none: 0. NaN stands for an overlap that the protocol leaves
    undefined. Videos, labels and scores are not looked at.

    Raises:
        InputError: if the protocol counts time by spans and one tube of a pair has a box where the
            other has a gap, within the span that they share.
    """
    result = Overlaps(whole=np.zeros(pairs.a.size), time=np.zeros(pairs.a.size))
    first_P = np.maximum(_first(a)[pairs.a], _first(b)[pairs.b])
    last_P = np.minimum(_last(a)[pairs.a], _last(b)[pairs.b])
    meet = np.flatnonzero(first_P <= last_P)
    pairs, first_P, last_P = pairs.select(meet), first_P[meet], last_P[meet]
    space_P, shared_P = _mean_iou(a, b, pairs, first_P, last_P, protocol)
    if protocol.time == "frames":
        inter_P = shared_P
        union_P = a.lengths()[pairs.a] + b.lengths()[pairs.b] - shared_P
    else:
        one = 1 if protocol.time == "span" else 0
        inter_P = last_P - first_P + one
        start_P = np.minimum(_first(a)[pairs.a], _first(b)[pairs.b])
        union_P = np.maximum(_last(a)[pairs.a], _last(b)[pairs.b]) - start_P + one
    time_P = np.full(meet.size, _no_union(protocol))
    np.divide(inter_P, union_P, out=time_P, where=union_P > 0)
    result.time[meet] = time_P
    parts = {"space": space_P, "time": time_P, "space-time": space_P * time_P}
    result.whole[meet] = parts[protocol.overlap]
    return result


def _first(tubes: Tubes) -> NDArray[np.int64]:
    return tubes.frame[tubes.start[:-1]]


def _last(tubes: Tubes) -> NDArray[np.int64]:
    return tubes.frame[tubes.start[1:] - 1]


def _no_union(protocol: TubeProtocol) -> float:
    return 0.0 if protocol.no_union == "zero" else np.nan


def _mean_iou(
    a: Tubes,
    b: Tubes,
    pairs: Pairs,
    first_P: NDArray[np.int64],
    last_P: NDArray[np.int64],
    protocol: TubeProtocol,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean box IoU over the shared frames, 0 where there is none, and how many frames those are."""
    span_a = _span(a, pairs.a, first_P, last_P)
    span_b = _span(b, pairs.b, first_P, last_P)
    full_P = (span_a[1] == span_b[1]) & (span_a[1] == last_P - first_P + 1)
    mean_P = np.zeros(first_P.size)
    shared_P = np.where(full_P, span_a[1], 0)
    if protocol.overlap == "time" and full_P.all():
        return mean_P, shared_P
    columns_a, columns_b = _columns(a, protocol), _columns(b, protocol)
    gaps = np.flatnonzero(~full_P)
    keys_b = _keys(b) if gaps.size else np.empty(0, dtype=np.int64)
    for block in _blocks(np.flatnonzero(full_P), span_a[1]):
        rows_a = runs(span_a[0][block], span_a[1][block])
        rows_b = runs(span_b[0][block], span_b[1][block])
        iou_F = _iou(columns_a, columns_b, rows_a, rows_b, _no_union(protocol))
        ends = np.cumsum(span_a[1][block])
        mean_P[block] = np.add.reduceat(iou_F, ends - span_a[1][block]) / span_a[1][block]
    for block in _blocks(gaps, span_a[1]):
        rows_a = runs(span_a[0][block], span_a[1][block])
        owner = np.repeat(np.arange(block.size), span_a[1][block])
        wanted = pairs.b[block][owner] * FRAME_LIMIT + a.frame[rows_a]
        rows_b = np.minimum(np.searchsorted(keys_b, wanted), keys_b.size - 1)
        both = np.flatnonzero(keys_b[rows_b] == wanted)
        iou_F = _iou(columns_a, columns_b, rows_a[both], rows_b[both], _no_union(protocol))
        count = np.bincount(owner[both], minlength=block.size)
        some = np.flatnonzero(count)
        shared_P[block] = count
        if some.size:
            starts = (np.cumsum(count) - count)[some]
            mean_P[block[some]] = np.add.reduceat(iou_F, starts) / count[some]
    if protocol.time != "frames" and protocol.overlap != "time":
        _refuse_gaps(b, pairs, protocol, (shared_P != span_a[1]) | (shared_P != span_b[1]))
    return mean_P, shared_P


def _keys(tubes: Tubes) -> NDArray[np.int64]:
    """A sorted key of tube and frame for every row."""
    return np.repeat(np.arange(len(tubes)) * FRAME_LIMIT, tubes.lengths()) + tubes.frame


def _span(
    tubes: Tubes,
    tube_P: NDArray[np.int64],
    first_P: NDArray[np.int64],
    last_P: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and number of rows that each tube has from frame `first_P` to `last_P`.

    Both lie within the tube. Without gaps that is counting; a search through all rows takes longer
    the more rows there are, and is left to tubes with gaps.
    """
    first = _first(tubes)
    whole = _last(tubes) - first + 1 == tubes.lengths()
    start = tubes.start[tube_P] + first_P - first[tube_P]
    count = last_P - first_P + 1
    gaps = np.flatnonzero(~whole[tube_P])
    if gaps.size:
        keys, base = _keys(tubes), tube_P[gaps] * FRAME_LIMIT
        start[gaps] = np.searchsorted(keys, base + first_P[gaps], side="left")
        count[gaps] = np.searchsorted(keys, base + last_P[gaps], side="right") - start[gaps]
    return start, count


def _blocks(pairs: NDArray[np.intp], frames: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    if pairs.size == 0:
        return []
    block = np.cumsum(frames[pairs]) // FRAMES_AT_ONCE
    return np.split(pairs, np.flatnonzero(np.diff(block)) + 1)


def _columns(tubes: Tubes, protocol: TubeProtocol) -> list[NDArray[np.float64]]:
    """Scaled x1, y1, one past x2 and y2, and area, as columns of their own."""
    extra = 1.0 if protocol.convention == "inclusive" else 0.0
    columns = np.ascontiguousarray(tubes.box.T)
    if protocol.scale != (1.0, 1.0):
        columns = columns * np.array([*protocol.scale, *protocol.scale])[:, None]
    x1, y1, x2, y2 = columns
    x2, y2 = x2 + extra, y2 + extra
    return [x1, y1, x2, y2, np.maximum(x2 - x1, 0.0) * np.maximum(y2 - y1, 0.0)]


def _iou(
    a: list[NDArray[np.float64]],
    b: list[NDArray[np.float64]],
    rows_a: NDArray[np.int64],
    rows_b: NDArray[np.int64],
    no_union: float,
) -> NDArray[np.float64]:
    a = [column.take(rows_a) for column in a]
    b = [column.take(rows_b) for column in b]
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    shared_F = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    union_F = a[4] + b[4] - shared_F
    result_F = np.full(shared_F.size, no_union)
    return np.divide(shared_F, union_F, out=result_F, where=union_F > 0.0)


def _refuse_gaps(b: Tubes, pairs: Pairs, protocol: TubeProtocol, differ: NDArray[np.bool_]) -> None:
    if differ.any():
        at = int(np.flatnonzero(differ)[0])
        one, other = int(pairs.a[at]), int(pairs.b[at])
        raise InputError(
            f"protocol '{protocol.name}' cannot compare tubes with gaps; {int(differ.sum())} "
            f"pair(s), the first in video '{b.videos[b.video[other]]}'",
            expected="a box on every frame of the span that both tubes cover",
            found=f"tubes {one} and {other} with boxes on different frames",
            remedy="Fill the gaps, or use the protocol without a variant, which counts frames.",
        )

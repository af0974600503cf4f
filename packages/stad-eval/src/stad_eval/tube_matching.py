"""Which found tube finds which true tube, and in what order they choose.

Suffix legend: N = found tubes, M = true tubes, P = pairs, T = thresholds.
"""

import numpy as np
from numpy.typing import NDArray

from stad_eval.precision import score_order
from stad_eval.protocols import Matching
from stad_eval.tube_overlap import Pairs
from stad_eval.tube_protocols import TubeProtocol
from stad_eval.tube_tables import Tubes


def content_rank(tubes: Tubes) -> NDArray[np.int64]:
    """Place of every tube in an order by its frames and boxes alone, int64 [N].

    The order is by first frame, last frame, number of frames, first box, last box, then all frames
    and boxes. Tubes of equal content have the same place. Videos, labels and scores do not matter.
    """
    if not len(tubes):
        return np.empty(0, dtype=np.int64)
    first, last = tubes.start[:-1], tubes.start[1:] - 1
    boxes = [*tubes.box[first].T, *tubes.box[last].T]
    columns = [tubes.frame[first], tubes.frame[last], tubes.lengths(), *boxes]
    order = np.lexsort(columns[::-1])
    new = np.zeros(order.size, dtype=np.bool_)
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    starts = np.append(0, np.flatnonzero(new))
    sizes = np.diff(np.append(starts, order.size))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        # Tubes that agree at both ends are few: they alone are compared row by row.
        group = order[start : start + size]
        keys = [_content(tubes, int(each)) for each in group]
        places = sorted(range(int(size)), key=keys.__getitem__)
        order[start : start + size] = group[places]
        for at in range(1, int(size)):
            new[start + at] = keys[places[at]] != keys[places[at - 1]]
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.cumsum(new)
    return rank


def _content(tubes: Tubes, at: int) -> tuple[list[int], list[list[float]]]:
    rows = slice(int(tubes.start[at]), int(tubes.start[at + 1]))
    return tubes.frame[rows].tolist(), tubes.box[rows].tolist()


def ranking(tubes: Tubes, protocol: TubeProtocol) -> NDArray[np.int64]:
    """Indices of the tubes by label, then from the best score to the worst.

    Ties are ordered as the protocol says.
    """
    if protocol.order == "content":
        return np.lexsort((content_rank(tubes), -tubes.score, tubes.label))
    rows = [np.flatnonzero(tubes.label == label) for label in range(len(tubes.classes))]
    parts = [each[score_order(tubes.score[each], protocol.ties)] for each in rows]
    return np.concatenate([*parts, np.empty(0, dtype=np.int64)])


def preference(tubes: Tubes, protocol: TubeProtocol) -> NDArray[np.int64]:
    """Place of every true tube among those of equal overlap, int64 [M]; the lowest is preferred."""
    return np.arange(len(tubes)) if protocol.order == "row" else content_rank(tubes)


def match_tubes(
    pairs: Pairs,
    overlap: NDArray[np.float64],
    order_N: NDArray[np.int64],
    rank_M: NDArray[np.int64],
    thresholds: tuple[float, ...],
    rule: Matching,
) -> NDArray[np.int64]:
    """The true tube that each found tube finds at each threshold, int64 [T, N]; -1 for none.

    Args:
        pairs: found (a) and true (b) tubes of the same video and class.
        overlap: of each pair; NaN passes no threshold and, under "argmax", bars its found tube.
        order_N: found tubes from the first to choose to the last.
        rank_M: true tubes of equal overlap are preferred in this order.
        thresholds: a match needs overlap >= threshold.
        rule: see `TubeProtocol.matching`.
    """
    place_N = np.empty(order_N.size, dtype=np.int64)
    place_N[order_N] = np.arange(order_N.size)
    wanted = np.where(np.isnan(overlap), np.inf, overlap)
    order = np.lexsort((rank_M[pairs.b], -wanted, place_N[pairs.a]))
    if rule == "argmax":
        order = order[np.diff(pairs.a[order], prepend=-1) != 0]
    found_P, true_P, overlap_P = place_N[pairs.a[order]], pairs.b[order], overlap[order]
    result = np.full((len(thresholds), order_N.size), -1, dtype=np.int64)
    for at, threshold in enumerate(thresholds):
        passes = np.flatnonzero(overlap_P >= threshold)
        won = _propose(found_P[passes], true_P[passes], order_N.size, rank_M.size)
        result[at, order_N] = won
    return result


def _propose(
    found_P: NDArray[np.int64], true_P: NDArray[np.int64], found: int, truths: int
) -> NDArray[np.int64]:
    """What one pass in order would give, in rounds: who is turned down tries the next of its list.

    Pairs are sorted by `found_P`, the most wanted truth first; a truth goes to the lowest number.
    """
    holder = np.full(truths, found, dtype=np.int64)
    movers = np.flatnonzero(np.diff(found_P, prepend=-1))
    ends = np.append(movers[1:], found_P.size)
    at = movers.copy()
    seekers = np.arange(at.size)
    while seekers.size:
        np.minimum.at(holder, true_P[at[seekers]], found_P[at[seekers]])
        live = np.flatnonzero(at < ends)
        turned_down = live[holder[true_P[at[live]]] != found_P[at[live]]]
        at[turned_down] += 1
        seekers = turned_down[at[turned_down] < ends[turned_down]]
    won = np.full(found, -1, dtype=np.int64)
    done = at[at < ends]
    won[found_P[done]] = true_P[done]
    return won

"""Non-maximum suppression of whole tubes."""

import numpy as np
from numpy.typing import NDArray

from stad_eval.precision import score_order
from stad_eval.tube_matching import ranking
from stad_eval.tube_overlap import pairs_within, tube_overlaps
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_tables import Tubes


def tube_nms(
    tubes: Tubes, *, threshold: float = 0.3, protocol: str | TubeProtocol = "dense"
) -> NDArray[np.int64]:
    """Indices of the tubes that no better one of the same video and class overlaps by more.

    Greedy: in order of score, a tube that is kept suppresses those after it that it overlaps by
    more than `threshold`. The indices are ordered by video, label, then from the best to the worst.
    Overlap and the order of equal scores are the protocol's; where that is by row, the later row
    counts as the better one, as in ACT's script. No tubes give no indices.

    Raises:
        InputError: on an unknown protocol, or gaps that the protocol cannot compare.
    """
    options = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    group = tubes.video * len(tubes.classes) + tubes.label
    rank = np.empty(len(tubes), dtype=np.int64)
    if options.order == "content":
        rank[ranking(tubes, options)] = np.arange(len(tubes))
    else:
        for rows in np.split(*_groups(group)):
            rank[rows[score_order(tubes.score[rows], "numpy-ascending")]] = np.arange(rows.size)
    pairs = pairs_within(group, group)
    pairs = pairs.select(rank[pairs.a] < rank[pairs.b])
    pairs = pairs.select(tube_overlaps(tubes, tubes, pairs, options) > threshold)
    suppressed = np.zeros(len(tubes), dtype=np.bool_)
    # One step per overlapping pair: whether a tube suppresses depends on the ones before it.
    for at in np.argsort(rank[pairs.a], kind="stable"):
        if not suppressed[pairs.a[at]]:
            suppressed[pairs.b[at]] = True
    order = np.lexsort((rank, group))
    return order[~suppressed[order]]


def _groups(group: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.argsort(group, kind="stable")
    return order, np.flatnonzero(np.diff(group[order])) + 1

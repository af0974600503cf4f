"""What the found tubes overlap and which of them are right, found once for all that asks.

Video-mAP and v-MABO, the error analyses and the evidence for intervals all start here.
Suffix legend: N = found tubes, M = true tubes, P = pairs of them, T = thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.scored_tubes import scored_tubes
from stad_eval.tube_matching import match_tubes, preference, ranking
from stad_eval.tube_nms import tube_nms
from stad_eval.tube_overlap import Overlaps, Pairs, overlap_factors, pairs_within
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_tables import Tubes
from stad_eval.tube_thresholds import IOU, Threshold, threshold_ranges


@dataclass(frozen=True, kw_only=True, eq=False)
class TubeMatches:
    """Found tubes with the true tubes that they find.

    Attributes:
        protocol: the options.
        classes: names of the evaluated classes, which labels point into.
        thresholds: IoU thresholds, ascending.
        truth: ground truth.
        found: the tubes that are scored, suppressed ones left out.
        pairs: all tubes of the same video, whatever their class, by found tube.
        overlaps: of each pair [P].
        order: int64 [N], found tubes by label, then from the first to choose to the last.
        preferred: int64 [M], the place of true tubes among those of equal overlap.
        taken: int64 [T, N], the true tube that each found tube finds; -1 for a false positive.
        best: float64 [M], the largest overlap that a found tube of any class has with each truth;
            tubes that suppression leaves out count here.
        best_of_class: float64 [M], the same among found tubes of its own class.
        counts: tubes that were left out and why.
    """

    protocol: TubeProtocol
    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    truth: Tubes
    found: Tubes
    pairs: Pairs
    overlaps: Overlaps
    order: NDArray[np.int64]
    preferred: NDArray[np.int64]
    taken: NDArray[np.int64]
    best: NDArray[np.float64]
    best_of_class: NDArray[np.float64]
    counts: Mapping[str, int]

    def taken_at(self, iou: float) -> NDArray[np.int64]:
        """The true tube that each found tube finds at one of the thresholds, [N].

        Raises:
            InputError: if they were not matched at it.
        """
        if iou not in self.thresholds:
            raise InputError("not matched at this threshold", expected=self.thresholds, found=iou)
        return self.taken[self.thresholds.index(iou)]


def tube_matches(
    truth: Tubes, found: Tubes, protocol: str | TubeProtocol, *, iou: Sequence[Threshold] = IOU
) -> TubeMatches:
    """Match `found` with `truth` at every threshold, for `video_map_of` and its siblings.

    Arguments as of `video_map`.

    Raises:
        InputError: as `video_map`.
    """
    protocol = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    limits = tuple(sorted({each for values in threshold_ranges(iou).values() for each in values}))
    scored = scored_tubes(truth, found, protocol)
    truth, found, counts = scored.truth, scored.found, scored.counts
    pairs = pairs_within(found.video, truth.video)
    overlaps = overlap_factors(found, truth, pairs, protocol)
    same = found.label[pairs.a] == truth.label[pairs.b]
    best = _best(pairs, overlaps.whole, len(truth))
    best_of_class = _best(pairs.select(same), overlaps.whole[same], len(truth))
    if protocol.nms is not None:
        left = tube_nms(found, threshold=protocol.nms, protocol=protocol)
        counts["detections_suppressed"] = len(found) - left.size
        at, pairs = _among(pairs, left, len(found))
        found, overlaps, same = found.select(left), overlaps.select(at), same[at]
    order, preferred = ranking(found, protocol), preference(truth, protocol)
    taken = match_tubes(
        pairs.select(same), overlaps.whole[same], order, preferred, limits, protocol.matching
    )
    return TubeMatches(
        protocol=protocol,
        classes=scored.classes,
        thresholds=limits,
        truth=truth,
        found=found,
        pairs=pairs,
        overlaps=overlaps,
        order=order,
        preferred=preferred,
        taken=taken,
        best=best,
        best_of_class=best_of_class,
        counts=counts,
    )


def _best(pairs: Pairs, overlap: NDArray[np.float64], truths: int) -> NDArray[np.float64]:
    """The largest overlap of every truth; an undefined overlap counts as none."""
    best = np.zeros(truths)
    np.maximum.at(best, pairs.b, np.nan_to_num(overlap, nan=0.0))
    return best


def _among(pairs: Pairs, left: NDArray[np.int64], count: int) -> tuple[NDArray[np.intp], Pairs]:
    """Places of the pairs whose first tube is `left`, sorted by it, and these, renumbered."""
    number = np.full(count, -1, dtype=np.int64)
    number[left] = np.arange(left.size)
    at = np.flatnonzero(number[pairs.a] >= 0)
    at = at[np.argsort(number[pairs.a[at]], kind="stable")]
    return at, Pairs(a=number[pairs.a[at]], b=pairs.b[at])

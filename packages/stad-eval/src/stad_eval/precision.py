"""Precision-recall curves and average precision.

Detections of equal score are one point of the curve by default ("grouped"): a threshold on the
score cannot tell them apart, so neither may the number. "rows" makes every row its own point, in
the order given, as the public evaluators do.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError

Rule = Literal["all-point", "trapezoid"]
Ties = Literal["grouped", "rows"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionRecall:
    """Points of one curve, from the highest score threshold to the lowest.

    Attributes:
        recall: float64 [P], non-decreasing.
        precision: float64 [P].
        score: float64 [P], the threshold of each point.
        truths: number of ground-truth boxes, the denominator of recall.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    score: NDArray[np.float64]
    truths: int


def precision_recall(
    score: NDArray[np.float64],
    correct: NDArray[np.bool_],
    truths: int,
    *,
    ties: Ties = "grouped",
) -> PrecisionRecall:
    """The curve of detections with their `score` [N] and whether each is `correct` [N].

    Rows of equal score keep the order given where ties are "rows". No detections give a curve
    without points; without truths, recall is 0 throughout.

    Raises:
        InputError: if the columns differ in length or `ties` is unknown.
    """
    if score.shape != correct.shape or score.ndim != 1:
        raise InputError("scores and matches differ", expected=score.shape, found=correct.shape)
    order = np.argsort(-score, kind="stable")
    sorted_score = score[order]
    hits = np.cumsum(correct[order], dtype=np.int64)
    if ties == "grouped":
        ends = np.flatnonzero(np.append(np.diff(sorted_score) != 0, True)[: score.size])
    elif ties == "rows":
        ends = np.arange(score.size)
    else:
        raise InputError("unknown rule for ties", expected="'grouped' or 'rows'", found=ties)
    hits = hits[ends]
    return PrecisionRecall(
        recall=hits / max(truths, 1),
        precision=hits / (ends + 1.0),
        score=sorted_score[ends],
        truths=truths,
    )


def average_precision(curve: PrecisionRecall, *, rule: Rule = "all-point") -> float | None:
    """Area under the curve in [0, 1]; None without truths, 0 without detections.

    "all-point": precision at each recall is the best precision at that recall or more (Pascal VOC
    2010 onwards). "trapezoid": linear between the points as they are, starting from precision 1 at
    recall 0 (ACT and its successors).

    Raises:
        InputError: if the rule is unknown.
    """
    if rule not in ("all-point", "trapezoid"):
        raise InputError("unknown AP rule", expected="'all-point' or 'trapezoid'", found=rule)
    if curve.truths == 0:
        return None
    if curve.recall.size == 0:
        return 0.0
    steps = np.diff(curve.recall, prepend=0.0)
    if rule == "trapezoid":
        before = np.concatenate(([1.0], curve.precision[:-1]))
        return float(np.sum(steps * (curve.precision + before) / 2.0))
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    rises = steps > 0
    return float(np.sum(steps[rises] * envelope[rises]))

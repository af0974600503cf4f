"""Precision-recall curves and average precision.

Detections of equal score are one point of the curve by default ("grouped"): a threshold on the
score cannot tell them apart, so neither may the number. The other rules make every row its own
point, as the public evaluators do, and differ in the order of rows of equal score:

- "rows": in the order given.
- "numpy-ascending": as numpy's default sort of the scores, read backwards, leaves them (evaluators
  descended from TensorFlow's); "numpy-descending": as its sort of the negated scores does (ACT and
  its successors). That sort is an introsort, which is not stable; numpy has others since 1.25 that
  depend on the processor. Here it is the introsort everywhere.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError

Rule = Literal["all-point", "trapezoid"]
Ties = Literal["grouped", "rows", "numpy-ascending", "numpy-descending"]
SinglePrecision = Literal["none", "area", "curve"]


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


def score_order(score: NDArray[np.floating], ties: Ties = "grouped") -> NDArray[np.intp]:
    """Rows from the highest score [N] to the lowest, int64 [N]; "grouped" leaves ties anyhow.

    Raises:
        InputError: if `ties` is unknown.
    """
    if ties == "grouped":
        falling = (score[1:] <= score[:-1]).all()  # sorted before: nothing is left to do
        return np.arange(score.size) if falling else np.argsort(-score)
    if ties == "rows":
        return np.argsort(-score, kind="stable")
    if ties == "numpy-ascending":
        return introsort_order(score)[::-1]
    if ties == "numpy-descending":
        return introsort_order(-score)
    raise InputError(
        "unknown rule for ties",
        expected="'grouped', 'rows', 'numpy-ascending' or 'numpy-descending'",
        found=ties,
    )


def introsort_order(values: NDArray[np.floating]) -> NDArray[np.intp]:
    """Rows from the lowest value to the highest, equal ones as numpy's introsort leaves them."""
    order = np.argsort(values)
    if not (np.diff(values[order]) == 0).any():
        return order
    # Complex numbers are sorted by that same algorithm on every processor.
    return np.argsort(values.astype(np.complex128))


def precision_recall(
    score: NDArray[np.floating],
    correct: NDArray[np.bool_],
    truths: int,
    *,
    ties: Ties = "grouped",
) -> PrecisionRecall:
    """The curve of detections with their `score` [N] and whether each is `correct` [N].

    No detections give a curve without points; without truths, recall is 0 throughout.

    Raises:
        InputError: if the columns differ in length or `ties` is unknown.
    """
    return precision_recalls(score, correct[None], truths, ties=ties)[0]


def precision_recalls(
    score: NDArray[np.floating],
    correct: NDArray[np.bool_],
    truths: int,
    *,
    ties: Ties = "grouped",
) -> list[PrecisionRecall]:
    """As `precision_recall`, one curve for each row of `correct` [T, N]; scores are sorted once.

    Raises:
        InputError: as `precision_recall`.
    """
    if correct.ndim != 2 or correct.shape[1:] != score.shape:
        raise InputError("scores and matches differ", expected=score.shape, found=correct.shape[1:])
    order = score_order(score, ties)
    score = score[order]
    ends = np.arange(score.size)
    if ties == "grouped":
        ends = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: score.size])
    points, count = score[ends].astype(np.float64), ends + 1.0
    curves: list[PrecisionRecall] = []
    for each in correct:
        hits = np.cumsum(each[order], dtype=np.int64)[ends]
        curves.append(
            PrecisionRecall(
                recall=hits / max(truths, 1), precision=hits / count, score=points, truths=truths
            )
        )
    return curves


def average_precision(
    curve: PrecisionRecall,
    *,
    rule: Rule = "all-point",
    single_precision: SinglePrecision = "none",
) -> float | None:
    """Area under the curve in [0, 1]; None without truths, 0 without detections.

    "all-point": precision at each recall is the best precision at that recall or more (Pascal VOC
    2010 onwards). "trapezoid": linear between the points as they are, starting from precision 1 at
    recall 0 (ACT and its successors). `single_precision` rounds the "area" to float32, or the
    points of the "curve" and all that is made of them.

    Raises:
        InputError: if the rule or the precision is unknown.
    """
    if rule not in ("all-point", "trapezoid"):
        raise InputError("unknown AP rule", expected="'all-point' or 'trapezoid'", found=rule)
    if single_precision not in ("none", "area", "curve"):
        expected = "'none', 'area' or 'curve'"
        raise InputError("unknown precision of AP", expected=expected, found=single_precision)
    if curve.truths == 0:
        return None
    if curve.recall.size == 0:
        return 0.0
    if single_precision == "curve":
        steps = np.diff(curve.recall.astype(np.float32), prepend=np.float32(0))
        return float(_area(steps, curve.precision.astype(np.float32), rule))
    # Steps in whole boxes: no rounding but that of the sum, so that a perfect curve has area 1.
    steps = np.diff(np.rint(curve.recall * curve.truths), prepend=0.0)
    area = _area(steps, curve.precision, rule) / curve.truths
    return float(np.float32(area)) if single_precision == "area" else float(area)


def thinned(curve: PrecisionRecall, points: int) -> PrecisionRecall:
    """The curve with at most so many points (2 or more): the first, the last, and even steps.

    It is for the eye: its area is another.
    """
    if curve.recall.size <= points:
        return curve
    kept = np.linspace(0, curve.recall.size - 1, points).astype(np.int64)
    return PrecisionRecall(
        recall=curve.recall[kept],
        precision=curve.precision[kept],
        score=curve.score[kept],
        truths=curve.truths,
    )


def _area(steps: NDArray[np.floating], precision: NDArray[np.floating], rule: Rule) -> np.floating:
    # Points that add no recall add no area. To leave them out keeps the sum, to the last bit, that
    # of a curve which lacks them.
    rises = np.flatnonzero(steps > 0)
    if rule == "trapezoid":
        before = np.concatenate((np.ones(1, dtype=precision.dtype), precision[:-1]))
        return np.sum(steps[rises] * (precision[rises] + before[rises]) * steps.dtype.type(0.5))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.sum(steps[rises] * envelope[rises])

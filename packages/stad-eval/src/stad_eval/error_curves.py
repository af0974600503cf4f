"""Areas made of the points of precision-recall curves that add recall.

Once the counts of errors up to these points are known, an analysis costs next to nothing.
Suffix legend: n = detections of a class by falling score, H = points of its curve that add recall.
"""

import numpy as np
from numpy.typing import NDArray

from stad_eval.class_columns import RisingPoints
from stad_eval.precision import Rule


def area(points: RisingPoints, truths: int, rule: Rule) -> float:
    """Average precision; `truths` is not 0.

    "all-point" and "trapezoid" as in `stad_eval.precision`.
    """
    # Steps in whole hits, as `stad_eval.precision` has them: the same number to the last bit.
    steps = np.diff(points.hits, prepend=0).astype(np.float64)
    precision = points.hits / points.end
    if rule == "all-point":
        return float(np.sum(steps * precision[best_later(precision)]) / truths)
    start = np.divide(
        points.hits_before, points.before, out=np.ones(steps.size), where=points.before > 0
    )
    return float(np.sum(steps * (precision + start) * 0.5) / truths)


def best_later(precision: NDArray[np.float64]) -> NDArray[np.intp]:
    """For every point the nearest one at or after it that has the best precision from there on."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    own = np.where(precision == envelope, np.arange(precision.size), precision.size)
    return np.minimum.accumulate(own[::-1])[::-1]


def counted_up(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of the first 0, 1, ..., n flags [n] are set, [n + 1]."""
    result = np.zeros(flags.size + 1, dtype=np.int64)
    np.cumsum(flags, out=result[1:])
    return result

"""Points of precision-recall curves that add recall, and areas made of them.

All other points leave the area as it is, and true positives are few: once the counts of errors up
to these points are known, an analysis costs next to nothing.
Suffix legend: n = detections of a class by falling score, H = points of its curve that add recall.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.judgement import Judgement
from stad_eval.precision import Rule


@dataclass(frozen=True, kw_only=True, eq=False)
class RisingPoints:
    """Where a curve gains recall: counts of detections and hits at each such point and before it.

    Attributes:
        end, hits: int64 [H], detections and true positives down to the point's score.
        before, hits_before: int64 [H], the same down to the point before it.
    """

    end: NDArray[np.int64]
    hits: NDArray[np.int64]
    before: NDArray[np.int64]
    hits_before: NDArray[np.int64]


def rising_points(
    correct: NDArray[np.bool_], score: NDArray[np.floating], *, grouped: bool
) -> RisingPoints:
    """Of detections [n] by falling score; equal scores are one point if `grouped`."""
    at = np.flatnonzero(correct)
    if not grouped:
        count = np.arange(at.size)
        return RisingPoints(end=at + 1, hits=count + 1, before=at, hits_before=count)
    falling = -score
    wanted = falling[at]
    last = np.append(np.diff(wanted) != 0, True)[: at.size]
    wanted = wanted[last]
    hits = np.flatnonzero(last) + 1
    return RisingPoints(
        end=np.searchsorted(falling, wanted, side="right"),
        hits=hits,
        before=np.searchsorted(falling, wanted, side="left"),
        hits_before=np.append(0, hits[:-1])[: hits.size],
    )


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


def class_rows(judged: Judgement, place: int) -> NDArray[np.intp]:
    """The detections of a class by falling score."""
    return judged.order[judged.start[place] : judged.start[place + 1]]


def counted_up(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of the first 0, 1, ..., n flags [n] are set, [n + 1]."""
    result = np.zeros(flags.size + 1, dtype=np.int64)
    np.cumsum(flags, out=result[1:])
    return result

"""The detections of one class in order of falling score, and where their curve gains recall.

All other points leave the area under a curve as it is, and true positives are few.
Suffix legend: n = detections of a class, H = points of its curve that add recall.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class RisingPoints:
    """Where a curve gains recall: counts of detections and hits at each such point and before it.

    Attributes:
        end, hits: integers [H], detections and true positives down to the point's score.
        before, hits_before: integers [H], the same down to the point before it.
    """

    end: NDArray[np.integer]
    hits: NDArray[np.integer]
    before: NDArray[np.integer]
    hits_before: NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassColumn:
    """The detections of one class by falling score.

    Attributes:
        falling: [n], the negated scores, ascending.
        first, end: int32 [n], the first place of the point of the curve that a detection belongs
            to, and one past the last.
    """

    falling: NDArray[np.floating]
    first: NDArray[np.int32]
    end: NDArray[np.int32]

    def rising(self, correct: NDArray[np.bool_]) -> RisingPoints:
        """Where the curve rises if these detections [n] are right."""
        at = np.flatnonzero(correct)
        before = self.first[at]
        last = np.append(np.diff(before) != 0, True)[: at.size]
        hits = np.flatnonzero(last) + 1
        return RisingPoints(
            end=self.end[at[last]],
            hits=hits,
            before=before[last],
            hits_before=np.append(0, hits[:-1])[: hits.size],
        )


def class_column(score: NDArray[np.floating], *, grouped: bool) -> ClassColumn:
    """The column of scores [n] from high to low; equal ones are one point if `grouped`."""
    place = np.arange(score.size, dtype=np.int32)
    first, end = place, place + 1
    new = np.append(True, np.diff(score) != 0)[: score.size]
    if grouped and not new.all():
        first = np.maximum.accumulate(np.where(new, place, 0))
        last = np.append(new[1:], True)
        end = np.minimum.accumulate(np.where(last, end, np.int32(score.size))[::-1])[::-1]
    return ClassColumn(falling=-score, first=first, end=end)

"""The curve of one class from counts at the few scores where it may rise.

Suffix legend: N = detections, P = points (scores at which the curve may rise), T = thresholds.
"""

import numpy as np
from numpy.typing import NDArray

from stad_eval.precision import PrecisionRecall


class ScoreTally:
    """Counts of a class's detections at and between the scores at which its curve may rise.

    The P points are sorted from low to high; place 0 of the counts stands for scores below them
    all. What `add` takes does not grow with the number of points.
    """

    def __init__(self, points: NDArray[np.float64], thresholds: int) -> None:
        self.floor = np.append(-np.inf, points)
        self.at = np.zeros(self.floor.size, dtype=np.int64)
        self.above = np.zeros(self.floor.size, dtype=np.int64)
        self.nearest = np.full(self.floor.size, np.inf)
        self.hits = np.zeros((thresholds, self.floor.size), dtype=np.int64)

    def add(self, score: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
        """Count more detections: `score` [N] and `correct` [T, N]."""
        if score.size == 0:
            return
        order = np.argsort(score)
        score = score[order]
        place = np.searchsorted(self.floor, score, side="right") - 1
        # Detections of a place stand side by side, those at its very score first.
        heads = np.flatnonzero(np.diff(place, prepend=-1))
        there, count = place[heads], np.diff(np.append(heads, score.size))
        equal = np.add.reduceat(score == self.floor[place], heads, dtype=np.int64)
        self.at[there] += equal
        self.above[there] += count - equal
        over = np.flatnonzero(equal < count)
        lowest = score[heads[over] + equal[over]]
        self.nearest[there[over]] = np.minimum(self.nearest[there[over]], lowest)
        for at, right in enumerate(correct):
            self.hits[at, there] += np.add.reduceat(right[order], heads, dtype=np.int64)

    def curve(self, at: int, truths: int) -> PrecisionRecall:
        """The curve at a threshold: where it rises, the point before each rise, and its end."""
        # From high to low, the scores between two points come before the lower of them.
        counts = np.stack([self.above, self.at], axis=1)[::-1].ravel()
        hits = np.stack([np.zeros_like(self.at), self.hits[at]], axis=1)[::-1].ravel()
        score = np.stack([self.nearest, self.floor], axis=1)[::-1].ravel()
        some = counts > 0
        total, right = np.cumsum(counts)[some], np.cumsum(hits)[some]
        return PrecisionRecall(
            recall=right / max(truths, 1),
            precision=right / total,
            score=score[some],
            truths=truths,
        )

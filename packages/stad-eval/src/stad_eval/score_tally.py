"""The curve of one class from counts at the few scores where it may rise."""

import numpy as np
from numpy.typing import NDArray

from stad_eval.precision import PrecisionRecall


class ScoreTally:
    """Counts of a class's detections at and between the scores at which its curve may rise.

    P points are sorted from low to high; place 0 of the counts stands for scores below them all.
    """

    def __init__(self, points: NDArray[np.float64], thresholds: int) -> None:
        self.points = points
        self.at = np.zeros(points.size + 1, dtype=np.int64)
        self.above = np.zeros(points.size + 1, dtype=np.int64)
        self.nearest = np.full(points.size + 1, np.inf)
        self.hits = np.zeros((thresholds, points.size + 1), dtype=np.int64)

    def add(self, score: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
        """Count more detections: `score` [N] and `correct` [T, N]."""
        place = np.searchsorted(self.points, score, side="right")
        lowest = np.append(-np.inf, self.points)
        equal = score == lowest[place]
        size = self.points.size + 1
        self.at += np.bincount(place[equal], minlength=size)
        self.above += np.bincount(place[~equal], minlength=size)
        np.minimum.at(self.nearest, place[~equal], score[~equal])
        for at, right in enumerate(correct):
            self.hits[at] += np.bincount(place[right], minlength=size)

    def curve(self, at: int, truths: int) -> PrecisionRecall:
        """The curve at a threshold: where it rises, the point before each rise, and its end."""
        # From high to low, the scores between two points come before the lower of them.
        counts = np.stack([self.above, self.at], axis=1)[::-1].ravel()
        hits = np.stack([np.zeros_like(self.at), self.hits[at]], axis=1)[::-1].ravel()
        score = np.stack([self.nearest, np.append(-np.inf, self.points)], axis=1)[::-1].ravel()
        some = counts > 0
        total, right = np.cumsum(counts)[some], np.cumsum(hits)[some]
        return PrecisionRecall(
            recall=right / max(truths, 1),
            precision=right / total,
            score=score[some],
            truths=truths,
        )

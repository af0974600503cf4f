"""Scores of all detections, class by class, in files: what a stream of any length leaves behind."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame_parts import FramePartial
from stad_eval.score_tally import ScoreTally

# Detections that are held in memory before they are written, and of a class read at once.
ROWS_AT_ONCE = 1 << 19


class ScoreSpill:
    """Scores and true positives of parts that are added one by one, 8 + T bytes a detection.

    They lie in `folder`, in one file per class: runs of scores, each followed by its flags. Memory
    holds ROWS_AT_ONCE detections, and one class's scores of true positives while it is tallied.
    """

    def __init__(self, folder: Path, classes: int, thresholds: int) -> None:
        self.folder = folder
        self.thresholds = thresholds
        self.runs: list[list[int]] = [[] for _ in range(classes)]
        self._waiting: list[FramePartial] = []
        self._rows = 0

    def add(self, part: FramePartial) -> None:
        """Take the detections of a part."""
        self._waiting.append(part)
        self._rows += part.score.size
        if self._rows >= ROWS_AT_ONCE:
            self._write()

    def tally(self, label: int) -> ScoreTally:
        """The counts of a class at every score of its true positives."""
        self._write()
        points = [np.empty(0)]
        for score, correct in self._chunks(label):
            points.append(np.unique(score[np.logical_or.reduce(correct, axis=0)]))
        tally = ScoreTally(np.unique(np.concatenate(points)), self.thresholds)
        for score, correct in self._chunks(label):
            tally.add(score, correct)
        return tally

    def _write(self) -> None:
        for label, runs in enumerate(self.runs):
            rows = [(part, slice(*part.start[label : label + 2])) for part in self._waiting]
            score = np.concatenate([np.empty(0), *(part.score[row] for part, row in rows)])
            if score.size:
                correct = np.concatenate([part.correct[:, row] for part, row in rows], axis=1)
                with self._path(label).open("ab") as stream:
                    score.tofile(stream)
                    correct.tofile(stream)
                runs.append(score.size)
        self._waiting.clear()
        self._rows = 0

    def _chunks(self, label: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Scores [n] and flags [T, n] of a class, some runs at a time."""
        if not self.runs[label]:
            return
        with self._path(label).open("rb") as stream:
            scores: list[NDArray[np.float64]] = []
            flags: list[NDArray[np.bool_]] = []
            for at, size in enumerate(self.runs[label]):
                scores.append(np.fromfile(stream, dtype=np.float64, count=size))
                flat = np.fromfile(stream, dtype=np.bool_, count=size * self.thresholds)
                flags.append(flat.reshape(self.thresholds, size))
                last = at == len(self.runs[label]) - 1
                if last or sum(each.size for each in scores) >= ROWS_AT_ONCE:
                    yield np.concatenate(scores), np.concatenate(flags, axis=1)
                    scores, flags = [], []

    def _path(self, label: int) -> Path:
        return self.folder / f"{label:06d}.scores"

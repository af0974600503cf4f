"""The linker in mmaction2's evaluation of MultiSports, its quirks included.

Online and greedy like ACT's, on single boxes. Its quirks: every box gets the score of the last row
of all detections (a variable left over from the loop before), boxes are suppressed in inclusive
pixels but linked in half-open ones, a tube ends with the first frame that it misses, and where
scores are equal, as here nearly all are, unstable sorts decide. One video and class at a time,
frame after frame, since each step depends on the ones before it.
Suffix legend: n = boxes of one video, class and frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import pairwise_iou
from stad_eval.input_error import InputError
from stad_eval.precision import introsort_order
from stad_eval.tables import Boxes
from stad_eval.tube_rows import streams_of
from stad_eval.tube_tables import Tubes, stack_tubes
from stad_eval.tubes import Tube

SUPPRESSION_IOU, LINK_IOU, MOST_BOXES, LEAST_SCORE = 0.6, 0.5, 10, 0.005

Scores = Literal["last-row", "own"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Growing:
    """A tube and what it took so far."""

    frames: list[int] = field(default_factory=list[int])
    boxes: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    scores: list[float] = field(default_factory=list[float])

    def take(self, frame: int, box: NDArray[np.float64], score: float) -> None:
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(score)

    def mean(self) -> float:
        # Numpy's rounding of the mean decides between tubes of equal scores and unequal lengths.
        return float(np.mean(np.array(self.scores)))


def mmaction2_tubes(found: Boxes, *, scores: Scores = "last-row", min_length: int = 15) -> Tubes:
    """Tubes of every video and label, by video, label and the order in which they ended.

    They cover frames without a gap; boxes are rounded to float32, as its own are. "own" scores
    mend its quirk of the last row. The order of rows matters. No rows give no tubes.

    Raises:
        InputError: if `scores` is unknown.
    """
    if scores not in ("last-row", "own"):
        raise InputError("unknown scores", expected="'last-row' or 'own'", found=scores)
    score = found.score
    if scores == "last-row":
        score = np.repeat(score[-1:], score.size)
    tubes: list[Tube] = []
    stream = streams_of(found.video, found.label, len(found.classes))
    for rows in _parts(np.arange(len(found)), stream):
        for each in _linked(found, score, rows):
            mean = each.mean()
            if mean >= LEAST_SCORE and len(each.frames) >= min_length:
                boxes = np.stack(each.boxes).astype(np.float32)
                tubes.append(
                    Tube(
                        video=found.videos[found.video[rows[0]]],
                        label=int(found.label[rows[0]]),
                        score=mean,
                        frames=np.array(each.frames, dtype=np.int64),
                        boxes=boxes.astype(np.float64),
                    )
                )
    return stack_tubes(tubes, classes=found.classes, videos=found.videos)


def _parts(rows: NDArray[np.intp], column: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """The rows of equal value in `column`, in order of it, those of one part as they stand."""
    rows = rows[np.argsort(column[rows], kind="stable")]
    if rows.size:
        yield from np.split(rows, np.flatnonzero(np.diff(column[rows])) + 1)


def _linked(found: Boxes, score: NDArray[np.float64], rows: NDArray[np.intp]) -> list[_Growing]:
    """The tubes of one video and class, in the order in which they ended."""
    ended: list[_Growing] = []
    live: list[_Growing] = []
    for here in _parts(rows, found.frame):
        frame = int(found.frame[here[0]])
        if live and live[0].frames[-1] < frame - 1:
            ended += _by_mean(live)[::-1]
            live = []
        box, points = _suppressed(found.box[here], score[here])
        free = np.ones(points.size, dtype=np.bool_)
        live = _by_mean(live)
        for tube in live:
            near = pairwise_iou(box, tube.boxes[-1][None])[:, 0] >= LINK_IOU
            wanted = np.flatnonzero(near & free)
            if wanted.size:
                at = wanted[np.argmax(points[wanted])]
                tube.take(frame, box[at], float(points[at]))
                free[at] = False
        ended += [tube for tube in live[::-1] if tube.frames[-1] < frame]
        live = [tube for tube in live if tube.frames[-1] == frame]
        for at in np.flatnonzero(free):
            live.append(_Growing())
            live[-1].take(frame, box[at], float(points[at]))
    return ended + live


def _by_mean(tubes: list[_Growing]) -> list[_Growing]:
    order = introsort_order(-np.array([tube.mean() for tube in tubes]))
    return [tubes[at] for at in order]


def _suppressed(
    box: NDArray[np.float64], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best boxes of a frame [n, 4] and their scores [n] after soft suppression, best first."""
    overlap = pairwise_iou(box, box, convention="inclusive")
    weight = np.ones(score.size)
    left = introsort_order(score)[::-1]
    while left.size:
        best, rest = left[0], left[1:]
        over = overlap[best, rest] > SUPPRESSION_IOU
        weight[rest[over]] = 1.0 - overlap[best, rest[over]]
        left = rest[~over]
    score = score * weight
    order = introsort_order(score)[::-1][:MOST_BOXES]
    return box[order], score[order]

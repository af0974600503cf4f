"""The online greedy linker of ACT, for boxes and for K-frame tubelets, many streams at once.

Frame by frame, live tubes in order of their mean score each take the best-scored candidate that
overlaps their last one enough; what is left starts new tubes; a tube that found nothing for too
long ends. A candidate is never used twice. Source: Kalogeiton et al., "Action Tubelet Detector",
Sec. 3.3. Suffix legend: N = candidates, L = live tubes, K = boxes of a tubelet, P = pairs.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import Convention, paired_iou
from stad_eval.input_error import InputError
from stad_eval.ranking import first_free, place_in_group, rank_order, split_where
from stad_eval.suppression import Suppression, suppress
from stad_eval.tube_rows import number_by_stream


@dataclass(frozen=True, kw_only=True, eq=False)
class _Live:
    """Tubes that may still grow: what each took last, and what its mean score is made of."""

    stream: NDArray[np.int64]
    slot: NDArray[np.int64]
    start: NDArray[np.int64]
    box: NDArray[np.float64]
    total: NDArray[np.float64]
    length: NDArray[np.int64]

    @staticmethod
    def none(length: int) -> "_Live":
        empty = np.empty(0, dtype=np.int64)
        return _Live(
            stream=empty,
            slot=empty,
            start=empty,
            box=np.empty((0, length, 4)),
            total=np.empty(0),
            length=empty,
        )

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "_Live":
        return _Live(
            stream=self.stream[rows],
            slot=self.slot[rows],
            start=self.start[rows],
            box=self.box[rows],
            total=self.total[rows],
            length=self.length[rows],
        )

    def by_mean_score(self) -> "_Live":
        return self.select(np.lexsort((self.slot, -(self.total / self.length), self.stream)))


@dataclass(kw_only=True)
class TubeletLinker:
    """Links tubelets as their first frames arrive, of one stream or of many side by side.

    A stream is what is linked on its own: a label, or a label of one of several cameras. Memory
    holds live tubes only, so that streams may be endless; `TubeletSmoother` turns what was linked
    into one box per tube and frame, with bounded memory too.

    Attributes:
        length: K, frames of a tubelet; 1 links boxes.
        min_iou: overlap that a tubelet needs with a tube's last one, mean IoU >= min_iou over the
            frames that both cover; where they share none, of the first box with the last box.
        max_offset: a tube ends when no tubelet that starts at most so many frames after its last
            one continues it; None: K, so that a tube has no gap.
        max_tubelets: only so many of the best tubelets of a stream and frame are linked; None: all.
        suppression: what is done first to tubelets that overlap a better one; None: nothing.
        convention: width and height of boxes, see `stad_eval.boxes`.

    Raises:
        InputError: if an option is out of range.
    """

    length: int
    min_iou: float = 0.5
    max_offset: int | None = None
    max_tubelets: int | None = 10
    suppression: Suppression | None = None
    convention: Convention = "half-open"
    _live: _Live = field(init=False, repr=False)
    _next: int = field(default=0, init=False, repr=False)
    _frame: int | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_min_iou(self.min_iou)
        for name in ("length", "max_offset", "max_tubelets"):
            check_at_least(1, name, getattr(self, name))
        self._live = _Live.none(self.length)

    def step(
        self,
        frame: int,
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
        streams: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """The tube number of every tubelet that starts on the next frame, int64 [N].

        Numbers start at 0, over all streams, and are never used again. -1: suppressed, or over
        `max_tubelets`. Ties are ordered by box, not by row. Frames without tubelets may be left
        out.

        Args:
            frame: the frame on which these tubelets start.
            boxes: [N, K, 4].
            scores: [N].
            streams: int64 [N]; None: all are of one stream.

        Raises:
            InputError: if frames do not arrive in increasing order, or on a wrong shape.
        """
        if self._frame is not None and frame <= self._frame:
            expected = f"a frame after {self._frame}"
            raise InputError("frames out of order", expected=expected, found=frame)
        self._frame = frame
        boxes, scores, streams = self._checked(boxes, scores, streams)
        scores, order = self._candidates(boxes, scores, streams)
        reach = self.length if self.max_offset is None else self.max_offset
        live = self._live.select(frame - self._live.start <= reach).by_mean_score()
        taken = first_free(*self._pairs(frame, live, streams[order], boxes[order]))
        won = np.flatnonzero(taken >= 0)
        fresh = np.ones(order.size, dtype=np.bool_)
        fresh[taken[won]] = False
        result = np.full(scores.size, -1, dtype=np.int64)
        result[order[taken[won]]] = live.slot[won]
        new = order[fresh]
        result[new] = np.arange(self._next, self._next + new.size)
        self._next += new.size
        self._live = self._grown(frame, live, won, order[taken[won]], boxes, scores)
        self._start(frame, new, result[new], (boxes, scores, streams))
        return result

    def scores(self) -> dict[int, float]:
        """Mean score of the tubelets of every live tube, by tube number."""
        mean = self._live.total / self._live.length
        return dict(zip(self._live.slot.tolist(), mean.tolist(), strict=True))

    def _checked(
        self,
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
        streams: NDArray[np.int64] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        scores = np.asarray(scores, dtype=np.float64)
        boxes = np.asarray(boxes, dtype=np.float64)
        expected = (scores.size, self.length, 4)
        if boxes.size == 0 and scores.size == 0:
            boxes = boxes.reshape(expected)
        if boxes.shape != expected or scores.ndim != 1:
            raise InputError("tubelets of a wrong shape", expected=expected, found=boxes.shape)
        if streams is None:
            return boxes, scores, np.zeros(scores.size, dtype=np.int64)
        if streams.shape != scores.shape:
            raise InputError("streams of a wrong shape", expected=scores.shape, found=streams.shape)
        return boxes, scores, streams

    def _candidates(
        self, boxes: NDArray[np.float64], scores: NDArray[np.float64], streams: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """New scores of all rows, and the rows to be linked, by stream and rank."""
        remain = np.ones(scores.size, dtype=np.bool_)
        if self.suppression is not None and scores.size:
            remain, scores = suppress(streams, boxes, scores, self.suppression)
        order = rank_order(streams, scores, boxes.reshape(scores.size, 4 * self.length))
        order = order[remain[order]]
        if self.max_tubelets is not None:
            order = order[place_in_group(streams[order]) < self.max_tubelets]
        return scores, order

    def _pairs(
        self, frame: int, live: _Live, stream: NDArray[np.int64], box: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
        """(tube, candidate) pairs that overlap enough, both by rank, and how many there are."""
        first = np.searchsorted(stream, live.stream, side="left")
        count = np.searchsorted(stream, live.stream, side="right") - first
        tube_P = np.repeat(np.arange(count.size), count)
        offset = np.arange(tube_P.size) - np.repeat(np.cumsum(count) - count, count)
        found_P = np.repeat(first, count) + offset
        iou_P = np.zeros(tube_P.size)
        shift_P = frame - live.start[tube_P]
        for shift in np.unique(shift_P).tolist():
            at = np.flatnonzero(shift_P == shift)
            shared = max(self.length - shift, 1)
            ahead = min(shift, self.length - 1)
            for k in range(shared):
                new, last = box[found_P[at], k], live.box[tube_P[at], ahead + k]
                iou_P[at] += paired_iou(new, last, convention=self.convention)
            iou_P[at] /= shared
        near = np.flatnonzero(iou_P >= self.min_iou)
        return tube_P[near], found_P[near], count.size, stream.size

    def _grown(
        self,
        frame: int,
        live: _Live,
        won: NDArray[np.intp],
        rows: NDArray[np.intp],
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> _Live:
        """`live`, where each tube of `won` took one of `rows`; its arrays are changed in place."""
        live.start[won] = frame
        live.box[won] = boxes[rows]
        live.total[won] += scores[rows]
        live.length[won] += 1
        return live

    def _start(
        self,
        frame: int,
        rows: NDArray[np.intp],
        slots: NDArray[np.int64],
        columns: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
    ) -> None:
        if not rows.size:
            return
        boxes, scores, streams = columns
        live = self._live
        self._live = _Live(
            stream=np.append(live.stream, streams[rows]),
            slot=np.append(live.slot, slots),
            start=np.append(live.start, np.full(rows.size, frame)),
            box=np.concatenate([live.box, boxes[rows]]),
            total=np.append(live.total, scores[rows]),
            length=np.append(live.length, np.ones(rows.size, dtype=np.int64)),
        )


@dataclass(kw_only=True)
class GreedyLinker:
    """Links one stream of boxes (one video, one label or all persons) as its frames arrive.

    Memory holds live tubes only, so that a stream may be endless.

    Attributes:
        min_iou: overlap that a box needs with a tube's last box, IoU >= min_iou.
        max_gap: a tube ends when it has missed more than so many frames in a row.
        stride: step between the frames that were looked at, so that gaps are counted in steps.
        max_boxes: only so many of the best boxes of a frame are linked; None: all.

    Raises:
        InputError: if an option is out of range.
    """

    min_iou: float = 0.2
    max_gap: int = 5
    stride: int = 1
    max_boxes: int | None = 10
    _tubelets: TubeletLinker = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_at_least(0, "max_gap", self.max_gap)
        check_at_least(1, "stride", self.stride)
        check_at_least(1, "max_boxes", self.max_boxes)
        self._tubelets = TubeletLinker(
            length=1,
            min_iou=self.min_iou,
            max_offset=(self.max_gap + 1) * self.stride,
            max_tubelets=self.max_boxes,
        )

    def step(
        self,
        frame: int,
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
        streams: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """The tube number of every box [N] of the next frame; -1 for boxes over `max_boxes`.

        Numbers start at 0 and are never used again. Ties are ordered by box, not by row. Boxes
        [N, 4] of several `streams` [N] (labels, videos) may come together; each is linked alone.

        Raises:
            InputError: if frames do not arrive in increasing order, or on a wrong shape.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)
        return self._tubelets.step(frame, boxes, scores, streams)


def link_by_frame(
    linker: TubeletLinker,
    frame: NDArray[np.int64],
    box: NDArray[np.float64],
    score: NDArray[np.float64],
    stream: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Tube numbers [N] of a whole table, by stream and then by birth; -1 where nothing is linked.

    Columns: `frame`, `score`, `stream` [N], `box` [N, K, 4]; `linker` must be new.
    """
    tube_of = np.full(frame.size, -1, dtype=np.int64)
    # Linking is sequential by nature: one step per frame, of all videos and labels together.
    for rows in split_where(np.argsort(frame, kind="stable"), frame):
        tube_of[rows] = linker.step(int(frame[rows[0]]), box[rows], score[rows], stream[rows])
    return number_by_stream(stream, tube_of)


def check_min_iou(value: float) -> None:
    """Refuse an overlap for linking that is no overlap.

    Raises:
        InputError: unless 0 < value <= 1.
    """
    if not 0.0 < value <= 1.0:
        raise InputError("bad min_iou", expected="0 < min_iou <= 1", found=value)


def check_at_least(least: int, name: str, value: int | None) -> None:
    """Refuse an option below its least value; None stands for "no limit".

    Raises:
        InputError: naming the option.
    """
    if value is not None and value < least:
        raise InputError(f"bad {name}", expected=f"{least} or more", found=value)

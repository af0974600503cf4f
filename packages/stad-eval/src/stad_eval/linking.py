"""Linking per-frame boxes into tubes: the online greedy linker of ACT for single-frame boxes.

Frame by frame, live tubes in order of their mean score each take the best-scored box that overlaps
their last one enough; what is left starts new tubes; a tube that found nothing for too long ends.
A box is never used twice. Source: Kalogeiton et al., "Action Tubelet Detector", Sec. 3.3.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.boxes import pairwise_iou
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes
from stad_eval.tubes import Tube


@dataclass(kw_only=True)
class _Live:
    """A tube that may still grow; `slot` is its number."""

    slot: int
    frame: int
    box: NDArray[np.float64]
    total: float
    length: int


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
    _live: list[_Live] = field(default_factory=list[_Live], init=False, repr=False)
    _next: int = field(default=0, init=False, repr=False)
    _frame: int | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.min_iou <= 1.0:
            raise InputError("bad min_iou", expected="0 < min_iou <= 1", found=self.min_iou)
        limits = (("max_gap", self.max_gap, 0), ("stride", self.stride, 1))
        for name, value, least in (*limits, ("max_boxes", self.max_boxes, 1)):
            if value is not None and value < least:
                raise InputError(f"bad {name}", expected=f"{least} or more", found=value)

    def step(
        self, frame: int, boxes: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """The tube number of every box [N] of the next frame; -1 for boxes over `max_boxes`.

        Numbers start at 0 and are never used again. Ties are ordered by box, not by row.

        Raises:
            InputError: if frames do not arrive in increasing order.
        """
        if self._frame is not None and frame <= self._frame:
            expected = f"a frame after {self._frame}"
            raise InputError("frames out of order", expected=expected, found=frame)
        self._frame = frame
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        scores = np.asarray(scores, dtype=np.float64)
        result = np.full(scores.size, -1, dtype=np.int64)
        order = np.lexsort((*boxes.T[::-1], -scores))[: self.max_boxes]
        reach = (self.max_gap + 1) * self.stride
        self._live = [tube for tube in self._live if frame - tube.frame <= reach]
        self._live.sort(key=lambda tube: (-tube.total / tube.length, tube.slot))
        free = np.ones(order.size, dtype=np.bool_)
        if self._live and order.size:
            last = np.stack([tube.box for tube in self._live])
            near = pairwise_iou(last, boxes[order]) >= self.min_iou
            # One pass over live tubes, a handful: each choice depends on the ones before it.
            for tube, candidates in zip(self._live, near, strict=True):
                open_ = np.flatnonzero(candidates & free)
                if open_.size:
                    free[open_[0]] = False
                    row = int(order[open_[0]])
                    result[row] = tube.slot
                    self._extend(tube, frame, boxes[row], float(scores[row]))
        for row in order[free].tolist():
            tube = _Live(slot=self._next, frame=frame, box=boxes[row], total=0.0, length=0)
            self._next += 1
            self._live.append(tube)
            result[row] = tube.slot
            self._extend(tube, frame, boxes[row], float(scores[row]))
        return result

    @staticmethod
    def _extend(tube: _Live, frame: int, box: NDArray[np.float64], score: float) -> None:
        tube.frame, tube.box = frame, box
        tube.total += score
        tube.length += 1


def link_rows(
    found: Boxes,
    *,
    min_iou: float = 0.2,
    max_gap: int = 5,
    stride: int = 1,
    max_boxes: int | None = 10,
) -> NDArray[np.int64]:
    """The tube number of every row, int64 [N], numbered over the whole table; -1 if not linked.

    Each video and label is linked on its own. For persons of any action, give a table with one
    class (as the `actors` of a detection file). Options as in `GreedyLinker`.

    Raises:
        InputError: if an option is out of range.
    """
    result = np.full(len(found), -1, dtype=np.int64)
    order = np.lexsort((found.frame, found.label, found.video))
    streams = _split(order, found.video, found.label)
    used = 0
    # Linking is sequential by nature: one step per frame that holds boxes.
    for stream in streams:
        linker = GreedyLinker(min_iou=min_iou, max_gap=max_gap, stride=stride, max_boxes=max_boxes)
        most = -1
        for rows in _split(stream, found.frame):
            frame = int(found.frame[rows[0]])
            slots = linker.step(frame, found.box[rows], found.score[rows])
            result[rows] = np.where(slots >= 0, slots + used, -1)
            most = max(most, int(slots.max()))
        used += most + 1
    return result


def link(
    found: Boxes,
    *,
    linker: Literal["act"] = "act",
    min_iou: float = 0.2,
    max_gap: int = 5,
    stride: int = 1,
    max_boxes: int | None = 10,
    min_length: int = 1,
    interpolate: bool = True,
) -> list[Tube]:
    """Tubes of every video and label, by video, label and descending score.

    A tube's score is the mean of its boxes' scores. Tubes of fewer than `min_length` linked boxes
    are left out. With `interpolate`, frames that a tube skipped are filled linearly, in steps of
    `stride`. No rows give no tubes. Other options as in `GreedyLinker`.

    Raises:
        InputError: if the linker is unknown or an option is out of range.
    """
    if linker != "act":
        raise InputError("unknown linker", expected="'act'", found=linker)
    if min_length < 1:
        raise InputError("bad min_length", expected="1 or more", found=min_length)
    tube_of = link_rows(found, min_iou=min_iou, max_gap=max_gap, stride=stride, max_boxes=max_boxes)
    linked = np.flatnonzero(tube_of >= 0)
    order = linked[np.lexsort((found.frame[linked], tube_of[linked]))]
    tubes = [
        _tube(found, rows, stride if interpolate else None)
        for rows in _split(order, tube_of)
        if rows.size >= min_length
    ]
    place = {name: index for index, name in enumerate(found.videos)}
    return sorted(
        tubes,
        key=lambda tube: (
            place[tube.video],
            tube.label,
            -tube.score,
            int(tube.frames[0]),
            tube.boxes[0].tolist(),
        ),
    )


def _tube(found: Boxes, rows: NDArray[np.intp], stride: int | None) -> Tube:
    frames, boxes = found.frame[rows], found.box[rows]
    if stride is not None and (np.diff(frames) > stride).any():
        grid = np.arange(frames[0], frames[-1] + 1, stride)
        full = np.union1d(frames, grid)
        boxes = np.stack([np.interp(full, frames, side) for side in boxes.T], axis=1)
        frames = full
    return Tube(
        video=found.videos[int(found.video[rows[0]])],
        label=int(found.label[rows[0]]),
        score=float(found.score[rows].mean()),
        frames=frames,
        boxes=boxes,
    )


def _split(rows: NDArray[np.intp], *columns: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Cut sorted `rows` wherever one of the columns changes."""
    if rows.size == 0:
        return []
    change = np.zeros(rows.size - 1, dtype=np.bool_)
    for column in columns:
        change |= np.diff(column[rows]) != 0
    return np.split(rows, np.flatnonzero(change) + 1)

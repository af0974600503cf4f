"""The columnar table of K-frame tubelets, which clip detectors such as ACT and MOC give."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.suppression import Suppression, suppress
from stad_eval.tables import Boxes, empty_boxes


@dataclass(frozen=True, kw_only=True, eq=False)
class Tubelets:
    """One row per (tubelet, label): K boxes on K successive frames.

    Attributes:
        videos: names, without repetition; `video` points into them.
        classes: label names, without repetition; `label` points into them.
        video: int64 [N].
        start: int64 [N], 0-based index of the first frame; box k lies on frame start + k.
        label: int64 [N].
        score: float64 [N], any finite numbers.
        box: float64 [N, K, 4], xyxy half-open pixels, K >= 1.

    An empty table is valid. Columns are converted to the dtypes above where that loses nothing.

    Raises:
        InputError: on wrong shapes, non-finite numbers, indices out of range, repeated names.
    """

    videos: tuple[str, ...]
    classes: tuple[str, ...]
    video: NDArray[np.int64]
    start: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    box: NDArray[np.float64]

    def __post_init__(self) -> None:
        box = np.asarray(self.box)
        if box.ndim != 3 or box.shape[1] < 1 or box.shape[2] != 4 or box.dtype.kind not in "iuf":
            raise InputError(
                "column 'box' of tubelets has the wrong shape or type",
                expected="numbers [N, K, 4], K >= 1",
                found=f"{box.dtype} {list(box.shape)}",
            )
        box = box.astype(np.float64, copy=False)
        finite = np.isfinite(box).all(axis=(1, 2))
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise InputError(
                f"column 'box' of tubelets holds a number that is not finite, first at row {row}",
                expected="finite numbers",
                found=box[row].tolist(),
            )
        # The columns that boxes have too are held to the rules of `Boxes`.
        first = Boxes(
            videos=self.videos,
            classes=self.classes,
            video=self.video,
            frame=self.start,
            box=box[:, 0],
            label=self.label,
            score=self.score,
        )
        for name in ("videos", "classes", "video", "label", "score"):
            object.__setattr__(self, name, getattr(first, name))
        object.__setattr__(self, "start", first.frame)
        object.__setattr__(self, "box", box)

    def __len__(self) -> int:
        """Number of rows."""
        return self.video.shape[0]

    @property
    def length(self) -> int:
        """K, the number of frames of every tubelet."""
        return self.box.shape[1]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Tubelets":
        """The table of the given rows (mask or indices); names stay."""
        columns = ("video", "start", "label", "score", "box")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


def empty_tubelets(
    length: int, *, videos: Sequence[str] = (), classes: Sequence[str] = ()
) -> Tubelets:
    """A table without rows, of tubelets of `length` frames.

    Raises:
        InputError: if `length` is less than 1.
    """
    table = empty_boxes(videos=videos, classes=classes)
    return Tubelets(
        videos=table.videos,
        classes=table.classes,
        video=table.video,
        start=table.frame,
        label=table.label,
        score=table.score,
        box=np.empty((0, length, 4)),
    )


def tubelet_nms(tubelets: Tubelets, options: Suppression | None = None) -> Tubelets:
    """Suppress tubelets that overlap a better one of the same video, first frame and label.

    The overlap is the mean IoU of the K pairs of boxes. Rows keep their order; unless suppressed
    rows are removed, they stay with a lower score. Default options: `Suppression()`, soft.
    """
    if not len(tubelets):
        return tubelets
    remain, score = suppress(
        _groups(tubelets.video, tubelets.start, tubelets.label),
        tubelets.box,
        tubelets.score,
        options or Suppression(),
    )
    return replace(tubelets, score=score).select(remain)


def frame_boxes(tubelets: Tubelets, options: Suppression | None = None) -> Boxes:
    """The boxes of all tubelets, suppressed on every frame by label, to be scored by frame-mAP.

    Each tubelet gives K boxes with its score. Default options: `Suppression()`, which is what MOC
    does with half-open boxes (soft, IoU 0.6); ACT removes boxes from IoU 0.3 on. Rows come by
    video and frame, as MOC lists them; where suppressed ones are removed also by label and falling
    score, as ACT does. No tubelets give no boxes. Source: Kalogeiton et al., "Action Tubelet
    Detector", Sec. 3.3; Li et al., "Actions as Moving Points", public code.
    """
    k = np.arange(tubelets.length)
    frame_NK = tubelets.start[:, None] + k
    count = frame_NK.size
    video = np.repeat(tubelets.video, k.size)
    order = np.lexsort((frame_NK.reshape(count), video))
    boxes = Boxes(
        videos=tubelets.videos,
        classes=tubelets.classes,
        video=video[order],
        frame=frame_NK.reshape(count)[order],
        label=np.repeat(tubelets.label, k.size)[order],
        score=np.repeat(tubelets.score, k.size)[order],
        box=tubelets.box.reshape(count, 4)[order],
    )
    left = frame_nms(boxes, options)
    if options is None or options.rescoring != "remove":
        return left
    return left.select(np.lexsort((-left.score, left.label, left.frame, left.video)))


def frame_nms(boxes: Boxes, options: Suppression | None = None) -> Boxes:
    """Suppress boxes that overlap a better one of the same video, frame and label.

    Rows keep their order. Default options: `Suppression()`, soft.
    """
    if not len(boxes):
        return boxes
    remain, score = suppress(
        _groups(boxes.video, boxes.frame, boxes.label),
        boxes.box[:, None, :],
        boxes.score,
        options or Suppression(),
    )
    return replace(boxes, score=score).select(remain)


def _groups(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number per distinct combination of the columns."""
    order = np.lexsort(columns[::-1])
    new = np.zeros(order.size, dtype=np.bool_)
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    group = np.empty(order.size, dtype=np.int64)
    group[order] = np.cumsum(new)
    return group

"""The columnar table of tubes that ground truth and detections share. N = tubes, R = their rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError
from stad_eval.tables import Boxes, check_reach, indices_of
from stad_eval.tubes import Tube

# Keys made of a tube and a frame stay within int64.
FRAME_LIMIT = 2**40


@dataclass(frozen=True, kw_only=True, eq=False)
class Tubes:
    """Tubes of many videos; tube i owns the rows `start[i]` to `start[i + 1]`.

    Attributes:
        videos: names, without repetition; `video` points into them. Videos without a tube belong
            here too: in ground truth they are part of what is scored.
        classes: label names, without repetition; `label` points into them.
        video: int64 [N].
        label: int64 [N].
        score: float64 [N], any finite numbers; ones for ground truth.
        start: int64 [N + 1], from 0 to R; every tube has a row.
        frame: int64 [R], 0-based, strictly increasing within a tube; gaps are allowed.
        box: float64 [R, 4], xyxy half-open pixels.
        row_score: float64 [R], the score of each box, where a file has them; None: no such scores.

    An empty table is valid. Columns are converted to the dtypes above where that loses nothing.

    Raises:
        InputError: on wrong shapes, non-finite numbers, indices out of range, repeated names,
            tubes without rows or with frames out of order.
    """

    videos: tuple[str, ...]
    classes: tuple[str, ...]
    video: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    start: NDArray[np.int64]
    frame: NDArray[np.int64]
    box: NDArray[np.float64]
    row_score: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in ("videos", "classes"):
            _set(self, name, _names(name, getattr(self, name)))
        start = _integers("start", self.start, None)
        tubes = max(start.size - 1, 0)
        frame = _integers("frame", self.frame, None)
        if (
            start.size == 0
            or start[0] != 0
            or start[-1] != frame.size
            or (np.diff(start) < 1).any()
        ):
            raise InputError(
                "column 'start' does not cut the rows into tubes",
                expected=f"increasing from 0 to {frame.size}, one more than there are tubes",
                found=start[:20].tolist(),
            )
        _set(self, "start", start)
        _set(self, "frame", frame)
        for name, limit in (("video", len(self.videos)), ("label", len(self.classes))):
            _set(self, name, _integers(name, getattr(self, name), tubes, limit))
        _set(self, "score", _floats("score", self.score, (tubes,)))
        _set(self, "box", _floats("box", self.box, (frame.size, 4)))
        check_reach(self.box)
        if self.row_score is not None:
            _set(self, "row_score", _floats("row_score", self.row_score, (frame.size,)))
        self._check_frames()

    def _check_frames(self) -> None:
        step = np.diff(self.frame)
        step[self.start[1:-1] - 1] = 1
        out_of_order = np.flatnonzero(step < 1)
        if out_of_order.size:
            tube = int(np.searchsorted(self.start, out_of_order[0], side="right")) - 1
            rows = slice(int(self.start[tube]), int(self.start[tube + 1]))
            raise InputError(
                f"tube {tube} of video '{self.videos[self.video[tube]]}': frames out of order",
                expected="strictly increasing frame indices",
                found=self.frame[rows][:20].tolist(),
            )

    def __len__(self) -> int:
        """Number of tubes."""
        return self.video.size

    def __iter__(self) -> Iterator[Tube]:
        """The tubes one by one, in the order of the table."""
        return (self.tube(at) for at in range(len(self)))

    def tube(self, at: int) -> Tube:
        """Tube `at` as a value of its own."""
        rows = slice(int(self.start[at]), int(self.start[at + 1]))
        return Tube(
            video=self.videos[self.video[at]],
            label=int(self.label[at]),
            score=float(self.score[at]),
            frames=self.frame[rows],
            boxes=self.box[rows],
        )

    def lengths(self) -> NDArray[np.int64]:
        """Number of rows of every tube, int64 [N]."""
        return np.diff(self.start)

    def select(self, tubes: NDArray[np.bool_] | NDArray[np.intp] | NDArray[np.int64]) -> "Tubes":
        """The table of the given tubes (mask or indices), in that order; names stay."""
        at = np.flatnonzero(tubes) if tubes.dtype == np.bool_ else tubes
        length = self.lengths()[at]
        rows = runs(self.start[at], length)
        return Tubes(
            videos=self.videos,
            classes=self.classes,
            video=self.video[at],
            label=self.label[at],
            score=self.score[at],
            start=np.concatenate(([0], np.cumsum(length))),
            frame=self.frame[rows],
            box=self.box[rows],
            row_score=None if self.row_score is None else self.row_score[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TubeFile:
    """What a file of tubes holds.

    Attributes:
        tubes: the tubes, of all videos that the file covers.
        frame_counts: number of frames by video, where the file says so.
        sizes: (width, height) in pixels by video, where the file says so.
    """

    tubes: Tubes
    frame_counts: Mapping[str, int] = field(default_factory=dict[str, int])
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def boxes(self) -> Boxes:
        """The rows of all tubes as ground truth of single frames, see `tube_boxes`."""
        return tube_boxes(self.tubes, frame_counts=self.frame_counts)


def stack_tubes(
    tubes: Iterable[Tube], *, classes: Sequence[str], videos: Sequence[str] | None = None
) -> Tubes:
    """A table of single tubes, in their order; labels point into `classes`.

    `videos` names what the table covers, videos without a tube included; None: the videos of the
    tubes, in the order in which they come. No tubes give an empty table.

    Raises:
        InputError: if a label or a video is not among the names.
    """
    items = list(tubes)
    names = tuple(dict.fromkeys(each.video for each in items)) if videos is None else tuple(videos)
    index = {name: at for at, name in enumerate(names)}
    unknown = next((each.video for each in items if each.video not in index), None)
    if unknown is not None:
        raise InputError("a tube of an unknown video", expected=", ".join(names), found=unknown)
    lengths = np.array([len(each) for each in items], dtype=np.int64)
    empty = [np.empty((0, 4))]
    return Tubes(
        videos=names,
        classes=tuple(classes),
        video=indices_of([each.video for each in items], index),
        label=np.array([each.label for each in items], dtype=np.int64),
        score=np.array([each.score for each in items], dtype=np.float64),
        start=np.concatenate(([0], np.cumsum(lengths))),
        frame=np.concatenate([each.frames for each in items] or [lengths]),
        box=np.concatenate([each.boxes for each in items] or empty),
    )


def concatenate_tubes(tables: Iterable[Tubes]) -> Tubes:
    """Stack tables of the same classes; video names are merged, tubes keep their order.

    Row scores are kept if every table has them.

    Raises:
        InputError: if there is no table, or the classes differ.
    """
    parts = list(tables)
    if not parts:
        raise InputError("no tables to concatenate", expected="at least one", found="none")
    for part in parts:
        if part.classes != parts[0].classes:
            raise InputError(
                "tables of different classes cannot be stacked",
                expected=parts[0].classes,
                found=part.classes,
            )
    videos = tuple(dict.fromkeys(name for part in parts for name in part.videos))
    index = {name: at for at, name in enumerate(videos)}
    lengths = np.concatenate([part.lengths() for part in parts])
    row_scores = [part.row_score for part in parts if part.row_score is not None]
    return Tubes(
        videos=videos,
        classes=parts[0].classes,
        video=np.concatenate([indices_of(part.videos, index)[part.video] for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        start=np.concatenate(([0], np.cumsum(lengths))),
        frame=np.concatenate([part.frame for part in parts]),
        box=np.concatenate([part.box for part in parts]),
        row_score=np.concatenate(row_scores) if len(row_scores) == len(parts) else None,
    )


def tube_boxes(tubes: Tubes, *, frame_counts: Mapping[str, int] | None = None) -> Boxes:
    """The rows of all tubes as a table of boxes, scored by row score or else by tube score.

    With `frame_counts` (frames by video) the table is ground truth whose every frame, from the
    first to the last of each video, was annotated; videos without a count have the frames of their
    tubes. Without it the frames with a box are the annotated ones.

    Raises:
        InputError: if a tube goes on after the last frame of its video, or, with `frame_counts`,
            a box has no area.
    """
    owner = np.repeat(np.arange(len(tubes)), tubes.lengths())
    video = tubes.video[owner]
    annotated = None
    if frame_counts:
        counts = np.zeros(len(tubes.videos), dtype=np.int64)
        np.maximum.at(counts, video, tubes.frame + 1)
        known = np.array([frame_counts.get(name, -1) for name in tubes.videos], dtype=np.int64)
        over = np.flatnonzero((known >= 0) & (counts > known))
        if over.size:
            raise InputError(
                f"video '{tubes.videos[over[0]]}': a tube goes on after the last frame",
                expected=f"frames 0 to {known[over[0]] - 1}",
                found=int(counts[over[0]]) - 1,
            )
        counts = np.where(known >= 0, known, counts)
        zero = np.zeros_like(counts)
        annotated = np.stack(
            [np.repeat(np.arange(counts.size), counts), runs(zero, counts)], axis=1
        )
    return Boxes(
        videos=tubes.videos,
        classes=tubes.classes,
        video=video,
        frame=tubes.frame,
        box=tubes.box,
        label=tubes.label[owner],
        score=tubes.score[owner] if tubes.row_score is None else tubes.row_score,
        annotated=annotated,
    )


def runs(start: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """The integers `start[i]` to `start[i] + length[i]` of every i, joined: int64 [sum(length)]."""
    before = np.cumsum(length) - length
    return np.arange(int(length.sum())) + np.repeat(start - before, length)


def _set(table: Tubes, name: str, value: object) -> None:
    object.__setattr__(table, name, value)


def _names(column: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InputError(f"'{column}' is one string", expected="a tuple of names", found=names)
    result = names if isinstance(names, tuple) else tuple(names)
    if len(set(result)) != len(result):
        repeated = next(name for at, name in enumerate(result) if name in result[:at])
        raise InputError(f"'{column}' repeats a name", expected="distinct names", found=repeated)
    return result


def _integers(
    column: str, value: ArrayLike, size: int | None, limit: int = FRAME_LIMIT
) -> NDArray[np.int64]:
    array: NDArray[Any] = np.asarray(value)
    if array.size == 0 and array.ndim == 1:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (size is not None and array.size != size):
        expected = "integers [N]" if size is None else f"integers [{size}]"
        found = f"{array.dtype} {list(array.shape)}"
        raise InputError(f"column '{column}' is malformed", expected=expected, found=found)
    array = array.astype(np.int64, copy=False)
    bad = np.flatnonzero((array < 0) | (array >= limit))
    if bad.size:
        raise InputError(
            f"column '{column}' is out of range, first at {bad[0]}",
            expected=f"at least 0 and less than {limit}",
            found=int(array[bad[0]]),
        )
    return array


def _floats(column: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array: NDArray[Any] = np.asarray(value)
    if array.size == 0 and 0 in shape:
        return np.empty(shape, dtype=np.float64)
    if array.shape != shape or array.dtype.kind not in "iuf":
        found = f"{array.dtype} {list(array.shape)}"
        expected = f"numbers {list(shape)}"
        raise InputError(f"column '{column}' is malformed", expected=expected, found=found)
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.flatnonzero(~finite.reshape(shape[0], -1).all(axis=1))[0])
        raise InputError(
            f"column '{column}' holds a number that is not finite, first at row {row}",
            expected="finite numbers",
            found=array[row].tolist(),
        )
    return array

"""The columnar table of boxes that ground truth and detections share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError

# No frame has so many pixels on a side; squares of it are still finite.
REACH = 1e12


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """One row per (box, label); a person with three labels has three rows.

    Attributes:
        videos: names, without repetition; `video` points into them.
        classes: label names, without repetition; `label` points into them. A `LabelMap` knows the
            ids that the classes have in files.
        video: int64 [N].
        frame: int64 [N], 0-based frame index, or whole-second timestamp in AVA tables.
        box: float64 [N, 4], xyxy half-open, in pixels of the annotated frame (normalised in AVA
            tables: truth and detections must use the same unit).
        label: int64 [N].
        score: float64 [N], any finite numbers; ones for ground truth.
        annotated: ground truth only, int64 [K, 2]: each (video, frame) that was annotated, frames
            without a box included. None: the frames that hold a box.

    An empty table is valid. Columns are converted to the dtypes above where that loses nothing.

    Raises:
        InputError: on wrong shapes, numbers that are not finite or huge, indices out of range,
            repeated names; and, where `annotated` is given, on a box without area.
    """

    videos: tuple[str, ...]
    classes: tuple[str, ...]
    video: NDArray[np.int64]
    frame: NDArray[np.int64]
    box: NDArray[np.float64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    annotated: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for name in ("videos", "classes"):
            _set(self, name, _names(name, getattr(self, name)))
        for name in ("video", "frame", "label"):
            _set(self, name, _integers(name, getattr(self, name)))
        rows = self.video.shape[0]
        _set(self, "box", _floats("box", self.box, (rows, 4)))
        check_reach(self.box)
        _set(self, "score", _floats("score", self.score, (rows,)))
        for name in ("frame", "label"):
            if getattr(self, name).shape != (rows,):
                found = getattr(self, name).shape
                raise InputError(
                    f"column '{name}' has the wrong shape", expected=(rows,), found=found
                )
        _check_range("video", self.video, len(self.videos))
        _check_range("label", self.label, len(self.classes))
        _check_range("frame", self.frame)
        if self.annotated is not None:
            _set(self, "annotated", self._checked_annotated(self.annotated))
            check_truth(self)

    def _checked_annotated(self, value: ArrayLike) -> NDArray[np.int64]:
        pairs = np.asarray(value)
        if pairs.size == 0:
            return np.empty((0, 2), dtype=np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise InputError(
                "'annotated' does not list (video, frame) pairs",
                expected="integers [K, 2]",
                found=f"{pairs.dtype} {pairs.shape}",
            )
        pairs = pairs.astype(np.int64, copy=False)
        _check_range("annotated video", pairs[:, 0], len(self.videos))
        _check_range("annotated frame", pairs[:, 1])
        return pairs

    def __len__(self) -> int:
        """Number of rows."""
        return self.video.shape[0]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Boxes":
        """The table of the given rows (mask or indices); names and `annotated` stay."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, **columns)


_COLUMNS = ("video", "frame", "box", "label", "score")


def empty_boxes(
    *, videos: Sequence[str] = (), classes: Sequence[str] = (), truth: bool = False
) -> Boxes:
    """A table without rows; with `truth`, one whose list of annotated frames is empty too."""
    none = np.empty(0, dtype=np.int64)
    return Boxes(
        videos=_as_tuple(videos),
        classes=_as_tuple(classes),
        video=none,
        frame=none,
        box=np.empty((0, 4)),
        label=none,
        score=np.empty(0),
        annotated=np.empty((0, 2), dtype=np.int64) if truth else None,
    )


def concatenate(tables: Iterable[Boxes]) -> Boxes:
    """Stack tables of the same classes; video names are merged, rows keep their order.

    Frames annotated in any part are annotated in the whole: as soon as one part lists its
    annotated frames, parts that do not contribute the frames that hold their boxes.

    Raises:
        InputError: if there is no table, or the classes differ.
    """
    parts = list(tables)
    if not parts:
        raise InputError("no tables to concatenate", expected="at least one", found="none")
    classes = parts[0].classes
    for part in parts:
        if tuple(part.classes) != tuple(classes):
            raise InputError(
                "tables of different classes cannot be stacked",
                expected=tuple(classes),
                found=tuple(part.classes),
            )
    index: dict[str, int] = {}
    for part in parts:
        for name in part.videos:
            index.setdefault(name, len(index))
    maps = [indices_of(part.videos, index) for part in parts]
    annotated = None
    if any(part.annotated is not None for part in parts):
        pairs = [(annotated_frames(part), to) for part, to in zip(parts, maps, strict=True)]
        annotated = np.concatenate(
            [np.stack([to[each[:, 0]], each[:, 1]], axis=1) for each, to in pairs]
        )
    return Boxes(
        videos=tuple(index),
        classes=classes,
        video=np.concatenate([to[part.video] for part, to in zip(parts, maps, strict=True)]),
        frame=np.concatenate([part.frame for part in parts]),
        box=np.concatenate([part.box for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        annotated=annotated,
    )


def annotated_frames(truth: Boxes) -> NDArray[np.int64]:
    """The distinct (video, frame) pairs of `truth` that were annotated, [K, 2], sorted."""
    pairs = truth.annotated
    if pairs is None:
        pairs = np.stack([truth.video, truth.frame], axis=1)
    return unique_pairs(pairs[:, 0], pairs[:, 1])


def unique_pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct pairs of two columns of whole numbers in [0, 2**40), sorted, int64 [K, 2]."""
    if first.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    span = int(second.max()) + 1
    if (int(first.max()) + 1) * span >= 2**62:
        return np.unique(np.stack([first, second], axis=1), axis=0)
    keys = first * span + second
    if not (np.diff(keys) > 0).all():  # frames listed in order are common, and need no sort
        keys = np.unique(keys)
    return np.stack([keys // span, keys % span], axis=1)


def check_truth(truth: Boxes) -> None:
    """Refuse ground truth that holds a box without area.

    Raises:
        InputError: naming the first such row (0-based), its video and its frame.
    """
    bad = (truth.box[:, 2] <= truth.box[:, 0]) | (truth.box[:, 3] <= truth.box[:, 1])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{int(bad.sum())} ground-truth box(es) have no area; the first is row {row}, video "
            f"'{truth.videos[truth.video[row]]}', frame {truth.frame[row]}",
            expected="x1 < x2 and y1 < y2",
            found=truth.box[row].tolist(),
            remedy="Boxes are x1, y1, x2, y2 with x2, y2 one past the last pixel.",
        )


def check_reach(box: NDArray[np.float64]) -> None:
    """Refuse coordinates so large that areas would not be finite, in float32 either.

    Raises:
        InputError: naming the first such row (0-based).
    """
    if box.size and not (box.min() > -REACH and box.max() < REACH):
        row = int(np.flatnonzero((np.abs(box) >= REACH).any(axis=1))[0])
        raise InputError(
            f"column 'box' holds a coordinate beyond all frames, first at row {row}",
            expected=f"more than {-REACH:g} and less than {REACH:g}",
            found=box[row].tolist(),
        )


def indices_of(names: Sequence[str], index: Mapping[str, int]) -> NDArray[np.int64]:
    """Where each name stands in `index`, int64; -1 for a name that it lacks."""
    return np.fromiter((index.get(name, -1) for name in names), dtype=np.int64, count=len(names))


def _set(table: Boxes, name: str, value: object) -> None:
    object.__setattr__(table, name, value)


def _as_tuple(names: Sequence[str]) -> tuple[str, ...]:
    return names if isinstance(names, tuple) else tuple(names)


def _names(column: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InputError(f"'{column}' is one string", expected="a tuple of names", found=names)
    result = _as_tuple(names)
    if len(set(result)) != len(result):
        repeated = next(name for name in result if result.count(name) > 1)
        raise InputError(f"'{column}' repeats a name", expected="distinct names", found=repeated)
    return result


def _integers(column: str, value: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(value)
    if array.size == 0 and array.ndim == 1:
        return array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"column '{column}' is not a list of integers",
            expected="integers [N]",
            found=f"{array.dtype} {array.shape}",
        )
    return array.astype(np.int64, copy=False)


def _floats(column: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.size == 0 and 0 in shape:
        return np.empty(shape, dtype=np.float64)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise InputError(
            f"column '{column}' has the wrong shape or type",
            expected=f"numbers {list(shape)}",
            found=f"{array.dtype} {list(array.shape)}",
        )
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


def _check_range(column: str, values: NDArray[np.int64], limit: int = 2**40) -> None:
    """Hold values in [0, limit); the default keeps keys made of several columns within int64."""
    bad = (values < 0) | (values >= limit)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"column '{column}' is out of range, first at row {row}",
            expected=f"at least 0 and less than {limit}",
            found=int(values[row]),
        )

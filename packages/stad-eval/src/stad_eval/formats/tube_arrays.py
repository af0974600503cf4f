"""Tubes as published files hold them: arrays of rows (frame, x1, y1, x2, y2[, score]).

Frames count from 1 there and from 0 here. What the corners of boxes are is not in the file: see
`Corners`. Where both sides of a comparison come in such files, keep them as they are: ACT, MOC and
MultiSports of 2021 take x2, y2 for the last pixel, later evaluators for one past it, and the
protocol's `convention` does the same. To mix such a file with others, name its corners.
"""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import replaced_bytes
from stad_eval.input_error import InputError
from stad_eval.tube_tables import FRAME_LIMIT, Tubes

T = TypeVar("T")

Corners = Literal["half-open", "inclusive", "one-based"]
"""What the corners x1, y1, x2, y2 of a file's boxes are, which become half-open pixels from 0.

"half-open" (everywhere the default): taken as they are. "inclusive": pixels from 0, x2 and y2 the
last ones (ACT's and MOC's UCF101v2-GT.pkl). "one-based": the same with pixels from 1
(JHMDB-GT.pkl). `stad data convert --corners` means the same.
"""
_SHIFTS = {"half-open": (0, 0, 0, 0), "inclusive": (0, 0, 1, 1), "one-based": (-1, -1, 0, 0)}


@dataclass(frozen=True, kw_only=True, eq=False)
class TubeArray:
    """One tube of a file; `rows` float64 [n, 5 or 6], frames from 1, is checked."""

    video: str
    label: int
    score: float
    rows: NDArray[np.float64]


def corner_shift(corners: Corners) -> NDArray[np.float64]:
    """What to add to the corners of a file's boxes, float64 [4].

    Raises:
        InputError: if there are no such corners.
    """
    if corners not in _SHIFTS:
        raise InputError("unknown corners", expected=", ".join(get_args(Corners)), found=corners)
    return np.array(_SHIFTS[corners], dtype=np.float64)


def read_rows(value: object, path: str | Path, place: str) -> NDArray[np.float64]:
    """The rows of one tube as float64 [n, 5 or 6], checked.

    Raises:
        InputError: naming the place in the file, if they are no such rows.
    """
    rows = number_array(value)
    if rows is None or rows.ndim != 2 or rows.shape[1] not in (5, 6) or not rows.shape[0]:
        raise InputError(
            "these are not the rows of a tube",
            path=path,
            row=place,
            expected="numbers [n, 5 or 6], n >= 1: frame, x1, y1, x2, y2[, score]",
            found=_shape(value),
        )
    if not np.isfinite(rows).all():
        at = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise InputError(
            "a number that is not finite", path=path, row=f"{place}[{at}]", found=rows[at].tolist()
        )
    frame = rows[:, 0]
    odd = (frame != np.round(frame)) | (frame < 1) | (frame >= FRAME_LIMIT)
    odd[1:] |= frame[1:] <= frame[:-1]
    if odd.any():
        at = int(np.flatnonzero(odd)[0])
        raise InputError(
            "frames are not whole numbers from 1 in increasing order",
            path=path,
            row=f"{place}[{at}]",
            expected="frames 1, 2, ...",
            found=frame[max(at - 1, 0) : at + 2].tolist(),
            remedy="Frames of these files count from 1." if frame[at] == 0 else None,
        )
    return rows


def number_array(value: object) -> NDArray[np.float64] | None:
    """Numbers as float64, or None if `value` is not an array of them."""
    if not isinstance(value, (np.ndarray, list, tuple)):
        return None
    try:
        array: NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if array.dtype.kind not in "iuf" and array.size:
        return None
    return doubles(array)


def doubles(array: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers as float64; the odd NaN that processors complain about is one of the others."""
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64)


def number(value: object, path: str | Path, place: str) -> float:
    """A finite number of a file.

    Raises:
        InputError: naming the place, if it is none.
    """
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        result = float(value) if real else np.nan  # type: ignore[arg-type]
    except OverflowError:
        result = np.inf
    if not np.isfinite(result):
        raise InputError(
            "bad score", path=path, row=place, expected="a finite number", found=_shape(value)
        )
    return result


def table_of(
    items: Sequence[TubeArray],
    *,
    videos: Sequence[str],
    classes: Sequence[str],
    corners: Corners = "half-open",
) -> Tubes:
    """A table of the tubes of a file, frames from 0; row scores are kept if all tubes have them.

    `videos` may name more videos than tubes are on; videos of tubes that it lacks follow.
    """
    names = tuple(dict.fromkeys((*videos, *(item.video for item in items))))
    index = {name: at for at, name in enumerate(names)}
    lengths = np.array([len(item.rows) for item in items], dtype=np.int64)
    rows = np.concatenate([item.rows[:, :5] for item in items] or [np.empty((0, 5))])
    scored = bool(items) and all(item.rows.shape[1] == 6 for item in items)
    return Tubes(
        videos=names,
        classes=tuple(classes),
        video=np.array([index[item.video] for item in items], dtype=np.int64),
        label=np.array([item.label for item in items], dtype=np.int64),
        score=np.array([item.score for item in items], dtype=np.float64),
        start=np.concatenate(([0], np.cumsum(lengths))),
        frame=rows[:, 0].astype(np.int64) - 1,
        box=rows[:, 1:] + corner_shift(corners),
        row_score=np.concatenate([item.rows[:, 5] for item in items]) if scored else None,
    )


def rows_of(tubes: Tubes, at: int, corners: Corners = "half-open") -> NDArray[np.floating]:
    """What a file holds for tube `at`: the inverse of `table_of`, float32 where that is exact."""
    part = slice(int(tubes.start[at]), int(tubes.start[at + 1]))
    columns = [tubes.frame[part, None] + 1.0, tubes.box[part] - corner_shift(corners)]
    if tubes.row_score is not None:
        columns.append(tubes.row_score[part, None])
    return compact(np.concatenate(columns, axis=1))


def compact(array: NDArray[Any]) -> NDArray[np.floating]:
    """The array as float32 if that loses nothing, which is what published files hold."""
    single = array.astype(np.float32)
    return single if np.array_equal(single.astype(np.float64), array) else array


def write_pickle(path: str | Path, content: object) -> None:
    """Write arrays and builtin containers as a pickle, whole or not at all.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written.
    """
    data = io.BytesIO()
    pickle.dump(content, data, protocol=4)
    with replaced_bytes(path) as stream:
        stream.write(data.getvalue())


def label_of(key: object, classes: Sequence[str], path: str | Path, place: str) -> int:
    """A 0-based class index of a file.

    Raises:
        InputError: naming the place, if there is no such class.
    """
    whole = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
    if not whole or not 0 <= int(key) < len(classes):  # type: ignore[arg-type]
        raise InputError(
            "no such class",
            path=path,
            row=place,
            expected=f"a class index from 0 to {len(classes) - 1}",
            found=_shape(key),
            remedy="Class indices of these files count from 0.",
        )
    return int(key)  # type: ignore[arg-type]


def whole_number(value: object, path: str | Path, place: str) -> int:
    """A whole number of a file, 0 or more.

    Raises:
        InputError: naming the place, if it is none.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= int(value) < FRAME_LIMIT:  # type: ignore[arg-type]
        raise InputError(
            "bad number",
            path=path,
            row=place,
            expected="a whole number, 0 or more",
            found=_shape(value),
        )
    return int(value)  # type: ignore[arg-type]


def entry(content: object, key: str, kind: type[T], path: str | Path, place: str = "") -> T:
    """`content[key]` of the given type.

    Raises:
        InputError: naming the place, if it is missing or of another type.
    """
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, kind):
        raise InputError(
            f"no '{key}' of type {kind.__name__}" if value is None else f"bad '{key}'",
            path=path,
            row=place or None,
            expected=f"a {kind.__name__} under '{key}'",
            found=_shape(content if value is None else value),
        )
    return value


def names_of(value: object, path: str | Path, place: str) -> tuple[str, ...]:
    """A list of distinct strings of a file.

    Raises:
        InputError: naming the place, if it is none.
    """
    if isinstance(value, (list, tuple, np.ndarray)) and all(isinstance(n, str) for n in value):
        names = tuple(str(name) for name in value)
        if len(set(names)) == len(names):
            return names
    raise InputError(
        "bad list of names", path=path, row=place, expected="distinct strings", found=_shape(value)
    )


def _shape(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(str(key)[:40] for key in list(value)[:6])}"
    text = repr(value)[:60] if isinstance(value, (str, int, float)) else ""
    return f"{type(value).__name__} {text}".rstrip()

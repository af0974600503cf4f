"""Detections on frames as ACT, MOC and MultiSports hold them: one array of rows.

Columns: 0-based index of the video in the ground truth's list of test videos, 1-based frame,
0-based class, score, x1, y1, x2, y2. A pickle holds the array or a list of rows, an npz one array
of eight columns, with or without a list `videos`. How boxes count: see
`stad_eval.formats.tube_arrays`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats import safe_pickle
from stad_eval.formats.npz import read_npz, write_npz
from stad_eval.formats.tube_arrays import (
    Corners,
    compact,
    corner_shift,
    names_of,
    number_array,
    write_pickle,
)
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes

_COLUMNS = "video, frame, class, score, x1, y1, x2, y2"


def read_frame_rows(
    path: str | Path,
    *,
    videos: Sequence[str],
    classes: Sequence[str],
    corners: Corners = "half-open",
) -> Boxes:
    """Detections on frames, in the order of the file; `.npz` by its name, else a pickle.

    Args:
        path: the file.
        videos: what the first column points into: the test videos of the ground truth, in order.
        classes: what the third column points into.
        corners: what the corners of the file's boxes are, see `tube_arrays.Corners`.

    Raises:
        InputError: naming file and row, if the file has another form, or names other videos.
    """
    in_npz = Path(path).suffix == ".npz"
    rows = _rows_of_npz(path, videos) if in_npz else safe_pickle.load(path)
    array = number_array(rows)
    if array is not None and array.size == 0:
        array = array.reshape(0, 8)
    if array is None or array.ndim != 2 or array.shape[1] != 8:
        found = type(rows).__name__ if array is None else list(array.shape)
        raise InputError(
            "not rows of detections", path=path, expected=f"numbers [N, 8]: {_COLUMNS}", found=found
        )
    _check(array, path, len(videos), len(classes))
    return Boxes(
        videos=tuple(videos),
        classes=tuple(classes),
        video=array[:, 0].astype(np.int64),
        frame=array[:, 1].astype(np.int64) - 1,
        label=array[:, 2].astype(np.int64),
        score=array[:, 3].copy(),
        box=array[:, 4:] + corner_shift(corners),
    )


def write_frame_rows(path: str | Path, found: Boxes, *, corners: Corners = "half-open") -> None:
    """Write detections on frames, as `.npz` with the names of the videos, else as a pickle.

    Reading with the same names gives the same table. Numbers are float32 where that is exact.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written.
    """
    rows = compact(
        np.column_stack(
            [
                found.video,
                found.frame + 1,
                found.label,
                found.score,
                found.box - corner_shift(corners),
            ]
        )
    )
    if Path(path).suffix == ".npz":
        write_npz(path, {"dets": rows, "videos": np.array(found.videos, dtype=np.str_)})
    else:
        write_pickle(path, rows)


def _rows_of_npz(path: str | Path, videos: Sequence[str]) -> object:
    arrays = read_npz(path)
    named = arrays.pop("videos", None)
    if named is not None and names_of(named.tolist(), path, "videos") != tuple(videos):
        raise InputError(
            "the videos of this file are not those of the ground truth, in their order",
            path=path,
            expected=", ".join(videos),
            found=", ".join(named.tolist()),
        )
    tables = [array for array in arrays.values() if array.ndim == 2]
    if len(tables) != 1:
        raise InputError(
            "not rows of detections",
            path=path,
            expected="one array [N, 8]",
            found=", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()),
        )
    return tables[0]


def _check(rows: NDArray[np.float64], path: str | Path, videos: int, classes: int) -> None:
    odd = np.any(~np.isfinite(rows), axis=1)
    _refuse(rows, odd, path, "a number that is not finite", "finite numbers")
    limits = (("video", 0, 0, videos), ("frame", 1, 1, 2**40), ("class", 2, 0, classes))
    for name, column, low, high in limits:
        values = rows[:, column]
        bad = (values != np.round(values)) | (values < low) | (values >= high)
        _refuse(rows, bad, path, f"bad {name}", f"a whole number from {low}, less than {high}")


def _refuse(
    rows: NDArray[np.float64], bad: NDArray[np.bool_], path: str | Path, problem: str, expected: str
) -> None:
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{problem} ({int(bad.sum())} row(s))",
            path=path,
            row=at,
            expected=expected,
            found=rows[at].tolist(),
            remedy=f"Columns are {_COLUMNS}; frames count from 1, videos and classes from 0.",
        )

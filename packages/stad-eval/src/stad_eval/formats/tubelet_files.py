"""Files of tubelets: the folders that ACT and MOC write while they detect, and arrays in an npz.

A folder holds `<video>/<first frame>.pkl`, frames from 1. MOC's files hold a dict: class from 1 ->
rows [n, 4 K + 1] of K boxes and a score. ACT's hold a pair: boxes for frames, rows of (class from
0, score, K boxes), and tubelets for linking, rows of K boxes and a score for the background and
each class. An npz holds one array of rows (video index, first frame from 1, class from 0, K boxes,
score), with or without a list `videos`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats import safe_pickle
from stad_eval.formats.npz import read_npz
from stad_eval.formats.tube_arrays import doubles, label_of, names_of, number_array
from stad_eval.input_error import InputError
from stad_eval.tubelets import Tubelets

Rows = NDArray[np.float64]
_MOC = "a dict: class from 1 -> rows [n, 4 K + 1] of K boxes and a score"


@dataclass(frozen=True, kw_only=True, eq=False)
class TubeletFiles:
    """What a folder of tubelets holds.

    Attributes:
        linked: the tubelets that are linked to tubes.
        framed: the tubelets whose boxes are scored on frames; the same ones, but for ACT.
    """

    linked: Tubelets
    framed: Tubelets


def read_tubelets(
    path: str | Path,
    *,
    videos: Sequence[str],
    classes: Sequence[str],
    frame_counts: Mapping[str, int] | None = None,
) -> TubeletFiles:
    """Tubelets of a folder of ACT or MOC, or of an npz; frames from 0.

    Args:
        path: the folder, or the file.
        videos: names of the videos to read: the test videos of the ground truth, in order.
        classes: what classes point into.
        frame_counts: frames by video; a folder must then have a file for each first frame of every
            video. None, or a video that is left out: all the files that are there.

    Raises:
        InputError: naming file and place, if one is missing or has another form, or tubelets
            differ in length.
    """
    path = Path(path)
    if path.is_dir():
        return _of_folder(path, tuple(videos), tuple(classes), frame_counts or {})
    if path.suffix == ".npz":
        return _of_npz(path, tuple(videos), tuple(classes))
    raise InputError(
        "not tubelets" if path.exists() else "no such folder",
        path=path,
        expected="a folder of <video>/<first frame>.pkl, or an npz",
    )


def _of_npz(path: Path, videos: tuple[str, ...], classes: tuple[str, ...]) -> TubeletFiles:
    arrays = read_npz(path)
    named = arrays.pop("videos", None)
    if named is not None and names_of(named.tolist(), path, "videos") != videos:
        raise InputError(
            "the videos of this file are not those of the ground truth, in their order",
            path=path,
            expected=", ".join(videos),
            found=", ".join(named.tolist()),
        )
    tables = [array for array in arrays.values() if array.ndim == 2 and array.dtype.kind in "iuf"]
    width = tables[0].shape[1] if len(tables) == 1 else 0
    if width < 8 or width % 4:
        raise InputError(
            "not rows of tubelets",
            path=path,
            expected="one array [N, 3 + 4 K + 1]: video, first frame, class, K boxes, score",
            found=", ".join(f"{key} {list(array.shape)}" for key, array in arrays.items()),
        )
    rows = doubles(tables[0])
    limits = (("video", 0, 0, len(videos)), ("frame", 1, 1, 2**40), ("class", 2, 0, len(classes)))
    for name, column, low, high in limits:
        values = rows[:, column]
        bad = np.flatnonzero((values != np.round(values)) | (values < low) | ~(values < high))
        if bad.size:
            raise InputError(
                f"bad {name} ({bad.size} row(s))",
                path=path,
                row=int(bad[0]),
                expected=f"a whole number from {low}, less than {high}",
                found=float(values[bad[0]]),
            )
    whole = rows[:, :3].astype(np.int64)
    table = _table(whole[:, 0], whole[:, 1] - 1, whole[:, 2], rows[:, 3:], videos, classes)
    return TubeletFiles(linked=table, framed=table)


def _of_folder(
    folder: Path,
    videos: tuple[str, ...],
    classes: tuple[str, ...],
    frame_counts: Mapping[str, int],
) -> TubeletFiles:
    linked: list[tuple[int, int, int, Rows]] = []
    framed: list[tuple[int, int, int, Rows]] = []
    length: tuple[int, Path] | None = None
    for at, video in enumerate(videos):
        for start, path in _files(folder, video):
            content = safe_pickle.load(path)
            one, other = (
                _act(content, path, classes)
                if isinstance(content, (tuple, list))
                else _moc(content, path, classes)
            )
            for parts, into in ((one, linked), (other, framed)):
                for label, rows in parts:
                    length = length or (rows.shape[1], path)
                    if rows.shape[1] != length[0]:
                        raise InputError(
                            "tubelets differ in length",
                            path=path,
                            expected=f"{length[0]} columns, as in {length[1]}",
                            found=rows.shape[1],
                        )
                    into.append((at, start - 1, label, rows))
        _check_complete(folder, video, frame_counts.get(video), length)
    sides = [_joined(parts, videos, classes, length) for parts in (linked, framed)]
    return TubeletFiles(linked=sides[0], framed=sides[1])


def _files(folder: Path, video: str) -> list[tuple[int, Path]]:
    """The files of a video with their first frames, in order."""
    inside = folder / video
    if not inside.is_dir():
        raise InputError("no tubelets of a video", path=inside, expected="a folder of .pkl files")
    paths = [each for each in inside.iterdir() if each.suffix == ".pkl" and each.stem.isdecimal()]
    found = sorted((int(each.stem), each) for each in paths)
    if found and found[0][0] < 1:
        raise InputError(
            "first frames count from 1", path=found[0][1], expected="00001.pkl", found="frame 0"
        )
    return found


def _check_complete(
    folder: Path, video: str, frames: int | None, length: tuple[int, Path] | None
) -> None:
    if frames is None or length is None:
        return
    starts = {start for start, _ in _files(folder, video)}
    wanted = range(1, frames + 2 - (length[0] - 1) // 4)
    missing = [start for start in wanted if start not in starts]
    if missing:
        raise InputError(
            f"{len(missing)} file(s) of tubelets are missing; the first is {missing[0]:05d}.pkl",
            path=folder / video,
            expected=f"one file for each of {len(wanted)} first frames",
            found=f"{len(wanted) - len(missing)}",
        )


def _moc(
    content: object, path: Path, classes: Sequence[str]
) -> tuple[list[tuple[int, Rows]], list[tuple[int, Rows]]]:
    if not isinstance(content, dict):
        raise InputError("not tubelets", path=path, expected=_MOC, found=type(content).__name__)
    parts: list[tuple[int, Rows]] = []
    for key, value in content.items():
        whole = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
        label = label_of(int(key) - 1 if whole else key, classes, path, f"[{key!r}], from 1")
        rows = _numbers(value, path, f"[{key!r}]", _MOC)
        if rows.size and (rows.shape[1] < 5 or rows.shape[1] % 4 != 1):
            raise InputError(
                "not tubelets", path=path, row=f"[{key!r}]", expected=_MOC, found=rows.shape
            )
        if rows.size:
            parts.append((label, rows))
    return parts, parts


def _act(
    content: Sequence[object], path: Path, classes: Sequence[str]
) -> tuple[list[tuple[int, Rows]], list[tuple[int, Rows]]]:
    expected = "a pair: rows [n, 2 + 4 K], rows [m, 4 K + 1 + classes]"
    if len(content) != 2:
        raise InputError("not tubelets", path=path, expected=expected, found=f"{len(content)}")
    best, every = (_numbers(part, path, f"[{at}]", expected) for at, part in enumerate(content))
    count = len(classes)
    odd_best = best.size and (best.shape[1] < 6 or best.shape[1] % 4 != 2)
    corners = every.shape[1] - 1 - count if every.size else 4
    if odd_best or corners < 4 or corners % 4:
        found = f"{list(best.shape)}, {list(every.shape)}"
        raise InputError("not tubelets", path=path, expected=expected, found=found)
    linked: list[tuple[int, Rows]] = []
    if every.size:
        linked = [
            (label, np.column_stack([every[:, :corners], every[:, corners + 1 + label]]))
            for label in range(count)
        ]
    framed = [
        (label_of(int(row[0]), classes, path, "[0]"), np.append(row[2:], row[1])[None])
        for row in (best if best.size else ())
    ]
    return linked, framed


def _numbers(value: object, path: Path, place: str, expected: str) -> Rows:
    rows = number_array(value)
    if rows is not None and rows.size == 0:
        return np.empty((0, 0))
    if rows is None or rows.ndim != 2 or not np.isfinite(rows).all():
        found = type(value).__name__ if rows is None else f"{list(rows.shape)}, not all finite"
        raise InputError("not tubelets", path=path, row=place, expected=expected, found=found)
    return rows


def _joined(
    parts: Sequence[tuple[int, int, int, Rows]],
    videos: tuple[str, ...],
    classes: tuple[str, ...],
    length: tuple[int, Path] | None,
) -> Tubelets:
    size = np.array([len(rows) for *_, rows in parts], dtype=np.int64)
    keys = np.array([part[:3] for part in parts], dtype=np.int64).reshape(-1, 3)
    video, start, label = (np.repeat(column, size) for column in keys.T)
    width = 5 if length is None else length[0]
    rows = np.concatenate([rows for *_, rows in parts] or [np.empty((0, width))])
    return _table(video, start, label, rows, videos, classes)


def _table(
    video: NDArray[np.int64],
    start: NDArray[np.int64],
    label: NDArray[np.int64],
    rows: Rows,
    videos: tuple[str, ...],
    classes: tuple[str, ...],
) -> Tubelets:
    """`rows` [N, 4 K + 1] are K boxes and a score."""
    return Tubelets(
        videos=videos,
        classes=classes,
        video=video,
        start=start,
        label=label,
        score=rows[:, -1],
        box=rows[:, :-1].reshape(len(rows), (rows.shape[1] - 1) // 4, 4),
    )

"""AVA's CSV files: `video,timestamp,x1,y1,x2,y2,action_id[,person_id or score]`, no header.

Boxes are normalised to [0, 1]; timestamps are whole seconds; there is one row per (box, action). A
row of two columns, `video,timestamp`, is an annotated keyframe without a box (and the whole of an
exclusion list). The eighth column is a person id in ground truth and a score in detections.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import read_text, replaced
from stad_eval.formats.label_map import LabelMap, read_label_map
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes

BLOCK = 1 << 22

Column8 = Literal["auto", "person", "score"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AvaRows:
    """The columns of an AVA CSV file as they are, rows in file order.

    Attributes:
        videos: names; `video` and `empty` point into them.
        video, timestamp, action: int64 [N]; `action` is the id as in the file.
        box: float64 [N, 4], normalised.
        eighth: float64 [N], NaN where a row has seven columns.
        row: int64 [N], 1-based row of the file.
        empty: int64 [K, 2], (video, timestamp) of the rows of two columns.
    """

    videos: tuple[str, ...]
    video: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    box: NDArray[np.float64]
    action: NDArray[np.int64]
    eighth: NDArray[np.float64]
    row: NDArray[np.int64]
    empty: NDArray[np.int64]


def read_ava_rows(path: str | Path) -> AvaRows:
    """Read the columns of an AVA CSV file; an empty file gives no rows.

    Raises:
        InputError: with the row, on a wrong number of columns, a field that is no number, NaN.
    """
    names: dict[str, int] = {}
    parts: list[_Part] = []
    for first, block in _blocks(read_text(path).replace("\r\n", "\n")):
        parts.append(_fast(block, first, names) or _careful(block, first, names, path))
    whole = [np.concatenate(each) for each in zip(*(p.columns() for p in parts), strict=True)]
    video, timestamp, box, action, eighth, row, empty = whole or _Part.nothing().columns()
    return AvaRows(
        videos=tuple(names),
        video=video,
        timestamp=timestamp,
        box=box,
        action=action,
        eighth=eighth,
        row=row,
        empty=empty,
    )


def read_ava_csv(
    path: str | Path,
    *,
    classes: LabelMap | Sequence[str] | str | Path,
    column_8: Column8 = "auto",
    unlisted: Literal["refused", "skipped"] = "refused",
) -> Boxes:
    """Ground truth or detections from an AVA CSV file; `frame` holds the timestamp in seconds.

    `classes` is a label map, the path of one, or plain names whose ids are 1, 2, 3, ... in order.
    The eighth column is taken for scores or for person ids; "auto" takes it for person ids if all
    of them are whole numbers. Rows with scores are detections; all others are ground truth, which
    gets score 1 and lists its annotated keyframes (rows of two columns and rows of skipped classes
    included). Action ids that `classes` lacks are refused, or skipped (AVA's own files have 80
    actions, its evaluation 60).

    Raises:
        InputError: with the row, on a malformed row, an unlisted action, a coordinate or score that
            is not finite, a ground-truth box without area or outside [0, 1], or boxes that seem to
            be in pixels.
    """
    names = _label_map(classes)
    rows = read_ava_rows(path)
    detections = _has_scores(rows, column_8, path)
    _check_boxes(rows, path, detections=detections)
    label, listed = _labels(rows, names, path, unlisted)
    annotated = None
    if not detections:
        seen = np.concatenate([rows.empty, np.stack([rows.video, rows.timestamp], axis=1)])
        annotated = np.unique(seen, axis=0)
    return Boxes(
        videos=rows.videos,
        classes=names,
        video=rows.video[listed],
        frame=rows.timestamp[listed],
        box=rows.box[listed],
        label=label[listed],
        score=rows.eighth[listed] if detections else np.ones(int(listed.sum())),
        annotated=annotated,
    )


def read_ava_frames(path: str | Path) -> frozenset[tuple[str, int]]:
    """The (video, timestamp) pairs of a file of two columns, such as an exclusion list.

    Raises:
        InputError: with the row, if a row has not exactly two columns or no whole timestamp.
    """
    rows = read_ava_rows(path)
    if rows.row.size:
        raise InputError(
            "too many columns",
            path=path,
            row=int(rows.row[0]),
            expected="video,timestamp",
            found="a box",
        )
    return frozenset((rows.videos[video], time) for video, time in rows.empty.tolist())


def write_ava_csv(
    path: str | Path, table: Boxes, *, classes: LabelMap | None = None, scores: bool | None = None
) -> None:
    """Write a table of normalised boxes as an AVA CSV file, whole or not at all.

    Action ids come from `classes`, by default `table.classes` (plain names count from 1). Scores
    fill the eighth column, by default if `table` is not ground truth. Annotated frames without a
    row are written as rows of two columns. Numbers keep full precision.

    Raises:
        InputError: if a class of the table has no id, or the folder does not exist.
        OSError: if the file cannot be written.
    """
    names = _label_map(table.classes if classes is None else classes)
    numbers = dict(zip(names, names.ids, strict=True))
    missing = [name for name in table.classes if name not in numbers]
    if missing:
        raise InputError("classes without an id", path=path, found=", ".join(missing))
    with_scores = table.annotated is None if scores is None else scores
    ids = [numbers[name] for name in table.classes]
    columns = (table.video, table.frame, table.box, table.label, table.score)
    boxed = set(zip(table.video.tolist(), table.frame.tolist(), strict=True))
    with replaced(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for video, frame, box, label, score in zip(*(c.tolist() for c in columns), strict=True):
            row = [table.videos[video], f"{frame:04d}", *box, ids[label]]
            writer.writerow([*row, score] if with_scores else row)
        pairs = [] if table.annotated is None else np.unique(table.annotated, axis=0).tolist()
        for video, frame in pairs:
            if (video, frame) not in boxed:
                writer.writerow([table.videos[video], f"{frame:04d}"])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Columns of a chunk of rows."""

    video: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    box: NDArray[np.float64]
    action: NDArray[np.int64]
    eighth: NDArray[np.float64]
    row: NDArray[np.int64]
    empty: NDArray[np.int64]

    def columns(self) -> tuple[NDArray, ...]:
        first = (self.video, self.timestamp, self.box, self.action)
        return (*first, self.eighth, self.row, self.empty)

    @staticmethod
    def nothing() -> "_Part":
        none = np.empty(0, dtype=np.int64)
        return _Part(
            video=none,
            timestamp=none,
            box=np.empty((0, 4)),
            action=none,
            eighth=np.empty(0),
            row=none,
            empty=np.empty((0, 2), dtype=np.int64),
        )


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Whole lines, about a block at a time, each with the number of its first row."""
    row, at = 1, 0
    while at < len(text):
        end = text.find("\n", at + BLOCK) + 1 or len(text)
        yield row, text[at:end]
        row += text.count("\n", at, end)
        at = end


def _fast(block: str, first: int, names: dict[str, int]) -> "_Part | None":
    """Columns of a block whose lines are all well formed and alike; None for any other."""
    width = block.partition("\n")[0].count(",") + 1
    body = block.removesuffix("\n")
    if width not in (7, 8) or '"' in block:
        return None
    rows = body.count("\n") + 1
    fields = body.replace("\n", "\n,").split(",")
    # Every line ends in its last column: no long line makes up for a short one.
    if len(fields) != rows * width or "".join(fields[width - 1 :: width]).count("\n") != rows - 1:
        return None
    columns = [fields[at::width] for at in range(width)]
    try:
        part = _part(columns, first + np.arange(rows), [], [], names)
    except _OddRowError:
        return None
    return None if width == 8 and np.isnan(part.eighth).any() else part


def _careful(block: str, first: int, names: dict[str, int], path: str | Path) -> "_Part":
    """Columns of any block; says which row is wrong and why."""
    reader = csv.reader(block.removesuffix("\n").split("\n"), strict=True)
    lines: list[list[str]] = []
    try:
        lines.extend(reader)
    except csv.Error as error:
        row = first + len(lines)
        raise InputError(f"not a CSV file ({error})", path=path, row=row) from None
    for at, line in enumerate(lines):
        _check_line(line, first + at, path)
    boxed = [at for at, line in enumerate(lines) if len(line) >= 7]
    bare = [line for line in lines if len(line) == 2]
    columns = [[lines[at][column] for at in boxed] for column in range(7)]
    columns.append([lines[at][7] if len(lines[at]) == 8 else "nan" for at in boxed])
    row = np.asarray(boxed, dtype=np.int64) + first
    return _part(columns, row, [line[0] for line in bare], [line[1] for line in bare], names)


class _OddRowError(Exception):
    """A row that has to be looked at on its own."""


def _part(
    columns: list[list[str]],
    row: NDArray[np.int64],
    empty_videos: list[str],
    empty_times: list[str],
    names: dict[str, int],
) -> _Part:
    try:
        box = np.stack([_numbers(column) for column in columns[2:6]], axis=1)
        eighth = _numbers(columns[7]) if len(columns) == 8 else np.full(row.size, np.nan)
        empty = np.stack([_videos(empty_videos, names), _whole(empty_times)], axis=1)
        part = _Part(
            video=_videos(columns[0], names),
            timestamp=_whole(columns[1]),
            box=box,
            action=_whole(columns[6]),
            eighth=eighth,
            row=row,
            empty=empty,
        )
    except (ValueError, OverflowError):
        raise _OddRowError from None
    if not np.isfinite(box).all() or np.isinf(eighth).any():
        raise _OddRowError
    return part


def _videos(column: Sequence[str], names: dict[str, int]) -> NDArray[np.int64]:
    if "" in column:
        raise ValueError("a row without a video")
    numbers = (names.setdefault(name, len(names)) for name in column)
    return np.fromiter(numbers, dtype=np.int64, count=len(column))


def _numbers(column: Sequence[str]) -> NDArray[np.float64]:
    text = "".join(column)
    if "_" in text or not text.isascii():
        raise ValueError("digits that only Python reads")
    return np.array(column, dtype=np.float64)


def _whole(column: Sequence[str]) -> NDArray[np.int64]:
    # int() per distinct text, of which there are few: numpy's own conversion takes "1e3" and "7.0".
    values = {text: _integer(text) for text in set(column)}
    return np.fromiter((values[text] for text in column), dtype=np.int64, count=len(column))


def _integer(text: str) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 12):
        raise ValueError(text)
    return int(stripped)


def _check_line(line: list[str], row: int, path: str | Path) -> None:
    """Refuse a row that is malformed; an empty line is none."""
    if not line:
        return
    if len(line) not in (2, 7, 8):
        raise InputError(
            "wrong number of columns",
            path=path,
            row=row,
            expected="2, 7 or 8: video,timestamp[,x1,y1,x2,y2,action_id[,person_id or score]]",
            found=f"{len(line)} in '{','.join(line)[:120]}'",
        )
    if not line[0]:
        raise InputError("a row without a video", path=path, row=row, found=",".join(line)[:120])
    wholes = [("timestamp", 1), ("action_id", 6)]
    for name, at in wholes[: 1 if len(line) == 2 else 2]:
        try:
            _integer(line[at])
        except ValueError:
            raise InputError(
                f"bad {name}", path=path, row=row, expected="a whole number", found=line[at]
            ) from None
    for name, text in zip(("x1", "y1", "x2", "y2"), line[2:6], strict=False):
        _check_number(name, text, row, path)
    if len(line) == 8:
        _check_number("eighth column", line[7], row, path)


def _check_number(name: str, text: str, row: int, path: str | Path) -> None:
    try:
        fine = math.isfinite(float(text)) and "_" not in text and text.isascii()
    except ValueError:
        fine = False
    if not fine:
        raise InputError(f"bad {name}", path=path, row=row, expected="a finite number", found=text)


def _label_map(classes: LabelMap | Sequence[str] | str | Path) -> LabelMap:
    if isinstance(classes, LabelMap):
        return classes
    if isinstance(classes, (str, Path)):
        return read_label_map(classes)
    return LabelMap(classes, range(1, len(classes) + 1))


def _has_scores(rows: AvaRows, column_8: Column8, path: str | Path) -> bool:
    if column_8 not in ("auto", "person", "score"):
        expected = "'auto', 'person' or 'score'"
        raise InputError("unknown meaning of column 8", expected=expected, found=column_8)
    given = ~np.isnan(rows.eighth)
    whole = rows.eighth[given] == np.floor(rows.eighth[given])
    if column_8 == "person" or (column_8 == "auto" and bool(whole.all())):
        return False
    if not given.all():
        raise InputError(
            "detections without a score",
            path=path,
            row=int(rows.row[np.flatnonzero(~given)[0]]),
            expected="8 columns",
            found="7",
        )
    return True


def _check_boxes(rows: AvaRows, path: str | Path, *, detections: bool) -> None:
    box = rows.box
    if detections:
        # Detectors may reach a little over the border; pixels reach far over it.
        checks = [((box < -2.0) | (box > 3.0)).any(axis=1)]
    else:
        outside = ((box < 0.0) | (box > 1.0)).any(axis=1)
        checks = [outside, (box[:, 2] <= box[:, 0]) | (box[:, 3] <= box[:, 1])]
    problems = ("box outside the frame", "box without area")
    expected = ("coordinates normalised to 0 to 1", "x1 < x2 and y1 < y2")
    for bad, problem, wanted in zip(checks, problems, expected, strict=False):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{problem} ({int(bad.sum())} row(s), this is the first)",
                path=path,
                row=int(rows.row[at]),
                expected=wanted,
                found=box[at].tolist(),
                remedy="Divide pixels by the width and height of the frame."
                if problem == problems[0]
                else None,
            )


def _labels(
    rows: AvaRows, names: LabelMap, path: str | Path, unlisted: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if unlisted not in ("refused", "skipped"):
        expected = "'refused' or 'skipped'"
        raise InputError("unknown option 'unlisted'", expected=expected, found=unlisted)
    numbers = np.asarray(names.ids, dtype=np.int64)
    place = np.minimum(np.searchsorted(numbers, rows.action), max(numbers.size - 1, 0))
    listed = numbers[place] == rows.action if numbers.size else np.zeros(place.size, dtype=np.bool_)
    if unlisted == "refused" and not listed.all():
        at = int(np.flatnonzero(~listed)[0])
        raise InputError(
            f"action without a name ({int((~listed).sum())} row(s), this is the first)",
            path=path,
            row=int(rows.row[at]),
            expected=f"one of the {len(names)} ids of the label map",
            found=int(rows.action[at]),
            remedy="Give the complete label map, or skip such rows (unlisted='skipped').",
        )
    return place, listed

"""The rows of AVA's CSV files as they are: `video,timestamp,x1,y1,x2,y2,action_id[,eighth]`.

A block of lines is read in one of three ways, the first that can: by pyarrow where it is installed
(extra `fast`) and the file is large; by numpy; line by line, which says what is wrong and where.
"""

import csv
import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats import decimal_fields
from stad_eval.formats.files import opened
from stad_eval.input_error import InputError

BLOCK = 1 << 22
# What a block for pyarrow has, and the size of file from which on its import pays.
ARROW_BLOCK = 1 << 23
ARROW_FROM = 1 << 23
DIGITS = 12
_BLANKS = " \t\r"


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
    parts = list(ava_row_blocks(path))
    if len(parts) == 1:
        return parts[0]
    names: dict[str, int] = {}
    columns: dict[str, list[NDArray]] = {name: [] for name in _COLUMNS}
    for part in parts:
        # Each block knows the names of those before it.
        names |= {name: at for at, name in enumerate(part.videos)}
        for name, column in columns.items():
            column.append(getattr(part, name))
    parts.clear()
    whole: dict[str, NDArray] = {}
    for name in _COLUMNS:
        whole[name] = np.concatenate(columns.pop(name)) if names else getattr(_nothing(), name)
    return AvaRows(videos=tuple(names), **whole)


def ava_row_blocks(path: str | Path) -> Iterator[AvaRows]:
    """The rows of an AVA CSV file, some megabytes at a time; `videos` grows from block to block.

    Raises:
        InputError: as `read_ava_rows`.
    """
    names: dict[str, int] = {}
    with opened(path) as (stream, size):
        arrow = size >= ARROW_FROM and importlib.util.find_spec("pyarrow") is not None
        row = 1
        while content := stream.read(ARROW_BLOCK if arrow else BLOCK):
            content += stream.readline()
            if row == 1:
                content = content.removeprefix(b"\xef\xbb\xbf")
            if b"\r" in content:
                content = content.replace(b"\r\n", b"\n")
            plain = b'"' not in content and b"\r" not in content
            part = _by_arrow(content, row, names) if arrow and plain else None
            part = part or (_by_numpy(content, row, names) if plain else None)
            yield part or _line_by_line(content, row, names, path)
            row += content.count(b"\n")


_COLUMNS = tuple(each.name for each in fields(AvaRows) if each.name != "videos")


def _nothing() -> AvaRows:
    none = np.empty(0, dtype=np.int64)
    return AvaRows(
        videos=(),
        video=none,
        timestamp=none,
        box=np.empty((0, 4)),
        action=none,
        eighth=np.empty(0),
        row=none,
        empty=np.empty((0, 2), dtype=np.int64),
    )


def _by_arrow(content: bytes, first: int, names: dict[str, int]) -> AvaRows | None:
    """The rows of a block whose lines are all complete and alike; None for any other."""
    from stad_eval.formats import arrow_columns

    columns = arrow_columns.read(content)
    if columns is None:
        return None
    box = np.stack(columns.boxes, axis=1)
    eighth = columns.eighth
    timestamp = _coded(columns.timestamp)
    action = _coded(columns.action)
    finite = np.isfinite(box).all() and (eighth is None or np.isfinite(eighth).all())
    if timestamp is None or action is None or not finite:
        return None
    if any("" in texts for texts, _ in columns.video):
        return None
    numbered = [
        np.array([names.setdefault(name, len(names)) for name in texts], dtype=np.int64)[codes]
        for texts, codes in columns.video
    ]
    return AvaRows(
        videos=tuple(names),
        video=np.concatenate(numbered),
        timestamp=timestamp,
        box=box,
        action=action,
        eighth=np.full(action.size, np.nan) if eighth is None else eighth,
        row=first + np.arange(action.size),
        empty=_nothing().empty,
    )


def _coded(parts: list[tuple[list[str], NDArray[np.int32]]]) -> NDArray[np.int64] | None:
    """Whole numbers given by their distinct texts; None if one is no whole number."""
    try:
        values = [np.array([_integer(t) for t in texts], dtype=np.int64) for texts, _ in parts]
    except ValueError:
        return None
    return np.concatenate([each[at] for each, (_, at) in zip(values, parts, strict=True)])


def _by_numpy(content: bytes, first: int, names: dict[str, int]) -> AvaRows | None:
    """The rows of a block whose lines are all well formed; None for any other."""
    block = decimal_fields.split_block(content)
    blank = (block.width == 1) & (block.start[block.head] == block.end[block.head])
    if not (blank | (block.width == 2) | (block.width == 7) | (block.width == 8)).all():
        return None
    lines = np.flatnonzero(block.width >= 7)
    head = block.head[lines]
    eighth = np.full(lines.size, np.nan)
    scored = np.flatnonzero(block.width[lines] == 8)
    bare = block.head[block.width == 2]
    try:
        box = np.stack([_floats(block, head + at) for at in range(2, 6)], axis=1)
        eighth[scored] = _floats(block, head[scored] + 7)
        named = _names(block, block.head[block.width > 1], names)
        empty_time, timestamp = _wholes(block, bare + 1), _wholes(block, head + 1)
        action = _wholes(block, head + 6)
    except ValueError:
        return None
    boxed = block.width[block.width > 1] >= 7
    return AvaRows(
        videos=tuple(names),
        video=named[boxed],
        timestamp=timestamp,
        box=box,
        action=action,
        eighth=eighth,
        row=first + lines,
        empty=np.stack([named[~boxed], empty_time], axis=1),
    )


def _floats(block: decimal_fields.Block, at: NDArray[np.int64]) -> NDArray[np.float64]:
    values, odd = decimal_fields.numbers(block, at)
    for place in odd.tolist():
        values[place] = finite_number(_text(block, int(at[place])))
    return values


def _wholes(block: decimal_fields.Block, at: NDArray[np.int64]) -> NDArray[np.int64]:
    values, odd = decimal_fields.numbers(block, at, whole=True)
    whole = values.astype(np.int64)
    for place in odd.tolist():
        whole[place] = _integer(_text(block, int(at[place])))
    return whole


def _names(
    block: decimal_fields.Block, at: NDArray[np.int64], names: dict[str, int]
) -> NDArray[np.int64]:
    texts, place = decimal_fields.distinct_texts(block, at)
    if b"" in texts:
        raise ValueError("a row without a video")
    decoded = [text.decode("utf-8") for text in texts]
    numbered = [names.setdefault(name, len(names)) for name in decoded]
    return np.array(numbered, dtype=np.int64)[place]


def _text(block: decimal_fields.Block, field: int) -> str:
    return block.data[block.start[field] : block.end[field]].tobytes().decode("utf-8")


def _line_by_line(content: bytes, first: int, names: dict[str, int], path: str | Path) -> AvaRows:
    """The rows of any block; says which row is wrong and why."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        row = first + error.object[: error.start].count(b"\n")
        raise InputError("not a text file", path=path, row=row, expected="UTF-8") from None
    reader = csv.reader(text.removesuffix("\n").split("\n"), strict=True)
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
    video = [names.setdefault(line[0], len(names)) for line in lines if line]
    width = np.array([len(line) for line in lines if line], dtype=np.int64)
    named = np.array(video, dtype=np.int64)
    times = np.array([_integer(line[1]) for line in bare], dtype=np.int64)
    box = [[finite_number(text) for text in lines[at][2:6]] for at in boxed]
    last = [finite_number(lines[at][7]) if len(lines[at]) == 8 else math.nan for at in boxed]
    return AvaRows(
        videos=tuple(names),
        video=named[width >= 7],
        timestamp=np.array([_integer(lines[at][1]) for at in boxed], dtype=np.int64),
        box=np.array(box, dtype=np.float64).reshape(-1, 4),
        action=np.array([_integer(lines[at][6]) for at in boxed], dtype=np.int64),
        eighth=np.array(last, dtype=np.float64),
        row=np.array(boxed, dtype=np.int64) + first,
        empty=np.stack([named[width == 2], times], axis=1),
    )


def finite_number(text: str) -> float:
    """A finite number as `float` reads it; digits and blanks that only Python knows are refused.

    Raises:
        ValueError: if it is none.
    """
    value = float(text)
    plain = text.isascii() and text.strip(_BLANKS).isprintable()
    if "_" in text or not plain or not math.isfinite(value):
        raise ValueError(text)
    return value


def _integer(text: str) -> int:
    stripped = text.strip(_BLANKS)
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= DIGITS):
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
    names = ("x1", "y1", "x2", "y2", "action_id", "eighth column")
    for name, text in zip(names, line[2:], strict=False):
        try:
            finite_number(text)
        except ValueError:
            raise InputError(
                f"bad {name}", path=path, row=row, expected="a finite number", found=text
            ) from None

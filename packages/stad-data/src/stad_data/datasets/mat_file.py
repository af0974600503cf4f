"""Values of MATLAB 5 files (``-v5`` to ``-v7``), read without trust.

Only what published annotations need: real numeric arrays, text, cells and structs, compressed or
not, of either byte order. Damaged bytes give an InputError, where general readers may crash.

Source: MathWorks, "MAT-File Format", MAT-file level 5.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval import InputError

_COMPRESSED, _MATRIX = 15, 14
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
# From double (6) to uint64 (15).
_NUMERIC_CLASSES = range(6, 16)
_CELL, _STRUCT, _TEXT = 1, 2, 4
_DEEPEST = 8
_ENCODINGS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_COMPLEX = 0x0800
_MOST_BYTES = 1 << 30


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The file's real numeric arrays by name, in MATLAB's shape (at least two axes), read-only.

    Values have the type that they are stored as, which MATLAB takes as small as it can. Other
    variables are passed over.

    Raises:
        InputError: A file that is not there, not of this format, or damaged.
    """
    values = _read(path, depth=0)
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def read_values(path: Path) -> dict[str, Any]:
    """The file's variables by name: arrays as `read_arrays` gives them, and what holds them.

    A struct array is a list of dicts, a cell array a list (both along the first axis first), text
    of one row a str, of several rows a list of them. Other kinds of value are None.

    Raises:
        InputError: A file that is not there, not of this format, damaged, or nested too deeply.
    """
    return _read(path, depth=_DEEPEST)


def _read(path: Path, *, depth: int) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError("no such MATLAB file", path=path) from None
    except IsADirectoryError:
        raise InputError("a folder where a MATLAB file should be", path=path) from None
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or data.startswith(b"MATLAB 7.3"):
        raise InputError(
            "not a MATLAB 5 file",
            path=path,
            expected="a file saved with -v5, -v6 or -v7",
            found=repr(data[:19]) if data else "an empty file",
            remedy="fetch the file again, or save it anew with -v7",
        )
    try:
        return dict(_variables(memoryview(data)[128:], order, depth))
    except (ValueError, struct.error, zlib.error) as error:
        raise InputError(
            "a damaged MATLAB file",
            path=path,
            expected="whole elements",
            found=str(error),
            remedy="fetch the file again",
        ) from error


def _variables(data: memoryview, order: str, depth: int) -> Iterator[tuple[str, Any]]:
    for kind, body in _elements(data, order):
        if kind == _COMPRESSED:
            # One element inside, never another compressed one.
            inner = _elements(_inflated(body), order)
            yield from (_matrix(body, order, depth) for kind, body in inner if kind == _MATRIX)
        elif kind == _MATRIX:
            yield _matrix(body, order, depth)


def _inflated(body: memoryview) -> memoryview:
    stream = zlib.decompressobj()
    data = stream.decompress(body, _MOST_BYTES)
    if not stream.eof:
        raise ValueError("a compressed element that is cut off or too large")
    return memoryview(data)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, content) of the elements in a row; each but a compressed one fills 8-byte units."""
    at = 0
    while at < len(data):
        (tag,) = struct.unpack_from(f"{order}I", data, at)
        if tag >> 16:  # a small element: its length sits in the tag, its content beside it
            kind, length, start, end = tag & 0xFFFF, tag >> 16, at + 4, at + 8
            if length > 4:
                raise ValueError(f"a small element of {length} bytes")
        else:
            (length,) = struct.unpack_from(f"{order}I", data, at + 4)
            kind, start = tag, at + 8
            end = start + length + (0 if kind == _COMPRESSED else -length % 8)
        if start + length > len(data):
            raise ValueError(f"an element of {length} bytes where {len(data) - start} are left")
        yield kind, data[start : start + length]
        at = end


def _matrix(body: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """Name and value of a matrix element; the value of other kinds, or too deep ones, is None."""
    parts = _elements(body, order)
    header = [part for _, part in zip(range(3), parts, strict=False)]
    if len(header) < 3 or len(header[0][1]) != 8 or len(header[1][1]) % 4:
        raise ValueError("an array without flags, shape and name")
    (flags,) = struct.unpack_from(f"{order}I", header[0][1])
    shape = tuple(np.frombuffer(header[1][1], f"{order}i4").tolist())
    name = bytes(header[2][1]).decode("latin-1")
    if min(shape, default=-1) < 0:
        raise ValueError(f"array {name!r} of shape {shape}")
    kind = flags & 0xFF
    if kind in _NUMERIC_CLASSES and not flags & _COMPLEX:
        return name, _numbers(name, shape, parts, order)
    if depth and kind == _TEXT:
        return name, _text(name, shape, parts, order)
    if kind in (_CELL, _STRUCT) and depth:
        if depth == 1:
            raise ValueError(f"{name!r} is nested too deeply")
        values = _cells if kind == _CELL else _structs
        return name, values(math.prod(shape), parts, order, depth - 1)
    return name, None


_Parts = Iterator[tuple[int, memoryview]]


def _numbers(name: str, shape: tuple[int, ...], parts: _Parts, order: str) -> NDArray[Any]:
    stored, values = next(parts, (0, memoryview(b"")))
    if stored not in _TYPES:
        raise ValueError(f"array {name!r} holds values of type {stored}")
    dtype = np.dtype(f"{order}{_TYPES[stored]}")
    if math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"array {name!r} of shape {shape} holds {len(values)} bytes")
    # MATLAB counts along the first axis first.
    return np.frombuffer(values, dtype).reshape(shape, order="F")


def _text(name: str, shape: tuple[int, ...], parts: _Parts, order: str) -> str | list[str]:
    stored, values = next(parts, (0, memoryview(b"")))
    encoding = _ENCODINGS.get(stored)
    if encoding is None:
        raise ValueError(f"text {name!r} holds values of type {stored}")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    text = bytes(values).decode(encoding)
    if len(text) != math.prod(shape) or len(shape) != 2:
        raise ValueError(f"text {name!r} of shape {shape} holds {len(text)} letters")
    rows = [text[row :: shape[0]] for row in range(shape[0])]
    return rows[0] if len(rows) == 1 else rows


def _values(parts: _Parts, order: str, depth: int) -> Iterator[Any]:
    for kind, body in parts:
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} where an array should be")
        # MATLAB writes an empty array as an element without content.
        yield _matrix(body, order, depth)[1] if len(body) else np.zeros((0, 0))


def _cells(count: int, parts: _Parts, order: str, depth: int) -> list[Any]:
    cells = list(_values(parts, order, depth))
    if len(cells) != count:
        raise ValueError(f"{len(cells)} cells where {count} should be")
    return cells


def _structs(count: int, parts: _Parts, order: str, depth: int) -> list[dict[str, Any]]:
    header = [part for _, part in zip(range(2), parts, strict=False)]
    if len(header) < 2 or len(header[0][1]) != 4:
        raise ValueError("a struct without field names")
    (width,) = struct.unpack_from(f"{order}i", header[0][1])
    packed = bytes(header[1][1])
    if width < 1 or len(packed) % width:
        raise ValueError("a struct with field names of an odd length")
    starts = range(0, len(packed), width)
    names = [packed[at : at + width].split(b"\0")[0].decode("latin-1") for at in starts]
    values = list(_values(parts, order, depth))
    if len(values) != count * len(names) or (count and not names):
        raise ValueError(f"a struct of {len(values)} values, {count} times {len(names)} expected")
    step = len(names) or 1
    rows = [values[at : at + step] for at in range(0, len(values), step)]
    return [dict(zip(names, row, strict=True)) for row in rows]

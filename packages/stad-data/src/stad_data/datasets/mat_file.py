"""Numeric arrays of MATLAB 5 files (``-v5`` to ``-v7``), read without trust.

Only what published masks need: real numeric arrays, compressed or not, of either byte order. Other
variables are passed over. Damaged bytes give an InputError, where general readers may crash.

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
_COMPLEX = 0x0800
_MOST_BYTES = 1 << 30


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The file's real numeric arrays by name, in MATLAB's shape (at least two axes), read-only.

    Values have the type that they are stored as, which MATLAB takes as small as it can.

    Raises:
        InputError: A file that is not there, not of this format, or damaged.
    """
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
        return dict(_arrays(memoryview(data)[128:], order))
    except (ValueError, struct.error, zlib.error) as error:
        raise InputError(
            "a damaged MATLAB file",
            path=path,
            expected="whole elements",
            found=str(error),
            remedy="fetch the file again",
        ) from error


def _arrays(data: memoryview, order: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for kind, body in _elements(data, order):
        if kind == _COMPRESSED:
            yield from _arrays(_inflated(body), order)
        elif kind == _MATRIX and (named := _array(body, order)) is not None:
            yield named


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


def _array(body: memoryview, order: str) -> tuple[str, NDArray[Any]] | None:
    """Name and values of a matrix element, or None where it is no real numeric array."""
    parts = _elements(body, order)
    header = [part for _, part in zip(range(3), parts, strict=False)]
    if len(header) < 3 or len(header[0][1]) != 8 or len(header[1][1]) % 4:
        raise ValueError("an array without flags, shape and name")
    (flags,) = struct.unpack_from(f"{order}I", header[0][1])
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX:
        return None
    shape = tuple(np.frombuffer(header[1][1], f"{order}i4").tolist())
    name = bytes(header[2][1]).decode("latin-1")
    stored, values = next(parts, (0, memoryview(b"")))
    if stored not in _TYPES:
        raise ValueError(f"array {name!r} holds values of type {stored}")
    dtype = np.dtype(f"{order}{_TYPES[stored]}")
    if min(shape, default=-1) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"array {name!r} of shape {shape} holds {len(values)} bytes")
    # MATLAB counts along the first axis first.
    return name, np.frombuffer(values, dtype).reshape(shape, order="F")

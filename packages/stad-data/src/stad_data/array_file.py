"""Arrays and a description of them in one file: written whole or not at all, checked, mapped.

A file begins with ``STADARR1``; then come the bytes of the arrays, each from a multiple of 64 on,
little-endian; then a JSON text ``{"kind", "about", "arrays": {name: {"type", "shape", "start",
"crc"}}}``; and last 24 bytes: where the JSON text starts and how long it is (two uint64), its
CRC-32 (uint32), and ``STAD``. So a file that was cut off anywhere is known by its end.
"""

import json
import math
import mmap
import struct
import zlib
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stad_eval import InputError
from stad_eval.formats.files import replaced_bytes

_BEGIN, _END = b"STADARR1", b"STAD"
_TAIL = struct.Struct("<QQI4s")
_ALIGN = 64
_TYPES = ("|b1", "|u1", "<i2", "<i4", "<u4", "<i8", "<f4", "<f8")


class ArrayWriter:
    """Takes the arrays of a file one after the other.

    Attributes:
        about: The description, for JSON; it may be filled in until the file is done.
    """

    def __init__(self, stream: IO[bytes], kind: str, about: dict[str, Any]) -> None:
        self.about = about
        self._kind = kind
        self._stream = stream
        self._arrays: dict[str, dict[str, Any]] = {}
        self._at = stream.write(_BEGIN)

    def write(self, name: str, values: NDArray[Any]) -> None:
        """Add a whole array."""
        array = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self._begin(name, array.dtype.str, list(array.shape))
        self._put(self._arrays[name], array.tobytes())

    def extend(self, name: str, data: bytes) -> None:
        """Add bytes to an array of uint8, which the first call begins and another array ends."""
        if name not in self._arrays:
            self._begin(name, "|u1", [0])
        self._put(self._arrays[name], data)
        self._arrays[name]["shape"][0] += len(data)

    def _begin(self, name: str, kind: str, shape: list[int]) -> None:
        self._at += self._stream.write(bytes(-self._at % _ALIGN))
        self._arrays[name] = {"type": kind, "shape": shape, "start": self._at, "crc": 0}

    def _put(self, entry: dict[str, Any], data: bytes) -> None:
        entry["crc"] = zlib.crc32(data, entry["crc"])
        self._at += self._stream.write(data)

    def finish(self) -> None:
        """Write the end."""
        content = {"kind": self._kind, "about": self.about, "arrays": self._arrays}
        text = json.dumps(content, allow_nan=False).encode()
        self._stream.write(text)
        self._stream.write(_TAIL.pack(self._at, len(text), zlib.crc32(text), _END))


@contextmanager
def written(path: Path, kind: str, about: dict[str, Any]) -> Generator[ArrayWriter]:
    """A file to be filled; it appears under its name when the block ends without an exception.

    Args:
        path: The file; its folder is made.
        kind: What the file is, for example ``"flow"``.
        about: Its description, for JSON.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_bytes(path) as stream:
        writer = ArrayWriter(stream, kind, about)
        yield writer
        writer.finish()


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayFile:
    """An open file of arrays. Its arrays are read-only views of the file, mapped into memory.

    Processes that map one file share its pages, and pickling keeps to the path: a worker opens the
    file again, and refuses another content.

    Attributes:
        path: The file.
        kind: What it is.
        about: Its description.
        arrays: By name.
        stamp: Two files of the same stamp have the same content.
    """

    path: Path
    kind: str
    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    stamp: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.kind, self.stamp)


def is_array_file(path: Path) -> bool:
    """Whether a file begins as these files do; False where there is none."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_BEGIN)) == _BEGIN
    except OSError:
        return False


def opened(path: Path, kind: str, *, unchecked: Collection[str] = ()) -> ArrayFile:
    """Map a file into memory and compare its checksums.

    Args:
        path: The file.
        kind: What it has to be.
        unchecked: Arrays whose bytes are not read now; their user checks them.

    Raises:
        InputError: No such file, one of another kind, one that was cut off, or a damaged one.
    """
    return _read(path, kind, lambda name: name not in unchecked)


def _read(path: Path, kind: str, compared: Callable[[str], bool]) -> ArrayFile:
    data = _mapped(path)
    if data[: len(_BEGIN)].tobytes() != _BEGIN:
        raise _refused(path, kind, f"it begins with {data[:8].tobytes()!r}")
    start, length, crc, end = _TAIL.unpack(data[-_TAIL.size :].tobytes())
    text = data[start : start + length].tobytes()
    if end != _END or start + length + _TAIL.size != len(data) or zlib.crc32(text) != crc:
        raise _refused(path, kind, "it was cut off, or its end is damaged")
    content = json.loads(text)
    if content["kind"] != kind:
        raise _refused(path, kind, f"it is a file of kind {content['kind']!r}")
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in content["arrays"].items():
        raw = _raw(data, entry)
        if raw is None or (compared(name) and zlib.crc32(raw.data) != entry["crc"]):
            raise _refused(path, kind, f"the bytes of {name!r} are damaged")
        arrays[name] = raw.view(entry["type"]).reshape(entry["shape"])
    return ArrayFile(path=path, kind=kind, about=content["about"], arrays=arrays, stamp=crc)


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as stream:
            if stream.seek(0, 2) < len(_BEGIN) + _TAIL.size:
                raise InputError("a file that was cut off", path=path, found="next to no bytes")
            # The mapping outlives the file handle.
            return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError("cannot be read", path=path, found=str(error)) from error


def _raw(data: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """The bytes of an array; None where there is no such place or type."""
    if entry["type"] not in _TYPES:
        return None
    size = math.prod(entry["shape"]) * np.dtype(entry["type"]).itemsize
    raw = data[entry["start"] : entry["start"] + size]
    return raw if len(raw) == size else None


def _reopened(path: Path, kind: str, stamp: int) -> ArrayFile:
    """The file as another process has it open, which compared its checksums."""
    found = _read(path, kind, lambda _: False)
    if found.stamp != stamp:
        raise InputError(
            "this file was replaced while it was in use",
            path=path,
            remedy="start again, and do not write it during a run",
        )
    return found


def _refused(path: Path, kind: str, found: str) -> InputError:
    return InputError(
        f"not a whole {kind} file of this project",
        path=path,
        expected=f"a {kind} file as this version writes it",
        found=found,
        remedy="delete it and have it made again",
    )

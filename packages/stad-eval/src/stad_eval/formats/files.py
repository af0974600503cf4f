"""Whole files: one clear error on the way in, all or nothing on the way out."""

import io
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stad_eval.input_error import InputError


def read_bytes(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: if there is no such file, or it is a folder.
    """
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except IsADirectoryError:
        raise InputError("this is a folder", path=path, expected="a file") from None


def read_text(path: str | Path) -> str:
    """The content of a UTF-8 file, a byte order mark left out.

    Raises:
        InputError: if there is no such file, or it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise InputError("not a text file", path=path, row=row, expected="UTF-8") from None


@contextmanager
def opened(path: str | Path) -> Generator[tuple[IO[bytes], int]]:
    """A file to read in parts, and its size in bytes.

    Raises:
        InputError: if there is no such file, or it is a folder.
    """
    path = Path(path)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except IsADirectoryError:
        raise InputError("this is a folder", path=path, expected="a file") from None
    with stream:
        yield stream, path.stat().st_size


@contextmanager
def replaced(path: str | Path) -> Generator[IO[str]]:
    """A text file to write; it takes the place of `path` at the end, or not at all.

    It is written beside `path` under a temporary name, synced, then renamed; on an error the
    temporary file is removed and what stood at `path` is as it was.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written (no permission, disk full).
    """
    with replaced_bytes(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


@contextmanager
def replaced_bytes(path: str | Path) -> Generator[IO[bytes]]:
    """A binary file to write, as `replaced`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError("no such folder to write to", path=path, remedy="Create it first.")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

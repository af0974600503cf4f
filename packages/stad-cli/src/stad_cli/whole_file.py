"""Files that appear whole or not at all, and failures to write them that say which file it was."""

import contextlib
import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Literal, overload


@overload
def whole_file(path: Path, kind: Literal["text"]) -> AbstractContextManager[IO[str]]: ...
@overload
def whole_file(path: Path, kind: Literal["bytes"]) -> AbstractContextManager[IO[bytes]]: ...
def whole_file(
    path: Path, kind: Literal["text", "bytes"]
) -> AbstractContextManager[IO[str] | IO[bytes]]:
    """A file to write that takes the place of `path` when the `with` block ends without an error.

    Until then it lies beside `path` under a temporary name; what stood at `path` stays whole.

    Raises:
        OSError: It cannot be written; the error names `path`.
    """
    return _whole_file(path, kind)


@contextmanager
def _whole_file(path: Path, kind: str) -> Generator[IO[str] | IO[bytes]]:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with naming(path):
        file = part.open("w", encoding="utf-8") if kind == "text" else part.open("wb")
    try:
        yield file
        with naming(path):
            flush(file)
            file.close()
            part.replace(path)
    except BaseException:
        # Closing writes what is still buffered, which fails once more on a full disk.
        with contextlib.suppress(OSError):
            file.close()
        part.unlink(missing_ok=True)
        raise


def flush(file: IO[str] | IO[bytes]) -> None:
    """Bring what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Let a failure to write name this file, not a temporary one beside it."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise

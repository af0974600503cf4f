"""What a file was like when something was made from it, so that a later change is noticed."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from stad_eval import InputError

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Size, time of the last change and content of a file, or of the files of a folder.

    Attributes:
        size: Bytes, for a folder over all of its files.
        modified: When it was last written to, in nanoseconds; for a folder a number that changes
            with the names, sizes and times of its files.
        digest: BLAKE2b of the content, in hexadecimal digits; for a folder of names and contents.
    """

    size: int
    modified: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The fingerprint of a file or folder as it is now; reads all of it.

        Raises:
            InputError: There is no such file or folder, or it cannot be read.
        """
        size, modified = _state(path)
        return cls(size=size, modified=modified, digest=_digest(path))

    def fits(self, path: Path) -> bool:
        """Whether a file still is as it was. False where there is none.

        Of a file with the same size and time of change nothing is read; one that was only copied or
        touched is read, and fits if its content is the same.
        """
        try:
            size, modified = _state(path)
            return size == self.size and (modified == self.modified or _digest(path) == self.digest)
        except InputError:
            return False

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave.

        Raises:
            TypeError: Other keys.
        """
        return cls(**values)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(each for each in path.iterdir() if each.is_file())
    else:
        yield path


def _state(path: Path) -> tuple[int, int]:
    """Bytes, and the time of the last change."""
    try:
        states = {each.name: each.stat() for each in _files(path)}
    except OSError as error:
        raise InputError(
            "cannot be read", path=path, expected="a file, or a folder of images", found=str(error)
        ) from error
    size = sum(each.st_size for each in states.values())
    if not path.is_dir():
        return size, next(iter(states.values())).st_mtime_ns
    listing = [f"{name}\0{each.st_size}\0{each.st_mtime_ns}" for name, each in states.items()]
    return size, zlib.crc32("\0".join(listing).encode())


def _digest(path: Path) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    folder = path.is_dir()
    try:
        for each in _files(path):
            if folder:
                hasher.update(f"{each.name}\0{each.stat().st_size}\0".encode())
            with each.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    hasher.update(chunk)
    except OSError as error:
        raise InputError("cannot be read", path=path, found=str(error)) from error
    return hasher.hexdigest()

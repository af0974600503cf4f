"""Files of partial results, which parts of the videos leave, and whether parts go together."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.npz import read_npz, write_npz
from stad_eval.input_error import InputError
from stad_eval.protocols import FrameProtocol
from stad_eval.tube_protocols import TubeProtocol

Options = TypeVar("Options", FrameProtocol, TubeProtocol)


class Part(Protocol):
    """A partial result."""

    @property
    def videos(self) -> tuple[str, ...]:
        """Names of the videos that it covers."""
        ...


def write_partial(
    path: str | Path,
    name: str,
    protocol: FrameProtocol | TubeProtocol,
    about: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write an npz file of the format `name`, whole or not at all.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written.
    """
    text = json.dumps({**about, "format": name, "protocol": asdict(protocol)})
    write_npz(path, {"about": np.array(text), **arrays})


@contextmanager
def partial_content(
    path: str | Path, name: str
) -> Generator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """What is said about a partial result, and its arrays; nothing in the file is run.

    Whatever goes wrong while the content is put together again makes the file one of another kind.

    Raises:
        InputError: if the file is none of the format `name`.
    """
    arrays = read_npz(path)
    try:
        about = json.loads(str(arrays.pop("about")))
        if about["format"] != name:
            raise ValueError(about["format"])
        yield about, arrays
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        raise InputError(
            "not a partial result", path=path, expected=f"npz of {name}", found=repr(error)
        ) from None


def options_of(kind: type[Options], fields: Mapping[str, Any]) -> Options:
    """The protocol of these fields, as JSON has them."""
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return kind(**options)


def check_alike(parts: Sequence[Part], names: Sequence[str]) -> None:
    """Refuse parts that do not belong together.

    Raises:
        InputError: if there is none, or they differ in one of the attributes `names`, or have a
            video in common.
    """
    if not parts:
        raise InputError("no partial results to combine", expected="at least one", found="none")
    seen: set[str] = set()
    for part in parts:
        check_next(part, parts[0], seen, names)


def check_next(part: Part, first: Part, seen: set[str], names: Sequence[str]) -> None:
    """Refuse a part that does not go with the first one; `seen` are the videos of all before it.

    Raises:
        InputError: as `check_alike`.
    """
    for name in names:
        if getattr(part, name) != getattr(first, name):
            raise InputError(
                f"partial results differ in '{name}'",
                expected=getattr(first, name),
                found=getattr(part, name),
            )
    twice = seen.intersection(part.videos)
    if twice:
        raise InputError(
            f"{len(twice)} video(s) stand in two partial results",
            expected="every video in one part",
            found=min(twice),
        )
    seen.update(part.videos)

"""Walking through what a JSON file or a pickle holds, with the place in every error.

A `Node` is a value together with its file and where it stands there (``videos[3].size``); its
methods hand out what a reader expects and refuse anything else.
"""

import json
import math
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval import InputError
from stad_eval.formats import files, safe_pickle

_LARGEST = 2**53


@dataclass(frozen=True, kw_only=True)
class Node:
    """A value, the file that it comes from, and its place there; lists count from 0."""

    value: Any
    path: Path
    place: str = ""

    def refuse(self, problem: str, *, expected: str, remedy: str | None = None) -> InputError:
        """An error about this value, to be raised."""
        return InputError(
            problem,
            path=self.path,
            row=self.place or None,
            expected=expected,
            found=repr(self.value)[:100],
            remedy=remedy,
        )

    def has(self, name: str) -> bool:
        """Whether this is a mapping with this key, not null."""
        return isinstance(self.value, Mapping) and self.value.get(name) is not None

    def get(self, name: str) -> "Node":
        """The value of a key of a mapping."""
        if not isinstance(self.value, Mapping):
            raise self.refuse(f"{name!r} is looked for in what has no keys", expected="a mapping")
        if name not in self.value:
            raise InputError(
                f"there is no {name!r}",
                path=self.path,
                row=self.place or None,
                expected=f"a key {name!r}",
                found=", ".join(str(key) for key in list(self.value)[:12]) or "no key",
            )
        return self._inner(self.value[name], str(name))

    def _inner(self, value: object, name: str) -> "Node":
        place = f"{self.place}.{name}" if self.place else name
        return Node(value=value, path=self.path, place=place)

    def items(self) -> Iterator["Node"]:
        """The values of a list (or tuple), in order."""
        if not isinstance(self.value, (list, tuple)):
            raise self.refuse("this is no list", expected="a list")
        for at, value in enumerate(self.value):
            yield Node(value=value, path=self.path, place=f"{self.place}[{at}]")

    def pairs(self) -> Iterator[tuple[Any, "Node"]]:
        """Keys and values of a mapping, in order; keys that are strings are plain ``str``."""
        if not isinstance(self.value, Mapping):
            raise self.refuse("this is no mapping", expected="a mapping")
        for key, value in self.value.items():
            plain = str(key) if isinstance(key, str) else key
            yield plain, self._inner(value, str(plain))

    def text(self) -> str:
        """A string that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.refuse("this is no text", expected="a string that is not empty")
        return str(self.value)

    def number(self) -> float:
        """A finite number."""
        value = self.value
        plain = isinstance(value, (int, float, np.integer, np.floating))
        if not plain or isinstance(value, bool) or not abs(value) <= _LARGEST:
            raise self.refuse("this is no number", expected="a finite number")
        return float(value)

    def whole(self, low: int = 0, high: int = _LARGEST) -> int:
        """A whole number from ``low`` to ``high``; 7.0 is one."""
        value = self.number()
        if value != math.floor(value) or not low <= value <= high:
            limit = f"{low} to {high}" if high < _LARGEST else f"at least {low}"
            raise self.refuse("this number will not do", expected=f"a whole number, {limit}")
        return int(value)

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, (bool, np.bool_)):
            raise self.refuse("this is neither true nor false", expected="true or false")
        return bool(self.value)

    def array(self, *shape: int | None) -> NDArray[np.float64]:
        """Finite numbers float64 of a shape, where None stands for any length."""
        wanted = " x ".join("N" if side is None else str(side) for side in shape)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = np.asarray(self.value)
        except (ValueError, TypeError, OverflowError, Warning):
            found = np.empty(0, dtype=object)
        if found.size == 0 and found.dtype != object and shape[0] is None:
            found = np.zeros([0 if side is None else side for side in shape])
        alike = found.ndim == len(shape) and all(
            side in (None, length) for side, length in zip(shape, found.shape, strict=True)
        )
        if not alike or found.dtype.kind not in "iuf":
            raise self.refuse("these are not the numbers expected", expected=f"{wanted} numbers")
        numbers = found.astype(np.float64)
        if not (np.abs(numbers) <= _LARGEST).all():
            raise self.refuse("a number that is not finite", expected=f"{wanted} finite numbers")
        return numbers

    def wholes(self, *shape: int | None) -> NDArray[np.int64]:
        """As `array`, whole numbers of at least 0, int64."""
        numbers = self.array(*shape)
        if (numbers != np.floor(numbers)).any() or (numbers < 0).any():
            raise self.refuse("these are not whole numbers", expected="whole numbers, 0 or more")
        return numbers.astype(np.int64)


def read_json(path: Path) -> Node:
    """The content of a JSON file. NaN, infinities and keys given twice are refused.

    Raises:
        InputError: No such file, not UTF-8, or not JSON; with the line.
    """
    text = files.read_text(path)
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise InputError(
            f"not a JSON file ({error.msg})",
            path=path,
            row=error.lineno,
            found=text[error.pos : error.pos + 40] or "the end of the file",
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError("not a JSON file that can be read", path=path, found=str(error)) from None
    return Node(value=value, path=path)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def read_pickle(path: Path) -> Node:
    """The content of a pickle of arrays, numbers, strings and builtin containers; nothing runs.

    Raises:
        InputError: No such file, a damaged one, or one that asks for anything else.
    """
    return Node(value=safe_pickle.load(path), path=path)


@contextmanager
def blaming(path: Path, row: int | str | None = None) -> Generator[None]:
    """Errors raised inside name this file, and this row unless they know a place in the file."""
    try:
        yield
    except InputError as error:
        if error.path == path and error.row is not None:
            raise
        raise InputError(
            error.problem,
            path=path,
            row=error.row if row is None else row,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from None

"""A restricted reader of old pickles: numpy arrays, numbers, text and builtin containers.

A pickle is a program that calls functions by name. Here the few names that pickled arrays need
stand for functions of this file, whose arguments are checked; any other name is refused before it
is called. Text of Python 2 is read as latin-1, so that bytes survive.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np

_DTYPE = re.compile(r"[biuf][1248]")
_ORDERS = {"<": "<", ">": ">", "=": "=", "|": "="}


class RefusedError(pickle.UnpicklingError):
    """The pickle asks for a name that is not allowed."""


class _Maker:
    """A function that a pickle may call, and do nothing else with."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise RefusedError("it changes a function")


class _Kind:
    """A numpy dtype of numbers in the making."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise RefusedError(f"it holds values of the kind {code!r}"[:100])
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if len(state) < 5 or state[1] not in _ORDERS or any(x is not None for x in state[2:5]):
            raise RefusedError("it holds structured values")
        self.order = _ORDERS[state[1]]

    def real(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Array:
    """A numpy array in the making; `values` once its state is set."""

    __slots__ = ("values",)

    def __init__(self, *_: object) -> None:
        self.values: np.ndarray = np.empty(0, np.float32)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, in_columns, content = state
        self.values = _values(content, kind, shape, order="F" if in_columns else "C")


def _values(
    content: object, kind: object, shape: object, *, order: Literal["C", "F"]
) -> np.ndarray:
    """An array of a pickle's bytes, as many as its kind and shape need."""
    if not isinstance(kind, _Kind):
        raise RefusedError("it holds an array of something else than numbers")
    sides = cast("tuple[int, ...]", shape if type(shape) is tuple else (-1,))
    if len(sides) > 32 or not all(type(side) is int and 0 <= side < 2**40 for side in sides):
        raise ValueError("an array of an odd shape")
    data, dtype = _bytes(content), kind.real()
    if len(data) != math.prod(sides) * dtype.itemsize:
        raise ValueError("an array whose values are cut short")
    return np.frombuffer(data, dtype).reshape(sides, order=order)


def _bytes(content: object) -> bytes:
    if isinstance(content, str):
        return content.encode("latin-1")
    if isinstance(content, (bytes, bytearray)):
        return bytes(content)
    raise RefusedError(f"it holds a {type(content).__name__} where bytes should be")


def _from_buffer(content: object, kind: object, shape: object, order: object) -> object:
    found = _Array()
    found.values = _values(content, kind, shape, order="F" if order == "F" else "C")
    return found


def _scalar(kind: object, content: object = b"") -> object:
    return _values(content, kind, (), order="C")[()]


def _encode(text: object, encoding: object = "latin1") -> object:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("it encodes text in an odd way")
    return text.encode("latin-1")


def _no_bytes() -> object:
    return b""


def _mapping(items: object = ()) -> object:
    return dict(cast("Any", items))


_NDARRAY = _Maker(_Array)
_RECONSTRUCT, _FROM_BUFFER, _SCALAR = _Maker(_Array), _Maker(_from_buffer), _Maker(_scalar)
_ALLOWED = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _Maker(_Kind),
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.numeric._frombuffer": _FROM_BUFFER,
    "numpy._core.numeric._frombuffer": _FROM_BUFFER,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    "_codecs.encode": _Maker(_encode),  # how protocols up to 2 write bytes, and none of them:
    "__builtin__.bytes": _Maker(_no_bytes),
    "builtins.bytes": _Maker(_no_bytes),
    "collections.OrderedDict": _Maker(_mapping),
}


class _Unpickler(pickle.Unpickler):
    """Python's own, with the names above and no others."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401
        name = f"{module_name}.{global_name}"
        if name not in _ALLOWED:
            raise RefusedError(f"it asks for {name}")
        return _ALLOWED[name]


def loads(content: bytes) -> object:
    """What a pickle of arrays, numbers, text and containers holds; arrays are read-only.

    Raises:
        RefusedError: it asks for anything else, which is named; nothing of it was called.
        ValueError: it is no pickle, damaged, or cut short.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes in damaged text
            _check_places(content)
            return _finished(_Unpickler(io.BytesIO(content), encoding="latin-1").load())
    except RefusedError:
        raise
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError),
        *(IndexError, OverflowError, MemoryError, RecursionError, ImportError),
    ) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ValueError(f"no readable pickle ({problem})") from None


def _check_places(content: bytes) -> None:
    """Refuse numbers of memo entries beyond the file's length, for which memory would be taken.

    Raises:
        ValueError: there is one, or an instruction that is none.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "LONG_BINPUT") and int(str(argument)) > len(content):
            raise ValueError("an odd memo entry")


def _finished(value: object, depth: int = 2) -> object:
    """Arrays for what stands for them, in dicts and in the dicts in those; deeper, none is kept."""
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict) and depth:
        items = cast("dict[object, object]", value).items()
        return {key: _finished(inner, depth - 1) for key, inner in items}
    return value

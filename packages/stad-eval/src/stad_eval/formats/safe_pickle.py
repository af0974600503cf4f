"""A restricted reader of pickles: numpy arrays, numpy scalars and builtin containers, nothing else.

A pickle is a program. This reader runs it on a machine of its own, which has no way to import a
name, call a function or set an attribute: the few names that published annotation files need
(`numpy.ndarray`, `numpy.dtype`, `numpy.core.multiarray._reconstruct` and `scalar`, in either
spelling of the module; `_codecs.encode` to latin-1, as old protocols write bytes) stand for fixed
operations of this file, whose arguments are checked. Everything else is refused by name; so is
content that nests without bounds, holds itself, or unfolds to far more than the file could hold.
Byte strings of Python 2 are read as latin-1.
"""

import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stad_eval.formats.files import read_bytes
from stad_eval.formats.nesting import NestingError, check_nesting
from stad_eval.input_error import InputError

_ALLOWED = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("_codecs", "encode"): "encode",  # how protocols up to 2 write bytes, and none of them
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
    ("builtins", "set"): "set",
    ("builtins", "frozenset"): "frozenset",
    ("__builtin__", "set"): "set",
    ("__builtin__", "frozenset"): "frozenset",
}
_NAMES = "numpy arrays, numpy scalars and builtin containers"
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    (
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BYTEARRAY8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
_EMPTY = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_MARKED = {"LIST": list, "TUPLE": tuple, "FROZENSET": frozenset}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
T = TypeVar("T")
_DTYPE = re.compile(r"([biufcSU])(\d{1,6})|O8?|O4")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.?)", re.S)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_LAST_CHARACTER = 0x10FFFF
_KEY_TYPES = (str, bytes, int, float, complex, bool, type(None), np.generic)

# What is not shared takes a byte or more of the file for every value.
_UNFOLDED_AT_LEAST, _UNFOLDED_PER_BYTE = 1_000_000, 8


def _read_string(stream: io.BytesIO) -> str:
    """A string in quotes, as `repr` of Python 2 wrote it; bytes are latin-1."""
    line = stream.readline()
    body = line.strip()
    if not line.endswith(b"\n") or len(body) < 2 or body[:1] != body[-1:] or body[0] not in b"'\"":
        raise ValueError("a string without quotes")
    return _ESCAPE.sub(_unescape, body[1:-1].decode("latin-1"))


def _unescape(found: re.Match[str]) -> str:
    text = found[1]
    if len(text) == 3 and text[0] == "x":
        return chr(int(text[1:], 16))
    if text not in _ESCAPED:
        raise ValueError("a string with an odd escape")
    return _ESCAPED[text]


def _read_names(stream: io.BytesIO) -> str:
    """The two lines of a module and a name in it, joined by a blank; no escapes."""
    return f"{_read_line(stream)} {_read_line(stream)}"


def _read_line(stream: io.BytesIO) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("a line without an end")
    return line[:-1].decode("utf-8")


# The standard readers of these decode escapes, which warns about odd ones.
_OWN = {
    "STRING": _read_string,
    "GLOBAL": _read_names,
    "INST": _read_names,
    "PERSID": _read_line,
}
_READERS: dict[bytes, tuple[str, Callable[[io.BytesIO], object] | None]] = {
    opcode.code.encode("latin-1"): (
        opcode.name,
        _OWN.get(opcode.name) or (opcode.arg.reader if opcode.arg else None),
    )
    for opcode in pickletools.opcodes
}


def load(path: str | Path) -> object:
    """The content of a pickle file that holds numpy arrays, scalars and builtin containers only.

    Raises:
        InputError: if the file is damaged, or needs anything else; what it needs is named, and
            none of it runs.
    """
    return loads(read_bytes(path), path=path)


def loads(data: bytes, *, path: str | Path | None = None) -> object:
    """As `load`, from bytes; `path` is for error messages only.

    Raises:
        InputError: as `load`.
    """
    try:
        content = _Machine().run(data)
        limit = max(_UNFOLDED_AT_LEAST, _UNFOLDED_PER_BYTE * len(data))
        check_nesting(content, limit=limit)
        return content
    except (_RefusedError, NestingError) as error:
        raise InputError(
            f"refused to read this pickle: {error}",
            path=path,
            expected=_NAMES,
            remedy="Save the data as arrays and builtin containers, or as JSON or npz.",
        ) from None
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
        problem = str(error)[:200] or type(error).__name__
        raise InputError(f"not a readable pickle ({problem})", path=path) from None


class _RefusedError(Exception):
    """The pickle asks for something that is not allowed."""


@dataclass(frozen=True)
class _Global:
    """A name that is allowed, as an inert value."""

    name: str


@dataclass
class _Dtype:
    """A numpy dtype under construction: `order` is set by BUILD."""

    kind: str
    size: int
    order: str = "|"

    def real(self) -> np.dtype[Any]:
        if self.kind == "O":
            return np.dtype(object)
        size = self.size * 4 if self.kind == "U" else self.size
        if self.kind in "SU":
            return np.dtype(f"{self.order}{self.kind}{self.size}")
        return np.dtype(f"{'=' if self.order == '|' else self.order}{self.kind}{size}")


class _Mark:
    """What MARK pushes."""


_MARK = _Mark()


class _Machine:
    """The stack machine of the pickle format, without its doors to the outside."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}

    def run(self, data: bytes) -> object:
        stream = io.BytesIO(data)
        while code := stream.read(1):
            if code not in _READERS:
                raise ValueError(f"no such instruction: {code!r}")
            name, reader = _READERS[code]
            if name == "STOP":
                return self.payload()
            self.do(name, reader(stream) if reader else None)
        raise ValueError("no end")

    def do(self, name: str, argument: object) -> None:
        """One instruction: values and containers here, all others by their name."""
        if name in _VALUES:
            if isinstance(argument, str) and not argument.isascii():
                argument.encode("utf-8")  # half a character is an error
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _MARKED:
            items = self.marked()
            if name == "FROZENSET":
                _check_keys(items)
            self.stack.append(_MARKED[name](items))
        elif name in _TUPLES:
            self.stack.append(tuple(self.pop() for _ in range(_TUPLES[name]))[::-1])
        else:
            self.other(name, argument)

    def payload(self) -> object:
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise ValueError("the stack does not hold one value at the end")
        if isinstance(self.stack[0], (_Global, _Dtype)):
            raise _RefusedError("it holds a type, not data")
        return self.stack[0]

    def pop(self) -> object:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def marked(self) -> list[object]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("no mark")

    def top(self, kind: type[T]) -> T:
        value = self.stack[-1]
        if type(value) is not kind:
            raise ValueError(f"a {kind.__name__} was to be filled, found {type(value).__name__}")
        return value

    def other(self, name: str, argument: object) -> None:
        action = getattr(self, f"op_{name.lower()}", None)
        if action is None:
            named = f" ({argument})"[:80] if name == "INST" else ""
            raise _RefusedError(f"it uses the instruction {name}{named}")
        action(argument)

    def op_proto(self, _: object) -> None:
        """Protocols differ in their opcodes only."""

    def op_frame(self, _: object) -> None:
        """Frames are for buffering."""

    def op_mark(self, _: object) -> None:
        self.stack.append(_MARK)

    def op_pop(self, _: object) -> None:
        self.stack.pop()

    def op_pop_mark(self, _: object) -> None:
        self.marked()

    def op_dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def op_memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    @staticmethod
    def slot(argument: object) -> int:
        return int(str(argument))

    def op_put(self, argument: object) -> None:
        self.memo[self.slot(argument)] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_get(self, argument: object) -> None:
        self.stack.append(self.memo[self.slot(argument)])

    op_binget = op_long_binget = op_get

    def op_append(self, _: object) -> None:
        item = self.pop()
        self.top(list).append(item)

    def op_appends(self, _: object) -> None:
        items = self.marked()
        self.top(list).extend(items)

    def op_setitem(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self.fill([key, value])

    def op_setitems(self, _: object) -> None:
        self.fill(self.marked())

    def op_dict(self, _: object) -> None:
        items = self.marked()
        self.stack.append({})
        self.fill(items)

    def fill(self, items: list[object]) -> None:
        if len(items) % 2:
            raise ValueError("a key without a value")
        _check_keys(items[::2])
        self.top(dict).update(zip(items[::2], items[1::2], strict=True))

    def op_additems(self, _: object) -> None:
        items = self.marked()
        _check_keys(items)
        self.top(set).update(items)

    def op_global(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.name(module, name)

    def op_stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no string")
        self.name(module, name)

    def name(self, module: str, name: str) -> None:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise _RefusedError(f"it uses {module}.{name}")
        self.stack.append(_Global(allowed))

    def op_reduce(self, _: object) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise _RefusedError("it calls something that is not a numpy type")
        self.stack.append(_call(function.name, arguments))

    def op_build(self, _: object) -> None:
        state = self.pop()
        target = self.stack[-1]
        if type(target) is _Dtype:
            _build_dtype(target, state)
        elif type(target) is np.ndarray:
            _build_array(target, state)
        else:
            raise _RefusedError(f"it sets the state of a {type(target).__name__}")


def _check_keys(keys: list[object]) -> None:
    """Keys are scalars or flat tuples of them: hashing a deep tuple would overflow the C stack."""
    for key in keys:
        parts = key if type(key) is tuple else (key,)
        if not all(isinstance(part, _KEY_TYPES) for part in parts):
            raise _RefusedError(f"it uses a {type(key).__name__} of odd content as a key")


def _call(name: str, arguments: tuple[object, ...]) -> object:
    if name == "dtype" and 1 <= len(arguments) <= 3 and isinstance(arguments[0], str):
        found = _DTYPE.fullmatch(arguments[0])
        if found is None:
            raise _RefusedError(f"it uses the dtype '{arguments[0][:40]}'")
        return _Dtype(found[1] or "O", int(found[2] or 8))
    if name == "reconstruct" and arguments[:1] == (_Global("ndarray"),):
        return np.empty(0, dtype=np.uint8)
    if name == "scalar" and len(arguments) == 2 and isinstance(arguments[0], _Dtype):
        dtype = arguments[0].real()
        if dtype.kind == "O":
            raise _RefusedError("it holds a scalar of python objects")
        data = _bytes(arguments[1])
        if len(data) != dtype.itemsize:
            raise ValueError("a numpy scalar of the wrong length")
        _check_characters(data, dtype)
        return np.frombuffer(data, dtype=dtype, count=1)[0] if data else dtype.type()
    if name == "encode" and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return _bytes(arguments[0])
    if name == "bytes" and not arguments:
        return b""
    if name in ("set", "frozenset") and len(arguments) == 1 and type(arguments[0]) is list:
        _check_keys(arguments[0])
        return set(arguments[0]) if name == "set" else frozenset(arguments[0])
    raise _RefusedError(f"it calls numpy's {name} with odd arguments")


def _bytes(data: object) -> bytes:
    if isinstance(data, str):
        return data.encode("latin-1")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    raise ValueError(f"a {type(data).__name__} where bytes should be")


def _build_dtype(target: _Dtype, state: object) -> None:
    """Numpy's state: (version, byte order, subdtype, names, fields, ...)."""
    if type(state) is not tuple or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
        raise ValueError("a dtype in an odd state")
    if any(part is not None for part in state[2:5]):
        raise _RefusedError("it uses a structured dtype")
    target.order = state[1]


def _build_array(target: np.ndarray, state: object) -> None:
    """Numpy's state: (version, shape, dtype, is it Fortran-ordered, data)."""
    if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], _Dtype):
        raise ValueError("an array in an odd state")
    _, shape, declared, fortran, data = state
    if type(shape) is not tuple or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise ValueError("an array of an odd shape")
    if len(shape) > 32:
        raise ValueError("an array of too many axes")
    dtype, count = declared.real(), math.prod(shape)
    if dtype.kind == "O":
        if type(data) is not list or len(data) != count:
            raise ValueError("an array of objects of the wrong length")
    else:
        data = _bytes(data)
        if len(data) != count * dtype.itemsize:
            raise ValueError("an array of the wrong length")
        _check_characters(data, dtype)
    # Any: numpy's own stub asks for a numpy bool, which its code refuses.
    checked: Any = (1, shape, dtype, bool(fortran), data)
    target.__setstate__(checked)


def _check_characters(data: bytes, dtype: np.dtype[Any]) -> None:
    """Numpy takes any number for a character; Python breaks on those that are none."""
    if dtype.kind == "U":
        codes = np.frombuffer(data, dtype=np.dtype("u4").newbyteorder(dtype.byteorder))
        if ((codes > _LAST_CHARACTER) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise ValueError("a string of numbers that are no characters")

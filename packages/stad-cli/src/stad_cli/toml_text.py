"""Plain tables as TOML text: what the standard library reads and does not write."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

Value = str | bool | int | float | Sequence["Value"] | Mapping[str, "Value"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write(tables: Mapping[str, Value]) -> str:
    """TOML of strings, booleans, numbers, lists and nested tables; `tomllib` reads it back equal.

    Tables inside a list are written inline. Tuples come back as lists.

    Raises:
        TypeError: A value that TOML does not know, None among them.
    """
    lines: list[str] = []
    _table(tables, (), lines)
    return "\n".join(lines).strip() + "\n"


def _table(table: Mapping[str, Value], place: tuple[str, ...], lines: list[str]) -> None:
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if place and (values or not table):
        lines.extend(("", f"[{'.'.join(_key(part) for part in place)}]"))
    lines.extend(f"{_key(key)} = {_value(value)}" for key, value in values.items())
    for key, value in table.items():
        if isinstance(value, Mapping):
            _table(cast("Mapping[str, Value]", value), (*place, key), lines)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in pairs) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(inner) for inner in cast("Sequence[object]", value)) + "]"
    raise TypeError(f"TOML has no form for {type(value).__name__}: {value!r}")


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)  # shortest text that reads back equal; always has a point or an exponent


def _string(value: str) -> str:
    # JSON's escapes are TOML's as well, but for DEL, which TOML wants escaped and JSON does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

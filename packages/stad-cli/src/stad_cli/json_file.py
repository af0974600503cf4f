"""JSON files that a person can read: a line per key, and nothing that JSON does not know."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stad_cli.whole_file import naming, whole_file


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all; numbers that are not finite become null.

    Raises:
        OSError: It cannot be written.
    """
    with whole_file(path, "text") as file, naming(path):
        file.write(_object(finite(content), "") + "\n")


def finite(value: Any) -> Any:  # noqa: ANN401 - JSON is what it is
    """The same without the numbers that JSON does not have: they become None."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _object(table: Mapping[str, Any], indent: str) -> str:
    """A table with a line per key; lists stay on one line unless they hold tables."""
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_value(value, inner)}" for key, value in table.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}" if lines else "{}"


def _value(value: Any, indent: str) -> str:  # noqa: ANN401
    if isinstance(value, Mapping):
        return _object(value, indent)
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = [f"{indent} {_value(item, indent + ' ')}" for item in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)

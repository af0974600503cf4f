"""Columns of AVA's CSV by pyarrow (extra `fast`): the same values, several times as fast."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa  # pyright: ignore[reportMissingImports] - an extra
from numpy.typing import NDArray
from pyarrow import csv  # pyright: ignore[reportMissingImports]

# A column of few distinct texts: parts of (texts, place of each row's text among them).
Coded = list[tuple[list[str], NDArray[np.int32]]]

BOX = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Columns of 7 or 8 fields per line; `eighth` is None where there are 7."""

    video: Coded
    timestamp: Coded
    boxes: list[NDArray[np.float64]]
    action: Coded
    eighth: NDArray[np.float64] | None


def read(content: bytes) -> Columns | None:
    """The columns of a block of lines; None if lines differ in width or a field is no number.

    Numbers may be infinite or NaN. Texts are UTF-8.
    """
    width = content.partition(b"\n")[0].count(b",") + 1
    if width not in (7, 8):
        return None
    names = ("video", "timestamp", *BOX, "action", "eighth")[:width]
    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {name: text for name in ("video", "timestamp", "action")}
    kinds |= {name: pa.float64() for name in (*BOX, "eighth")}
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(column_names=list(names), block_size=1 << 21),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=kinds, null_values=[], strings_can_be_null=False
            ),
            # Arrow's own pool keeps what it once had.
            memory_pool=pa.system_memory_pool(),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return Columns(
        video=_coded(table["video"]),
        timestamp=_coded(table["timestamp"]),
        boxes=[table[name].to_numpy() for name in BOX],
        action=_coded(table["action"]),
        eighth=table["eighth"].to_numpy() if width == 8 else None,
    )


def _coded(column: Any) -> Coded:  # noqa: ANN401 (pyarrow has no types)
    return [(chunk.dictionary.to_pylist(), chunk.indices.to_numpy()) for chunk in column.chunks]

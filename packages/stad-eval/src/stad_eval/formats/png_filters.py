"""Undo the row filters of PNG for images of one byte per pixel or less.

"None", "Sub" and "Up" are sums along an axis. "Average" and "Paeth" predict each byte from the one
before it, so they have to be followed from left to right; where neither the residual nor the row
above changes, though, the prediction stays where it is, and masks change at few places in a row.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

SUB, UP, AVERAGE, PAETH = 1, 2, 3, 4
SINGLE: Final = [bytes([value]) for value in range(256)]


def unfilter(kinds: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes behind filtered `rows`, uint8 [H, S]; `kinds` [H] are filter types 0 to 4."""
    result = rows.copy()
    if not kinds.any():
        return result
    starts = np.flatnonzero(np.diff(kinds.astype(np.int16), prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), kinds.size], strict=True):
        kind, block = int(kinds[start]), result[start:end]
        if kind == SUB:
            np.cumsum(block, axis=1, dtype=np.uint8, out=block)
        elif kind == UP:
            if start:
                block[0] += result[start - 1]
            np.cumsum(block, axis=0, dtype=np.uint8, out=block)
        elif kind in (AVERAGE, PAETH):
            for row in range(start, end):
                above = result[row - 1] if row else np.zeros_like(result[0])
                result[row] = _followed(kind, result[row], above)
    return result


def _followed(
    kind: int, residual: NDArray[np.uint8], above: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """One row of filter "Average" or "Paeth", followed from change to change."""
    changes = residual != 0
    changes[1:] |= above[1:] != above[:-1]
    changes[0] |= above[0] != 0
    stops = [*np.flatnonzero(changes).tolist(), residual.size]
    deltas, ups = residual.tobytes(), above.tobytes()
    row = bytearray(residual.size)
    at = left = 0
    for stop, following in pairwise(stops):
        at = max(at, stop)
        while at < following:
            up = ups[at]
            if kind == AVERAGE:
                predicted = (left + up) >> 1
            else:
                predicted = _paeth(left, up, ups[at - 1] if at else 0)
            value = (deltas[at] + predicted) & 255
            row[at] = left = value
            at += 1
            # From here to the next change nothing moves if the prediction repeats the value.
            if kind == PAETH or (value + up) >> 1 == value:
                row[at:following] = SINGLE[value] * (following - at)
                at = following
    return np.frombuffer(bytes(row), dtype=np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    """The neighbour that is nearest to left + up - corner."""
    to_left, to_up = abs(up - corner), abs(left - corner)
    to_corner = abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner

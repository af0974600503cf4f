"""Fields of a comma-separated block of bytes, read a column at a time without a loop over rows.

Numbers written plainly ("0.326", "902") of up to 15 digits are read here, to the same bits as
`float` gives: their digits make a whole number below 2**53, and one division by a power of ten
rounds once. What is written in any other way is named, for `float` to read.
Suffix legend: N = fields, D = digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

COMMA, NEWLINE, DOT, ZERO = (ord(each) for each in ",\n.0")
MOST_DIGITS = 15
HASH = 0x9E3779B97F4A7C15


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Whole lines of a file, and where their fields lie.

    Attributes:
        data: uint8, the bytes; the last line ends in a newline.
        start, end: int64 [F], the fields' first byte and the one past their last.
        head: int64 [L], the first field of every line.
        width: int64 [L], how many fields it has; an empty line has one.
    """

    data: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    head: NDArray[np.int64]
    width: NDArray[np.int64]


def split_block(content: bytes) -> Block:
    """The fields of a block of lines, at each comma and newline; quotes have no meaning."""
    data = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", dtype=np.uint8)
    end = np.flatnonzero((data == COMMA) | (data == NEWLINE))
    last = np.flatnonzero(data[end] == NEWLINE)
    head = np.append(0, last[:-1] + 1)
    start = np.append(0, end[:-1] + 1)
    return Block(data=data, start=start, end=end, head=head, width=last + 1 - head)


def numbers(
    block: Block, fields: NDArray[np.int64], *, whole: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values of the given fields, float64 [N], and the places [n] of those that were not read.

    With `whole`, only digits are read, up to 12.
    """
    start, size = block.start[fields], block.end[fields] - block.start[fields]
    values = np.zeros(fields.size)
    odd: list[NDArray[np.int64]] = []
    dot = np.full(fields.size, -1) if whole else _dots(block, start, size)
    layout = size * 64 + dot + 1
    most = 12 if whole else MOST_DIGITS
    for each in _distinct(layout):
        rows = np.flatnonzero(layout == each)
        length, point = int(each) // 64, int(each) % 64 - 1
        digits = length - (point >= 0)
        if not 0 < digits <= most:
            odd.append(rows)
            continue
        text_ND = sliding_window_view(block.data, length)[start[rows]]
        if point >= 0:
            text_ND = np.delete(text_ND, point, axis=1)
        text_ND = text_ND - np.uint8(ZERO)
        bad = (text_ND > 9).any(axis=1)
        values[rows] = text_ND.astype(np.float64) @ 10.0 ** np.arange(digits - 1, -1, -1)
        if point >= 0:
            values[rows] /= 10.0 ** (digits - point)
        if bad.any():
            odd.append(rows[bad])
    return values, np.sort(np.concatenate(odd)) if odd else np.empty(0, dtype=np.int64)


def distinct_texts(
    block: Block, fields: NDArray[np.int64]
) -> tuple[list[bytes], NDArray[np.int64]]:
    """The distinct texts of the given fields, in order of appearance, and each field's place there.

    A text may be listed twice.
    """
    start, size = block.start[fields], block.end[fields] - block.start[fields]
    texts: list[tuple[int, bytes]] = []
    place = np.zeros(fields.size, dtype=np.int64)
    for each in _distinct(size):
        rows = np.flatnonzero(size == each)
        first, group = _equal_texts(block, start[rows], int(each))
        place[rows] = group + len(texts)
        for row in rows[first].tolist():
            at = int(start[row])
            texts.append((row, block.data[at : at + int(each)].tobytes()))
    order = sorted(range(len(texts)), key=lambda at: texts[at][0])
    back = np.empty(len(texts), dtype=np.int64)
    back[order] = np.arange(len(texts))
    return [texts[at][1] for at in order], back[place]


def _dots(block: Block, start: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in each field the first dot stands, int64 [N]; -1 for none among the first 32 bytes."""
    dot = np.full(start.size, -1)
    # Nearly always it follows the first digit.
    open_rows = np.arange(start.size)
    for at in (1, 0, *range(2, 32)):
        inside = open_rows[size[open_rows] > at]
        here = inside[block.data[start[inside] + at] == DOT]
        dot[here] = at
        open_rows = inside[dot[inside] < 0] if at != 1 else open_rows[dot[open_rows] < 0]
        if open_rows.size == 0:
            break
    return dot


def _equal_texts(
    block: Block, start: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of texts of one length: the first row of each distinct one, and which one each row has."""
    if length == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(start.size, dtype=np.int64)
    text = np.zeros((start.size, -(-length // 8) * 8), dtype=np.uint8)
    text[:, :length] = sliding_window_view(block.data, length)[start]
    words = text.view(np.uint64)
    # Files are mostly sorted by video: only where the text changes is it looked at.
    change = np.append(True, (words[1:] != words[:-1]).any(axis=1))
    heads = np.flatnonzero(change)
    factors = np.uint64(HASH) ** np.arange(1, words.shape[1] + 1, dtype=np.uint64)
    hashes = (words[heads] * factors).sum(axis=1, dtype=np.uint64)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    if (words[heads] != words[heads[first]][group]).any():
        # Two texts of one hash: compare them in full.
        rows = words[heads].view(f"V{words.shape[1] * 8}").ravel()
        _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    return heads[first], group.ravel()[np.cumsum(change) - 1]


def _distinct(values: NDArray[np.int64]) -> list[int]:
    """The distinct values of a small range; a bad file may hold a very long field."""
    if values.size == 0:
        return []
    if int(values.max()) < 1 << 16:
        return np.flatnonzero(np.bincount(values)).tolist()
    return np.unique(values).tolist()

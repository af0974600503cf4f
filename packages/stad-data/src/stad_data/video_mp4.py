"""The table of samples in an MP4 or MOV file, without reading its packets.

FFmpeg loads this table when it opens the file, but gives it out row by row and without presentation
times. Source: ISO/IEC 14496-12, 8.6.1 (times), 8.6.2 (sync samples), 8.6.6 (edits), 8.7 (places).

Suffix legend: P = samples, which are the packets in decoding order; C = chunks of samples.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_LARGEST_HEADER = 2**28  # bytes of `moov`; a day of video has a tenth of it
_MOST_SAMPLES = 2**24
_TRACK_ID_AT = {0: 12, 1: 20}  # in `tkhd`, by version


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleTable:
    """One track's samples in decoding order.

    Attributes:
        pos_P: place in the file.
        size_P: bytes.
        dts_P: decoding times in ticks of the track, from 0.
        pts_P: presentation times on the same clock.
        key_P: whether decoding may begin there.
    """

    pos_P: NDArray[np.int64]
    size_P: NDArray[np.int64]
    dts_P: NDArray[np.int64]
    pts_P: NDArray[np.int64]
    key_P: NDArray[np.bool_]


def sample_table(path: Path, track: int) -> SampleTable | None:
    """Read the table of samples of a track.

    Args:
        path: the file.
        track: id of the track.

    Returns:
        None where the table is not all there is to know: fragments, edits that hide or repeat
        samples, no such track, no sample, anything malformed.
    """
    try:
        header = _movie_header(path)
        return None if header is None else _table(header, track)
    except (struct.error, ValueError, OSError):
        return None


def _movie_header(path: Path) -> bytes | None:
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            start = 8
            if length == 1:
                length, start = int.from_bytes(head[8:16], "big"), 16
            if head[4:8] == b"moov":
                if not start <= length <= _LARGEST_HEADER:
                    return None
                file.seek(position + start)
                return file.read(length - start)
            if length < start:
                return None
            position += length
    return None


def _table(header: bytes, track: int) -> SampleTable | None:
    if _first(header, b"mvex") is not None:
        return None
    content = next(
        (b for name, b in _boxes(header) if name == b"trak" and _track_id(b) == track), b""
    )
    table = _inside(content, b"mdia", b"minf", b"stbl")
    names = (b"stsz", b"stts", b"stsc")
    boxes = [None if table is None else _first(table, name) for name in names]
    places = None if table is None else _places(table)
    if table is None or places is None or None in boxes:
        return None
    sizes, durations, chunks = (box for box in boxes if box is not None)
    size_P = _sizes(sizes)
    steps_P = _expanded(durations, size_P.size)
    offsets = _first(table, b"ctts")
    offsets_P = np.zeros_like(size_P) if offsets is None else _expanded(offsets, size_P.size)
    pos_P = _positions(places, chunks, size_P)
    if not size_P.size or steps_P is None or offsets_P is None or pos_P is None:
        return None
    dts_P = np.cumsum(steps_P) - steps_P
    pts_P = dts_P + offsets_P
    if not _hides_nothing(content, int(pts_P.min())):
        return None
    return SampleTable(
        pos_P=pos_P,
        size_P=size_P,
        dts_P=dts_P,
        pts_P=pts_P,
        key_P=_keys(_first(table, b"stss"), size_P.size),
    )


def _sizes(box: bytes) -> NDArray[np.int64]:
    same, count = struct.unpack_from(">II", box, 4)
    if same:
        # A count without bytes behind it: it must not make us allocate whatever it says.
        return np.full(min(count, _MOST_SAMPLES), same, dtype=np.int64)
    return np.frombuffer(box, dtype=">u4", count=count, offset=12).astype(np.int64)


def _places(table: bytes) -> NDArray[np.int64] | None:
    """Where each chunk of samples begins."""
    for name, kind in ((b"stco", ">u4"), (b"co64", ">i8")):
        box = _first(table, name)
        if box is not None:
            (count,) = struct.unpack_from(">I", box, 4)
            return np.frombuffer(box, dtype=kind, count=count, offset=8).astype(np.int64)
    return None


def _positions(
    places_C: NDArray[np.int64], chunks: bytes, size_P: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Where each sample begins: behind the one before, in its chunk."""
    (count,) = struct.unpack_from(">I", chunks, 4)
    runs = np.frombuffer(chunks, dtype=">u4", count=3 * count, offset=8).reshape(-1, 3)
    begins, per_chunk = runs[:, 0].astype(np.int64) - 1, runs[:, 1].astype(np.int64)
    if not count or begins[0] != 0 or (np.diff(begins) <= 0).any() or begins[-1] >= places_C.size:
        return None
    samples_C = np.repeat(per_chunk, np.diff(np.append(begins, places_C.size)))
    if (samples_C < 1).any() or samples_C.sum() != size_P.size:
        return None
    before_P = np.cumsum(size_P) - size_P
    first_C = np.cumsum(samples_C) - samples_C
    return np.repeat(places_C - before_P[first_C], samples_C) + before_P


def _keys(box: bytes | None, samples: int) -> NDArray[np.bool_]:
    """No table means that every sample is a key."""
    if box is None:
        return np.ones(samples, dtype=bool)
    (count,) = struct.unpack_from(">I", box, 4)
    numbers = np.frombuffer(box, dtype=">u4", count=count, offset=8).astype(np.int64) - 1
    keys = np.zeros(samples, dtype=bool)
    keys[numbers[(numbers >= 0) & (numbers < samples)]] = True
    return keys


def _expanded(box: bytes, samples: int) -> NDArray[np.int64] | None:
    """Run lengths to one value per sample."""
    (entries,) = struct.unpack_from(">I", box, 4)
    pairs = np.frombuffer(box, dtype=">u4", count=2 * entries, offset=8).reshape(-1, 2)
    counts = pairs[:, 0].astype(np.int64)
    if counts.sum() != samples:
        return None
    # Unsigned by the letter, but writers put negative offsets there, and readers take them so.
    return np.repeat(pairs[:, 1].astype(np.uint32).view(np.int32).astype(np.int64), counts)


def _hides_nothing(track: bytes, first: int) -> bool:
    """Whether the track is shown once and whole; a delay before it does not matter.

    Where its only edit ends too early, FFmpeg's own index is shorter, which the caller sees.
    """
    edits = _inside(track, b"edts")
    table = None if edits is None else _first(edits, b"elst")
    if table is None:
        return True
    version, (entries,) = table[0], struct.unpack_from(">I", table, 4)
    form = ">QqI" if version == 1 else ">IiI"
    rows = [row for row in struct.iter_unpack(form, table[8:])][:entries]
    shown = [row for row in rows if row[1] != -1]
    return len(shown) <= 1 and all(start <= first and rate == 1 << 16 for _, start, rate in shown)


def _track_id(track: bytes) -> int | None:
    head = _first(track, b"tkhd")
    at = None if not head else _TRACK_ID_AT.get(head[0])
    return None if head is None or at is None else struct.unpack_from(">I", head, at)[0]


def _inside(box: bytes, *names: bytes) -> bytes | None:
    found: bytes | None = box
    for name in names:
        found = None if found is None else _first(found, name)
    return found


def _first(box: bytes, wanted: bytes) -> bytes | None:
    return next((content for name, content in _boxes(box) if name == wanted), None)


def _boxes(box: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(box):
        length = int.from_bytes(box[position : position + 4], "big")
        if length < 8 or position + length > len(box):
            return
        yield box[position + 4 : position + 8], box[position + 8 : position + length]
        position += length

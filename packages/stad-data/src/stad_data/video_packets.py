"""The packets of a video file, one row each, and what they tell about its frames.

Suffix legend: P = packets in the file's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_data.video_mp4 import SampleTable, sample_table
from stad_data.video_source import DamageError, VideoSource

NONE = int(np.iinfo(np.int64).min)
"""Stands for a timestamp or place that is not known."""

# Containers whose presentation timestamps are written per frame by the muxer. Elsewhere (AVI, raw
# streams, MPEG-PS/TS) they are guessed while demuxing, and only decoding tells the order.
_TIMED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
# Codecs of these names hold packets that show nothing: VP8's alternate references; MPEG-4's
# placeholders, which are told by their size.
_HIDDEN_PICTURES = frozenset({"vp8"})
_PLACEHOLDERS = frozenset({"mpeg4", "msmpeg4v3"})
_PLACEHOLDER_BYTES = 20
_CONFIRMED = 3  # packets
_COMPARED = 24  # rows
_KEY_FLAG = 1  # AVINDEX_KEYFRAME
# MPEG-4 Part 2, as in AVI files and raw streams, shows its pictures in the file's order when none
# is bidirectional.
_SEQUENTIAL_FORMATS = frozenset({"avi", "m4v"})
_PICTURE_START = b"\0\0\1\xb6"
_VOP_I, _VOP_P = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PacketTable:
    """What is known of each packet without decoding it.

    Attributes:
        pos_P: place in the file, `NONE` where not known.
        pts_P: when its picture is shown, in ticks, `NONE` where not known.
        dts_P: when it is decoded, in ticks, `NONE` where not known.
        key_P: whether the file calls it a keyframe.
        discard_P: whether the container hides its picture.
        size_P: bytes.
        sequential: whether each packet is known to be one picture, shown in the file's order.
        corrupt: whether any packet is cut short.
        damage: what ends the table early; None: nothing.
    """

    pos_P: NDArray[np.int64]
    pts_P: NDArray[np.int64]
    dts_P: NDArray[np.int64]
    key_P: NDArray[np.bool_]
    discard_P: NDArray[np.bool_]
    size_P: NDArray[np.int64]
    sequential: bool = False
    corrupt: bool = False
    damage: str | None = None

    def __len__(self) -> int:
        return self.pos_P.size


def has_timed_packets(source: VideoSource) -> bool:
    """Whether the container writes when each frame is shown."""
    return bool(_TIMED_FORMATS & set(source.format_name.split(",")))


def may_tell(source: VideoSource) -> bool:
    """Whether packets can tell the order of frames in such a file at all."""
    return has_timed_packets(source) or _may_be_sequential(source)


def _may_be_sequential(source: VideoSource) -> bool:
    codec = source.stream.codec_context.name
    return source.format_name in _SEQUENTIAL_FORMATS and codec == "mpeg4"


def demuxed(source: VideoSource) -> PacketTable:
    """The table from reading all packets, from the file's first."""
    source.rewind()
    sequential = _may_be_sequential(source)
    rows: list[tuple[int | None, int | None, int | None, bool, bool, int]] = []
    corrupt = False
    damage: str | None = None
    try:
        for packet in source.packets():
            place = packet.pos, packet.pts, packet.dts
            rows.append((*place, packet.is_keyframe, packet.is_discard, packet.size))
            corrupt |= packet.is_corrupt
            sequential = sequential and _shown_at_once(bytes(packet))
    except DamageError as error:
        damage = str(error)
    missing = source.missing_bytes() if damage is None else 0
    if missing:
        damage = f"the file was cut off: {missing} bytes are missing at its end"
    pos, pts, dts, key, discard, size = zip(*rows, strict=True) if rows else ((),) * 6
    return PacketTable(
        pos_P=_known(pos),
        pts_P=_known(pts),
        dts_P=_known(dts),
        key_P=np.array(key, np.bool_),
        discard_P=np.array(discard, np.bool_),
        size_P=np.array(size, np.int64),
        sequential=sequential,
        corrupt=corrupt,
        damage=damage,
    )


def _known(values: Sequence[int | None]) -> NDArray[np.int64]:
    return np.array([NONE if value is None else value for value in values], np.int64)


def may_be_listed(source: VideoSource) -> bool:
    """Whether the file may bring along a table of its packets."""
    return "mp4" in source.format_name.split(",") and hasattr(source.stream, "index_entries")


def listed(source: VideoSource) -> PacketTable | None:
    """The table from the file's own, much quicker; None where that does not tell all.

    It has to agree with the one that FFmpeg made, in length and in rows here and there, and with
    the first packets read.
    """
    if not may_be_listed(source) or source.missing_bytes():
        return None
    entries = source.stream.index_entries
    samples = sample_table(source.path, source.stream.id)
    if samples is None or samples.pos_P.size != len(entries):
        return None
    last = len(entries) - 1
    origin = entries[0].timestamp - int(samples.dts_P[0])
    for number in {*np.linspace(0, last, _COMPARED).astype(int).tolist(), min(1, last)}:
        entry = entries[number]
        flags = _KEY_FLAG if samples.key_P[number] else 0
        place = samples.pos_P[number], samples.size_P[number], samples.dts_P[number] + origin
        if (entry.pos, entry.size, entry.timestamp) != place or entry.flags != flags:
            return None
    if (samples.pos_P + samples.size_P).max() > source.path.stat().st_size:
        return None
    return _confirmed(source, samples, origin)


def _confirmed(source: VideoSource, samples: SampleTable, origin: int) -> PacketTable | None:
    """The table on FFmpeg's clock, where the first packets are what it says."""
    first = source.peek(_CONFIRMED)
    if not 0 < len(first) <= samples.pos_P.size or first[0].pts is None:
        return None
    dts_P = samples.dts_P + origin
    pts_P = samples.pts_P + (first[0].pts - int(samples.pts_P[0]))
    for number, packet in enumerate(first):
        due = samples.pos_P[number], pts_P[number], dts_P[number]
        if (packet.pos, packet.pts, packet.dts) != due:
            return None
    return PacketTable(
        pos_P=samples.pos_P,
        pts_P=pts_P,
        dts_P=dts_P,
        key_P=samples.key_P,
        discard_P=np.zeros(samples.key_P.size, dtype=bool),
        size_P=samples.size_P,
    )


def frame_order(source: VideoSource, table: PacketTable) -> NDArray[np.int64] | None:
    """Packets in the order in which their pictures are shown; None where only decoding tells."""
    if table.damage is not None or table.corrupt or not len(table) or not table.key_P[0]:
        return None
    codec = source.stream.codec_context.name
    if codec in _HIDDEN_PICTURES:
        return None
    if codec in _PLACEHOLDERS and table.size_P.min() < _PLACEHOLDER_BYTES:
        return None
    if not has_timed_packets(source):
        return np.arange(len(table)) if table.sequential and not table.discard_P.any() else None
    shown = np.flatnonzero(~table.discard_P)
    pts = table.pts_P[shown]
    # A frame shown before the first keyframe has lost what it was predicted from.
    if not pts.size or (table.pts_P == NONE).any() or pts.min() < table.pts_P[0]:
        return None
    return shown[np.argsort(pts, kind="stable")] if np.unique(pts).size == pts.size else None


def _shown_at_once(data: bytes) -> bool:
    """Whether a packet of MPEG-4 Part 2 is one picture that no later packet's comes before.

    The two bits behind the start code of a picture (VOP) tell its kind: I, P, B or S. Source:
    ISO/IEC 14496-2, 6.2.5.
    """
    at = data.find(_PICTURE_START)
    if at < 0 or at + 4 >= len(data) or data.find(_PICTURE_START, at + 4) >= 0:
        return False
    return data[at + 4] >> 6 in (_VOP_I, _VOP_P)

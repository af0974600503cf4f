"""Which packet shows which frame: the table behind exact random access.

Suffix legend: P = packets in the file's order; N = frames in the order shown; K = keyframes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_source import DamageError, LostError, VideoSource

# Containers whose presentation timestamps are written per frame by the muxer. Elsewhere (AVI, raw
# streams, MPEG-PS/TS) they are guessed while demuxing, and only decoding tells the order.
_TIMED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
# Codecs of these names hold packets that show nothing: VP8's alternate references; MPEG-4's
# placeholders, which are told by their size.
_HIDDEN_PICTURES = frozenset({"vp8"})
_PLACEHOLDERS = frozenset({"mpeg4", "msmpeg4v3"})
_PLACEHOLDER_BYTES = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """Frames of one video in the order shown, and the packets to decode for them.

    Attributes:
        rank_P: index of the frame that a packet shows, -1 for none.
        times_N: seconds after the first frame, strictly increasing.
        start_ranks_K: index of the first frame to be had by decoding from a keyframe; increasing.
        start_packets_K: the keyframe's packet; increasing.
        stamps_K: where to seek for it, in ticks of the stream.
        identity: packet attribute ("pos" or "pts") that no two packets share; None: there is none.
        identities_P: its values.
        labelled: False when the decoder labels pictures so that only counting them from the first
            tells them apart; then no packet has a rank.
        proven: True when the frames were counted by decoding all of them.
        damage: what stops the decoder after the last frame; None for an undamaged file.
    """

    rank_P: NDArray[np.int64]
    times_N: NDArray[np.float64]
    start_ranks_K: NDArray[np.int64]
    start_packets_K: NDArray[np.int64]
    stamps_K: NDArray[np.int64]
    identity: str | None
    identities_P: NDArray[np.int64]
    labelled: bool
    proven: bool
    damage: str | None

    def __len__(self) -> int:
        return self.times_N.size

    def start_for(self, rank: int) -> int:
        """Position in the keyframe table from which decoding reaches the frame soonest."""
        return max(0, int(np.searchsorted(self.start_ranks_K, rank, side="right")) - 1)

    def packet_number(self, packet: Packet) -> int:
        """A demuxed packet's number in the file's order.

        Raises:
            LostError: the packet is not one of those that were indexed.
        """
        found: int | None = getattr(packet, self.identity) if self.identity else None
        number = None if found is None else self._numbers.get(found)
        if number is None:
            raise LostError(f"no packet with {self.identity} {found}")
        return number

    @cached_property
    def ranks(self) -> list[int]:
        """`rank_P` as a list, which is quicker to look into one by one."""
        return self.rank_P.tolist()

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {value: number for number, value in enumerate(self.identities_P.tolist())}


def build_index(source: VideoSource, fps: float) -> VideoIndex:
    """Index a video; decodes it only where packets do not tell.

    Packets tell where the container writes a timestamp for every frame, each codec packet shows
    one frame, and nothing is missing. The index of any other file comes from `prove_index`.
    """
    source.rewind()
    packets = _demux(source)
    if packets.damage is None and _packets_tell(source, packets):
        pts_P = np.array(packets.pts, dtype=np.int64)
        shown = np.flatnonzero(~np.array(packets.discard, dtype=bool))
        order_N = shown[np.argsort(pts_P[shown], kind="stable")]
        return _assemble(source, packets, order_N, fps, proven=False, damage=None)
    return _prove(source, packets, fps)


def prove_index(source: VideoSource, fps: float) -> VideoIndex:
    """Index a video by decoding all of it up to its end or first damage."""
    source.rewind()
    packets = _demux(source)
    return _prove(source, packets, fps)


def decode_from(
    source: VideoSource, index: VideoIndex, start: int
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode from a keyframe on; yields (frame index, picture), -1 for a picture not indexed.

    Args:
        source: the file that was indexed, at any position.
        index: its index.
        start: position in the index's table of keyframes.

    Raises:
        DamageError: after the last picture that could still be had.
        LostError: a packet that was not indexed.
    """
    first = int(index.start_packets_K[start])
    first_shown = int(index.start_ranks_K[start])
    ranks = index.ranks
    # Frames counted by strict decoding are known to be sound.
    strict = not index.proven
    if strict != source.strict:
        source.rewind(threads=1 if index.damage else None, strict=strict)
    if index.identity is not None and _sought(source, index, start):
        label = index.packet_number
    else:
        source.rewind(strict=strict)
        label = _counted()

    def skipped(number: int) -> bool:
        # Pictures shown before the keyframe may hang on ones that were not decoded.
        return number < first or -1 < ranks[number] < first_shown

    def pictures() -> Iterator[tuple[int, VideoFrame]]:
        try:
            yield from source.decode(label, skipped=skipped)
        except DamageError:
            yield from source.remaining()
            raise

    for place, (number, picture) in enumerate(pictures()):
        if index.labelled:
            yield (ranks[number] if number >= 0 else -1), picture
        else:
            yield place, picture


def _counted() -> Callable[[Packet], int]:
    """Numbers packets as they come, for a file that stands at its first."""
    numbers = count()
    return lambda _: next(numbers)


def _sought(source: VideoSource, index: VideoIndex, start: int) -> bool:
    """Whether seeking put the file at or before the keyframe's packet."""
    first = int(index.start_packets_K[start])
    for earlier in dict.fromkeys((start, max(0, start - 1))):
        stamp = int(index.stamps_K[earlier])
        try:
            source.seek(stamp)
            packet = next(source.packets(), None)
            if packet is None or index.packet_number(packet) > first:
                continue
            source.seek(stamp)
        except (DamageError, LostError):
            continue
        return True
    return False


def frame_times(stamps: Sequence[int | None], tick: float | None, fps: float) -> list[float]:
    """Seconds after the first frame; a missing or backward stamp means one frame's duration more.

    Args:
        stamps: presentation timestamps in the order shown, in ticks.
        tick: seconds per tick; None when the stamps are not to be trusted at all.
        fps: nominal frames per second.
    """
    clock = FrameClock(tick, fps)
    return [clock.advance(stamp) for stamp in stamps]


@dataclass(kw_only=False)
class FrameClock:
    """Turns presentation timestamps into strictly increasing seconds, one frame at a time."""

    tick: float | None
    fps: float
    _zero: float | None = field(default=None, init=False)
    _last: float | None = field(default=None, init=False)

    def advance(self, stamp: int | None) -> float:
        """Seconds of the next frame; the first one's are 0."""
        if self._last is None:
            self._last = 0.0
            if self.tick is not None and stamp is not None:
                self._zero = stamp * self.tick
            return 0.0
        step = self._last + 1 / self.fps
        if self.tick is not None and stamp is not None:
            if self._zero is None:
                self._zero = stamp * self.tick - step
            seconds = stamp * self.tick - self._zero
            step = seconds if seconds > self._last else step
        self._last = step
        return step


def tick_of(source: VideoSource) -> float | None:
    """Seconds per tick of the stream, None where its timestamps are not to be trusted."""
    base = source.stream.time_base
    return float(base) if base and source.has_trusted_times else None


@dataclass(kw_only=True)
class _Packets:
    """What demuxing the whole stream told, one entry per packet."""

    pos: list[int | None] = field(default_factory=list)
    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    key: list[bool] = field(default_factory=list)
    discard: list[bool] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    corrupt: bool = False
    damage: str | None = None


def _demux(source: VideoSource) -> _Packets:
    found = _Packets()
    try:
        for packet in source.packets():
            found.pos.append(packet.pos)
            found.pts.append(packet.pts)
            found.dts.append(packet.dts)
            found.key.append(packet.is_keyframe)
            found.discard.append(packet.is_discard)
            found.size.append(packet.size)
            found.corrupt |= packet.is_corrupt
    except DamageError as damage:
        found.damage = str(damage)
    if found.damage is None:
        missing = source.missing_bytes()
        if missing:
            found.damage = f"the file was cut off: {missing} bytes are missing at its end"
    return found


def _packets_tell(source: VideoSource, packets: _Packets) -> bool:
    if not _TIMED_FORMATS & set(source.format_name.split(",")):
        return False
    codec = source.stream.codec_context.name
    placeholder = codec in _PLACEHOLDERS and min(packets.size, default=0) < _PLACEHOLDER_BYTES
    if codec in _HIDDEN_PICTURES or placeholder or packets.corrupt or not packets.pts:
        return False
    if not packets.key[0] or any(stamp is None for stamp in packets.pts):
        return False
    pts_P = np.array(packets.pts, dtype=np.int64)
    shown = ~np.array(packets.discard, dtype=bool)
    unique = np.unique(pts_P[shown]).size == np.count_nonzero(shown)
    # A frame shown before the first keyframe has lost what it was predicted from.
    return bool(unique and shown.any() and pts_P[shown].min() >= pts_P[0])


def _prove(source: VideoSource, packets: _Packets, fps: float) -> VideoIndex:
    # With one thread the decoder reports damage at the packet that holds it.
    threads = source.threads
    source.rewind(threads=1)
    order: list[int] = []
    damage = packets.damage
    try:
        for number, _ in source.decode(_counted(), finish=packets.damage is None):
            order.append(number)
    except DamageError as error:
        held_back = [] if damage else [number for number, _ in source.remaining()]
        damage = damage or str(error)
        ranks = _ranks_by_stamp(packets) if source.has_trusted_times else None
        order = _sound(order, held_back, ranks, error.number)
    source.rewind(threads=threads)
    return _assemble(source, packets, np.array(order, np.int64), fps, proven=True, damage=damage)


def _ranks_by_stamp(packets: _Packets) -> list[int] | None:
    """Each packet's place in the order shown as its timestamps have it, None where they fail."""
    if any(stamp is None for stamp in packets.pts) or len(set(packets.pts)) != len(packets.pts):
        return None
    place = np.empty(len(packets.pts), dtype=np.int64)
    place[np.argsort(np.array(packets.pts, dtype=np.int64))] = np.arange(place.size)
    return place.tolist()


def _sound(
    order: list[int], held_back: list[int], ranks: list[int] | None, broken: int | None
) -> list[int]:
    """Packets of the frames before damage, in the order shown.

    Args:
        order: those that the decoder showed before it met the damage.
        held_back: those that it showed when it was asked to finish; it may have lost some.
        ranks: by packet, its place in the order shown; None when not known.
        broken: the packet that does not decode. Pictures decoded after it may lean on it.
    """
    sound = list(order)
    if ranks is not None:
        for number in held_back:
            if sound and ranks[number] != ranks[sound[-1]] + 1:
                break
            sound.append(number)
    if broken is not None:
        tainted = (place for place, number in enumerate(sound) if number >= broken)
        sound = sound[: next(tainted, len(sound))]
    return sound


def _assemble(
    source: VideoSource,
    packets: _Packets,
    order_N: NDArray[np.int64],
    fps: float,
    *,
    proven: bool,
    damage: str | None,
) -> VideoIndex:
    rank_P = np.full(len(packets.pts), -1, dtype=np.int64)
    # Where a decoder labels two pictures alike, only counting from the start tells them apart.
    labelled = np.unique(order_N).size == order_N.size and bool((order_N >= 0).all())
    if labelled:
        rank_P[order_N] = np.arange(order_N.size)
    stamps = [packets.pts[number] if number >= 0 else None for number in order_N.tolist()]
    starts = _starts(packets, rank_P) if labelled else [(0, 0)]
    identity, identities = _identity(packets)
    return VideoIndex(
        rank_P=rank_P,
        times_N=np.array(frame_times(stamps, tick_of(source), fps), dtype=np.float64),
        start_ranks_K=np.array([rank for rank, _ in starts], dtype=np.int64),
        start_packets_K=np.array([number for _, number in starts], dtype=np.int64),
        stamps_K=np.array([_stamp(packets, number) for _, number in starts], dtype=np.int64),
        identity=identity if labelled else None,
        identities_P=np.array(identities, dtype=np.int64),
        labelled=labelled,
        proven=proven,
        damage=damage,
    )


def _starts(packets: _Packets, rank_P: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(first frame, packet) of each keyframe to start from, both increasing; packet 0 leads."""
    starts = [(0, 0)]
    for number, (key, rank) in enumerate(zip(packets.key, rank_P.tolist(), strict=True)):
        if key and rank > starts[-1][0] and number > starts[-1][1]:
            starts.append((rank, number))
    return starts


def _stamp(packets: _Packets, number: int) -> int:
    for stamps in (packets.dts, packets.pts):
        if number < len(stamps):
            stamp = stamps[number]
            if stamp is not None:
                return stamp
    return 0


def _identity(packets: _Packets) -> tuple[str | None, list[int]]:
    for name, values in (("pos", packets.pos), ("pts", packets.pts)):
        known = [value for value in values if value is not None]
        if len(known) == len(values) == len(set(known)):
            return name, known
    return None, []

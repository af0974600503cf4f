"""Which packet shows which frame: the table behind exact random access.

Suffix legend: P = packets in the file's order; N = frames in the order shown; K = keyframes.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import count

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_packets import (
    NONE,
    PacketTable,
    demuxed,
    frame_order,
    has_timed_packets,
    listed,
    may_tell,
)
from stad_data.video_source import DamageError, LostError, VideoSource
from stad_data.video_times import Timeline, constant_rate, frame_times


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex(Timeline):
    """Frames of one video in the order shown, and the packets to decode for them.

    Attributes:
        rank_P: index of the frame that a packet shows, -1 for none.
        start_ranks_K: index of the first frame to be had by decoding from a keyframe; increasing.
        start_packets_K: the keyframe's packet; increasing.
        stamps_K: where to seek for it, in ticks of the stream.
        identity: packet attribute ("pos" or "pts") that no two packets share; None: there is none.
        identities_P: its values.
        labelled: False when the decoder labels pictures so that only counting them from the first
            tells them apart; then no packet has a rank.
        proven: True when the frames were counted by decoding all of them.
        cut: True where the container hides packets of the stream (an edit list).
    """

    rank_P: NDArray[np.int64]
    start_ranks_K: NDArray[np.int64]
    start_packets_K: NDArray[np.int64]
    stamps_K: NDArray[np.int64]
    identity: str | None
    identities_P: NDArray[np.int64]
    labelled: bool
    proven: bool
    cut: bool

    def start_for(self, rank: int) -> int:
        """Position in the keyframe table from which decoding reaches the frame soonest."""
        return max(0, bisect_right(self._start_ranks, rank) - 1)

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
    def _start_ranks(self) -> list[int]:
        return self.start_ranks_K.tolist()

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {value: number for number, value in enumerate(self.identities_P.tolist())}


def build_index(source: VideoSource, fps: float) -> VideoIndex:
    """Index a video; decodes it only where packets do not tell.

    Packets tell where the container writes a timestamp for every frame, or the codec shows its
    pictures in the file's order; each packet shows one frame, and nothing is missing. The index of
    any other file comes from `prove_index`.
    """
    return packet_index(source, fps) or prove_index(source, fps)


def packet_index(source: VideoSource, fps: float) -> VideoIndex | None:
    """Index a video without decoding; None where packets do not tell."""
    if not may_tell(source):
        return None
    packets = listed(source) or demuxed(source)
    order_N = frame_order(source, packets)
    if order_N is None:
        return None
    return _assemble(source, packets, order_N, fps, proven=False, damage=None)


def prove_index(source: VideoSource, fps: float) -> VideoIndex:
    """Index a video by decoding all of it up to its end or first damage."""
    return _prove(source, demuxed(source), fps)


def decode_from(
    source: VideoSource,
    index: VideoIndex,
    start: int,
    needed: Callable[[int], bool] = lambda _: True,
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode from a keyframe on; yields (frame index, picture), -1 for a picture not indexed.

    Args:
        source: the file that was indexed, at any position.
        index: its index.
        start: position in the index's table of keyframes.
        needed: whether a frame has to come; others may be left out, where that is quicker and
            changes nothing for the rest.

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
    at_start = first == 0 and source.untouched
    before = None if at_start or index.identity is None else _sought(source, index, start)
    label = _counted() if before is None else index.packet_number
    if before is None:
        source.rewind(strict=strict)
    selective = index.labelled and source.can_skip

    def skipped(number: int) -> bool:
        # Pictures shown before the keyframe may hang on ones that were not decoded.
        return number < first or -1 < ranks[number] < first_shown

    def needed_packet(number: int) -> bool:
        return not selective or ranks[number] < 0 or needed(ranks[number])

    def pictures() -> Iterator[tuple[int, VideoFrame]]:
        try:
            yield from source.decode(label, skipped=skipped, needed=needed_packet, before=before)
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


def _sought(source: VideoSource, index: VideoIndex, start: int) -> Packet | None:
    """The packet that seeking leads to, at or before a keyframe's; None where it leads past it."""
    first = int(index.start_packets_K[start])
    for earlier in dict.fromkeys((start, max(0, start - 1))):
        try:
            source.seek(int(index.stamps_K[earlier]))
            packet = next(source.packets(), None)
            if packet is not None and index.packet_number(packet) <= first:
                return packet
        except (DamageError, LostError):
            continue
    return None


def tick_of(source: VideoSource) -> float | None:
    """Seconds per tick of the stream, None where its timestamps are not to be trusted."""
    base = source.stream.time_base
    return float(base) if base and source.has_trusted_times else None


def _prove(source: VideoSource, packets: PacketTable, fps: float) -> VideoIndex:
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


def _ranks_by_stamp(packets: PacketTable) -> list[int] | None:
    """Each packet's place in the order shown as its timestamps have it, None where they fail."""
    stamps_P = packets.pts_P
    if (stamps_P == NONE).any() or np.unique(stamps_P).size != stamps_P.size:
        return None
    place = np.empty(stamps_P.size, dtype=np.int64)
    place[np.argsort(stamps_P)] = np.arange(place.size)
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
    packets: PacketTable,
    order_N: NDArray[np.int64],
    fps: float,
    *,
    proven: bool,
    damage: str | None,
) -> VideoIndex:
    rank_P = np.full(len(packets), -1, dtype=np.int64)
    # Where a decoder labels two pictures alike, only counting from the start tells them apart.
    labelled = _differ(order_N) and bool((order_N >= 0).all())
    if labelled:
        rank_P[order_N] = np.arange(order_N.size)
    stamps_N = np.where(order_N >= 0, packets.pts_P[order_N], NONE) if order_N.size else order_N
    times_N, rate = _times(source, stamps_N, fps)
    starts_K = _starts(packets, rank_P) if labelled else np.zeros(1, dtype=np.int64)
    identity, identities_P = _identity(packets)
    return VideoIndex(
        rank_P=rank_P,
        times_N=times_N,
        rate=rate,
        start_ranks_K=np.concatenate([[0], rank_P[starts_K[1:]]]).astype(np.int64),
        start_packets_K=starts_K,
        stamps_K=_seek_stamps(packets, starts_K, timed=has_timed_packets(source)),
        identity=identity if labelled else None,
        identities_P=identities_P,
        labelled=labelled,
        proven=proven,
        cut=bool(packets.discard_P.any()),
        damage=damage,
    )


def _times(
    source: VideoSource, stamps_N: NDArray[np.int64], fps: float
) -> tuple[NDArray[np.float64], Fraction | None]:
    """Seconds after the first frame, and the rate where it is constant."""
    tick, base = tick_of(source), source.stream.time_base
    if tick is None or base is None:
        rate = source.declared_rates[0]
    elif (stamps_N == NONE).any():
        rate = None
    else:
        rate = constant_rate(stamps_N, base, source.declared_rates)
        if rate is None and (np.diff(stamps_N) > 0).all():
            return stamps_N * tick - stamps_N[:1] * tick, None
    if rate is None:
        stamps = [None if stamp == NONE else stamp for stamp in stamps_N.tolist()]
        return np.array(frame_times(stamps, tick, fps), dtype=np.float64), None
    return np.arange(stamps_N.size) * rate.denominator / rate.numerator, rate


def _starts(packets: PacketTable, rank_P: NDArray[np.int64]) -> NDArray[np.int64]:
    """Packets of the keyframes to start from, shown in the same order; packet 0 leads."""
    keys = np.flatnonzero(packets.key_P)
    ranks = rank_P[keys]
    later = ranks > np.maximum.accumulate(np.concatenate([[0], ranks]))[:-1]
    return np.concatenate([[0], keys[later & (keys > 0)]]).astype(np.int64)


def _seek_stamps(
    packets: PacketTable, numbers: NDArray[np.int64], *, timed: bool
) -> NDArray[np.int64]:
    """Where to seek for packets: MP4 and MKV are searched by presentation, others by decoding."""
    if not len(packets):
        return np.zeros(numbers.size, dtype=np.int64)
    first, second = packets.pts_P[numbers], packets.dts_P[numbers]
    if not timed:
        first, second = second, first
    known = np.where(first == NONE, second, first)
    return np.where(known == NONE, 0, known)


def _differ(values: NDArray[np.int64]) -> bool:
    """Whether no value comes twice; sorted ones need no sorting."""
    return bool((np.diff(values) > 0).all()) or np.unique(values).size == values.size


def _identity(packets: PacketTable) -> tuple[str | None, NDArray[np.int64]]:
    for name, values in (("pos", packets.pos_P), ("pts", packets.pts_P)):
        if (values != NONE).all() and _differ(values):
            return name, values
    return None, np.zeros(0, dtype=np.int64)

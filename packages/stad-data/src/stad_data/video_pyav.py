"""The default backend: frames of a video file by PyAV, exact whatever the container claims."""

import os
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_backend import (
    Frame,
    check_ranks,
    damaged,
    no_such_frame,
    not_showable,
    without_frames,
)
from stad_data.video_image import ImageMaker, Orientation, PictureError, Scaling, orientation_of
from stad_data.video_index import VideoIndex, build_index, decode_from, prove_index, tick_of
from stad_data.video_packets import may_be_listed
from stad_data.video_source import DamageError, LostError, VideoSource
from stad_data.video_times import FrameClock, Timeline
from stad_data.video_watchdog import Progress
from stad_eval import InputError

_KEPT_FRAMES = 128
_KEPT_BYTES = 64 * 2**20
_EARLY = 100  # frames
_PASSED = 4  # frames
_REORDERED = 32  # packets; no codec shows a picture so much later than it is decoded
_WORTH_A_SEEK = 3  # frames; fewer are decoded and dropped


class PyAVFrames:
    """Frames of a video file, decoded from the keyframe before them.

    Where packets tell the order (MP4, MOV, MKV, WebM) they are indexed once, without decoding.
    Where they do not (AVI, MPEG-TS, raw streams, VP8, files that were cut off) everything is
    decoded once, on the first call that needs the count.

    H.264 pictures that are not wanted and that no other picture is predicted from are left out.
    Where reads stay near each other, pictures that were decoded stay for a while, so that such
    windows decode each about once. Reads here and there do not pay for the memory.

    Args:
        path: the video file.
        scaling: the size of the images.
        threads: decoder threads, 0 for all cores.
        timeout: seconds that FFmpeg itself waits for data; None: for ever.
        complain: whether a stream over a damaged file ends with an InputError.
    """

    def __init__(
        self,
        path: Path,
        *,
        scaling: Scaling,
        threads: int = 1,
        timeout: float | None = None,
        complain: bool = True,
    ) -> None:
        self.path = path
        self.scaling = scaling
        self.threads = threads
        self.timeout = timeout
        self.complain = complain
        self.progress = Progress()
        self._index: VideoIndex | None = None
        self._shape: tuple[tuple[int, int], Orientation] | None = None
        self._fps: float | None = None
        self._skips = True  # until leaving out pictures once went wrong
        self._dense = False  # whether a frame was asked for that had been left out
        self._unopened()

    def __getstate__(self) -> dict[str, Any]:
        open_now = (
            *("progress", "_source", "_images", "_run", "_next", "_began", "_kept", "_keeps"),
        )
        return {name: value for name, value in self.__dict__.items() if name not in open_now}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.progress = Progress()
        self._unopened()

    def _unopened(self) -> None:
        self._source: VideoSource | None = None
        self._images: ImageMaker | None = None
        self._forget()

    def _forget(self) -> None:
        """Drop the decoder's position and the kept pictures."""
        self._run: Any = None
        self._next = 0
        self._began = 0  # the first frame of the run
        self._keeps = False
        self._plan: tuple[int, int, frozenset[int]] = (0, -1, frozenset())
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()

    # --- the file ---------------------------------------------------------------------------

    @property
    def timeline(self) -> Timeline | None:
        """The index, as far as it is known already."""
        return self._index

    def open(self) -> None:
        """Open the file."""
        self.source()

    def source(self) -> VideoSource:
        """The open source; opened anew after pickling and in a forked child."""
        if self._source is not None and self._source.owner != os.getpid():
            self.release()
        if self._source is None:
            self._source = self._opened()
        return self._source

    def _opened(self) -> VideoSource:
        return VideoSource(
            self.path, threads=self.threads, timeout=self.timeout, progress=self.progress
        )

    def release(self) -> None:
        """Close the file until the next call needs it."""
        source, self._source = self._source, None
        run, self._run = self._run, None
        if source is None:
            return
        if source.owner != os.getpid():
            source.abandon()
        else:
            if run is not None:
                run.close()
            source.close()
        self._forget()

    def fps(self) -> float:
        """Average frames per second as the container has it; 25 where it has none."""
        if self._fps is None:
            self._fps = self.source().nominal_rate
        return self._fps

    def indexed(self) -> VideoIndex:
        """The index, made now where it is not known yet."""
        if self._index is None:
            self._forget()
            self._accept(build_index(self.source(), self.fps()))
        return cast("VideoIndex", self._index)

    def _accept(self, index: VideoIndex) -> None:
        if len(index) == 0:
            raise without_frames(self.path, index.damage or "no picture in it")
        self._index = index

    def _prove(self) -> VideoIndex:
        """Replace what packets told by what decoding shows."""
        self._forget()
        self._accept(prove_index(self.source(), self.fps()))
        return self.indexed()

    # --- shape ------------------------------------------------------------------------------

    def source_size(self) -> tuple[int, int]:
        """(width, height) of the frames as shown, before scaling."""
        return self.shape()[0]

    def shape(self) -> tuple[tuple[int, int], Orientation]:
        """Size as shown and orientation, from the first picture; needs no index."""
        if self._shape is None and self._index is not None:
            self._learn_shape(self._picture(0))
        elif self._shape is None:
            source = self.source()
            self._forget()
            source.rewind()
            numbers = count()
            reason = "no picture in it"
            try:
                for _, picture in source.decode(lambda _: next(numbers)):
                    self._learn_shape(picture)
                    break
            except DamageError as damage:
                reason = str(damage)
            if self._shape is None:
                raise without_frames(self.path, reason)
        return cast("tuple[tuple[int, int], Orientation]", self._shape)

    def _learn_shape(self, picture: VideoFrame) -> None:
        orientation = orientation_of(picture)
        self._shape = orientation.size(picture.width, picture.height), orientation

    def _is_typical(self, picture: VideoFrame) -> bool:
        """Whether a picture has the size of the first, so that nobody has to decode that one."""
        return (picture.width, picture.height) == self.source().declared_size

    def _image(self, picture: VideoFrame) -> NDArray[np.uint8]:
        if self._images is None:
            if self._shape is None and self._is_typical(picture):
                self._learn_shape(picture)
            shown, orientation = self.shape()
            size = self.scaling.size(shown)
            self._images = ImageMaker(orientation, size, scaled=size != shown)
        try:
            return self._images.make(picture)
        except PictureError as error:
            raise not_showable(self.path, str(error)) from error

    # --- random access ----------------------------------------------------------------------

    def images(self, ranks: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, image) of frames, which are given in increasing order."""
        early = 0
        for rank, picture in self._early(ranks):
            yield rank, self._image(picture)
            early += 1
        ranks = ranks[early:]
        if not ranks:
            return
        check_ranks(self.path, ranks, self.indexed())
        plan = ranks[0], ranks[-1], frozenset(ranks)
        if self._keeps:
            first, last, _ = self._plan
            # A frame between those of the read before, and not kept: it had been left out.
            passed = range(first + 1, min(last, self._next))
            self._dense |= any(rank in passed and rank not in self._kept for rank in ranks)
        near = self._began - _KEPT_FRAMES <= ranks[-1] and ranks[0] < self._next + _KEPT_FRAMES
        self._keeps = near and self._next > 0
        self._plan = plan
        for rank in ranks:
            picture = self._picture(rank)
            self._plan = plan
            yield rank, self._image(picture)

    def _early(self, ranks: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Frames near the start of a file that has just been opened, without any index.

        Frame i is the i-th picture of a decoder that began at the first packet. Where the file
        brings no table along, it takes less to decode a few than to read all packets; where it
        does, that holds if there are no others to be left out. Ends where it is not so simple:
        the index tells about the rest.
        """
        if self._index is not None or not 0 <= ranks[0] <= ranks[-1] < _EARLY:
            return
        source = self.source()
        all_wanted = ranks[-1] < len(ranks) + _PASSED
        if not source.untouched or source.missing_bytes():
            return
        if may_be_listed(source) and not all_wanted:
            return
        wanted, numbers = frozenset(ranks), count()
        try:
            for rank, (_, picture) in enumerate(source.decode(lambda _: next(numbers))):
                if rank == 0 and self._shape is None:
                    self._learn_shape(picture)
                if rank in wanted:
                    yield rank, picture
                if rank == ranks[-1]:
                    return
        except DamageError:
            pass

    def _needed(self, rank: int) -> bool:
        """Whether a frame has to be decoded even if no other is predicted from it."""
        first, last, wanted = self._plan
        return not self._skips or rank in wanted or rank > last or (self._dense and rank >= first)

    def _picture(self, rank: int) -> VideoFrame:
        self.source()
        reason = ""
        for _ in range(4):
            index = self.indexed()
            if not 0 <= rank < len(index):
                raise no_such_frame(self.path, rank, index)
            kept = self._kept.get(rank)
            if kept is not None:
                return kept
            try:
                return self._decoded(rank, index)
            except (DamageError, LostError) as error:
                reason = str(error)
                plan = self._plan
                self._forget()
                self._plan = plan
                if self._skips:
                    self._skips = False
                    continue
                # Packets promised what decoding does not give: from now on only decoding counts.
                if index.proven:
                    break
                self._prove()
                self._plan = plan
        raise InputError(
            "the video decodes differently from one time to the next",
            path=self.path,
            expected=f"frame {rank}",
            found=reason,
            remedy="re-encode the file, for example with ffmpeg",
        )

    def _decoded(self, rank: int, index: VideoIndex) -> VideoFrame:
        start = index.start_for(rank)
        behind = rank < self._next
        far = int(index.start_ranks_K[start]) >= self._next + _WORTH_A_SEEK
        if self._run is None or behind or far:
            self._start(rank, start, index)
        while True:
            found, picture = self._advance()
            if found == rank:
                return picture
            if found > rank:
                raise LostError(f"frame {found} came where {rank} was due")

    def _start(self, rank: int, start: int, index: VideoIndex) -> None:
        """Put the decoder before a frame: at its keyframe, or at an earlier one if need be."""
        for attempt in dict.fromkeys((start, max(0, start - 1), 0)):
            self._run = decode_from(self.source(), index, attempt, self._needed)
            self._next = -1  # not known before the first picture comes
            try:
                found, _ = self._advance()
            except (DamageError, LostError):
                if attempt == 0:
                    raise
                continue
            if found <= rank:
                # The picture was kept; the caller finds it there or goes on behind it.
                self._run = _again(found, self._kept[found], self._run)
                self._next = self._began = found
                return
        raise LostError(f"frame {rank} does not come after any keyframe")

    def _advance(self) -> tuple[int, VideoFrame]:
        """Take the next picture from the decoder and keep it for a while."""
        run = cast("Iterator[tuple[int, VideoFrame]]", self._run)
        entry = next(run, None)
        if entry is None:
            raise LostError("the stream ended early")
        rank, picture = entry
        due = self._next
        if rank < 0 or (due >= 0 and (rank < due or (rank > due and not self._skips))):
            raise LostError(f"frame {rank} came where {due} was due")
        self._next = rank + 1
        if rank not in self._kept:
            self._kept[rank] = picture
            most = min(_KEPT_FRAMES, _KEPT_BYTES // _bytes_of(picture)) if self._keeps else 1
            while len(self._kept) > max(1, most):
                self._kept.popitem(last=False)
        return rank, picture

    # --- streaming --------------------------------------------------------------------------

    def stream(self) -> Iterator[Frame]:
        """All frames from the first, in bounded memory, on a file handle of its own."""
        self.fps()
        source = self.source()
        if source.untouched:
            self._source = None  # the stream takes it over; the next read opens its own
        else:
            source = self._opened()
        try:
            yield from self._streamed(source)
        finally:
            source.close()

    def _streamed(self, source: VideoSource) -> Iterator[Frame]:
        clock = FrameClock(tick_of(source), self.fps())
        stamps: dict[int, int | None] = {}
        numbers = count()

        def label(packet: Packet) -> int:
            number = next(numbers)
            stamps[number] = packet.pts
            return number

        shown = 0
        broken = source.missing_bytes() > 0
        try:
            for stamp, picture in _settled(source.decode(label, finish=not broken), stamps):
                if self._shape is None:
                    self._learn_shape(picture)
                time = clock.advance(stamp)
                if self._index is not None and shown < len(self._index):
                    time = float(self._index.times_N[shown])
                image = np.ascontiguousarray(self._image(picture))
                yield Frame(index=shown, time=time, image=image)
                shown += 1
        except DamageError:
            broken = True
        if broken:
            yield from self._after_damage(shown)
        elif shown == 0:
            raise without_frames(self.path, "no picture in it")

    def _after_damage(self, shown: int) -> Iterator[Frame]:
        """What one careful pass still gets out of the file, then the complaint."""
        index = self.indexed()
        if not index.proven:
            index = self._prove()
        for rank in range(shown, len(index)):
            image = np.ascontiguousarray(self._image(self._picture(rank)))
            yield Frame(index=rank, time=float(index.times_N[rank]), image=image)
        if self.complain:
            raise damaged(self.path, index, found="the stream ends here")


def _settled(
    decoded: Iterator[tuple[int, VideoFrame]], stamps: dict[int, int | None]
) -> Iterator[tuple[int | None, VideoFrame]]:
    """(timestamp, picture) as shown, each once all that it may lean on has turned out sound.

    A bidirectional picture comes before one that it was predicted from, whose damage shows later.

    Args:
        decoded: (packet's number, picture) as shown.
        stamps: timestamps of the packets that the decoder has taken, by number; emptied here.

    Raises:
        DamageError: as `decoded` does, after the last sound picture.
    """
    held: deque[tuple[int, int | None, VideoFrame]] = deque()
    try:
        for number, picture in decoded:
            held.append((number, stamps.pop(number, None), picture))
            # A packet that long ago showed nothing never will.
            while stamps and next(iter(stamps)) < number - _REORDERED:
                del stamps[next(iter(stamps))]
            while held and held[0][0] < next(iter(stamps), number + 1):
                _, stamp, sound = held.popleft()
                yield stamp, sound
    except DamageError as damage:
        for number, stamp, picture in held:
            if damage.number is not None and number >= damage.number:
                break
            yield stamp, picture
        raise
    for _, stamp, picture in held:
        yield stamp, picture


def _again(
    rank: int, picture: VideoFrame, run: Iterator[tuple[int, VideoFrame]]
) -> Iterator[tuple[int, VideoFrame]]:
    yield rank, picture
    yield from run


def _bytes_of(picture: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in picture.planes)

"""VideoReader: the frames of a video file, exactly, by index or one after the other."""

import math
import operator
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, cast

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_index import (
    FrameClock,
    VideoIndex,
    build_index,
    decode_from,
    prove_index,
    tick_of,
)
from stad_data.video_source import (
    DamageError,
    ImageMaker,
    LostError,
    Orientation,
    VideoSource,
    orientation_of,
)
from stad_data.video_writer import VideoWriter
from stad_eval import InputError

__all__ = ["Frame", "VideoReader", "VideoWriter"]

_KEPT_FRAMES = 128
_KEPT_BYTES = 64 * 2**20
_WORTH_A_SEEK = 3  # frames; fewer are decoded and dropped


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One frame of a streamed video.

    Attributes:
        index: place in the order shown, from 0.
        time: seconds after the first frame.
        image: uint8 [H, W, 3], RGB.
    """

    index: int
    time: float
    image: NDArray[np.uint8]


class VideoReader:
    """Frames of a video file, in the order in which they are shown.

    Frame i is the i-th picture that a player shows, whatever the container claims: B-frames,
    variable rates, edit lists, missing or repeated timestamps and wrong frame counts do not move
    it. Where packets tell the order (MP4, MOV, MKV, WebM) they are indexed once, without decoding,
    and `read` decodes from the keyframe before. Where they do not (AVI, MPEG-TS, raw streams, VP8,
    files that were cut off) everything is decoded once, on the first call that needs the count.

    Rotation and mirroring by the file's display matrix are applied, to the nearest quarter turn.
    Pixels that are not square are left as they are stored. Any pixel format becomes 8-bit RGB;
    an alpha channel is dropped. Frames of another size than the first are scaled to the first's.

    DamageError: a frame that cannot be decoded ends the video there. `num_frames` counts the frames
    before it, once it is known (a file that was cut off is recognised at once; a damaged picture
    only when it is decoded), `read` refuses later ones and a stream raises after the last good one.

    A reader may be pickled or inherited by a forked process; the file is opened again there, and
    the index travels along. It is not for use by two threads at once.

    Args:
        path: the video file.
        resize: (width, height) that frames are scaled to while they are converted, after rotation,
            each pixel the mean of its area; None keeps their size.
        short_side: or: pixels that the shorter side is scaled down to, the other side keeping its
            ratio (rounded). Frames that are smaller already are not enlarged.
        threads: decoder threads, 0 for all cores. With more than 1 the decoder may paint over a
            damaged picture unnoticed, and on two cores it is no faster.
        on_damage: what a stream does after the last good frame of a damaged file: "raise" an
            InputError, or "stop" quietly.

    Raises:
        InputError: the file is missing, a folder, empty, no video or only sound.
        ValueError: `resize`, `short_side`, `threads` or `on_damage` cannot be.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        resize: tuple[int, int] | None = None,
        short_side: int | None = None,
        threads: int = 1,
        on_damage: Literal["raise", "stop"] = "raise",
    ) -> None:
        self.path = Path(path)
        _check_options(resize, short_side, threads, on_damage)
        self.resize = resize
        self.short_side = short_side
        self.threads = threads
        self.on_damage = on_damage
        self._index: VideoIndex | None = None
        self._shape: tuple[tuple[int, int], Orientation] | None = None
        self._fps: float | None = None
        self._closed = False
        self._images: ImageMaker | None = None
        self._source: VideoSource | None = None
        self._forget()
        self._source = self._opened()

    @property
    def source_size(self) -> tuple[int, int]:
        """(width, height) of the frames as shown, before scaling."""
        return self._first_shape()[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images that come out, after rotation and scaling."""
        if self.resize is not None:
            return self.resize
        width, height = self.source_size
        if self.short_side is None or self.short_side >= min(width, height):
            return width, height
        ratio = self.short_side / min(width, height)
        return max(1, round(width * ratio)), max(1, round(height * ratio))

    @property
    def fps(self) -> float:
        """Average frames per second as the container has it; 25 where it has none."""
        if self._fps is None:
            self._fps = self._live().nominal_rate
        return self._fps

    @property
    def num_frames(self) -> int:
        """Frames that can be read; counted from packets or by decoding, never the file's word."""
        return len(self._indexed())

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds after the first frame at which each frame is shown [num_frames], increasing."""
        return self._indexed().times_N.copy()

    @property
    def damage(self) -> str | None:
        """What is wrong after the last frame, as far as it is known; None for a sound file."""
        return self._indexed().damage

    def frame_at(self, seconds: float) -> int:
        """Index of the frame shown at a time: the last one that starts at or before it.

        Args:
            seconds: after the first frame; before it gives 0, past the end the last frame.
        """
        if math.isnan(seconds):
            raise ValueError("seconds: expected a number, found nan")
        times_N = self._indexed().times_N
        # Timestamps are rounded to ticks (1 ms in Matroska): 40.0 s must find the frame at 39.9999.
        nearly = seconds + 1e-6
        return max(0, int(np.searchsorted(times_N, nearly, side="right")) - 1)

    def read(self, indices: Iterable[int]) -> NDArray[np.uint8]:
        """Read frames by index.

        Args:
            indices: any order, repeats allowed, each in [0, num_frames).

        Returns:
            uint8 [T, H, W, 3], RGB, in the order asked for; T = 0 for no indices.

        Raises:
            InputError: an index out of range, or behind the damage of a damaged file.
        """
        wanted = [operator.index(index) for index in indices]
        index = self._indexed()
        for extreme in (min(wanted, default=0), max(wanted, default=0)):
            if not 0 <= extreme < len(index):
                self._refuse(extreme, index)
        self._first_shape()
        width, height = self.size
        images = np.empty((len(wanted), height, width, 3), dtype=np.uint8)
        places: dict[int, list[int]] = {}
        for place, rank in enumerate(wanted):
            places.setdefault(rank, []).append(place)
        for rank in sorted(places):
            first, *others = places[rank]
            images[first] = self._image(self._picture(rank))
            for other in others:
                images[other] = images[first]
        return images

    def __iter__(self) -> Iterator[Frame]:
        """Stream all frames from the first, in bounded memory, on a file handle of its own.

        Raises:
            InputError: after the last good frame of a damaged file, unless `on_damage="stop"`.
        """
        self._fps = self.fps
        source = self._live()
        if source.untouched:
            self._source = None  # the stream takes it over; the next read opens its own
        else:
            source = self._opened()
        try:
            yield from self._stream(source)
        finally:
            source.close()

    def release(self) -> None:
        """Close the file until the next call needs it; index and size stay known.

        For those who hold more readers than a process may have open files.
        """
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

    def close(self) -> None:
        """Close the file; a second call does nothing. A closed reader cannot be used again."""
        self._closed = True
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_source", None) is not None:
            self.release()

    def __repr__(self) -> str:
        return f"VideoReader({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        public = ("path", "resize", "short_side", "threads", "on_damage")
        kept = (*public, "_index", "_shape", "_fps", "_closed")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._source = None
        self._images = None
        self._forget()

    # --- the file ---------------------------------------------------------------------------

    def _opened(self) -> VideoSource:
        return VideoSource(self.path, threads=self.threads)

    def _live(self) -> VideoSource:
        """The open source; opened anew after pickling and in a forked child."""
        if self._closed:
            raise ValueError(f"{self.path}: the reader is closed; open a new one")
        if self._source is not None and self._source.owner != os.getpid():
            self.release()
        if self._source is None:
            self._source = self._opened()
        return self._source

    def _forget(self) -> None:
        """Drop the decoder's position and the kept pictures."""
        self._run: Any = None
        self._next = 0
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()
        self._kept_bytes = 0

    def _first_shape(self) -> tuple[tuple[int, int], Orientation]:
        """Size as shown and orientation, from the first picture; needs no index."""
        if self._shape is None and self._index is not None:
            self._learn_shape(self._picture(0))
        elif self._shape is None:
            source = self._live()
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
                raise self._without_frames(reason)
        return cast("tuple[tuple[int, int], Orientation]", self._shape)

    def _learn_shape(self, picture: VideoFrame) -> None:
        orientation = orientation_of(picture)
        self._shape = orientation.size(picture.width, picture.height), orientation

    def _without_frames(self, reason: str) -> InputError:
        return InputError(
            "no frame of the video can be decoded",
            path=self.path,
            expected="at least one frame",
            found=reason,
            remedy="the file is damaged or was cut off: copy or download it again",
        )

    def _indexed(self) -> VideoIndex:
        if self._index is None:
            self._forget()
            self._accept(build_index(self._live(), self.fps))
        return cast("VideoIndex", self._index)

    def _accept(self, index: VideoIndex) -> None:
        if len(index) == 0:
            raise self._without_frames(index.damage or "no picture in it")
        self._index = index

    def _prove(self) -> VideoIndex:
        """Replace what packets told by what decoding shows."""
        self._forget()
        self._accept(prove_index(self._live(), self.fps))
        return self._indexed()

    # --- random access ----------------------------------------------------------------------

    def _picture(self, rank: int) -> VideoFrame:
        self._live()
        reason = ""
        for _ in range(3):
            index = self._indexed()
            if not 0 <= rank < len(index):
                self._refuse(rank, index)
            kept = self._kept.get(rank)
            if kept is not None:
                return kept
            try:
                return self._decoded(rank, index)
            except (DamageError, LostError) as error:
                # Packets promised what decoding does not give: from now on only decoding counts.
                reason = str(error)
                self._forget()
                if index.proven:
                    break
                self._prove()
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

    def _start(self, rank: int, start: int, index: VideoIndex) -> None:
        """Put the decoder before a frame: at its keyframe, or at an earlier one if need be."""
        for attempt in dict.fromkeys((start, max(0, start - 1), 0)):
            self._run = decode_from(self._live(), index, attempt)
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
                self._next = found
                return
        raise LostError(f"frame {rank} does not come after any keyframe")

    def _advance(self) -> tuple[int, VideoFrame]:
        """Take the next picture from the decoder and keep it for a while."""
        run = cast("Iterator[tuple[int, VideoFrame]]", self._run)
        entry = next(run, None)
        if entry is None:
            raise LostError("the stream ended early")
        rank, picture = entry
        if rank < 0 or (self._next >= 0 and rank != self._next):
            raise LostError(f"frame {rank} came where {self._next} was due")
        self._next = rank + 1
        if rank not in self._kept:
            self._kept[rank] = picture
            self._kept_bytes += _bytes_of(picture)
            while len(self._kept) > 1 and (
                len(self._kept) > _KEPT_FRAMES or self._kept_bytes > _KEPT_BYTES
            ):
                _, dropped = self._kept.popitem(last=False)
                self._kept_bytes -= _bytes_of(dropped)
        return rank, picture

    def _maker(self) -> ImageMaker:
        if self._images is None:
            _, orientation = self._first_shape()
            self._images = ImageMaker(orientation, self.size, scaled=self.size != self.source_size)
        return self._images

    def _image(self, picture: VideoFrame) -> NDArray[np.uint8]:
        try:
            return self._maker().make(picture)
        except DamageError as damage:
            raise InputError(
                "the video's pictures cannot be shown as RGB",
                path=self.path,
                expected="a pixel format that FFmpeg converts to rgb24",
                found=f"{picture.format.name}, {damage}",
                remedy="re-encode the file, for example with ffmpeg",
            ) from damage

    def _refuse(self, rank: int, index: VideoIndex) -> NoReturn:
        if index.damage is not None and rank >= 0:
            raise self._damaged(index, found=f"frame {rank} was asked for")
        raise InputError(
            "there is no such frame",
            path=self.path,
            expected=f"a frame index of at least 0 and below {len(index)}",
            found=str(rank),
            remedy="frames are counted from 0, as decoded, not as the container declares",
        )

    def _damaged(self, index: VideoIndex, *, found: str) -> InputError:
        return InputError(
            "the video is damaged",
            path=self.path,
            expected="a file that decodes to its end",
            found=f"{len(index)} frames that decode, then: {index.damage}; {found}",
            remedy="copy or download the file again, or use the frames before the damage",
        )

    # --- streaming --------------------------------------------------------------------------

    def _stream(self, source: VideoSource) -> Iterator[Frame]:
        clock = FrameClock(tick_of(source), self.fps)
        stamps: dict[int, int | None] = {}
        numbers = count()

        def label(packet: Packet) -> int:
            number = next(numbers)
            stamps[number] = packet.pts
            return number

        index = 0
        damaged = source.missing_bytes() > 0
        try:
            for number, picture in source.decode(label, finish=not damaged):
                if self._shape is None:
                    self._learn_shape(picture)
                time = clock.advance(stamps.pop(number, None))
                yield Frame(index=index, time=time, image=self._image(picture))
                index += 1
                if len(stamps) > 4 * _KEPT_FRAMES:  # packets that never showed anything
                    del stamps[min(stamps)]
        except DamageError:
            damaged = True
        if damaged:
            yield from self._after_damage(index)
        elif index == 0:
            raise self._without_frames("no picture in it")

    def _after_damage(self, shown: int) -> Iterator[Frame]:
        """What one careful pass still gets out of the file, then the complaint."""
        index = self._indexed()
        if not index.proven:
            index = self._prove()
        for rank in range(shown, len(index)):
            image = self._image(self._picture(rank))
            yield Frame(index=rank, time=float(index.times_N[rank]), image=image)
        if self.on_damage == "raise":
            raise self._damaged(index, found="the stream ends here")


def _check_options(
    resize: tuple[int, int] | None, short_side: int | None, threads: int, on_damage: str
) -> None:
    if resize is not None and not (min(resize) >= 1 and max(resize) <= 16_384):
        raise ValueError(f"resize: expected (width, height) of 1 to 16384, found {resize}")
    if short_side is not None and short_side < 1:
        raise ValueError(f"short_side: expected 1 or more, found {short_side}")
    if resize is not None and short_side is not None:
        raise ValueError(f"expected resize or short_side, found both: {resize}, {short_side}")
    if threads < 0:
        raise ValueError(f"threads: expected 0 (all cores) or more, found {threads}")
    if on_damage not in ("raise", "stop"):
        raise ValueError(f'on_damage: expected "raise" or "stop", found {on_damage!r}')


def _again(
    rank: int, picture: VideoFrame, run: Iterator[tuple[int, VideoFrame]]
) -> Iterator[tuple[int, VideoFrame]]:
    yield rank, picture
    yield from run


def _bytes_of(picture: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in picture.planes)

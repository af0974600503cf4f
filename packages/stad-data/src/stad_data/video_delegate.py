"""A backend that lets another library decode: only files on which it is known to be exact.

PyAV reads the packets and says which frames there are; the other library is asked for them by
index. Whether it is exact is decided before it decodes anything, from what the packets tell; what
it says about number and times of frames is compared with them. Damaged pictures inside a file go
unnoticed, since these libraries paint over them without a word. Images are scaled once they are
RGB, not on the way, so scaled ones differ from the default backend's where colours change.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from stad_data.video_backend import Frame, check_ranks, not_showable
from stad_data.video_image import ImageMaker, Orientation, PictureError
from stad_data.video_index import VideoIndex, packet_index
from stad_data.video_packets import has_timed_packets
from stad_data.video_pyav import PyAVFrames
from stad_data.video_source import DamageError, LostError, VideoSource
from stad_data.video_times import Timeline
from stad_data.video_watchdog import Progress
from stad_eval import InputError

_CHUNK = 8  # frames decoded at once while streaming
_PLAIN_FORMATS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "gray"})
_IDR = 5  # H.264 NAL unit type of a picture that nothing before it is needed for


class Decoder(Protocol):
    """Another library's reader of one file."""

    def times(self) -> NDArray[np.float64]:
        """Presentation times [N] in seconds, from any origin."""
        ...

    def read(self, ranks: list[int]) -> NDArray[np.uint8]:
        """Frames uint8 [n, H, W, 3], RGB, of these indices, in increasing order."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What PyAV knows about a file, for a library to judge whether it is exact on it.

    Attributes:
        index: the frames, from packets.
        streams: how many video streams there are.
        stream: number of the one that is read.
        upright: whether the pictures are shown as they are stored.
        closed: whether no frame is shown before the keyframe that it follows in the file.
        clean: whether each keyframe can be decoded without anything before it.
    """

    index: VideoIndex
    streams: int
    stream: int
    upright: bool
    closed: bool
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Library:
    """How to decode with another library.

    Attributes:
        name: of the backend and of the extra that installs it.
        objection: why it is not exact on a file; None where it is.
        open: makes its reader of a file, with so many decoder threads.
    """

    name: str
    objection: Callable[[Facts], str | None]
    open: Callable[[str, Facts, int], Decoder]


# Decoders that a parent process opened stay referenced for good.
_abandoned: list[Decoder] = []


class DelegatedFrames:
    """Frames of a video file, decoded by another library.

    Args:
        frames: the same file by PyAV.
        library: what decodes.
    """

    def __init__(self, frames: PyAVFrames, *, library: Library) -> None:
        self.path = frames.path
        self.progress = Progress()
        self._frames = frames
        self._library = library
        self._index: VideoIndex | None = None
        self._facts: Facts | None = None
        self._unopened()

    def __getstate__(self) -> dict[str, Any]:
        open_now = ("progress", "_decoder", "_owner", "_images")
        return {name: value for name, value in self.__dict__.items() if name not in open_now}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.progress = Progress()
        self._unopened()

    def _unopened(self) -> None:
        self._decoder: Decoder | None = None
        self._owner = 0
        self._images: ImageMaker | None = None

    @property
    def timeline(self) -> Timeline | None:
        """The index, as far as it is known already."""
        return self._index

    def open(self) -> None:
        """Judge the file, open it and compare what the library found in it."""
        self._open()

    def indexed(self) -> Timeline:
        """The index, made now where it is not known yet."""
        self._open()
        return self._known().index

    def source_size(self) -> tuple[int, int]:
        """(width, height) of the frames as shown, before scaling."""
        return self._frames.source_size()

    def fps(self) -> float:
        """Average frames per second as the container has it; 25 where it has none."""
        return self._frames.fps()

    def images(self, ranks: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, image) of frames, which are given in increasing order."""
        decoder = self._open()
        check_ranks(self.path, ranks, self._known().index)
        try:
            frames = decoder.read(list(ranks))
        except (RuntimeError, IndexError, ValueError) as error:
            raise self._refusal(f"it fails on it ({_first_line(error)})") from error
        self.progress.advance()
        for rank, frame in zip(ranks, frames, strict=True):
            yield rank, self._scaled(frame)

    def stream(self) -> Iterator[Frame]:
        """All frames from the first."""
        index = self._known().index
        for first in range(0, len(index), _CHUNK):
            for rank, image in self.images(range(first, min(first + _CHUNK, len(index)))):
                yield Frame(index=rank, time=float(index.times_N[rank]), image=image)

    def release(self) -> None:
        """Close the file until the next call needs it."""
        self._let_go()
        self._frames.release()

    def _let_go(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None and self._owner != os.getpid():
            # Its threads did not survive the fork: it would wait for them for ever, or abort.
            _abandoned.append(decoder)

    def _open(self) -> Decoder:
        if self._decoder is not None and self._owner != os.getpid():
            self._let_go()
        if self._decoder is None:
            facts = self._known()
            try:
                decoder = self._library.open(str(self.path.resolve()), facts, self._frames.threads)
                times = decoder.times()
            except ImportError as error:
                raise self._missing(error) from error
            except (RuntimeError, IndexError, ValueError) as error:
                raise self._refusal(f"it cannot open it ({_first_line(error)})") from error
            self._compare(times, facts.index)
            self._decoder, self._owner = decoder, os.getpid()
        return self._decoder

    def _known(self) -> Facts:
        if self._facts is None:
            source = self._frames.source()
            index = None
            if has_timed_packets(source):
                index = packet_index(source, self._frames.fps())
            if index is None:
                raise self._refusal("its packets do not tell which frames there are")
            facts = _facts(self._frames, source, index)
            objection = self._library.objection(facts) or _common_objection(source)
            if objection is not None:
                raise self._refusal(objection)
            self._facts, self._index = facts, index
            self._frames.release()
        return self._facts

    def _compare(self, times: NDArray[np.float64], index: VideoIndex) -> None:
        if times.size != len(index):
            raise self._refusal(f"it counts {times.size} frames where there are {len(index)}")
        off = np.abs(times - times[:1] - index.times_N)
        nearest = float(np.diff(index.times_N).min(initial=1.0))
        if off.max(initial=0.0) > max(nearest / 2, 2e-3):
            raise self._refusal(f"it misplaces frame {int(off.argmax())} by {off.max():.3f} s")

    def _scaled(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shown = frame.shape[1], frame.shape[0]
        size = self._frames.scaling.size(shown)
        if size == shown:
            return frame
        if self._images is None:
            self._images = ImageMaker(Orientation(), size, scaled=True)
        try:
            return self._images.make(VideoFrame.from_ndarray(np.ascontiguousarray(frame)))
        except PictureError as error:
            raise not_showable(self.path, str(error)) from error

    def _refusal(self, reason: str) -> InputError:
        name = self._library.name
        return InputError(
            f"{name} would not read this video exactly",
            path=self.path,
            expected=f"a file on which {name} is known to be exact",
            found=reason,
            remedy='read it with the default backend, "pyav"',
        )

    def _missing(self, error: ImportError) -> InputError:
        name = self._library.name
        return InputError(
            f"the video backend {name} cannot be loaded",
            path=self.path,
            expected=f"the package {name} and what it needs",
            found=_first_line(error),
            remedy=f'install it with stad-data[{name}], or use the default backend, "pyav"',
        )


def _facts(frames: PyAVFrames, source: VideoSource, index: VideoIndex) -> Facts:
    ranks_P = np.where(index.rank_P < 0, np.iinfo(np.int64).max, index.rank_P)
    soonest_P = np.minimum.accumulate(ranks_P[::-1])[::-1]  # first frame shown from here on
    starts = index.start_packets_K
    streams, number = source.stream_numbers
    return Facts(
        index=index,
        streams=streams,
        stream=number,
        closed=bool((soonest_P[starts] == ranks_P[starts]).all()),
        clean=_clean(source, index),
        upright=frames.shape()[1] == Orientation(),
    )


def _clean(source: VideoSource, index: VideoIndex) -> bool:
    """Whether H.264 keyframes are real ones; a gradual refresh marks pictures that are not."""
    if source.stream.codec_context.name != "h264":
        return True
    extradata = source.stream.codec_context.extradata or b""
    # avcC begins with version 1 and tells the width of the sizes before NAL units.
    width = (extradata[4] & 3) + 1 if len(extradata) > 4 and extradata[0] == 1 else 0
    if not width:
        return False
    for stamp, number in zip(index.stamps_K.tolist(), index.start_packets_K.tolist(), strict=True):
        packet = _packet(source, index, stamp, number)
        if packet is None or not _holds_idr(packet, width):
            return False
    return True


def _packet(source: VideoSource, index: VideoIndex, stamp: int, number: int) -> Packet | None:
    """The packet of a number, sought at a stamp; None where it is not to be had."""
    try:
        source.seek(stamp)
        for packet in source.packets():
            found = index.packet_number(packet)
            if found >= number:
                return packet if found == number else None
    except (DamageError, LostError):
        pass
    return None


def _holds_idr(packet: Packet, width: int) -> bool:
    data = bytes(packet)
    at = 0
    while at + width < len(data):
        if data[at + width] & 31 == _IDR:
            return True
        at += width + int.from_bytes(data[at : at + width], "big")
    return False


def _common_objection(source: VideoSource) -> str | None:
    context = source.stream.codec_context
    if context.pix_fmt not in _PLAIN_FORMATS:
        return f"it converts {context.pix_fmt} pixels to RGB in its own way"
    if context.width % 2 or context.height % 2:
        return f"it treats the edge of odd sizes ({context.width}x{context.height}) in its own way"
    return None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__

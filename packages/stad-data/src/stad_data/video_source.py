"""One open video file: its packets, its decoder, and how a decoded picture becomes an RGB image.

Everything that FFmpeg raises ends here: a file that is no video is an InputError; damage met while
reading is a `DamageError`, which the reader turns into an InputError that says how much can be had.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import stream as av_stream
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stad_data.container_end import missing_bytes
from stad_eval import InputError

_FALLBACK_FPS = 25.0
_MATRIX_BYTES = 36  # nine 32-bit fixed-point numbers
# Containers of inherited sources stay referenced for good: see VideoSource.abandon.
_abandoned: list[InputContainer] = []


class DamageError(Exception):
    """The file stops making sense here; the text says how.

    Attributes:
        number: label of the packet that does not decode, where it is one packet's fault.
    """

    def __init__(self, reason: str, *, number: int | None = None) -> None:
        super().__init__(reason)
        self.number = number


class LostError(Exception):
    """A packet or picture is not where the index says it is."""


class VideoSource:
    """An open container with the one video stream that is read from it.

    Args:
        path: the video file.
        threads: decoder threads; 0 means as many as there are cores.

    Attributes:
        strict: whether the decoder takes every oddity for damage. It has to, or it would paint
            over a broken picture with its neighbours. It must not where it begins at an H.264
            keyframe that pictures before it lean on (open GOP): that is one of the oddities.

    Raises:
        InputError: missing, a folder, empty, not readable, not a video, or without a video stream.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self.path = path
        self.threads = threads
        self.strict = True
        self.owner = os.getpid()
        self._container: InputContainer | None = None
        self.untouched = False
        _check_file(path)
        self._open()

    @property
    def container(self) -> InputContainer:
        """The open container."""
        if self._container is None:
            raise ValueError(f"{self.path}: the video is closed")
        return self._container

    @property
    def format_name(self) -> str:
        """FFmpeg's name of the container format, such as "avi" or "matroska,webm"."""
        return self.container.format.name

    @property
    def nominal_rate(self) -> float:
        """Average frames per second as the container has it; 25 where it has none."""
        stream = self.stream
        for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
            if rate is not None and 0 < rate <= 1000:
                return float(rate)
        return _FALLBACK_FPS

    @property
    def has_trusted_times(self) -> bool:
        """Whether the container's timestamps say when a frame is shown; AVI's are guesses."""
        return self.format_name != "avi"

    def rewind(self, *, threads: int | None = None, strict: bool = True) -> None:
        """Start again at the file's first packet, with other decoder threads where given.

        The file is opened anew, unless nothing was read yet: seeking to the first packet is not
        exact in every container.
        """
        same = threads in (None, self.threads) and strict == self.strict
        if self.untouched and same:
            return
        self.close()
        self.strict = strict
        if threads is not None:
            self.threads = threads
        self._open()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def abandon(self) -> None:
        """Let go of a container that a parent process opened, without closing it.

        Decoder threads do not survive a fork, so closing would wait for them for ever; the file
        offset is shared, so reading would disturb the parent. The child keeps it untouched.
        """
        container, self._container = self._container, None
        if container is not None:
            _abandoned.append(container)

    def missing_bytes(self) -> int:
        """Bytes that the container promises beyond the file's end; 0 for a file not cut off."""
        return missing_bytes(self.path, self.format_name)

    def seek(self, stamp: int) -> None:
        """Go to the last seek point at or before `stamp` (in the stream's time base).

        Raises:
            DamageError: the container cannot seek there.
        """
        self.untouched = False
        try:
            self.container.seek(stamp, stream=self.stream, backward=True, any_frame=False)
        except FFmpegError as error:
            raise DamageError(f"seeking failed: {error.strerror}") from error

    def packets(self) -> Iterator[Packet]:
        """The video stream's packets from the present position, in the file's order.

        Raises:
            DamageError: the container's structure is broken here, or a packet is cut short.
        """
        self.untouched = False
        demuxed = self.container.demux(self.stream)
        while True:
            try:
                packet = next(demuxed)
            except StopIteration:
                return
            except (FFmpegError, UnicodeDecodeError) as error:
                raise DamageError(f"the container is broken: {error}") from error
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue  # PyAV's mark for the end of the stream
            yield packet

    def decode(
        self,
        label: Callable[[Packet], int],
        *,
        skipped: Callable[[int], bool] = lambda _: False,
        finish: bool = True,
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decode from the present position; yields (label of its packet, picture) as shown.

        A packet's timestamp is replaced by its label, which the decoder hands through to the
        picture: so a picture is recognised even where timestamps are missing, repeated or wrong.

        Pictures that come before the first keyframe, in the file or as shown, have lost what they
        were predicted from (a recording that began in the middle): those that do not decode are
        left out, as players do.

        Args:
            label: a packet's number in the file's order.
            skipped: whether to pass over the packet of that number undecoded.
            finish: whether to take, after the last packet, the pictures that the decoder holds
                back for others to come first. In a file that was cut off those others are missing.

        Raises:
            DamageError: a packet or picture is broken; `remaining` may still hold earlier pictures.
        """
        key = _FirstKey(timed=self.has_trusted_times)
        for packet in self.packets():
            number = label(packet)
            if skipped(number):
                continue
            key.note(packet, number)
            packet.pts = number
            try:
                if packet.is_corrupt and self.format_name != "mpegts":
                    raise DamageError("a packet is cut short", number=number)
                yield from self._pictures(packet, number, key.leading)
            except DamageError:
                if number not in key.leading:
                    raise
        if finish:
            yield from self._pictures(None, None, key.leading)

    def remaining(self) -> Iterator[tuple[int, VideoFrame]]:
        """Pictures that the decoder still held back when damage was met; some may be missing."""
        with suppress(DamageError):
            yield from self._pictures(None, None, set())

    def _pictures(
        self, packet: Packet | None, number: int | None, leading: set[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        """(label, picture) of what the decoder gives for one more packet; None: for the end."""
        try:
            pictures = self.stream.decode(packet)
        except EndOfFile:
            return
        except FFmpegError as error:
            reason = f"a picture cannot be decoded ({error.strerror})"
            raise DamageError(reason, number=number) from error
        for picture in pictures:
            if not picture.is_corrupt:
                yield (-1 if picture.pts is None else picture.pts), picture
            elif picture.pts not in leading:
                raise DamageError("a picture is damaged", number=picture.pts)

    def _open(self) -> None:
        try:
            # "file:" keeps a colon in a name from being read as a protocol; a playlist must not
            # reach for anything but files.
            container = av.open(
                f"file:{self.path.resolve()}",
                mode="r",
                container_options={"protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except (FFmpegError, OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        streams = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams or container.format.name == "tty":
            kinds = sorted({stream.type for stream in container.streams})
            container.close()
            raise InputError(
                "the file holds no video stream",
                path=self.path,
                expected="a video file",
                found="only " + " and ".join(kinds) if kinds else "no stream at all",
                remedy="give a file with pictures, or leave this one out",
            )
        # PyAV gives no codec context, whatever its types say, for a codec that it does not know.
        if cast("object | None", streams[0].codec_context) is None:
            container.close()
            raise InputError(
                "the video's codec is not known",
                path=self.path,
                expected="a codec that FFmpeg decodes",
                found="none that it recognises",
                remedy="the file is damaged or needs re-encoding, for example with ffmpeg",
            )
        self._container = container
        self.untouched = True
        self.stream: VideoStream = streams[0]
        for other in container.streams:
            if other.index != self.stream.index:
                _leave_out(other)
        self.stream.codec_context.thread_count = self.threads
        self.stream.codec_context.thread_type = "SLICE" if self.threads == 1 else "AUTO"
        if self.strict:
            self.stream.codec_context.options = {"err_detect": "explode"}


@dataclass(kw_only=True)
class _FirstKey:
    """The first keyframe that is decoded, and the numbers of the packets that lead up to it."""

    timed: bool
    leading: set[int] = field(default_factory=set)
    _seen: bool = False
    _stamp: int | None = None

    def note(self, packet: Packet, number: int) -> None:
        """Take notice of the next packet to be decoded, before its timestamp is replaced."""
        if not self._seen and packet.is_keyframe:
            self._seen, self._stamp = True, packet.pts if self.timed else None
            return
        stamp = packet.pts
        early = self._stamp is not None and stamp is not None and stamp < self._stamp
        if not self._seen or early:
            self.leading.add(number)


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How the stored picture is turned to be shown: transposed first, then flipped.

    Source: the display matrix of ISO/IEC 14496-12, 8.5.3, rounded to quarter turns and mirrors.
    """

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn an image [H, W, 3]; the result is a view."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) after turning, or, as turning is its own kind, before it."""
        return (height, width) if self.transposed else (width, height)


def orientation_of(picture: VideoFrame) -> Orientation:
    """Read the display matrix of a picture; none, or a broken one, means upright."""
    matrix = picture.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData) or matrix.buffer_size < _MATRIX_BYTES:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix)[:20], dtype="=i4").tolist()
    # shown x = a x + c y, shown y = b x + d y. The largest entries decide the quarter turn.
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(flip_x=a < 0, flip_y=d < 0)
    return Orientation(transposed=True, flip_x=c < 0, flip_y=b < 0)


class ImageMaker:
    """Makes upright RGB images of one size from decoded pictures of any pixel format.

    It keeps the conversion's tables between pictures: setting them up costs more than a picture.

    Args:
        orientation: from `orientation_of` of the file's first picture.
        size: (width, height) of the images.
        scaled: True takes the mean over each target pixel's area, for pictures made smaller.
    """

    def __init__(self, orientation: Orientation, size: tuple[int, int], *, scaled: bool) -> None:
        self._orientation = orientation
        self._stored_size = orientation.size(*size)
        self._interpolation = Interpolation.AREA if scaled else Interpolation.BILINEAR
        self._reformatter = VideoReformatter()

    def make(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """uint8 [H, W, 3].

        Raises:
            DamageError: the pixel format or size cannot be converted.
        """
        width, height = self._stored_size
        try:
            # One thread: starting more for each picture costs more than they save.
            converted = self._reformatter.reformat(
                picture, width, height, "rgb24", interpolation=self._interpolation, threads=1
            )
            image = converted.to_ndarray()
        except (FFmpegError, ValueError) as error:
            raise DamageError(f"a picture cannot be converted to RGB: {error}") from error
        return self._orientation.apply(cast("NDArray[np.uint8]", image))


def _leave_out(stream: Stream) -> None:
    """Tell the demuxer not to read a stream's packets, where this PyAV can (since 18)."""
    choices = getattr(av_stream, "Discard", None)
    if choices is not None:
        stream.discard = choices.all


def _check_file(path: Path) -> None:
    problem = remedy = ""
    found = ""
    if path.is_dir():
        problem, found, remedy = "a video was expected", "a folder", "give one of the files in it"
    elif not path.exists():
        problem, found, remedy = "the video is missing", "no such file", "check the path"
    elif not path.is_file():
        problem, found = "the video cannot be read", "a device or pipe"
        remedy = "save it as a file first: exact frames need seeking"
    elif path.stat().st_size == 0:
        problem, found = "the video is empty", "0 bytes"
        remedy = "copy or download the file again"
    if problem:
        raise InputError(problem, path=path, expected="a video file", found=found, remedy=remedy)


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(
            "the video cannot be read",
            path=path,
            expected="a file that this user may read",
            found="permission denied",
            remedy="change the file's permissions",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(
        "the file cannot be opened as a video",
        path=path,
        expected="a complete video file (MP4, MKV, AVI, WebM, ...)",
        found=f"{path.stat().st_size} bytes that FFmpeg cannot read ({reason})",
        remedy="the file is not a video or was cut off: copy or download it again",
    )

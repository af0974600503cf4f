"""One open video file: its packets and its decoder.

Everything that FFmpeg raises ends here: a file that is no video is an InputError; damage met while
reading is a `DamageError`, which the reader turns into an InputError that says how much can be had.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import cast

import av
from av import stream as av_stream
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import ExitError, FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stad_data.container_end import missing_bytes
from stad_data.video_watchdog import Progress, stalled
from stad_eval import InputError

_FALLBACK_RATE = Fraction(25)
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
        timeout: seconds after which FFmpeg's own waiting for data ends; None: never. It ends loops
            that wait, not a system call that blocks.
        progress: counts packets and pictures.

    Attributes:
        strict: whether the decoder takes every oddity for damage. It has to, or it would paint
            over a broken picture with its neighbours. It must not where it begins at an H.264
            keyframe that pictures before it lean on (open GOP): that is one of the oddities.
        declared_size: (width, height) of the first pictures as stored, as the file has it.

    Raises:
        InputError: missing, a folder, empty, not readable, not a video, or without a video stream.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.path = path
        self.threads = threads
        self._timeout = timeout
        self._progress = progress or Progress()
        self.strict = True
        self.owner = os.getpid()
        self._container: InputContainer | None = None
        self._demuxed: Iterator[Packet] | None = None
        self._peeked: deque[Packet] = deque()
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
    def stream_numbers(self) -> tuple[int, int]:
        """How many video streams the file has, and the number of the one that is read."""
        return len(self.container.streams.video), self.stream.index

    @property
    def declared_rates(self) -> list[Fraction]:
        """Frames per second that the container has or lets guess, the best first; 25 at last."""
        stream = self.stream
        found = (stream.average_rate, stream.guessed_rate, stream.base_rate, _FALLBACK_RATE)
        return [Fraction(rate) for rate in found if rate is not None and 0 < rate <= 1000]

    @property
    def nominal_rate(self) -> float:
        """Average frames per second as the container has it; 25 where it has none."""
        return float(self.declared_rates[0])

    @property
    def can_skip(self) -> bool:
        """Whether leaving out pictures that none leans on is known to leave the others as they are.

        In H.264 a picture says so itself (`nal_ref_idc`). With one thread only: others look ahead.
        """
        return self.threads == 1 and self.stream.codec_context.name == "h264"

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
        self._demuxed = None
        self._peeked.clear()
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def abandon(self) -> None:
        """Let go of a container that a parent process opened, without closing it.

        Decoder threads do not survive a fork, so closing would wait for them for ever; the file
        offset is shared, so reading would disturb the parent. The child keeps it untouched.
        """
        self._demuxed = None
        self._peeked.clear()
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
        self._peeked.clear()
        try:
            self.container.seek(stamp, stream=self.stream, backward=True, any_frame=False)
        except FFmpegError as error:
            raise DamageError(f"seeking failed: {error.strerror}") from error

    def peek(self, count: int) -> list[Packet]:
        """The first packets of an untouched source, which stays so: `packets` begins with them.

        Raises:
            DamageError: as `packets`.
        """
        self.rewind()
        found = list(islice(self.packets(), count))
        self._peeked.extend(found)
        self.untouched = True
        return found

    def packets(self) -> Iterator[Packet]:
        """The video stream's packets from the present position, in the file's order.

        Raises:
            DamageError: the container's structure is broken here, or a packet is cut short.
        """
        self.untouched = False
        while self._peeked:
            yield self._peeked.popleft()
        while True:
            # One for all, also after seeking: PyAV loses some bytes for each that is begun.
            demuxed = self._demuxed or self.container.demux(self.stream)
            self._demuxed = None
            try:
                packet = next(demuxed)
                self._demuxed = demuxed
            except StopIteration:
                return
            except ExitError:
                raise stalled(self.path, self._timeout or 0.0) from None
            except (FFmpegError, UnicodeDecodeError) as error:
                raise DamageError(f"the container is broken: {error}") from error
            self._progress.advance()
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue  # PyAV's mark for the end of the stream
            yield packet

    def decode(
        self,
        label: Callable[[Packet], int],
        *,
        skipped: Callable[[int], bool] = lambda _: False,
        needed: Callable[[int], bool] = lambda _: True,
        before: Packet | None = None,
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
            needed: whether the picture of that number is wanted for itself. One that is not, and
                that no other picture is predicted from, need not come out.
            before: a packet that was read already and comes first.
            finish: whether to take, after the last packet, the pictures that the decoder holds
                back for others to come first. In a file that was cut off those others are missing.

        Raises:
            DamageError: a packet or picture is broken; `remaining` may still hold earlier pictures.
        """
        key = _FirstKey(timed=self.has_trusted_times)
        for packet in chain([] if before is None else [before], self.packets()):
            number = label(packet)
            if skipped(number):
                continue
            key.note(packet, number)
            self._take_all(needed(number))
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

    def _take_all(self, wanted: bool) -> None:
        """Tell the decoder whether the next picture has to come out even if none leans on it."""
        if wanted != self._taking_all:
            self._taking_all = wanted
            self.stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"

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
            self._progress.advance()
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
                timeout=self._timeout,
            )
        except ExitError:
            raise stalled(self.path, self._timeout or 0.0) from None
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
        self._taking_all = True
        self.stream: VideoStream = streams[0]
        self.declared_size = self.stream.codec_context.width, self.stream.codec_context.height
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

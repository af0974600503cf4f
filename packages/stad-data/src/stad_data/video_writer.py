"""VideoWriter: frames in, one complete H.264 file out, or none."""

import errno
import math
import os
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from stad_eval import InputError

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_FINEST_TICK = 90_000  # ticks per second that times are rounded to, at least
_BT601 = 6  # AVCOL_SPC_SMPTE170M: the matrix that swscale uses by default, so it is written down


class VideoWriter:
    """Write RGB frames to a video file that appears under its name only when it is complete.

    The stream is H.264 with yuv420p pixels, which every player and browser takes. Frames go to a
    hidden temporary file in the target's folder; `close` finishes, syncs and renames it. When the
    `with` block is left by an exception the temporary file is removed and a file that existed
    under the target's name stays as it was.

    H.264 with yuv420p needs even sides: an image of odd width or height gets its last column or
    row repeated once, so the written frames are one pixel wider or higher.

    With `threads=1` (the default) the same frames give the same bytes.

    Args:
        path: target; the ending (.mp4, .m4v, .mov, .mkv) picks the container.
        size: (width, height) of the images.
        fps: frames per second, over 0; with `time` given to `write` it is only the nominal rate.
        crf: constant rate factor of x264, 0 (lossless in yuv420p) to 51 (worst).
        preset: speed preset of x264, "ultrafast" to "veryslow".
        keyframe_interval: most frames from one keyframe to the next; None leaves x264's 250.
        threads: encoder threads; 0 lets x264 choose (then the bytes may differ by machine).

    Raises:
        InputError: the folder is missing or cannot be written, the target is a folder, or its
            ending is unknown. Found before the first frame.
        ValueError: a size, rate, crf or image that cannot be.
        OSError: the disk is full or fails, from `write` or `close`.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        size: tuple[int, int],
        fps: float | Fraction,
        crf: int = 20,
        preset: str = "veryfast",
        keyframe_interval: int | None = None,
        threads: int = 1,
    ) -> None:
        self._file: BufferedWriter | None = None
        self._container: OutputContainer | None = None
        self.path = Path(path)
        self.size = _checked_size(size)
        self.fps = _checked_rate(fps)
        if not 0 <= crf <= 51:
            raise ValueError(f"crf: expected 0 to 51, found {crf}; lower is better, 20 is good")
        self._reformatter = VideoReformatter()
        self._written = 0
        self._last_pts = -1
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}-{id(self)}.part")
        self._file = _open_target(self.path, self._temporary)
        try:
            self._start(crf, preset, keyframe_interval, threads)
        except BaseException:
            self._discard()
            raise

    @property
    def num_written(self) -> int:
        """Frames written so far."""
        return self._written

    def write(self, image: NDArray[np.uint8], time: float | None = None) -> None:
        """Append one frame.

        Args:
            image: uint8 [H, W, 3] RGB of the writer's size.
            time: seconds at which the frame is shown, at least 0 and above the previous one's
                (variable frame rate); None means one frame's duration after the previous one.

        Raises:
            ValueError: the image has another shape or type, or the time does not go forward.
            OSError: the disk is full or fails.
        """
        if self._container is None:
            raise ValueError(f"{self.path}: the writer is closed; no frame can follow")
        width, height = self.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: frame {self._written}: expected a uint8 image of shape "
                f"{(height, width, 3)}, found {image.dtype} {image.shape}; "
                "give the writer the size (width, height) of the images"
            )
        pts = self._pts(time)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.colorspace = _BT601
        frame.pts = pts
        frame.time_base = self._time_base
        self._encode(frame)
        self._last_pts = pts
        self._written += 1

    def close(self) -> None:
        """Finish the file and put it under its name; a second call does nothing.

        Raises:
            ValueError: no frame was written, so there is no video to leave; nothing is left behind.
            OSError: the disk is full or fails; nothing is left behind.
        """
        if self._container is None or self._file is None:
            return
        if self._written == 0:
            self._discard()
            raise ValueError(f"{self.path}: no frame was written; write at least one before close")
        try:
            self._encode(None)
            _guard(self._finish, self.path)
        except BaseException:
            self._discard()
            raise
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def __del__(self) -> None:
        # A writer that was dropped without close() holds an incomplete file: it must not stay.
        if getattr(self, "_file", None) is not None:
            self._discard()

    def _start(self, crf: int, preset: str, interval: int | None, threads: int) -> None:
        container = av.open(self._file, mode="w", format=_FORMATS[self.path.suffix.lower()])
        self._container = container
        # Without macroblock trees: x264's lookahead for them reads memory that it never wrote on
        # small pictures, and then the same frames give other bytes from one time to the next.
        options = {"crf": str(crf), "preset": preset, "mbtree": "0"}
        try:
            stream = container.add_stream("libx264", rate=self.fps, options=options)
        except FFmpegError as error:
            raise ValueError(f"{self.path}: the H.264 encoder refused: {error}") from error
        width, height = self.size
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.color_range, stream.colorspace = ColorRange.MPEG, _BT601
        if interval is not None:
            stream.gop_size = interval
        stream.codec_context.thread_count = threads
        # A whole number of ticks per frame, fine enough for any times that may be given.
        finer = math.ceil(_FINEST_TICK / self.fps.numerator)
        self._ticks = self.fps.denominator * finer
        self._time_base = Fraction(1, self.fps.numerator * finer)
        stream.codec_context.time_base = self._time_base
        self._stream = stream
        try:
            stream.codec_context.open()
        except FFmpegError as error:
            raise ValueError(
                f"{self.path}: the H.264 encoder refused size {self.size}, preset {preset!r}, "
                f"crf {crf}: {error}"
            ) from error

    def _pts(self, time: float | None) -> int:
        if time is None:
            return 0 if self._last_pts < 0 else self._last_pts + self._ticks
        if not (math.isfinite(time) and time >= 0):
            raise ValueError(
                f"{self.path}: frame {self._written}: expected a time of at least 0 s, found {time}"
            )
        pts = round(Fraction(time) / self._time_base)
        if pts <= self._last_pts:
            raise ValueError(
                f"{self.path}: frame {self._written}: expected a time after "
                f"{float(self._last_pts * self._time_base):.6f} s, found {time} s; "
                "frames are written in the order in which they are shown"
            )
        return pts

    def _encode(self, frame: av.VideoFrame | None) -> None:
        container, stream = self._container, self._stream
        if container is None:
            return

        def run() -> None:
            for packet in stream.encode(frame):
                # Without a duration the last frame would be shown for no time at all.
                packet.duration = packet.duration or self._ticks
                container.mux(packet)

        _guard(run, self.path)

    def _finish(self) -> None:
        container, self._container = self._container, None
        if container is None or self._file is None:
            return
        container.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)

    def _discard(self) -> None:
        container, self._container = self._container, None
        file, self._file = self._file, None
        if container is not None:
            # The file goes away in any case.
            with suppress(OSError, ValueError, FFmpegError):
                container.close()
        if file is not None:
            with suppress(OSError):
                file.close()
            self._temporary.unlink(missing_ok=True)


def _guard(action: Callable[[], None], path: Path) -> None:
    """Run what writes; whatever the system or FFmpeg raises leaves as an OSError with the path."""
    try:
        action()
    except (FFmpegError, OSError) as error:
        reason = f"writing the video failed: {error.strerror or error}"
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error


def _open_target(path: Path, temporary: Path) -> BufferedWriter:
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            "a video cannot be written under this name",
            path=path,
            expected="a name ending in " + ", ".join(_FORMATS),
            found=path.suffix or "no ending",
            remedy="name the file .mp4",
        )
    if path.is_dir():
        raise InputError(
            "a video cannot be written: the target is a folder",
            path=path,
            expected="a file name",
            found="a folder",
            remedy=f"write to a file in it, such as {path.name}/video.mp4",
        )
    if not path.parent.is_dir():
        raise InputError(
            "a video cannot be written: its folder is missing",
            path=path,
            expected=f"an existing folder {path.parent}",
            found="no such folder",
            remedy="make the folder first",
        )
    try:
        return temporary.open("xb")
    except OSError as error:
        raise InputError(
            "a video cannot be written into this folder",
            path=path,
            expected=f"a folder that can be written: {path.parent}",
            found=error.strerror or str(error),
            remedy="choose another folder or change its permissions",
        ) from error


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    width, height = (int(side) for side in size)
    if width < 1 or height < 1 or width > 16_384 or height > 16_384:
        raise ValueError(f"size: expected (width, height) of 1 to 16384 each, found {size}")
    return width, height


def _checked_rate(fps: float | Fraction) -> Fraction:
    # NTSC rates come as floats such as 29.97002997: 1001 restores 30000/1001 exactly.
    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise ValueError(f"fps: expected a rate over 0 and at most 1000, found {fps}")
    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise ValueError(f"fps: expected at least one frame per 1001 s, found {fps}")
    return rate

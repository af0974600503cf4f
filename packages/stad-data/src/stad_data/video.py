"""VideoReader: the frames of a video, exactly, by index or one after the other."""

import copy
import operator
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from stad_data.video_backend import Frame, FrameBackend
from stad_data.video_decord import DECORD
from stad_data.video_delegate import DelegatedFrames
from stad_data.video_folder import FolderFrames, Gaps
from stad_data.video_image import Scaling
from stad_data.video_pyav import PyAVFrames
from stad_data.video_times import Timeline
from stad_data.video_torchcodec import TORCHCODEC
from stad_data.video_watchdog import Watchdog
from stad_data.video_writer import VideoWriter

__all__ = ["Backend", "Frame", "VideoReader", "VideoWriter"]

Backend = Literal["pyav", "decord", "torchcodec"]
R = TypeVar("R")

_LIBRARIES = {library.name: library for library in (DECORD, TORCHCODEC)}


class VideoReader:
    """Frames of a video file or of a folder of frames, in the order in which they are shown.

    Frame i is the i-th picture that a player shows, whatever the container claims: B-frames,
    variable rates, edit lists, missing or repeated timestamps and wrong frame counts do not move
    it. Rotation and mirroring by the file's display matrix are applied, to the nearest quarter
    turn. Pixels that are not square are left as they are stored. Any pixel format becomes 8-bit
    RGB; an alpha channel is dropped. Frames of another size than the first are scaled to it.

    A frame that cannot be decoded ends the video there. `num_frames` counts the frames before it,
    once it is known (a file that was cut off is recognised at once; a damaged picture only when it
    is decoded), `read` refuses later ones and a stream raises after the last good one.

    A reader may be pickled or inherited by a forked process; the file is opened again there, and
    the index travels along. It is not for use by two threads at once.

    Args:
        path: the video file, or a folder of numbered images (see `stad_data.video_folder`).
        resize: (width, height) that frames are scaled to while they are converted, after rotation,
            each pixel the mean of its area; None keeps their size.
        short_side: or: pixels that the shorter side is scaled down to, the other side keeping its
            ratio (rounded). Frames that are smaller already are not enlarged.
        threads: decoder threads, 0 for all cores. With more than 1 the decoder may paint over a
            damaged picture unnoticed, and on two cores it is no faster.
        on_damage: what a stream does after the last good frame of a damaged file: "raise" an
            InputError, or "stop" quietly.
        backend: what decodes. "pyav" reads everything. "decord" and "torchcodec" (extras of their
            own) are used only on files on which they are exact, and do not notice damaged
            pictures; others are refused, see `stad_data.video_decord` and
            `stad_data.video_torchcodec`. A folder is read the same whatever the backend.
        fps: frames per second of a folder, which does not say so itself; None means 25 there.
        gaps: what may be missing among the numbers of a folder's images: "refuse" nothing; "step"
            all but every n-th; "close" anything (see `stad_data.video_folder.numbered_images`).
        timeout: seconds without progress after which waiting for the file ends with an InputError;
            None waits for ever. Work that hangs is abandoned, not ended: see
            `stad_data.video_watchdog`.

    Raises:
        InputError: the file is missing, empty, no video or only sound, a folder without frames, or
            the backend is not installed or would not read it exactly.
        ValueError: an option that cannot be.
    """

    def __init__(  # noqa: PLR0913 - every one a choice of the reader's user
        self,
        path: Path | str,
        *,
        resize: tuple[int, int] | None = None,
        short_side: int | None = None,
        threads: int = 1,
        on_damage: Literal["raise", "stop"] = "raise",
        backend: Backend = "pyav",
        fps: float | None = None,
        gaps: Gaps = "step",
        timeout: float | None = 60.0,
    ) -> None:
        self.path = Path(path)
        self.resize = resize
        self.short_side = short_side
        self.threads = threads
        self.on_damage = on_damage
        self.backend: Backend = backend
        self.timeout = timeout
        scaling = Scaling(resize=resize, short_side=short_side)
        _check_options(threads, on_damage, backend, timeout)
        self._closed = False
        self._source_size: tuple[int, int] | None = None
        self._fps: float | None = None
        self._frames = self._backend(scaling, fps, gaps)
        self._watched(self._frames.open)

    def _backend(self, scaling: Scaling, fps: float | None, gaps: Gaps) -> FrameBackend:
        if self.path.is_dir():
            complain = self.on_damage == "raise"
            return FolderFrames(self.path, scaling=scaling, fps=fps, gaps=gaps, complain=complain)
        if fps is not None:
            raise ValueError(f"fps: expected None for a file, which has its own, found {fps}")
        frames = PyAVFrames(
            self.path,
            scaling=scaling,
            threads=self.threads,
            timeout=self.timeout,
            complain=self.on_damage == "raise",
        )
        if self.backend == "pyav":
            return frames
        return DelegatedFrames(frames, library=_LIBRARIES[self.backend])

    @property
    def source_size(self) -> tuple[int, int]:
        """(width, height) of the frames as shown, before scaling."""
        if self._source_size is None:
            self._source_size = self._watched(self._frames.source_size)
        return self._source_size

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images that come out, after rotation and scaling."""
        if self.resize is not None:
            return self.resize
        return Scaling(short_side=self.short_side).size(self.source_size)

    @property
    def fps(self) -> float:
        """Average frames per second as the container has it; 25 where it has none."""
        if self._fps is None:
            self._fps = self._watched(self._frames.fps)
        return self._fps

    @property
    def timeline(self) -> Timeline:
        """When each frame is shown; made from packets or by decoding, never the file's word."""
        known = self._frames.timeline
        return self._watched(self._frames.indexed) if known is None else known

    @property
    def num_frames(self) -> int:
        """Frames that can be read; counted from packets or by decoding, never the file's word."""
        return len(self.timeline)

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds after the first frame at which each frame is shown [num_frames], increasing."""
        return self.timeline.times_N.copy()

    @property
    def damage(self) -> str | None:
        """What is wrong after the last frame, as far as it is known; None for a sound file."""
        return self.timeline.damage

    def frame_at(self, seconds: float) -> int:
        """Index of the frame shown at a time: the last one that starts at or before it.

        `timeline.frames_at` takes many times at once; `stad_data.video_times.ava_frames` takes
        AVA's.

        Args:
            seconds: after the first frame; before it gives 0, past the end the last frame.
        """
        return int(self.timeline.frames_at(seconds)[0])

    def read(self, indices: Iterable[int]) -> NDArray[np.uint8]:
        """Read frames by index.

        Args:
            indices: any order, repeats allowed, each in [0, num_frames).

        Returns:
            uint8 [T, H, W, 3], RGB, in the order asked for; T = 0 for no indices.

        Raises:
            InputError: an index out of range, or behind the damage of a damaged file; or no
                progress within the timeout.
        """
        wanted = [operator.index(index) for index in indices]
        frames = self._frames
        return self._watched(lambda: self._gathered(frames, wanted))

    def _gathered(self, frames: FrameBackend, wanted: list[int]) -> NDArray[np.uint8]:
        if not wanted:
            scaling = Scaling(resize=self.resize, short_side=self.short_side)
            width, height = scaling.size(frames.source_size())
            return np.empty((0, height, width, 3), dtype=np.uint8)
        places: dict[int, list[int]] = {}
        for place, rank in enumerate(wanted):
            places.setdefault(rank, []).append(place)
        images: NDArray[np.uint8] | None = None
        for rank, image in frames.images(sorted(places)):
            if images is None:
                images = np.empty((len(wanted), *image.shape), dtype=np.uint8)
            for place in places[rank]:
                images[place] = image
        return cast("NDArray[np.uint8]", images)

    def __iter__(self) -> Iterator[Frame]:
        """Stream all frames from the first, in bounded memory, on a file handle of its own.

        Raises:
            InputError: after the last good frame of a damaged file, unless `on_damage="stop"`; or
                no progress within the timeout.
        """
        stream = self._live().stream()
        if self.timeout is None:
            yield from stream
            return
        with Watchdog(self.path, timeout=self.timeout, progress=self._frames.progress) as dog:
            try:
                while (frame := dog.run(lambda: next(stream, None))) is not None:
                    yield frame
            finally:
                if dog.abandoned:
                    self._start_over()
                else:
                    cast("Any", stream).close()

    def release(self) -> None:
        """Close the file until the next call needs it; index and size stay known.

        For those who hold more readers than a process may have open files.
        """
        self._frames.release()

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
        frames = getattr(self, "_frames", None)
        if frames is not None:
            frames.release()

    def __repr__(self) -> str:
        return f"VideoReader({str(self.path)!r})"

    def _live(self) -> FrameBackend:
        if self._closed:
            raise ValueError(f"{self.path}: the reader is closed; open a new one")
        return self._frames

    def _watched(self, step: Callable[[], R]) -> R:
        """Run what may have to wait for the disk or the decoder, but not for ever."""
        frames = self._live()
        if self.timeout is None:
            return step()
        with Watchdog(self.path, timeout=self.timeout, progress=frames.progress) as dog:
            try:
                return dog.run(step)
            finally:
                if dog.abandoned:
                    self._start_over()

    def _start_over(self) -> None:
        """Leave everything open to the work that was abandoned; the next call opens anew."""
        self._frames = copy.copy(self._frames)


def _check_options(threads: int, on_damage: str, backend: str, timeout: float | None) -> None:
    if threads < 0:
        raise ValueError(f"threads: expected 0 (all cores) or more, found {threads}")
    if on_damage not in ("raise", "stop"):
        raise ValueError(f'on_damage: expected "raise" or "stop", found {on_damage!r}')
    if backend not in ("pyav", *_LIBRARIES):
        names = ", ".join(("pyav", *_LIBRARIES))
        raise ValueError(f"backend: expected one of {names}, found {backend!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout: expected more than 0 seconds, or None, found {timeout}")

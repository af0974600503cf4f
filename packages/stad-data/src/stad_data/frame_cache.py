"""Short videos decoded once, made small, and kept in memory: what makes small sets fast."""

import operator
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.video import VideoReader
from stad_data.video_folder import Gaps
from stad_eval import InputError

_DEFAULT_BYTES = 4 * 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameCache:
    """All frames of one video in memory; reads like a VideoReader.

    The frames are read-only, so that a forked worker shares the parent's memory.

    Attributes:
        path: the video.
        frames: uint8 [T, H, W, 3], RGB.
        times: seconds after the first frame [T].
        source_size: (width, height) of the video's frames before they were made small.
    """

    path: Path
    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    source_size: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the kept frames; boxes of the video have to be scaled to it."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def num_frames(self) -> int:
        """Frames kept, which is all that decode."""
        return self.frames.shape[0]

    def __len__(self) -> int:
        return self.num_frames

    def read(self, indices: Iterable[int]) -> NDArray[np.uint8]:
        """Frames by index, copied: uint8 [T, H, W, 3]; any order, repeats allowed.

        Raises:
            InputError: an index out of range.
        """
        wanted = np.array([operator.index(index) for index in indices], dtype=np.int64)
        wrong = wanted[(wanted < 0) | (wanted >= self.num_frames)]
        if wrong.size:
            raise InputError(
                "there is no such frame",
                path=self.path,
                expected=f"a frame index of at least 0 and below {self.num_frames}",
                found=str(int(wrong[0])),
                remedy="frames are counted from 0, as decoded, not as the container declares",
            )
        return self.frames[wanted]


def cache_video(
    path: Path | str, *, size: tuple[int, int] | None = None, short_side: int | None = None
) -> FrameCache:
    """Decode one video into memory.

    Args:
        path: the video file.
        size: (width, height) of the kept frames.
        short_side: or: pixels of the shorter side, the other keeping its ratio (rounded); a video
            that is smaller already is not enlarged. With neither, frames keep their size.

    Raises:
        InputError: the video cannot be read, or is damaged.
        ValueError: both a size and a short side are given.
    """
    with VideoReader(path, resize=size, short_side=short_side) as reader:
        return _filled(reader)


def cache_videos(
    paths: Sequence[Path | str],
    *,
    size: tuple[int, int] | None = None,
    short_side: int | None = None,
    workers: int = 2,
    max_bytes: int = _DEFAULT_BYTES,
    progress: Callable[[int, int], None] | None = None,
    gaps: Gaps = "step",
) -> dict[Path, FrameCache]:
    """Decode many short videos into memory, some at a time.

    Args:
        paths: video files; repeats are decoded once.
        size: (width, height) of the kept frames.
        short_side: or: pixels of the shorter side, as in `cache_video`.
        workers: decoding threads.
        max_bytes: memory that the frames may take together.
        progress: called with (videos done, videos in all) after each.
        gaps: what may be missing among the numbers of folders of images, as in `VideoReader`.

    Returns:
        Caches by path, in the order given; empty for no paths.

    Raises:
        InputError: a video cannot be read, or all together would take more than `max_bytes`; the
            need is worked out from the files' indexes before anything is decoded.
    """
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, found {workers}")
    unique = list(dict.fromkeys(Path(path) for path in paths))
    caches: dict[Path, FrameCache] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            measured = pool.map(lambda path: _measured(path, size, short_side, gaps), unique)
            readers = _fitting(measured, len(unique), max_bytes)
            for cache in pool.map(_filled, readers):
                caches[cache.path] = cache
                if progress is not None:
                    progress(len(caches), len(unique))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return caches


def _fitting(
    measured: Iterable[tuple[VideoReader, int]], count: int, max_bytes: int
) -> list[VideoReader]:
    """The readers, once it is sure that what they give fits."""
    readers: list[VideoReader] = []
    total = 0
    for reader, need in measured:
        readers.append(reader)
        total += need
        if total > max_bytes:
            raise InputError(
                "the videos do not fit into the memory allowed for them",
                path=reader.path,
                expected=f"at most {max_bytes / 2**20:.0f} MiB for {count} videos",
                found=f"{total / 2**20:.0f} MiB for the first {len(readers)}",
                remedy="keep smaller frames, allow more memory or read from the files",
            )
    return readers


def _measured(
    path: Path, size: tuple[int, int] | None, short_side: int | None, gaps: Gaps
) -> tuple[VideoReader, int]:
    reader = VideoReader(path, resize=size, short_side=short_side, gaps=gaps)
    frames = reader.num_frames
    width, height = reader.size
    reader.release()
    return reader, frames * width * height * 3


def _filled(reader: VideoReader) -> FrameCache:
    frames = reader.read(range(reader.num_frames))
    frames.flags.writeable = False
    cache = FrameCache(
        path=reader.path, frames=frames, times=reader.times, source_size=reader.source_size
    )
    reader.close()
    return cache

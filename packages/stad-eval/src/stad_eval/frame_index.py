"""Small whole numbers for the (video, frame) pairs that an evaluation meets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Frames are less than 2**40 (held by Boxes), so a key of video and frame stays within int64.
SPAN = 2**40


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameIndex:
    """A slot in [0, size) for every frame, in order of video and time.

    Where the frames of a video lie close together, slots are frames counted through all videos:
    no search, a look-up each. Else they are places in `keys`, the sorted keys that occur.
    """

    size: int
    low: NDArray[np.int64]
    start: NDArray[np.int64]
    keys: NDArray[np.int64] | None

    def slots(self, video: NDArray[np.int64], frame: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of frames that the index was made from, int64 [N]."""
        if self.keys is None:
            return (self.start - self.low)[video] + frame
        return np.searchsorted(self.keys, video * SPAN + frame)

    def videos(self) -> NDArray[np.int64]:
        """The video of every slot, [size]."""
        if self.keys is not None:
            return self.keys // SPAN
        spans = np.diff(np.append(self.start, self.size))
        return np.repeat(np.arange(self.start.size), spans)

    def mask(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True at the given slots, [size]."""
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[slots] = True
        return mask


def frame_index(
    videos: int, columns: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> FrameIndex:
    """The index of all frames in `columns`, (video, frame) pairs of arrays."""
    low = np.full(videos, SPAN, dtype=np.int64)
    high = np.full(videos, -1, dtype=np.int64)
    for video, frame in columns:
        np.minimum.at(low, video, frame)
        np.maximum.at(high, video, frame)
    spans = np.maximum(high - low + 1, 0)
    low[spans == 0] = 0
    start = np.cumsum(spans) - spans
    rows = sum(video.size for video, _ in columns)
    if float(spans.astype(np.float64).sum()) <= 8.0 * rows + (1 << 20):
        return FrameIndex(size=int(spans.sum()), low=low, start=start, keys=None)
    keys = np.unique(np.concatenate([video * SPAN + frame for video, frame in columns]))
    return FrameIndex(size=keys.size, low=low, start=start, keys=keys)

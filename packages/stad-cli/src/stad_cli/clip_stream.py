"""Clips around keyframes from a stream of frames, in bounded memory.

Training takes frames by index (``stad_data.clips.window``). A video to run on may have another
frame rate, or a varying one, so here the window is laid out in time: frame ``i`` of the clip is
the frame that is shown nearest to ``keyframe time + (i - length // 2) * step``, and beyond the
ends of the video its first or last frame. At the frame rate of the training videos these are
exactly the frames of the training window.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stad_eval import InputError

KEYFRAME_SECONDS = 0.25
"""Distance of keyframes where the user names none."""

GRAIN = 0.4
"""Part of a training frame's duration below which frames of a faster video are not kept. It keeps
all frames of a video of twice the rate, also where its time stamps are rounded."""


class TimedFrame(Protocol):
    """A decoded frame that knows when it is shown: what a VideoReader iterates over."""

    @property
    def index(self) -> int:
        """0-based number of the frame."""
        ...

    @property
    def time(self) -> float:
        """Seconds from the start of the video."""
        ...

    @property
    def image(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames make a clip, and which frames are keyframes.

    Attributes:
        length: Frames per clip, T.
        step: Seconds between neighbouring frames of a clip.
        grain: Frames closer than this (seconds) to the one kept before are never needed in a
            clip, unless they are keyframes. It bounds the memory for videos of very high rate.
        every: Frames between keyframes, or None to take them by time.
        seconds: Seconds between keyframes where ``every`` is None.

    Raises:
        InputError: A length, step or distance that is not positive.
    """

    length: int
    step: float
    grain: float
    every: int | None = None
    seconds: float = KEYFRAME_SECONDS

    def __post_init__(self) -> None:
        positive = (self.length, self.step, self.seconds, 1 if self.every is None else self.every)
        if min(positive) <= 0 or self.grain < 0:
            raise InputError("clips need a positive length, step and distance", found=str(self))


def sampling_for(
    *, length: int, stride: int, trained_fps: float | None, fps: float, every: int | None
) -> Sampling:
    """The sampling for a video of ``fps``, for a model that saw every ``stride``-th frame.

    ``trained_fps`` is the frame rate of the training videos; where it is unknown, the model is
    taken to have been trained at this video's own rate.
    """
    rate = trained_fps or fps
    return Sampling(length=length, step=stride / rate, grain=GRAIN / rate, every=every)


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeClip:
    """The clip around one keyframe.

    Attributes:
        frame: Index of the keyframe in the video.
        time: When it is shown, in seconds.
        images: uint8 [T, h, w, 3], at the model's size.
        indices: int64 [T], which frame of the video each one is.
    """

    frame: int
    time: float
    images: NDArray[np.uint8]
    indices: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    index: int
    time: float
    image: NDArray[np.uint8]


class _Window:
    """The last few frames at model size, and the keyframes that still wait for later ones."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._kept: deque[_Kept] = deque()
        self._waiting: deque[_Kept] = deque()
        self._key: _Kept | None = None

    def is_keyframe(self, index: int, time: float) -> bool:
        if self._key is None:
            return True
        if self._sampling.every is not None:
            return index - self._key.index >= self._sampling.every
        # A hundredth of the distance covers the rounding of time stamps.
        return time - self._key.time >= 0.99 * self._sampling.seconds

    def is_needed(self, time: float) -> bool:
        return not self._kept or time - self._kept[-1].time >= self._sampling.grain

    def keep(self, frame: _Kept) -> None:
        self._kept.append(frame)

    def mark(self, frame: _Kept) -> None:
        """This frame is a keyframe."""
        self._key = frame
        self._waiting.append(frame)

    def ready(self, *, ended: bool) -> Iterator[KeyframeClip]:
        """The clips whose last frame is known by now; all that wait when the video has ended."""
        ahead = (self._sampling.length - 1 - self._sampling.length // 2) * self._sampling.step
        while self._waiting and (ended or self._kept[-1].time >= self._waiting[0].time + ahead):
            yield self._clip(self._waiting.popleft())
        self._forget()

    def _clip(self, key: _Kept) -> KeyframeClip:
        sampling = self._sampling
        offsets = np.arange(sampling.length) - sampling.length // 2
        times = [frame.time for frame in self._kept]
        chosen = [
            key if not offset else self._kept[_nearest(times, key.time + offset * sampling.step)]
            for offset in offsets.tolist()
        ]
        return KeyframeClip(
            frame=key.index,
            time=key.time,
            images=np.stack([frame.image for frame in chosen]),
            indices=np.array([frame.index for frame in chosen], dtype=np.int64),
        )

    def _forget(self) -> None:
        """Let go of frames that no clip to come reaches back to."""
        if not self._kept:
            return
        behind = (self._sampling.length // 2) * self._sampling.step
        oldest = (self._waiting[0] if self._waiting else self._kept[-1]).time - behind
        while len(self._kept) > 1 and self._kept[1].time <= oldest:
            self._kept.popleft()


def _nearest(times: list[float], wanted: float) -> int:
    """Position of the nearest of some ascending times; the earlier one of two equally near."""
    right = bisect_left(times, wanted)
    if right == 0:
        return 0
    if right == len(times):
        return right - 1
    return right if times[right] - wanted < wanted - times[right - 1] else right - 1


def clips(
    frames: Iterable[TimedFrame],
    sampling: Sampling,
    *,
    resize: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    seen: Callable[[int], None] = lambda _: None,
) -> Iterator[KeyframeClip]:
    """One clip per keyframe, in order; the first and the last frame are always keyframes.

    Memory holds the model-size frames of one clip and of one distance between keyframes, whatever
    the length of the video. No frames give no clips.

    Args:
        frames: Frames in the order in which they are shown.
        sampling: What to take.
        resize: From a full frame uint8 [H, W, 3] to the model's size uint8 [h, w, 3].
        seen: Told 1 after every frame.
    """
    window = _Window(sampling)
    skipped: TimedFrame | None = None
    for frame in frames:
        keyframe = window.is_keyframe(frame.index, frame.time)
        skipped = None if keyframe else frame
        if keyframe or window.is_needed(frame.time):
            kept = _Kept(index=frame.index, time=frame.time, image=resize(frame.image))
            window.keep(kept)
            if keyframe:
                window.mark(kept)
            yield from window.ready(ended=False)
        seen(1)
    if skipped is not None:
        last = _Kept(index=skipped.index, time=skipped.time, image=resize(skipped.image))
        window.keep(last)
        window.mark(last)
    yield from window.ready(ended=True)

"""Clips beyond the keyframe: tubelets, whole videos, and the frames between two keyframes.

Each function gives a `Clip` whose ``tracks`` hold the actors of more frames than one; the
transforms move them along. A clip or a frame without actors is as good as any other.
Suffix legend: T = frames of the clip, K = frames with boxes, N = actors, C = classes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_data.annotation import VideoAnnotation
from stad_data.clip_tracks import NO_FRAME, tracks_at
from stad_data.clips import Clip, FrameSource, gathered, window
from stad_eval import InputError


def tubelet(
    annotation: VideoAnnotation,
    frame: int,
    *,
    length: int,
    stride: int = 1,
    boxes: int | None = None,
    source: FrameSource | None = None,
) -> Clip:
    """The clip around a frame, with every actor's boxes in its K middle frames.

    ``clip.tracks`` has N rows, one per actor that is annotated in any of the K frames; ``present``
    tells in which. ``clip.boxes`` are the actors of the keyframe alone. At the ends of a video the
    first or last frame is repeated, and so are its boxes.

    Args:
        annotation: The video.
        frame: The keyframe; it sits at ``length // 2`` of the clip and at ``K // 2`` of the tracks.
        length: Frames T of the clip.
        stride: Frames of the video per frame of the clip.
        boxes: How many successive frames K of the clip have boxes; all T where None.
        source: Where frames come from, as for `centred`.

    Raises:
        InputError: A frame outside the video, K outside 1..T, or a file that cannot be read.

    Source: Kalogeiton et al., "Action tubelet detector", Sec. 3; STMA, Sec. 2 (T = 16, K = 5).
    """
    indices = window(frame, length=length, stride=stride, num_frames=annotation.num_frames)
    count = length if boxes is None else boxes
    if not 1 <= count <= length:
        raise InputError(
            "a tubelet has its boxes in frames of its clip",
            expected=f"1 <= boxes <= {length}",
            found=f"{count}",
        )
    clip = gathered(annotation, frame, indices, source=source)
    first = length // 2 - count // 2
    frames = indices[first : first + count]
    return replace(clip, tracks=tracks_at(annotation, frames, clip.placement))


@dataclass(frozen=True, kw_only=True)
class TimeMap:
    """Between the time of a clip and that of a video: a span of the video in T equal steps.

    Time is counted in frames and a frame lasts from its number to the next, so frame t of the clip
    covers [t, t + 1), and the span [start, stop) of the video is the clip's [0, T).

    Attributes:
        start: First frame of the span.
        stop: One past its last frame.
        length: Frames T of the clip.

    Raises:
        InputError: A span without frames, or a clip without.
    """

    start: int
    stop: int
    length: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop or self.length < 1:
            raise InputError(
                "a map of time needs a span of frames and a length",
                expected="0 <= start < stop, length >= 1",
                found=repr(self),
            )

    @property
    def indices(self) -> NDArray[np.int64]:
        """The frame of the video in the middle of each frame of the clip, int64 [T]."""
        # In whole numbers: floor(start + (t + 1/2) * span / T).
        odd = 2 * np.arange(self.length, dtype=np.int64) + 1
        return self.start + odd * (self.stop - self.start) // (2 * self.length)

    def to_video(self, time: ArrayLike) -> NDArray[np.float64]:
        """Times of the video for times of the clip."""
        rate = (self.stop - self.start) / self.length
        return self.start + np.asarray(time, np.float64) * rate

    def to_clip(self, time: ArrayLike) -> NDArray[np.float64]:
        """Times of the clip for times of the video."""
        rate = (self.stop - self.start) / self.length
        return (np.asarray(time, np.float64) - self.start) / rate


def resampled(
    annotation: VideoAnnotation,
    *,
    length: int,
    span: tuple[int, int] | None = None,
    source: FrameSource | None = None,
) -> Clip:
    """A whole video, or a span of it, in a fixed number of frames, with the actors of all of them.

    ``clip.tracks`` has one row per actor annotated in one of the T frames (K = T); ``clip.indices``
    are the frames of the video, and ``TimeMap(start=..., stop=..., length=...)`` of the same span
    takes times from one to the other. A span shorter than T repeats frames. The keyframe is the
    clip's middle one.

    Args:
        annotation: The video.
        length: Frames T of the clip.
        span: (start, stop) frames, half-open; the whole video where None.
        source: Where frames come from, as for `centred`.

    Raises:
        InputError: A length below 1, a span outside the video, or a file that cannot be read.

    Source: CFAD, Sec. 4.1 (T = 96 or 32).
    """
    start, stop = (0, annotation.num_frames) if span is None else span
    if stop > annotation.num_frames:
        raise InputError(
            f"video {annotation.video!r}: a span beyond its end",
            path=annotation.path,
            expected=f"stop <= {annotation.num_frames}",
            found=f"({start}, {stop})",
        )
    indices = TimeMap(start=start, stop=stop, length=length).indices
    clip = gathered(annotation, int(indices[length // 2]), indices, source=source)
    return replace(clip, tracks=tracks_at(annotation, indices, clip.placement))


def neighbours(annotation: VideoAnnotation, frame: int) -> tuple[int, int]:
    """The last keyframe before a frame and the first after it; ``NO_FRAME`` where there is none.

    A keyframe has its neighbours too: those that it would have if it were not annotated.
    """
    keys = annotation.keyframes
    before, after = np.searchsorted(keys, (frame, frame + 1))
    return (
        int(keys[before - 1]) if before > 0 else NO_FRAME,
        int(keys[after]) if after < len(keys) else NO_FRAME,
    )


def between(
    annotation: VideoAnnotation,
    frame: int,
    *,
    length: int,
    stride: int,
    source: FrameSource | None = None,
) -> Clip:
    """An unlabelled clip around a frame, with what is known in the keyframes before and after it.

    ``clip.tracks`` has two columns, the keyframe before and the one after: ``tracks.at(0)`` and
    ``tracks.at(1)`` give their boxes in clip pixels, labels and actors; an actor known in both has
    one row. ``tracks.fraction(clip.frame)`` tells where between them the clip lies. Where a side
    has no keyframe its column is empty and ``tracks.frames`` holds ``NO_FRAME``. ``clip.boxes`` are
    empty even if the frame is annotated.

    Args:
        annotation: The video.
        frame: The middle of the clip, as in `centred`.
        length: Frames T of the clip.
        stride: Frames of the video per frame of the clip.
        source: Where frames come from, as for `centred`.

    Raises:
        InputError: A frame outside the video, or a file that cannot be read.

    Source: SE-STAD, Sec. 3.4.
    """
    indices = window(frame, length=length, stride=stride, num_frames=annotation.num_frames)
    clip = without_actors(gathered(annotation, frame, indices, source=source))
    frames = neighbours(annotation, frame)
    return replace(clip, tracks=tracks_at(annotation, frames, clip.placement))


def without_actors(clip: Clip) -> Clip:
    """The clip as if nothing in it were annotated: no boxes, no tracks, no masks."""
    nobody = np.zeros(len(clip.boxes), np.bool_)
    return replace(
        clip,
        boxes=clip.boxes[nobody],
        labels=clip.labels[nobody],
        actors=clip.actors[nobody],
        tracks=None,
        masks=None,
    )

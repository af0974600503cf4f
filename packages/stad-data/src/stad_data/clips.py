"""Clips: a window of frames around a keyframe, with the actors of that keyframe.

Suffix legend: T = frames of the clip, H, W = its height and width, N = actors, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import VideoAnnotation
from stad_data.clip_tracks import ClipTracks
from stad_data.placement import Placement as Placement
from stad_data.video import VideoReader
from stad_eval import InputError


class FrameSource(Protocol):
    """Anything that gives frames by index: a VideoReader, a FrameCache, a stub."""

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [T, H, W, 3] RGB for these 0-based indices; duplicates allowed."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames around a keyframe, with the actors of the keyframe.

    A clip without actors (N = 0) is as good as any other.

    Attributes:
        frames: uint8 [T, H, W, 3] RGB.
        boxes: float32 [N, 4], half-open ``xyxy`` in clip pixels, at the keyframe.
        labels: bool [N, C]; float32 in [0, 1] where clips were mixed.
        actors: int64 [N].
        video: Name of the video.
        frame: Index of the keyframe in the video.
        indices: int64 [T], which frame of the video each frame is.
        placement: From pixels of the annotated frame to pixels of the clip.
        keyframe: Position of the keyframe among the clip's frames; -1 puts it at T // 2.
        masks: Masks that belong to the frames, or None: uint8 [T, H, W] numbers of objects (0
            background, 255 undecided), or float32 [T, H, W] maps.
        tracks: Actors in more frames than the keyframe (``stad_data.windows``), or None.
        flow: Optical flow (``clip_flow.with_flow``), or None: float32 [T, H, W, 2], (dx, dy) in
            clip pixels from each frame to the next one of the video.
        given: Whether the mask of the first frame is given to whoever looks at the clip, to say
            which object is meant (``stad_data.object_clips``).

    Raises:
        InputError: Arrays whose shapes or types disagree.
    """

    frames: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.bool_] | NDArray[np.float32]
    actors: NDArray[np.int64]
    video: str
    frame: int
    indices: NDArray[np.int64]
    placement: Placement = field(repr=False)
    keyframe: int = -1
    masks: NDArray[np.uint8] | NDArray[np.float32] | None = field(default=None, repr=False)
    tracks: ClipTracks | None = field(default=None, repr=False)
    flow: NDArray[np.float32] | None = field(default=None, repr=False)
    given: bool = False

    def __post_init__(self) -> None:
        frames, boxes, labels = self.frames, self.boxes, self.labels
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise InputError(
                f"clip of {self.video!r}: frames of the wrong form",
                expected="uint8 [T, H, W, 3]",
                found=f"{frames.dtype} {frames.shape}",
            )
        actors = len(boxes)
        if boxes.shape != (actors, 4) or labels.ndim != 2 or len(labels) != actors:
            raise InputError(
                f"clip of {self.video!r}: boxes and labels disagree",
                expected="boxes [N, 4], labels [N, C]",
                found=f"boxes {boxes.shape}, labels {labels.shape}",
            )
        if self.actors.shape != (actors,) or self.indices.shape != (len(frames),):
            raise InputError(
                f"clip of {self.video!r}: actors or indices disagree with it",
                expected=f"actors ({actors},), indices ({len(frames)},)",
                found=f"actors {self.actors.shape}, indices {self.indices.shape}",
            )
        if self.keyframe == -1:
            object.__setattr__(self, "keyframe", len(frames) // 2)
        masks = self.masks
        if masks is not None and (
            masks.shape != frames.shape[:3] or masks.dtype.name not in ("uint8", "float32")
        ):
            raise InputError(
                f"clip of {self.video!r}: masks disagree with the frames",
                expected=f"uint8 or float32 {frames.shape[:3]}",
                found=f"{masks.dtype} {masks.shape}",
            )
        flow = self.flow
        if flow is not None and (
            flow.shape != (*frames.shape[:3], 2) or flow.dtype.name != "float32"
        ):
            raise InputError(
                f"clip of {self.video!r}: flow disagrees with the frames",
                expected=f"float32 {(*frames.shape[:3], 2)}",
                found=f"{flow.dtype} {flow.shape}",
            )
        if not 0 <= self.keyframe < max(1, len(frames)):
            raise InputError(
                f"clip of {self.video!r}: its keyframe lies outside",
                expected=f"0 <= keyframe < {len(frames)}",
                found=f"{self.keyframe}",
            )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the clip's frames."""
        return self.frames.shape[2], self.frames.shape[1]


class ClipMaker(Protocol):
    """What makes a clip of a sample: `centred`, `windows.tubelet`, `windows.between`."""

    def __call__(
        self,
        annotation: VideoAnnotation,
        frame: int,
        *,
        length: int,
        stride: int,
        source: FrameSource | None = None,
    ) -> Clip:
        """The clip around a frame of a video."""
        ...


def window(frame: int, *, length: int, stride: int, num_frames: int) -> NDArray[np.int64]:
    """Indices int64 [length] of the frames around a keyframe, which sits at ``length // 2``.

    Where the window reaches over an end of the video, the first or last frame is repeated.

    Raises:
        InputError: A frame outside the video, or a length or stride below 1.
    """
    if length < 1 or stride < 1:
        raise InputError(
            "a clip needs a length and a stride",
            expected="length >= 1, stride >= 1",
            found=f"length {length}, stride {stride}",
        )
    if not 0 <= frame < num_frames:
        raise InputError(
            "a keyframe outside the video",
            expected=f"0 <= frame < {num_frames}",
            found=f"{frame}",
        )
    indices = frame + (np.arange(length, dtype=np.int64) - length // 2) * stride
    return indices.clip(0, num_frames - 1)


def centred(
    annotation: VideoAnnotation,
    frame: int,
    *,
    length: int,
    stride: int,
    source: FrameSource | None = None,
) -> Clip:
    """The clip around one frame of a video, with that frame's actors.

    Frames come from ``source``, or from the video file, opened and closed for this one call. Where
    they have another size than the annotated frame, the boxes are scaled to them.

    Raises:
        InputError: A frame outside the video, or a file that cannot be read.
    """
    indices = window(frame, length=length, stride=stride, num_frames=annotation.num_frames)
    return gathered(annotation, frame, indices, source=source)


def gathered(
    annotation: VideoAnnotation,
    frame: int,
    indices: NDArray[np.int64],
    *,
    source: FrameSource | None = None,
) -> Clip:
    """The clip of any frames of a video, with the actors of one of its frames.

    Args:
        annotation: The video.
        frame: The keyframe, whose actors the clip gets.
        indices: int64 [T], the frames of the clip; the keyframe should be at T // 2.
        source: Where frames come from, as for ``centred``.

    Raises:
        InputError: A file that cannot be read.
    """
    if source is None:
        with VideoReader(annotation.path, gaps=annotation.gaps) as reader:
            frames = reader.read(indices)
    else:
        frames = source.read(indices)
    width, height = annotation.size
    placement = Placement(
        size=annotation.size,
        scale_x=frames.shape[2] / width,
        scale_y=frames.shape[1] / height,
    )
    actors = annotation.at(frame)
    return Clip(
        frames=frames,
        boxes=placement.to_clip(actors.boxes).astype(np.float32),
        labels=actors.labels,
        actors=actors.actors,
        video=annotation.video,
        frame=int(frame),
        indices=indices,
        placement=placement,
    )

"""Clips: a window of frames around a keyframe, with the actors of that keyframe.

Suffix legend: T = frames of the clip, H, W = its height and width, N = actors, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_data.annotation import VideoAnnotation
from stad_data.video import VideoReader
from stad_eval import InputError


class FrameSource(Protocol):
    """Anything that gives frames by index: a VideoReader, a FrameCache, a stub."""

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames uint8 [T, H, W, 3] RGB for these 0-based indices; duplicates allowed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a clip's pixels came from: an axis-wise affine map, exact in both directions.

    ``x_clip = scale_x * x_source + shift_x``, the same for y, on half-open box edges. A mirrored
    clip has a negative ``scale_x``. Source pixels are those of the annotated frame.

    Attributes:
        size: (width, height) of the annotated frame.
        scale_x: Clip pixels per source pixel along x; negative where mirrored.
        scale_y: Clip pixels per source pixel along y, positive.
        shift_x: Where the source's left edge lies in the clip.
        shift_y: Where the source's upper edge lies in the clip.

    Raises:
        InputError: A scale of zero, a negative ``scale_y``, or a value that is not finite.
    """

    size: tuple[int, int]
    scale_x: float = 1.0
    scale_y: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def __post_init__(self) -> None:
        values = (self.scale_x, self.scale_y, self.shift_x, self.shift_y)
        if not np.isfinite(values).all() or self.scale_x == 0 or self.scale_y <= 0:
            raise InputError(
                "a placement needs an invertible map",
                expected="finite values, scale_x != 0, scale_y > 0",
                found=str(values),
            )

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return self.scale_x < 0

    def scaled(self, factor_x: float, factor_y: float) -> "Placement":
        """After the clip was resized by these factors."""
        return replace(
            self,
            scale_x=self.scale_x * factor_x,
            scale_y=self.scale_y * factor_y,
            shift_x=self.shift_x * factor_x,
            shift_y=self.shift_y * factor_y,
        )

    def shifted(self, left: float, top: float) -> "Placement":
        """After everything moved by (left, top) clip pixels; a crop at (x, y) moves by (-x, -y)."""
        return replace(self, shift_x=self.shift_x + left, shift_y=self.shift_y + top)

    def flipped(self, width: int) -> "Placement":
        """After left and right were exchanged in a clip of this width."""
        return replace(self, scale_x=-self.scale_x, shift_x=width - self.shift_x)

    def to_clip(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Boxes [N, 4] of the annotated frame, in clip pixels; not clipped."""
        boxes_N4 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        x = boxes_N4[:, 0::2] * self.scale_x + self.shift_x
        y = boxes_N4[:, 1::2] * self.scale_y + self.shift_y
        return self._boxes(x, y)

    def to_source(self, boxes: ArrayLike, *, clip: bool = False) -> NDArray[np.float64]:
        """Boxes [N, 4] in clip pixels, in pixels of the annotated frame.

        Args:
            boxes: xyxy in clip pixels.
            clip: Whether to cut the result at the borders of the annotated frame.
        """
        boxes_N4 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        x = (boxes_N4[:, 0::2] - self.shift_x) / self.scale_x
        y = (boxes_N4[:, 1::2] - self.shift_y) / self.scale_y
        if clip:
            x, y = x.clip(0, self.size[0]), y.clip(0, self.size[1])
        return self._boxes(x, y)

    def _boxes(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.mirrored:
            x = x[:, ::-1]
        return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames around a keyframe, with the actors of the keyframe.

    A clip without actors (N = 0) is as good as any other.

    Attributes:
        frames: uint8 [T, H, W, 3] RGB.
        boxes: float32 [N, 4], half-open ``xyxy`` in clip pixels, at the keyframe.
        labels: bool [N, C].
        actors: int64 [N].
        video: Name of the video.
        frame: Index of the keyframe in the video.
        indices: int64 [T], which frame of the video each frame is.
        placement: From pixels of the annotated frame to pixels of the clip.

    Raises:
        InputError: Arrays whose shapes or types disagree.
    """

    frames: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.bool_]
    actors: NDArray[np.int64]
    video: str
    frame: int
    indices: NDArray[np.int64]
    placement: Placement = field(repr=False)

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

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the clip's frames."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def keyframe(self) -> int:
        """Position of the keyframe among the clip's frames: T // 2."""
        return len(self.frames) // 2


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
    if source is None:
        with VideoReader(annotation.path) as reader:
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

"""MOC: actions as moving points. Centers by class at the keyframe, movement, and sizes.

Source: Actions as moving points, and its public code. Suffixes: N clips, F frames, K frames of a
tubelet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn.functional import one_hot

from stad_models.detectors.snippets import (
    check_clips,
    check_lengths,
    check_targets,
    first_of_snippet,
    padded,
    snippet,
    unflattened,
)
from stad_models.heads.tubelet import PointMaps, TubeletHead
from stad_models.heads.tubelet_boxes import found_points, tubelets_of
from stad_models.heads.tubelet_losses import center_loss, point_movement_loss, point_size_loss
from stad_models.heads.tubelet_targets import grid_actors, grid_of
from stad_models.structures import Targets, Tubelets


class FrameBackbone(Protocol):
    """A trunk over single frames; a module of one's own need not inherit from it."""

    @property
    def channels_in(self) -> int:
        """Channels of a frame."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the map."""
        ...

    @property
    def stride(self) -> int:
        """Pixels per cell of the map."""
        ...

    @property
    def multiple(self) -> int:
        """Width and height of frames must be multiples of it."""
        ...

    def __call__(self, frames: Tensor) -> Tensor:
        """Frames `[F, channels_in, H, W]` to maps `[F, channels, H / stride, W / stride]`."""
        ...


@dataclass(frozen=True, kw_only=True)
class MocOptions:
    """What training weighs and inference keeps. Source: MOC's public code.

    Attributes:
        center_weight: weight of the loss of centers.
        movement_weight: weight of that of movement, in cells.
        size_weight: weight of that of sizes, in cells.
        max_tubelets: centers per clip, of all classes together.
        min_score: tubelets must score more than this; those that score 0 never count.
    """

    center_weight: float = 1.0
    movement_weight: float = 1.0
    size_weight: float = 0.1
    max_tubelets: int = 100
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if self.max_tubelets < 1:
            raise ValueError(
                f"MocOptions: max_tubelets must be positive, found {self.max_tubelets}"
            )


class Moc(nn.Module):
    """The detector, composed of built parts; single frames pass the trunk one by one.

    Args:
        backbone: a `FrameBackbone`.
        tubelet_head: with one kind of centers per class, and sides.
        num_classes: actions.
        exclusive: whether an actor does one action only. Centers of every class are found on
            their own either way; it is what training and evaluation may want to know.
        clip_length: frames that clips have; the K middle ones are looked at.
        clip_stride: frames between them in the video.
        options: see `MocOptions`.

    Attributes:
        tubelet_length: K; targets need tracks over the K middle frames of a clip.
        channels_in: channels of a clip.
        sees_clip, clip_step: whether it needs more of a clip than those frames: no; 1.
        multiple: frames are padded to multiples of it.
    """

    def __init__(
        self,
        backbone: FrameBackbone,
        tubelet_head: TubeletHead,
        *,
        num_classes: int,
        exclusive: bool,
        clip_length: int,
        clip_stride: int,
        options: MocOptions,
    ) -> None:
        super().__init__()
        if tubelet_head.num_centers != num_classes or tubelet_head.extent != "sides":
            raise ValueError(
                f"Moc: the head needs {num_classes} kinds of centers and sides, "
                f"found {tubelet_head.num_centers} and {tubelet_head.extent}"
            )
        check_lengths("Moc", clip_length, tubelet_head.length)
        self.backbone = backbone
        self.tubelet_head = tubelet_head
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.clip_length = clip_length
        self.clip_stride = clip_stride
        self.options = options
        self.tubelet_length = tubelet_head.length
        self.channels_in = backbone.channels_in
        self.sees_clip = False
        self.clip_step = 1
        self.multiple = backbone.multiple

    def forward(
        self, clips: Tensor, targets: Targets | None = None
    ) -> dict[str, Tensor] | list[Tubelets]:
        """Losses where targets are given, else tubelets.

        Args:
            clips: `[N, 3, T, H, W]` float, normalised, of any size; 15 channels for flow.
            targets: with tracks over the K middle frames, on the same device.

        Returns:
            With targets the weighted losses "center", "movement" and "size", whose sum is to be
            minimised. Without, one `Tubelets` per clip.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        length = self.tubelet_length
        check_clips("Moc", clips, channels=self.channels_in, length=length)
        size = (clips.shape[4], clips.shape[3])
        if targets is not None:
            check_targets(
                "Moc", targets, count=len(clips), length=length, num_classes=self.num_classes
            )
        frames = snippet(clips, length).flatten(0, 1)
        maps = tuple(unflattened(x, length) for x in self.frame_maps(frames))
        if targets is None:
            return self.tubelets(maps, size, first_of_snippet(clips.shape[2], length))
        return self._losses(self.points(maps, size), targets, size)

    def frame_maps(self, frames: Tensor) -> tuple[Tensor, ...]:
        """What is worked out frame by frame: features and sizes, each `[F, ...]`."""
        features = self.backbone(padded(frames, self.multiple))
        return features, self.tubelet_head.frame_sizes(features)

    def clip_maps(self, clips: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002
        """What is worked out from whole clips: nothing."""
        return ()

    def points(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> PointMaps:
        """What the head says, from the maps of K frames `[N, K, ...]` of (width, height)."""
        features, sizes = maps
        return self.tubelet_head(features, sizes).cropped(grid_of(size, self.backbone.stride))

    def tubelets(
        self, maps: tuple[Tensor, ...], size: tuple[int, int], first: int
    ) -> list[Tubelets]:
        """Tubelets from the maps of K frames; those begin at `first` of their clip."""
        points = self.points(maps, size)
        return class_tubelets(
            points.centers.sigmoid(),
            points,
            stride=self.backbone.stride,
            size=size,
            first=first,
            options=self.options,
        )

    def _losses(
        self, points: PointMaps, targets: Targets, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        actors, options = grid_actors(targets, stride=self.backbone.stride, size=size), self.options
        return {
            "center": options.center_weight * center_loss(points.centers, actors, by_class=True),
            "movement": options.movement_weight * point_movement_loss(points.movement, actors),
            "size": options.size_weight * point_size_loss(points.sizes, actors),
        }


def class_tubelets(
    heat: Tensor,
    points: PointMaps,
    *,
    stride: int,
    size: tuple[int, int],
    first: int,
    options: MocOptions,
) -> list[Tubelets]:
    """Tubelets from centers by class: each has the score of its own class only.

    Args:
        heat: `[N, C, h, w]` probabilities of centers.
        points: movement and sides.
        stride: pixels per cell.
        size: (width, height) of the frames in pixels.
        first: where the K frames begin in each clip.
        options: see `MocOptions`.
    """
    found = found_points(
        heat,
        points.movement,
        points.sizes,
        extent="sides",
        limit=options.max_tubelets,
        stride=stride,
        size=size,
    )
    scores = one_hot(found.kinds, heat.shape[1]) * found.scores[..., None]
    return tubelets_of(found, scores, min_score=options.min_score, first=first)

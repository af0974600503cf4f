"""STMA: centers whatever the action, actions from the whole clip, regression over areas.

Source: Spatio-temporal motion aggregation network for video action detection. Suffixes: N clips,
F frames, K frames of a tubelet, R actors, Q centers per clip, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from stad_models import losses
from stad_models.backbones.features import Backbone
from stad_models.detectors.moc import FrameBackbone
from stad_models.detectors.snippets import (
    check_clips,
    check_lengths,
    check_targets,
    first_of_snippet,
    padded,
    snippet,
    unflattened,
)
from stad_models.detectors.stma_options import StmaOptions
from stad_models.heads.location_actions import LocationActions
from stad_models.heads.tubelet import PointMaps, TubeletHead, precise
from stad_models.heads.tubelet_boxes import background_cells, found_points, tubelets_of
from stad_models.heads.tubelet_losses import (
    area_movement_loss,
    area_size_loss,
    center_loss,
    point_movement_loss,
    point_size_loss,
)
from stad_models.heads.tubelet_targets import GridActors, grid_actors, grid_of
from stad_models.processes import shared_normaliser
from stad_models.structures import Targets, Tubelets


class Stma(nn.Module):
    """The detector, composed of built parts that agree with the switches of its options.

    With `background_centers` the best centers outside all actors' boxes train the action branch as
    well: as no action, a class whose logit is always 0, where actions are exclusive, else as none
    of the actions. Actors and they count the same, however many there are. This is ours, for
    videos in which people also do nothing that counts: a whole clip tells that better than K
    frames.

    Args:
        backbone: a `FrameBackbone`.
        tubelet_head: with one kind of center where they have no class, else one per class; with
            distances where sizes are trained over areas, else sides.
        action_head: the action branch, where centers have no class.
        clip_backbone: a 3D `Backbone` whose clip map has the size of the action branch's, where
            the branch aggregates.
        num_classes: actions.
        exclusive: one action per actor (softmax), or any number (sigmoid).
        clip_length: frames T of a clip.
        clip_stride: frames between them in the video.
        options: see `StmaOptions`.

    Attributes:
        tubelet_length: K; targets need tracks over the K middle frames of a clip.
        channels_in: channels of a clip.
        sees_clip: whether it needs more of a clip than those frames.
        clip_step: frames of a video from one clip that is looked at to the next, in a stream.
        multiple: frames are padded to multiples of it.
    """

    def __init__(  # noqa: PLR0913 - four parts, and what a checkpoint has to say about them
        self,
        backbone: FrameBackbone,
        tubelet_head: TubeletHead,
        action_head: LocationActions | None,
        clip_backbone: Backbone | None,
        *,
        num_classes: int,
        exclusive: bool,
        clip_length: int,
        clip_stride: int,
        options: StmaOptions,
    ) -> None:
        super().__init__()
        check_lengths("Stma", clip_length, tubelet_head.length)
        _check_step(options.clip_step, clip_length, tubelet_head.length, clip_stride)
        _check_parts(tubelet_head, action_head, clip_backbone, num_classes, options)
        self.backbone = backbone
        self.tubelet_head = tubelet_head
        self.action_head = action_head
        self.clip_backbone = clip_backbone
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.clip_length = clip_length
        self.clip_stride = clip_stride
        self.options = options
        self.tubelet_length = tubelet_head.length
        self.channels_in = backbone.channels_in
        self.sees_clip = clip_backbone is not None
        self.clip_step = options.clip_step
        coarse = backbone.stride * (1 if action_head is None else action_head.factor)
        self.multiple = max(backbone.multiple, coarse)
        if clip_backbone is not None and clip_backbone.strides["clip"] != coarse:
            raise ValueError(
                f"Stma: the 3D trunk's map must have the action branch's stride {coarse}, "
                f"found {clip_backbone.strides['clip']}"
            )

    def forward(
        self, clips: Tensor, targets: Targets | None = None
    ) -> dict[str, Tensor] | list[Tubelets]:
        """Losses where targets are given, else tubelets.

        Args:
            clips: `[N, 3, T, H, W]` float, normalised, of any size.
            targets: with tracks over the K middle frames, on the same device.

        Returns:
            With targets the weighted losses "center", "movement", "size" and, where centers have
            no class, "action", whose sum is to be minimised. Without, one `Tubelets` per clip.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        length = self.tubelet_length
        check_clips("Stma", clips, channels=self.channels_in, length=length)
        size = (clips.shape[4], clips.shape[3])
        if targets is not None:
            check_targets(
                "Stma", targets, count=len(clips), length=length, num_classes=self.num_classes
            )
        frames = snippet(clips, length).flatten(0, 1)
        maps = tuple(unflattened(x, length) for x in self.frame_maps(frames))
        maps = (*maps, *self.clip_maps(clips))
        if targets is None:
            return self.tubelets(maps, size, first_of_snippet(clips.shape[2], length))
        return self._losses(maps, targets, size)

    def frame_maps(self, frames: Tensor) -> tuple[Tensor, ...]:
        """What is worked out frame by frame: features, sizes and, for actions, coarse maps."""
        features = self.backbone(padded(frames, self.multiple))
        maps = (features, self.tubelet_head.frame_sizes(features))
        return maps if self.action_head is None else (*maps, self.action_head.frame_maps(features))

    def clip_maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """What is worked out from whole clips: the 3D trunk's map, its mean over time, if any."""
        if self.clip_backbone is None:
            return ()
        features = self.clip_backbone(padded(clips, self.multiple))
        return (features.clip[0].mean(dim=2),)

    def points(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> PointMaps:
        """What the head says, from the maps of K frames `[N, K, ...]` of (width, height)."""
        return self.tubelet_head(maps[0], maps[1]).cropped(grid_of(size, self.backbone.stride))

    def action_logits(self, maps: tuple[Tensor, ...], clips: Tensor, cells: Tensor) -> Tensor:
        """Logits `[..., C]` of the actions in cells.

        Args:
            maps: of K frames and, where the branch aggregates, of the clip.
            clips: int64, which clips the cells are of; broadcasts with the cells.
            cells: int64 `[..., 2]` (x, y) on the grid of centers.
        """
        if self.action_head is None:
            raise ValueError("Stma: without class_agnostic there is no branch that tells actions")
        logits = self.action_head(*maps[2:])
        coarse = cells // self.action_head.factor
        return precise(logits[clips, :, coarse[..., 1], coarse[..., 0]])

    def tubelets(
        self, maps: tuple[Tensor, ...], size: tuple[int, int], first: int
    ) -> list[Tubelets]:
        """Tubelets from the maps of K frames; those begin at `first` of their clip."""
        points = self.points(maps, size)
        found = found_points(
            points.centers.sigmoid(),
            points.movement,
            points.sizes,
            extent=self.tubelet_head.extent,
            limit=self.options.limit,
            stride=self.backbone.stride,
            size=size,
        )
        if self.action_head is None:
            shares = one_hot(found.kinds, self.num_classes)
        else:
            clips_N1 = torch.arange(len(found.cells), device=found.cells.device)[:, None]
            logits = self.action_logits(maps, clips_N1, found.cells)
            shares = self._shares(logits)
        scores = shares * found.scores[..., None]
        return tubelets_of(found, scores, min_score=self.options.min_score, first=first)

    def _losses(
        self, maps: tuple[Tensor, ...], targets: Targets, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        options, points = self.options, self.points(maps, size)
        actors = grid_actors(targets, stride=self.backbone.stride, size=size)
        movement = area_movement_loss if options.gaussian_movement else point_movement_loss
        sizes = area_size_loss if options.gaussian_size else point_size_loss
        by_class = not options.class_agnostic
        found = {
            "center": options.center_weight
            * center_loss(points.centers, actors, by_class=by_class),
            "movement": options.regression * movement(points.movement, actors),
            "size": options.regression * options.size_weight * sizes(points.sizes, actors),
        }
        if self.action_head is not None:
            found["action"] = options.action_weight * self._action_loss(
                maps, actors, points.centers
            )
        return found

    def _shares(self, logits: Tensor) -> Tensor:
        """Probabilities of the actions, of the same shape as their logits `[..., C]`."""
        if not self.exclusive:
            return logits.sigmoid()
        if not self.options.background_centers:
            return logits.softmax(dim=-1)
        return pad(logits, (0, 1)).softmax(dim=-1)[..., :-1]

    def _action_loss(self, maps: tuple[Tensor, ...], actors: GridActors, centers: Tensor) -> Tensor:
        found = self._mean_action_loss(
            maps, actors.clips, actors.cells[:, actors.key], actors.labels
        )
        if not self.options.background_centers:
            return found
        clips, cells = background_cells(
            centers.detach().sigmoid(), actors, self.options.background_centers
        )
        nothing = actors.labels.new_zeros((len(clips), self.num_classes))
        return found + self._mean_action_loss(maps, clips, cells, nothing)

    def _mean_action_loss(
        self, maps: tuple[Tensor, ...], clips: Tensor, cells: Tensor, labels: Tensor
    ) -> Tensor:
        """Mean over places; rows of labels without any are of no action."""
        logits = self.action_logits(maps, clips, cells)
        if self.exclusive and self.options.background_centers:
            logits = pad(logits, (0, 1))
            labels = torch.cat((labels, 1 - labels.sum(dim=1, keepdim=True)), dim=1)
        total = losses.action(logits, labels, exclusive=self.exclusive)
        return total / shared_normaliser(total.new_tensor(float(len(cells))))


def _check_step(step: int, clip_length: int, length: int, stride: int) -> None:
    """The K frames of a tubelet lie in the clip that it shares. Source: STMA, Sec. 2.1."""
    first = first_of_snippet(clip_length, length)
    before, after = first * stride, (clip_length - first - length) * stride
    most = min(2 * before + 1, 2 * after + 2)
    if step > most:
        raise ValueError(
            f"Stma: clip_step must be at most {most}, so that the {length} frames of a tubelet lie "
            f"in the {clip_length} frames of the clip that it shares, found {step}"
        )


def _check_parts(
    head: TubeletHead,
    actions: LocationActions | None,
    clip_backbone: Backbone | None,
    num_classes: int,
    options: StmaOptions,
) -> None:
    centers = 1 if options.class_agnostic else num_classes
    extent = "distances" if options.gaussian_size else "sides"
    if (head.num_centers, head.extent) != (centers, extent):
        raise ValueError(
            f"Stma: these options need a head with {centers} kinds of centers and {extent}, "
            f"found {head.num_centers} and {head.extent}"
        )
    if (actions is not None) != options.class_agnostic:
        raise ValueError("Stma: an action branch belongs to class_agnostic, and only to it")
    if (clip_backbone is not None) != options.aggregation:
        raise ValueError("Stma: a 3D trunk belongs to aggregation, and only to it")
    if actions is not None:
        wanted = clip_backbone.channels["clip"] if clip_backbone is not None else 0
        if actions.clip_channels != wanted:
            raise ValueError(
                f"Stma: the action branch must take {wanted} channels of the 3D trunk, "
                f"found {actions.clip_channels}"
            )

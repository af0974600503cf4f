"""FCOS: every location of a pyramid says whether it lies on an actor and how far its sides are.

Suffixes: N clips, L locations of all levels in a row (level by level, row by row).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stad_models import losses
from stad_models.heads.fcos_targets import assign
from stad_models.heads.localisation import Proposals, best_boxes
from stad_models.heads.locations import boxes_from_distances, points_of, spread
from stad_models.heads.tower import Tower, initialise
from stad_models.processes import shared_normaliser

Ranges = tuple[tuple[float, float], ...]

PUBLISHED_RANGES: Ranges = ((0.0, 64.0), (64.0, 128.0), (128.0, math.inf))
"""Sizes, in pixels, that levels P3 to P5 are responsible for.

The published configuration ends the last range at 256, which leaves actors that reach further than
256 pixels from a location without any level; here the last level is open-ended.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class FcosOutput:
    """What the head says, and where.

    Attributes:
        actor_NL: logits of an actor being there.
        distances_NL4: distances to the left, top, right, bottom side, non-negative, in strides.
        centerness_NL: logits of centerness.
        points_L2: (x, y) of the locations in pixels.
        strides_L: pixels per cell of the locations' levels.
        ranges_L2: sizes that the locations' levels are responsible for.
        size: (width, height) of the clip in pixels.
    """

    actor_NL: Tensor
    distances_NL4: Tensor
    centerness_NL: Tensor
    points_L2: Tensor
    strides_L: Tensor
    ranges_L2: Tensor
    size: tuple[int, int]


class Fcos(nn.Module):
    """Single-class FCOS as an actor localisation head; with its improvements unless told otherwise.

    Improved: center sampling, GIoU loss, centerness on the regression tower, distances in units of
    the level's stride. `original_fcos` is without. The classification and centerness losses are
    sums over locations divided by the number of positive locations; the box loss is their mean
    weighted by centerness, since boxes from the middle of an actor are the ones that are kept.

    Args:
        channels: channels of the pyramid and of the towers.
        strides: pixels per cell of each level.
        ranges: per level, the sizes it is responsible for: the largest distance from a location
            to a side of its box, in pixels, lies in [low, high).
        depth: convolutions in each of the two towers.
        center_radius: locations within this many strides of a box's centre are positive; None
            makes all locations inside a box positive.
        distance: how raw outputs become distances: "relu" as published, or "exp", which has a
            gradient everywhere.
        unit: what they count: strides of the level, or pixels.
        box_loss: 1 - GIoU, or -log IoU.
        centerness_on: the tower whose features tell centerness: that of boxes, or that of actors.

    Source: FCOS: Fully convolutional one-stage object detection, with the authors' later changes.
    """

    def __init__(  # noqa: PLR0913 - each of the improvements has a name
        self,
        channels: int,
        *,
        strides: Sequence[int],
        ranges: Ranges = PUBLISHED_RANGES,
        depth: int = 4,
        center_radius: float | None = 1.5,
        distance: Literal["relu", "exp"] = "relu",
        unit: Literal["stride", "pixel"] = "stride",
        box_loss: Literal["giou", "iou"] = "giou",
        centerness_on: Literal["box", "actor"] = "box",
    ) -> None:
        super().__init__()
        if len(ranges) != len(strides):
            raise ValueError(
                f"Fcos: one range per pyramid level is needed, found {len(ranges)} ranges for "
                f"strides {tuple(strides)}"
            )
        if distance not in ("relu", "exp"):
            raise ValueError(f"Fcos: distance must be 'relu' or 'exp', found {distance!r}")
        self.strides = tuple(strides)
        self.ranges = ranges
        self.center_radius = math.inf if center_radius is None else center_radius
        self.distance = distance
        self.unit = unit
        self.box_loss = box_loss
        self.centerness_on = centerness_on
        self.actor_tower = Tower(channels, depth)
        self.box_tower = Tower(channels, depth)
        self.actor = nn.Conv2d(channels, 1, 3, padding=1)
        self.box = nn.Conv2d(channels, 4, 3, padding=1)
        self.centerness = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(strides)))
        initialise(self, self.actor)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> FcosOutput:
        """Pyramid maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        actor: list[Tensor] = []
        distances: list[Tensor] = []
        central: list[Tensor] = []
        for level, x in enumerate(levels):
            box_features, actor_features = self.box_tower(x), self.actor_tower(x)
            on_box = self.centerness_on == "box"
            actor.append(self.actor(actor_features).flatten(1).float())
            raw_N4L = self.box(box_features).flatten(2).float() * self.scales[level]
            distances.append(raw_N4L.transpose(1, 2))
            central_features = box_features if on_box else actor_features
            central.append(self.centerness(central_features).flatten(1).float())
        strides_L = spread(self.strides, levels)
        distances_NL4 = _distances(torch.cat(distances, dim=1), self.distance)
        if self.unit == "pixel":
            distances_NL4 = distances_NL4 / strides_L[:, None]
        return FcosOutput(
            actor_NL=torch.cat(actor, dim=1),
            distances_NL4=distances_NL4,
            centerness_NL=torch.cat(central, dim=1),
            points_L2=points_of(levels, self.strides),
            strides_L=strides_L,
            ranges_L2=spread(self.ranges, levels),
            size=size,
        )

    def losses(self, output: FcosOutput, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses "actor_class", "actor_box", "actor_centerness" against boxes `[Ni, 4]` per clip.

        Clips without boxes count as all background.
        """
        wanted_NL4, positive_NL, _ = assign(
            boxes,
            points_L2=output.points_L2,
            strides_L=output.strides_L,
            ranges_L2=output.ranges_L2,
            center_radius=self.center_radius,
        )
        normaliser = shared_normaliser(positive_NL.sum().float())
        wanted_P4 = wanted_NL4[positive_NL]
        central_P = losses.centerness(wanted_P4)
        boxes_P4 = output.distances_NL4[positive_NL]
        box_loss = losses.distance_giou if self.box_loss == "giou" else losses.distance_iou
        return {
            "actor_class": losses.focal(output.actor_NL, positive_NL.float()) / normaliser,
            "actor_box": box_loss(boxes_P4, wanted_P4, central_P)
            / shared_normaliser(central_P.sum()),
            "actor_centerness": losses.binary(output.centerness_NL[positive_NL], central_P)
            / normaliser,
        }

    @torch.no_grad()
    def proposals(self, output: FcosOutput, *, threshold: float, limit: int) -> Proposals:
        """Dense boxes scored above `threshold`, at most `limit` per clip, before any NMS.

        The score is sqrt(actor probability x centerness), to which the threshold applies too. Boxes
        are cut at the clip's border; what is left without area is dropped.
        """
        scores_NL = (output.actor_NL.sigmoid() * output.centerness_NL.sigmoid()).sqrt()

        def decode(clips_R: Tensor, rows_R: Tensor) -> Tensor:
            return boxes_from_distances(
                output.points_L2[rows_R],
                output.distances_NL4[clips_R, rows_R],
                output.strides_L[rows_R],
            )

        return best_boxes(scores_NL, decode, size=output.size, threshold=threshold, limit=limit)


def original_fcos(
    channels: int, *, strides: Sequence[int], ranges: Ranges = PUBLISHED_RANGES, depth: int = 4
) -> Fcos:
    """FCOS as first published ("FCOS-" in SE-STAD, Table 3): none of the later improvements.

    All locations inside a box are positive, boxes are learned by -log IoU, centerness comes from
    the classification tower, and exponentials give distances in pixels. GroupNorm and the weight
    of a location's box, its centerness, were there from the beginning.

    Source: FCOS: Fully convolutional one-stage object detection, Sec. 3.
    """
    return Fcos(
        channels,
        strides=strides,
        ranges=ranges,
        depth=depth,
        center_radius=None,
        distance="exp",
        unit="pixel",
        box_loss="iou",
        centerness_on="actor",
    )


def _distances(raw: Tensor, how: str) -> Tensor:
    # exp is capped well above any frame, so that a wild step cannot make an infinite box.
    return raw.relu() if how == "relu" else raw.clamp(max=8.0).exp()

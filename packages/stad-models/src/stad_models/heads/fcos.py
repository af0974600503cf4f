"""FCOS: every location of a pyramid says whether it lies on an actor and how far its sides are.

Suffixes: N clips, L locations of all levels in a row (level by level, row by row).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stad_models import losses
from stad_models.heads.fcos_targets import assign
from stad_models.heads.localisation import Proposals
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


class Tower(nn.Sequential):
    """3x3 convolutions, each with GroupNorm and ReLU."""

    def __init__(self, channels: int, depth: int) -> None:
        groups = math.gcd(channels, max(1, min(32, channels // 8)))
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, channels, 3, padding=1))
            layers.append(nn.GroupNorm(groups, channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Fcos(nn.Module):
    """Single-class FCOS with its improvements, as an actor localisation head.

    Center sampling, GIoU loss, centerness on the regression tower, GroupNorm, distances in units of
    the level's stride with a learned scale per level. The classification and centerness losses are
    sums over locations divided by the number of positive locations; the box loss is their mean
    weighted by centerness, since boxes from the middle of an actor are the ones that are kept.

    Args:
        channels: channels of the pyramid and of the towers.
        strides: pixels per cell of each level.
        ranges: per level, the sizes it is responsible for: the largest distance from a location
            to a side of its box, in pixels, lies in [low, high).
        depth: convolutions in each of the two towers.
        center_radius: locations within this many strides of a box's centre are positive.
        distance: how raw outputs become distances: "relu" as published, or "exp", which has a
            gradient everywhere.

    Source: FCOS: Fully convolutional one-stage object detection, with the authors' later changes.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int],
        ranges: Ranges = PUBLISHED_RANGES,
        depth: int = 4,
        center_radius: float = 1.5,
        distance: str = "relu",
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
        self.center_radius = center_radius
        self.distance = distance
        self.actor_tower = Tower(channels, depth)
        self.box_tower = Tower(channels, depth)
        self.actor = nn.Conv2d(channels, 1, 3, padding=1)
        self.box = nn.Conv2d(channels, 4, 3, padding=1)
        self.centerness = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(strides)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
        if self.actor.bias is not None:
            nn.init.constant_(self.actor.bias, -math.log(99))

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> FcosOutput:
        """Pyramid maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        actor: list[Tensor] = []
        distances: list[Tensor] = []
        central: list[Tensor] = []
        for level, x in enumerate(levels):
            box_features = self.box_tower(x)
            actor.append(self.actor(self.actor_tower(x)).flatten(1).float())
            raw_N4L = self.box(box_features).flatten(2).float() * self.scales[level]
            distances.append(raw_N4L.transpose(1, 2))
            central.append(self.centerness(box_features).flatten(1).float())
        raw_NL4 = torch.cat(distances, dim=1)
        points_L2, strides_L, ranges_L2 = self._grid(levels)
        return FcosOutput(
            actor_NL=torch.cat(actor, dim=1),
            distances_NL4=_distances(raw_NL4, self.distance),
            centerness_NL=torch.cat(central, dim=1),
            points_L2=points_L2,
            strides_L=strides_L,
            ranges_L2=ranges_L2,
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
        return {
            "actor_class": losses.focal(output.actor_NL, positive_NL.float()) / normaliser,
            "actor_box": losses.distance_giou(boxes_P4, wanted_P4, central_P)
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
        scores_NK, rows_NK = scores_NL.topk(min(limit, scores_NL.shape[1]), dim=1)
        clips_R, columns_R = (scores_NK > threshold).nonzero(as_tuple=True)
        rows_R = rows_NK[clips_R, columns_R]
        boxes_R4 = boxes_from_distances(
            output.points_L2[rows_R],
            output.distances_NL4[clips_R, rows_R],
            output.strides_L[rows_R],
        )
        width, height = output.size
        boxes_R4 = torch.stack(
            (
                boxes_R4[:, 0].clamp(0, width),
                boxes_R4[:, 1].clamp(0, height),
                boxes_R4[:, 2].clamp(0, width),
                boxes_R4[:, 3].clamp(0, height),
            ),
            dim=1,
        )
        found = Proposals(boxes=boxes_R4, scores=scores_NK[clips_R, columns_R], clips=clips_R)
        return found.select((boxes_R4[:, 2:] > boxes_R4[:, :2]).all(dim=1))

    def _grid(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        device = levels[0].device
        points: list[Tensor] = []
        counts: list[int] = []
        for x, stride in zip(levels, self.strides, strict=True):
            rows = (torch.arange(x.shape[2], device=device) + 0.5) * stride
            columns = (torch.arange(x.shape[3], device=device) + 0.5) * stride
            grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
            points.append(torch.stack((grid_x, grid_y), dim=2).flatten(0, 1))
            counts.append(x.shape[2] * x.shape[3])
        repeats = torch.tensor(counts, device=device)
        strides = torch.tensor(self.strides, device=device, dtype=torch.float32)
        ranges = torch.tensor(self.ranges, device=device, dtype=torch.float32)
        return (
            torch.cat(points),
            strides.repeat_interleave(repeats, output_size=sum(counts)),
            ranges.repeat_interleave(repeats, dim=0, output_size=sum(counts)),
        )


def boxes_from_distances(points_L2: Tensor, distances_L4: Tensor, strides_L: Tensor) -> Tensor:
    """Boxes `[L, 4]` in pixels from distances in strides; the inverse of the targets."""
    pixels_L4 = distances_L4 * strides_L[:, None]
    return torch.cat((points_L2 - pixels_L4[:, :2], points_L2 + pixels_L4[:, 2:]), dim=1)


def _distances(raw: Tensor, how: str) -> Tensor:
    # exp is capped well above any frame, so that a wild step cannot make an infinite box.
    return raw.relu() if how == "relu" else raw.clamp(max=8.0).exp()

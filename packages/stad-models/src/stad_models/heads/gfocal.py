"""GFocal v2: distances as distributions, whose form tells how good a box is.

Suffixes: N clips, L locations of all levels, B whole numbers that a distance is spread over,
P positive locations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from stad_models import losses
from stad_models.heads.gfocal_targets import assign
from stad_models.heads.localisation import Proposals, best_boxes
from stad_models.heads.locations import boxes_from_distances, points_of, spread
from stad_models.heads.matching import chosen
from stad_models.heads.tower import Tower, initialise
from stad_models.processes import shared_normaliser

BOX_WEIGHT, SIDES_WEIGHT = 2.0, 0.25
"""Weights of the losses of boxes and of distributions beside that of actors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GfocalOutput:
    """What the head says, and where.

    Attributes:
        actor_NL: logits of an actor being there.
        quality_NL: logits of its box being good, from the form of its distributions.
        sides_NL4B: logits of the distance to the left, top, right and bottom side being
            0 ... B - 1 strides.
        points_L2: (x, y) of the locations in pixels.
        strides_L: pixels per cell of the locations' levels.
        counts: locations of each level.
        size: (width, height) of the clip in pixels.
    """

    actor_NL: Tensor
    quality_NL: Tensor
    sides_NL4B: Tensor
    points_L2: Tensor
    strides_L: Tensor
    counts: tuple[int, ...]
    size: tuple[int, int]


class QualityPredictor(nn.Module):
    """The quality of a box from its four distributions: the largest probabilities and their mean.

    Source: Generalized focal loss v2, Sec. 3.2 (DGQP).
    """

    def __init__(self, *, largest: int = 4, width: int = 64) -> None:
        super().__init__()
        self.largest = largest
        self.layers = nn.Sequential(
            nn.Conv2d(4 * (largest + 1), width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, sides_N4BHW: Tensor) -> Tensor:
        """Logits of distributions `[N, 4, B, H, W]` to logits of quality `[N, 1, H, W]`."""
        likely_N4BHW = sides_N4BHW.softmax(dim=2)
        top_N4KHW = likely_N4BHW.topk(self.largest, dim=2).values
        seen = torch.cat((top_N4KHW, top_N4KHW.mean(dim=2, keepdim=True)), dim=2)
        return self.layers(seen.flatten(1, 2))


class Gfocal(nn.Module):
    """Single-class GFocal v2, the anchor-based version, as an actor localisation head.

    Anchor-based: which locations learn an actor is told by the overlap of one square anchor each
    (`gfocal_targets.assign`). A location's score is actor probability times predicted quality, and
    it learns to be the IoU of the location's box. Losses: quality focal, 2 x GIoU and 0.25 x
    distribution focal, the latter two weighted by the score.

    Args:
        channels: channels of the pyramid and of the towers.
        strides: pixels per cell of each level.
        depth: convolutions in each of the two towers.
        reach: largest distance, in strides.
        scale: side of the anchors, in strides.

    Source: Generalized focal loss v2.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int],
        depth: int = 4,
        reach: int = 16,
        scale: float = 8.0,
    ) -> None:
        super().__init__()
        self.quality = QualityPredictor()
        if reach + 1 < self.quality.largest:
            raise ValueError(
                f"Gfocal: reach must be at least {self.quality.largest - 1}, found {reach}"
            )
        self.strides = tuple(strides)
        self.reach = reach
        self.scale = scale
        self.actor_tower = Tower(channels, depth)
        self.box_tower = Tower(channels, depth)
        self.actor = nn.Conv2d(channels, 1, 3, padding=1)
        self.box = nn.Conv2d(channels, 4 * (reach + 1), 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(strides)))
        initialise(self, self.actor)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> GfocalOutput:
        """Pyramid maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        actor: list[Tensor] = []
        quality: list[Tensor] = []
        sides: list[Tensor] = []
        for level, x in enumerate(levels):
            actor.append(self.actor(self.actor_tower(x)).flatten(1).float())
            raw = self.box(self.box_tower(x)).float() * self.scales[level]
            sides_N4BHW = raw.unflatten(1, (4, self.reach + 1))
            quality.append(self.quality(sides_N4BHW).flatten(1).float())
            sides.append(sides_N4BHW.flatten(3).permute(0, 3, 1, 2))
        return GfocalOutput(
            actor_NL=torch.cat(actor, dim=1),
            quality_NL=torch.cat(quality, dim=1),
            sides_NL4B=torch.cat(sides, dim=1),
            points_L2=points_of(levels, self.strides),
            strides_L=spread(self.strides, levels),
            counts=tuple(x.shape[2] * x.shape[3] for x in levels),
            size=size,
        )

    def losses(self, output: GfocalOutput, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses "actor_class", "actor_box", "actor_sides" against boxes `[Ni, 4]` per clip.

        Clips without boxes count as all background.
        """
        found = assign(
            boxes,
            points_L2=output.points_L2,
            strides_L=output.strides_L,
            counts=output.counts,
            scale=self.scale,
        )
        positive_NL = found.positive_NA
        _, rows_P = positive_NL.nonzero(as_tuple=True)
        wanted_P4 = _distances(
            chosen(boxes, found), output.points_L2[rows_P], output.strides_L[rows_P]
        )
        sides_P4B = output.sides_NL4B[positive_NL]
        found_P4 = expected(sides_P4B)
        yes_NL, no_NL = joint(output.actor_NL, output.quality_NL)
        iou_P = losses.paired_iou(found_P4.detach(), wanted_P4)
        quality_NL = torch.zeros_like(yes_NL).masked_scatter(positive_NL, iou_P)
        weight_P = yes_NL[positive_NL].detach().exp()
        normaliser = shared_normaliser(weight_P.sum())
        sides_loss = losses.distribution_focal(
            sides_P4B.flatten(0, 1),
            wanted_P4.clamp(max=self.reach - 0.1).flatten(),
            weight_P.repeat_interleave(4) / 4,
        )
        return {
            "actor_class": losses.quality_focal(yes_NL, no_NL, quality_NL)
            / shared_normaliser(positive_NL.sum().float()),
            "actor_box": losses.distance_giou(found_P4, wanted_P4, weight_P)
            * (BOX_WEIGHT / normaliser),
            "actor_sides": sides_loss * (SIDES_WEIGHT / normaliser),
        }

    @torch.no_grad()
    def proposals(self, output: GfocalOutput, *, threshold: float, limit: int) -> Proposals:
        """Dense boxes whose score is above `threshold`; see `best_boxes`."""

        def decode(clips_R: Tensor, rows_R: Tensor) -> Tensor:
            return boxes_from_distances(
                output.points_L2[rows_R],
                expected(output.sides_NL4B[clips_R, rows_R]),
                output.strides_L[rows_R],
            )

        scores_NL = joint(output.actor_NL, output.quality_NL)[0].exp()
        return best_boxes(scores_NL, decode, size=output.size, threshold=threshold, limit=limit)


def expected(sides_P4B: Tensor) -> Tensor:
    """The means `[P, 4]` of distributions over 0 ... B - 1 given as logits."""
    numbers_B = torch.arange(sides_P4B.shape[2], device=sides_P4B.device, dtype=sides_P4B.dtype)
    return sides_P4B.softmax(dim=2) @ numbers_B


def joint(actor: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the score p, which is the product of both probabilities, and of 1 - p.

    1 - a q = (1 - a) + a (1 - q), which loses no digits where p is near 1.
    """
    yes = logsigmoid(actor) + logsigmoid(quality)
    no = torch.logaddexp(logsigmoid(-actor), logsigmoid(actor) + logsigmoid(-quality))
    return yes, no


def _distances(boxes_P4: Tensor, points_P2: Tensor, strides_P: Tensor) -> Tensor:
    sides_P4 = torch.cat((points_P2 - boxes_P4[:, :2], boxes_P4[:, 2:] - points_P2), dim=1)
    return sides_P4 / strides_P[:, None]

"""RetinaNet: every anchor of a pyramid says whether an actor fills it and how to move there.

Suffixes: N clips, A anchors of all levels, P positive ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stad_models import losses
from stad_models.heads.anchors import AnchorShapes, anchors_of, decode, encode, per_anchor
from stad_models.heads.localisation import Proposals, best_boxes
from stad_models.heads.matching import chosen, match
from stad_models.heads.tower import Tower, initialise
from stad_models.processes import shared_normaliser


@dataclass(frozen=True, kw_only=True, eq=False)
class RetinaNetOutput:
    """What the head says, and where.

    Attributes:
        actor_NA: logits of an actor being there.
        changes_NA4: from the anchor to the actor's box, see `anchors.encode`.
        anchors_A4: xyxy in pixels.
        size: (width, height) of the clip in pixels.
    """

    actor_NA: Tensor
    changes_NA4: Tensor
    anchors_A4: Tensor
    size: tuple[int, int]


class RetinaNet(nn.Module):
    """Single-class RetinaNet as an actor localisation head.

    An anchor is positive from an IoU of 0.5 on, and background below 0.4; the best anchors of an
    actor are positive whatever they overlap. Losses: focal, and smooth L1 on the changes, both
    divided by the number of positive anchors.

    Args:
        channels: channels of the pyramid and of the towers.
        strides: pixels per cell of each level.
        shapes: anchors per cell: by default the published 3 sizes x 3 ratios from 4 strides on.
        depth: convolutions in each of the two towers.
        beta: where smooth L1 turns linear, in the units of the changes.

    Source: Focal loss for dense object detection, Sec. 4.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int],
        shapes: AnchorShapes | None = None,
        depth: int = 4,
        beta: float = 1 / 9,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.shapes = shapes or AnchorShapes()
        self.beta = beta
        self.actor_tower = Tower(channels, depth, group_norm=False)
        self.box_tower = Tower(channels, depth, group_norm=False)
        self.actor = nn.Conv2d(channels, self.shapes.count, 3, padding=1)
        self.box = nn.Conv2d(channels, 4 * self.shapes.count, 3, padding=1)
        initialise(self, self.actor)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> RetinaNetOutput:
        """Pyramid maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        actor = [per_anchor(self.actor(self.actor_tower(x)), 1).squeeze(2) for x in levels]
        changes = [per_anchor(self.box(self.box_tower(x)), 4) for x in levels]
        return RetinaNetOutput(
            actor_NA=torch.cat(actor, dim=1),
            changes_NA4=torch.cat(changes, dim=1),
            anchors_A4=anchors_of(levels, self.strides, self.shapes),
            size=size,
        )

    def losses(self, output: RetinaNetOutput, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses "actor_class" and "actor_box" against boxes `[Ni, 4]` per clip.

        Clips without boxes count as all background.
        """
        found = match(boxes, output.anchors_A4, positive=0.5, negative=0.4, nobody_left_out=True)
        positive_NA = found.positive_NA
        counted_NA = positive_NA | found.negative_NA
        normaliser = shared_normaliser(positive_NA.sum().float())
        anchors_P4 = output.anchors_A4.expand_as(output.changes_NA4)[positive_NA]
        wanted_P4 = encode(chosen(boxes, found), anchors_P4)
        class_loss = losses.focal(output.actor_NA[counted_NA], positive_NA[counted_NA].float())
        box_loss = losses.smooth_l1(output.changes_NA4[positive_NA], wanted_P4, beta=self.beta)
        return {"actor_class": class_loss / normaliser, "actor_box": box_loss / normaliser}

    @torch.no_grad()
    def proposals(self, output: RetinaNetOutput, *, threshold: float, limit: int) -> Proposals:
        """Dense boxes whose actor probability is above `threshold`; see `best_boxes`."""

        def moved(clips_R: Tensor, rows_R: Tensor) -> Tensor:
            return decode(output.changes_NA4[clips_R, rows_R], output.anchors_A4[rows_R])

        return best_boxes(
            output.actor_NA.sigmoid(), moved, size=output.size, threshold=threshold, limit=limit
        )

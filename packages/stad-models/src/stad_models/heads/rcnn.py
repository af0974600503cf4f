"""RPN + RCNN: regions that may hold anything, and a second look at each of them.

Suffixes: N clips, R regions per clip, G boxes of the clip that has most, P positive regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stad_models import losses
from stad_models.heads.anchors import decode, encode
from stad_models.heads.localisation import Proposals, best_boxes
from stad_models.heads.matching import chosen, draw_weights, match, padded
from stad_models.heads.pyramid_pooling import pool_from_pyramid
from stad_models.heads.rpn import AnchorVotes, RegionProposals, Regions
from stad_models.processes import shared_normaliser

WEIGHTS = (10.0, 5.0)
"""Of shifts and growths in the second stage, which has little left to change."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RcnnOutput:
    """What both stages say.

    Attributes:
        regions: of the first stage.
        actor_NR: logits of a region holding an actor.
        changes_NR4: from the region to the actor's box, see `anchors.encode`.
        levels: the pyramid, for regions that training adds.
        size: (width, height) of the clip in pixels.
    """

    regions: Regions
    actor_NR: Tensor
    changes_NR4: Tensor
    levels: Sequence[Tensor]
    size: tuple[int, int]


class RegionClassifier(nn.Module):
    """Two linear layers on the features of a region: is it an actor, and how should it move?"""

    def __init__(self, channels: int, *, resolution: int, width: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.hidden = nn.Sequential(
            nn.Linear(channels * resolution**2, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
        )
        self.actor = nn.Linear(width, 1)
        self.box = nn.Linear(width, 4)
        for layer in self.hidden:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.actor.weight, std=0.01)
        nn.init.normal_(self.box.weight, std=0.001)
        nn.init.zeros_(self.actor.bias)
        nn.init.zeros_(self.box.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[R, C, resolution, resolution]` to logits `[R]` and changes `[R, 4]`."""
        hidden = self.hidden(pooled.flatten(1))
        return self.actor(hidden).squeeze(1).float(), self.box(hidden).float()


class Rcnn(nn.Module):
    """Faster R-CNN of a single class as an actor localisation head.

    Every region, and in training every annotated box, is pooled from the level of the pyramid that
    suits its size. It is positive from an IoU of 0.5 on and background else; the loss is that of a
    draw of 512 regions per clip, up to a quarter of them positive, on average
    (`matching.draw_weights`).

    Args:
        first: the region proposal network.
        second: what looks at its regions.

    Attributes:
        strides: pixels per cell of each level.

    Source: Faster R-CNN; Feature pyramid networks, Sec. 4.2.
    """

    def __init__(self, first: RegionProposals, second: RegionClassifier) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.strides = first.strides

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> RcnnOutput:
        """Pyramid maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        return self.examine(levels, self.first.votes(levels), size)

    def examine(
        self, levels: Sequence[Tensor], votes: AnchorVotes, size: tuple[int, int]
    ) -> RcnnOutput:
        """Choose regions by what the first stage says of its anchors, and look at each of them."""
        regions = self.first.choose(votes, size)
        actor_NR, changes_NR4 = self._look(levels, regions.boxes_NR4)
        return RcnnOutput(
            regions=regions,
            actor_NR=actor_NR,
            changes_NR4=changes_NR4,
            levels=levels,
            size=size,
        )

    def classify(self, levels: Sequence[Tensor], rois_R5: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[R]` and changes `[R, 4]` of boxes with their positions in the batch."""
        pooled = pool_from_pyramid(
            levels, rois_R5, strides=self.strides, resolution=self.second.resolution
        )
        return self.second(pooled)

    def losses(self, output: RcnnOutput, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses "region_class", "region_box" of the first stage, "actor_class", "actor_box".

        All are against boxes `[Ni, 4]` per clip; clips without count as background.
        """
        regions = output.regions
        truth_NG4, real_NG = padded(boxes, regions.boxes_NR4)
        actor_NG, changes_NG4 = self._look(output.levels, truth_NG4)
        boxes_NM4 = torch.cat((regions.boxes_NR4, truth_NG4), dim=1)
        real_NM = torch.cat((regions.real_NR, real_NG), dim=1)
        found = match(boxes, boxes_NM4, positive=0.5, negative=0.5, nobody_left_out=False)
        found = found.among(real_NM)
        weight_NM = draw_weights(found, count=512, positives=0.25)
        normaliser = shared_normaliser(weight_NM.sum())
        positive_NM = found.positive_NA
        actor_NM = torch.cat((output.actor_NR, actor_NG), dim=1)
        changes_NM4 = torch.cat((output.changes_NR4, changes_NG4), dim=1)
        box_loss = losses.smooth_l1(
            changes_NM4[positive_NM],
            encode(chosen(boxes, found), boxes_NM4[positive_NM], WEIGHTS),
            beta=1.0,
            weights=weight_NM[positive_NM],
        )
        return {
            **self.first.losses(regions, boxes),
            "actor_class": losses.binary(actor_NM, positive_NM.float(), weight_NM) / normaliser,
            "actor_box": box_loss / normaliser,
        }

    @torch.no_grad()
    def proposals(self, output: RcnnOutput, *, threshold: float, limit: int) -> Proposals:
        """Boxes of the second stage whose actor probability is above `threshold`.

        The first stage has suppressed regions that nearly coincide, at an IoU of 0.7, so these are
        fewer than a dense head's.
        """
        regions = output.regions

        def moved(clips_R: Tensor, rows_R: Tensor) -> Tensor:
            changes_R4 = output.changes_NR4[clips_R, rows_R]
            return decode(changes_R4, regions.boxes_NR4[clips_R, rows_R], WEIGHTS)

        scores_NR = output.actor_NR.sigmoid().where(regions.real_NR, -1.0)
        return best_boxes(scores_NR, moved, size=output.size, threshold=threshold, limit=limit)

    def _look(self, levels: Sequence[Tensor], boxes_NR4: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[N, R]` and changes `[N, R, 4]` of boxes of every clip."""
        clips, count = boxes_NR4.shape[:2]
        clip_R = torch.arange(clips, device=boxes_NR4.device).repeat_interleave(count)
        rois_R5 = torch.cat((clip_R[:, None].to(boxes_NR4), boxes_NR4.flatten(0, 1)), dim=1)
        actor, changes = self.classify(levels, rois_R5)
        return actor.view(-1, count), changes.view(-1, count, 4)

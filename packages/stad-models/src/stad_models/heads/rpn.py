"""Region proposal network: the first of two stages, which says where anything might be.

Suffixes: N clips, A anchors of all levels, K candidates, R regions per clip, P positive anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from stad_models import losses
from stad_models.heads.anchors import AnchorShapes, anchors_of, decode, encode, per_anchor
from stad_models.heads.localisation import cut
from stad_models.heads.matching import chosen, draw_weights, match
from stad_models.heads.tower import initialise
from stad_models.processes import shared_normaliser

PUBLISHED_ANCHORS = AnchorShapes(scale=8.0, steps=1)
"""One size per level, eight strides wide, in three forms: 32 to 512 pixels on P2 to P6."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnchorVotes:
    """What the network says of the anchors, before boxes are chosen.

    Attributes:
        objectness: per level, logits `[N, ...]` of anything being there.
        changes_NA4: from the anchor to its box, see `anchors.encode`.
        anchors_A4: xyxy in pixels.
    """

    objectness: tuple[Tensor, ...]
    changes_NA4: Tensor
    anchors_A4: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """What the first stage says of the anchors, and the regions that the second stage looks at.

    Attributes:
        objectness_NA: logits of anything being there.
        changes_NA4: from the anchor to its box, see `anchors.encode`.
        anchors_A4: xyxy in pixels.
        boxes_NR4: the regions of every clip, best first, xyxy in pixels, within the clip; detached.
        real_NR: which of them are regions: clips with fewer are filled up.
    """

    objectness_NA: Tensor
    changes_NA4: Tensor
    anchors_A4: Tensor
    boxes_NR4: Tensor
    real_NR: Tensor


class RegionProposals(nn.Module):
    """A convolution, and two 1x1 convolutions on it that score and move anchors.

    An anchor is positive from an IoU of 0.7 on (the best of an actor always), and background below
    0.3. The loss is that of a draw of 256 anchors per clip, up to half of them positive, on average
    (`matching.draw_weights`).

    Args:
        channels: channels of the pyramid.
        strides: pixels per cell of each level.
        shapes: anchors per cell.
        candidates: boxes per level that enter suppression at an IoU of 0.7.
        regions: most regions per clip.

    Source: Faster R-CNN, Sec. 3.1; Feature pyramid networks, Sec. 4.1.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int],
        shapes: AnchorShapes = PUBLISHED_ANCHORS,
        candidates: int = 1000,
        regions: int = 512,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.shapes = shapes
        self.candidates = candidates
        self.regions = regions
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, shapes.count, 1)
        self.box = nn.Conv2d(channels, 4 * shapes.count, 1)
        initialise(self, self.objectness, prior=0.5)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Regions:
        """Pyramid maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        return self.choose(self.votes(levels), size)

    def votes(self, levels: Sequence[Tensor]) -> AnchorVotes:
        """What the network says of all anchors: everything here that needs weights."""
        maps = [self.shared(x).relu() for x in levels]
        return AnchorVotes(
            objectness=tuple(per_anchor(self.objectness(x), 1).squeeze(2) for x in maps),
            changes_NA4=torch.cat([per_anchor(self.box(x), 4) for x in maps], dim=1),
            anchors_A4=anchors_of(levels, self.strides, self.shapes),
        )

    def choose(self, votes: AnchorVotes, size: tuple[int, int]) -> Regions:
        """The regions of a clip of (width, height)."""
        boxes_NR4, real_NR = self._regions(votes, size)
        return Regions(
            objectness_NA=torch.cat(votes.objectness, dim=1),
            changes_NA4=votes.changes_NA4,
            anchors_A4=votes.anchors_A4,
            boxes_NR4=boxes_NR4,
            real_NR=real_NR,
        )

    def losses(self, output: Regions, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses "region_class" and "region_box" against boxes `[Ni, 4]` per clip."""
        found = match(boxes, output.anchors_A4, positive=0.7, negative=0.3, nobody_left_out=True)
        weight_NA = draw_weights(found, count=256, positives=0.5)
        normaliser = shared_normaliser(weight_NA.sum())
        positive_NA = found.positive_NA
        anchors_P4 = output.anchors_A4.expand_as(output.changes_NA4)[positive_NA]
        class_loss = losses.binary(output.objectness_NA, positive_NA.float(), weight_NA)
        box_loss = losses.smooth_l1(
            output.changes_NA4[positive_NA],
            encode(chosen(boxes, found), anchors_P4),
            beta=1 / 9,
            weights=weight_NA[positive_NA],
        )
        return {"region_class": class_loss / normaliser, "region_box": box_loss / normaliser}

    @torch.no_grad()
    def _regions(self, votes: AnchorVotes, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The best boxes of every level after suppression within it, then the best of all."""
        scores: list[Tensor] = []
        rows: list[Tensor] = []
        level: list[Tensor] = []
        first = 0
        for number, logits_NB in enumerate(votes.objectness):
            best_NK, row_NK = logits_NB.topk(min(self.candidates, logits_NB.shape[1]), dim=1)
            scores.append(best_NK)
            rows.append(row_NK + first)
            level.append(torch.full_like(row_NK, number))
            first += logits_NB.shape[1]
        row_NK, scores_NK = torch.cat(rows, dim=1), torch.cat(scores, dim=1)
        changes_NK4 = votes.changes_NA4.take_along_dim(row_NK[:, :, None], dim=1)
        boxes = decode(changes_NK4.flatten(0, 1), votes.anchors_A4[row_NK.flatten()])
        boxes_NK4 = cut(boxes, size).unflatten(0, row_NK.shape)
        kept_NK = _survivors(boxes_NK4, scores_NK, torch.cat(level, dim=1))
        count = min(self.regions, row_NK.shape[1])
        best_NR, column_NR = scores_NK.where(kept_NK, -torch.inf).topk(count, dim=1)
        return boxes_NK4.take_along_dim(column_NR[:, :, None], dim=1), best_NR > -torch.inf


def _survivors(boxes_NK4: Tensor, scores_NK: Tensor, level_NK: Tensor) -> Tensor:
    """Which candidates have an area and survive suppression within their level and clip."""
    area_NK = (boxes_NK4[..., 2:] > boxes_NK4[..., :2]).all(dim=2)
    if boxes_NK4.is_meta:  # `flops.count`: there are shapes and no values
        return area_NK
    clips_N1 = torch.arange(len(boxes_NK4), device=boxes_NK4.device)[:, None]
    group_NK = level_NK * len(boxes_NK4) + clips_N1
    kept = batched_nms(boxes_NK4.flatten(0, 1), scores_NK.flatten(), group_NK.flatten(), 0.7)
    survives = torch.zeros_like(area_NK).flatten()
    survives[kept] = True
    return survives.view_as(area_NK) & area_NK

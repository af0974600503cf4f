"""Which anchor is responsible for which actor, by overlap.

Suffixes: N clips, A anchors, G boxes of the clip that has most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """What the anchors of a batch have to say; those neither positive nor negative are ignored.

    Attributes:
        row_NA: position in its clip of the box that the anchor overlaps most.
        positive_NA: whether the anchor is responsible for that box.
        negative_NA: whether the anchor is background.
    """

    row_NA: Tensor
    positive_NA: Tensor
    negative_NA: Tensor

    def among(self, real_NA: Tensor) -> Match:
        """The same, with the anchors outside `real_NA` ignored."""
        return Match(
            row_NA=self.row_NA,
            positive_NA=self.positive_NA & real_NA,
            negative_NA=self.negative_NA & real_NA,
        )


def padded(boxes: Sequence[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes `[Ni, 4]` of N clips as `[N, G, 4]`, G at least 1, and which of them are real `[N, G]`.

    The boxes take dtype and device of `like`; padding is 0.
    """
    boxes_NG4 = pad_sequence([rows.to(like) for rows in boxes], batch_first=True)
    if boxes_NG4.shape[1] == 0:
        boxes_NG4 = like.new_zeros((len(boxes), 1, 4))
    counts = torch.tensor([len(rows) for rows in boxes], device=like.device)
    real_NG = torch.arange(boxes_NG4.shape[1], device=like.device) < counts[:, None]
    return boxes_NG4, real_NG


def overlap(a_A4: Tensor, b_G4: Tensor) -> Tensor:
    """IoU of all pairs: `[..., A, 4]` with `[..., G, 4]` gives `[..., A, G]`; 0 without area."""
    a, b = a_A4.unsqueeze(-2), b_G4.unsqueeze(-3)
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared_AG = (high - low).clamp(min=0).prod(dim=-1)
    union_AG = _area(a) + _area(b) - shared_AG
    return shared_AG / union_AG.clamp(min=torch.finfo(union_AG.dtype).tiny)


def match(
    boxes: Sequence[Tensor],
    anchors: Tensor,
    *,
    positive: float,
    negative: float,
    nobody_left_out: bool,
) -> Match:
    """Match by thresholds of IoU.

    An anchor belongs to the box that it overlaps most (the first of equals). It is positive if they
    overlap by at least `positive`, negative if by less than `negative`.

    Args:
        boxes: per clip `[Ni, 4]` xyxy; none makes all anchors of the clip negative.
        anchors: `[A, 4]` of all clips, or `[N, A, 4]`.
        positive: least IoU of a positive.
        negative: negatives have less.
        nobody_left_out: make the anchors that overlap a box most positive, whatever their overlap
            (above 0); such an anchor may belong to another box that it overlaps even more.

    Source: Faster R-CNN, Sec. 3.1.2.
    """
    anchors = anchors.detach()
    boxes_NG4, real_NG = padded(boxes, anchors)
    iou_NAG = overlap(anchors, boxes_NG4).where(real_NG[:, None], -1.0)
    best_NA, row_NA = iou_NAG.max(dim=2)
    positive_NA = best_NA >= positive
    if nobody_left_out:
        most_N1G = iou_NAG.amax(dim=1, keepdim=True)
        positive_NA |= ((iou_NAG == most_N1G) & (most_N1G > 0)).any(dim=2)
    return Match(
        row_NA=row_NA,
        positive_NA=positive_NA,
        negative_NA=(best_NA < negative) & ~positive_NA,
    )


def chosen(boxes: Sequence[Tensor], found: Match) -> Tensor:
    """The boxes `[P, 4]` of the positive anchors, clip by clip, in the order of the anchors."""
    boxes_NG4, _ = padded(boxes, torch.zeros((), device=found.row_NA.device))
    mine_NA4 = boxes_NG4.take_along_dim(found.row_NA[:, :, None], dim=1)
    return mine_NA4[found.positive_NA]


def draw_weights(
    found: Match, *, count: int, positives: float, per_positive: float = inf
) -> Tensor:
    """How often each anchor `[N, A]` is expected in a random draw of `count` from every clip.

    Up to the share `positives` of the draw are positive anchors, the rest negative ones, all alike
    likely. Losses weighted like this are what losses of the published random draw are on average:
    the same gradient, without the noise and whatever the seed or the number of processes.

    Args:
        found: which anchors are positive and negative.
        count: anchors per draw.
        positives: largest share of positive ones, in (0, 1].
        per_positive: most negative anchors for each positive one; where there is none, as many as
            for a single one.

    Source: Faster R-CNN, Sec. 3.1.3 (the draw).
    """
    yes_NA, no_NA = found.positive_NA.float(), found.negative_NA.float()
    yes_N1, no_N1 = yes_NA.sum(dim=1, keepdim=True), no_NA.sum(dim=1, keepdim=True)
    drawn_yes_N1 = yes_N1.clamp(max=int(count * positives))
    most_N1 = (per_positive * drawn_yes_N1.clamp(min=1)).clamp(max=count)
    drawn_no_N1 = torch.minimum(torch.minimum(no_N1, most_N1), count - drawn_yes_N1)
    return yes_NA * drawn_yes_N1 / yes_N1.clamp(min=1) + no_NA * drawn_no_N1 / no_N1.clamp(min=1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)

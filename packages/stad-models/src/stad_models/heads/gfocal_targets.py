"""Which locations learn which actor, by statistics of the overlaps around it (ATSS).

Suffixes: N clips, L locations of all levels, G boxes of the clip that has most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stad_models.heads.matching import Match, overlap, padded


def assign(
    boxes: Sequence[Tensor],
    *,
    points_L2: Tensor,
    strides_L: Tensor,
    counts: Sequence[int],
    scale: float = 8.0,
    nearest: int = 9,
) -> Match:
    """Match locations to boxes by their anchors: one square of `scale` strides each.

    On every level the `nearest` anchors by distance of centres are a box's candidates. Those whose
    IoU reaches the mean plus the standard deviation of the candidates' IoUs, and whose centre lies
    inside the box, are positive; one that is positive for several boxes takes the one it overlaps
    most. All others are negative.

    Args:
        boxes: per clip `[Ni, 4]` xyxy in pixels; `[0, 4]` makes every location negative.
        points_L2: (x, y) in pixels.
        strides_L: pixels per cell.
        counts: locations of each level, in order.
        scale: side of the anchors, in strides.
        nearest: candidates per level.

    Source: Bridging the gap between anchor-based and anchor-free detection, Algorithm 1.
    """
    points_L2 = points_L2.detach()
    boxes_NG4, real_NG = padded(boxes, points_L2)
    half_L1 = scale / 2 * strides_L[:, None]
    anchors_L4 = torch.cat((points_L2 - half_L1, points_L2 + half_L1), dim=1)
    iou_NLG = overlap(anchors_L4, boxes_NG4)
    candidate_NLG = _candidates(points_L2, boxes_NG4, counts, nearest)
    threshold_N1G = _mean_plus_deviation(iou_NLG, candidate_NLG)
    points_L12 = points_L2[:, None]
    inside_NLG = (
        (points_L12 > boxes_NG4[:, None, :, :2]) & (points_L12 < boxes_NG4[:, None, :, 2:])
    ).all(dim=3)
    fits_NLG = candidate_NLG & (iou_NLG >= threshold_N1G) & inside_NLG & real_NG[:, None]
    best_NL, row_NL = iou_NLG.where(fits_NLG, -1.0).max(dim=2)
    return Match(row_NA=row_NL, positive_NA=best_NL >= 0, negative_NA=best_NL < 0)


def _candidates(
    points_L2: Tensor, boxes_NG4: Tensor, counts: Sequence[int], nearest: int
) -> Tensor:
    """The locations `[N, L, G]` whose centres are nearest to a box's, so many per level."""
    centres_NG2 = (boxes_NG4[:, :, :2] + boxes_NG4[:, :, 2:]) / 2
    chosen: list[Tensor] = []
    for level_B2 in points_L2.split(list(counts)):
        away_NBG = (level_B2[:, None] - centres_NG2[:, None]).square().sum(dim=3)
        rows = away_NBG.topk(min(nearest, len(level_B2)), dim=1, largest=False).indices
        chosen.append(torch.zeros_like(away_NBG, dtype=torch.bool).scatter(1, rows, value=True))
    return torch.cat(chosen, dim=1)


def _mean_plus_deviation(iou_NLG: Tensor, candidate_NLG: Tensor) -> Tensor:
    """Mean plus (unbiased) standard deviation over the candidates, `[N, 1, G]`."""
    count_N1G = candidate_NLG.sum(dim=1, keepdim=True)
    mean_N1G = iou_NLG.where(candidate_NLG, 0.0).sum(dim=1, keepdim=True) / count_N1G
    off_NLG = (iou_NLG - mean_N1G).where(candidate_NLG, 0.0)
    variance_N1G = off_NLG.square().sum(dim=1, keepdim=True) / (count_N1G - 1).clamp(min=1)
    return mean_N1G + variance_N1G.sqrt()

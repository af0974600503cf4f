"""Which anchor is responsible for which tube: by the first frames, against all segments.

Suffixes: A anchors, G tubes of a span, F frames of a tube, T frames of the clip, S spans.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stad_models.heads.action_tubes import SpanTubes
from stad_models.heads.matching import Match, overlap


def match_tubes(
    anchors: Tensor,
    spans: Sequence[SpanTubes],
    *,
    segment: int = 6,
    positive: float = 0.5,
    negative: float = 0.3,
) -> Match:
    """Match anchors with the tubes of spans.

    An anchor belongs to the tube whose first K frames it overlaps most on average, and is positive
    if it does so by at least `positive`, or more than any other anchor does (as in Faster R-CNN, so
    that no tube is left out). It is negative if there is no segment of K frames of any tube that
    it overlaps by `negative` on average. A tube of fewer frames is one segment; what is left over
    behind the last whole segment belongs to it.

    Args:
        anchors: `[A, 4]` xyxy.
        spans: one per row of the result; those without tubes have negatives only.
        segment: K, at least 1.
        positive: least mean IoU of a positive.
        negative: negatives have less.

    Source: CFAD, Sec. 3.2 (segment-wise matching); the thresholds are ours.
    """
    rows = [_match(anchors, one, segment, positive, negative) for one in spans]
    row_SA, positive_SA, negative_SA = (torch.stack(part) for part in zip(*rows, strict=True))
    return Match(row_NA=row_SA, positive_NA=positive_SA, negative_NA=negative_SA)


def _match(
    anchors: Tensor, tubes: SpanTubes, segment: int, positive: float, negative: float
) -> tuple[Tensor, Tensor, Tensor]:
    count = len(anchors)
    none_A = torch.zeros(count, dtype=torch.bool, device=anchors.device)
    if not len(tubes):
        return none_A.long(), none_A, ~none_A
    # Tubes of a span are few, and of different lengths.
    overlaps = [
        overlap(anchors, boxes[present])
        for boxes, present in zip(tubes.boxes, tubes.present, strict=True)
    ]
    first_AG = torch.stack([iou_AF[:, :segment].mean(dim=1) for iou_AF in overlaps], dim=1)
    most_AG = torch.stack([_segment_iou(iou_AF, segment).amax(dim=1) for iou_AF in overlaps], dim=1)
    best_A, row_A = first_AG.max(dim=1)
    most_G = first_AG.amax(dim=0)
    nearest_A = ((first_AG == most_G) & (most_G > 0)).any(dim=1)
    positive_A = (best_A >= positive) | nearest_A
    return row_A, positive_A, (most_AG.amax(dim=1) < negative) & ~positive_A


def _segment_iou(iou_AF: Tensor, segment: int) -> Tensor:
    """Mean overlap `[A, segments]` with each segment of a tube."""
    frames = iou_AF.shape[1]
    segments = max(1, frames // segment)
    place_F = (torch.arange(frames, device=iou_AF.device) // segment).clamp(max=segments - 1)
    sums_AN = iou_AF.new_zeros((len(iou_AF), segments)).index_add_(1, place_F, iou_AF)
    return sums_AN / place_F.bincount(minlength=segments)

"""Suppression of tubes that overlap better ones.

Suffixes: P tubes, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stad_models.heads.action_tubes import span_iou
from stad_models.trajectories import mean_iou


def tube_iou(boxes: Tensor, spans: Tensor) -> Tensor:
    """Overlap `[P, P]` of tubes: IoU in time, times the mean IoU of boxes in shared frames.

    A frame is shared if its middle lies in both spans; where there is none the overlap is 0.

    Args:
        boxes: `[P, T, 4]` xyxy, one per frame of the clip.
        spans: `[P, 2]` in frames.
    """
    middles_T = torch.arange(boxes.shape[1], device=boxes.device) + 0.5
    inside_PT = (middles_T >= spans[:, :1]) & (middles_T < spans[:, 1:])
    shared_PPT = inside_PT[:, None] & inside_PT[None]
    each_PPT = mean_iou(boxes[:, None, :, None], boxes[None, :, :, None])
    count_PP = shared_PPT.sum(dim=2)
    mean_PP = (each_PPT * shared_PPT).sum(dim=2) / count_PP.clamp(min=1)
    return span_iou(spans, spans) * mean_PP


def suppress_tubes(
    boxes: Tensor, spans: Tensor, labels: Tensor, *, threshold: float, limit: int
) -> Tensor:
    """Rows of the tubes to keep, best first: of two of a class that overlap more, the better one.

    Args:
        boxes: `[P, T, 4]`, best first.
        spans: `[P, 2]`.
        labels: `[P]`.
        threshold: overlap from which a worse tube is dropped, itself kept.
        limit: most tubes that are kept.
    """
    drops_PP = (tube_iou(boxes, spans) > threshold) & (labels[:, None] == labels)
    rivals = drops_PP.cpu()
    kept: list[int] = []
    gone = torch.zeros(len(boxes), dtype=torch.bool)
    for row in range(len(boxes)):
        if len(kept) == limit:
            break
        if not bool(gone[row]):
            kept.append(row)
            gone |= rivals[row]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)

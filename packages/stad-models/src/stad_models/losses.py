"""Losses of detectors, each a sum over its rows, so that callers choose the normaliser.

All are computed in at least float32 and give 0 (with gradients) for no rows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss


def focal(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of binary decisions, summed; any shape, targets in {0, 1}.

    Source: Focal loss for dense object detection, Eq. 5.
    """
    return sigmoid_focal_loss(
        _precise(logits), _precise(targets), alpha=alpha, gamma=gamma, reduction="sum"
    )


def distance_giou(found: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Generalised IoU loss, 1 - GIoU, summed over boxes given as distances from one shared point.

    Args:
        found: `[N, 4]` non-negative distances to the left, top, right and bottom side.
        wanted: the same, `[N, 4]`, in the same unit; the unit does not matter.
        weights: `[N]` of the boxes; None weighs all by 1.

    Source: Generalized intersection over union, Algorithm 1.
    """
    signs = torch.tensor((-1.0, -1.0, 1.0, 1.0), device=found.device)
    losses_N = generalized_box_iou_loss(_precise(found) * signs, _precise(wanted) * signs)
    return (losses_N if weights is None else losses_N * weights).sum()


def centerness(wanted: Tensor) -> Tensor:
    """How central a point lies in its box, in [0, 1], from distances `[N, 4]`.

    1 at the centre, 0 on a side. Source: FCOS, Eq. 3.
    """
    horizontal, vertical = wanted[:, 0::2], wanted[:, 1::2]
    ratio = (horizontal.amin(1) * vertical.amin(1)) / (horizontal.amax(1) * vertical.amax(1))
    return ratio.clamp(min=0).sqrt()


def binary(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, summed; any shape, targets in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(
        _precise(logits), _precise(targets), reduction="sum"
    )


def action(logits: Tensor, labels: Tensor, *, exclusive: bool, smoothing: float = 0.0) -> Tensor:
    """Loss of actions `[N, C]`, summed over actors.

    Args:
        logits: `[N, C]`.
        labels: `[N, C]` in [0, 1]; rows sum to 1 where actions are exclusive.
        exclusive: softmax cross-entropy if true, else binary cross-entropy averaged over classes.
        smoothing: share of a label, in [0, 1], that is spread over what it could have been: all
            classes where actions are exclusive, yes and no alike elsewhere.

    Source of smoothing: Rethinking the inception architecture for computer vision, Sec. 7.
    """
    spread = 1 / logits.shape[1] if exclusive else 0.5
    wanted = _precise(labels) * (1 - smoothing) + smoothing * spread
    if exclusive:
        return -(wanted * _precise(logits).log_softmax(dim=1)).sum()
    return binary(logits, wanted) / logits.shape[1]


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()

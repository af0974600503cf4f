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


def distance_iou(found: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """IoU loss, -log IoU, summed over boxes given as distances from one shared point.

    Arguments as `distance_giou`. Such boxes always overlap, unless one has no area at all.

    Source: UnitBox: An advanced object detection network, Eq. 1 and Algorithm 1.
    """
    losses_N = -paired_iou(found, wanted).log()
    return (losses_N if weights is None else losses_N * weights).sum()


def paired_iou(found: Tensor, wanted: Tensor) -> Tensor:
    """IoU `[N]` of boxes `[N, 4]` given as distances from one shared point; never quite 0."""
    found, wanted = _precise(found), _precise(wanted)
    shared_N = _area(torch.minimum(found, wanted))
    union_N = _area(found) + _area(wanted) - shared_N
    return (shared_N + 1e-7) / (union_N + 1e-7)


def centerness(wanted: Tensor) -> Tensor:
    """How central a point lies in its box, in [0, 1], from distances `[N, 4]`.

    1 at the centre, 0 on a side. Source: FCOS, Eq. 3.
    """
    horizontal, vertical = wanted[:, 0::2], wanted[:, 1::2]
    ratio = (horizontal.amin(1) * vertical.amin(1)) / (horizontal.amax(1) * vertical.amax(1))
    return ratio.clamp(min=0).sqrt()


def binary(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, summed; any shape, targets in [0, 1], weights of the same shape."""
    return functional.binary_cross_entropy_with_logits(
        _precise(logits), _precise(targets), weight=weights, reduction="sum"
    )


def smooth_l1(
    found: Tensor, wanted: Tensor, *, beta: float, weights: Tensor | None = None
) -> Tensor:
    """Smooth L1 of rows `[N, D]`, summed: quadratic below `beta`, linear above.

    Args:
        found: `[N, D]`.
        wanted: `[N, D]`.
        beta: where the parabola ends, above 0.
        weights: `[N]` of the rows; None weighs all by 1.

    Source: Fast R-CNN, Eq. 3 (beta 1); Faster R-CNN's first stage has beta 1/9.
    """
    each_ND = functional.smooth_l1_loss(
        _precise(found), _precise(wanted), beta=beta, reduction="none"
    )
    return (each_ND if weights is None else each_ND * weights[:, None]).sum()


def quality_focal(log_yes: Tensor, log_no: Tensor, quality: Tensor, *, beta: float = 2.0) -> Tensor:
    """Quality focal loss, summed; any shape.

    Args:
        log_yes: log p of the probability p that is to become the quality.
        log_no: log (1 - p); given apart, since rounding would lose it where p is near 1.
        quality: what p should be, in [0, 1]: the IoU of the box found there, 0 on background.
        beta: how little easy cases count.

    Source: Generalized focal loss, Eq. 2.
    """
    yes, no, quality = _precise(log_yes), _precise(log_no), _precise(quality)
    away = (quality - yes.exp()).abs().pow(beta)
    return -(away * (quality * yes + (1 - quality) * no)).sum()


def distribution_focal(logits: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Distribution focal loss, summed: the two whole numbers beside a value should be likely.

    Args:
        logits: `[N, B]` of the whole numbers 0 to B - 1.
        wanted: `[N]` in [0, B - 1).
        weights: `[N]`; None weighs all by 1.

    Source: Generalized focal loss, Eq. 6.
    """
    logs_NB, wanted = _precise(logits).log_softmax(dim=1), _precise(wanted)
    low_N = wanted.floor().long()
    share_N = (wanted - low_N)[:, None]
    below_N1, above_N1 = logs_NB.gather(1, low_N[:, None]), logs_NB.gather(1, low_N[:, None] + 1)
    losses_N = -((1 - share_N) * below_N1 + share_N * above_N1).squeeze(1)
    return (losses_N if weights is None else losses_N * weights).sum()


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


def _area(distances_N4: Tensor) -> Tensor:
    """Areas of boxes given as distances from a point to their sides."""
    return (distances_N4[:, :2] + distances_N4[:, 2:]).prod(dim=1)


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()

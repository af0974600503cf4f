"""Overlap and distance between two sets of boxes, all pairs at once.

Boxes are xyxy, half-open. Suffix legend: N, M = boxes of the two sets; leading dimensions, if any,
are batches that must broadcast.
"""

import torch
from torch import Tensor


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair, in [0, 1]; 0 where neither box has an area.

    Args:
        a: `[..., N, 4]` floating, in any unit.
        b: `[..., M, 4]` in the same unit.

    Returns:
        `[..., N, M]`; N or M may be 0.
    """
    intersection, union = _intersection_and_union(a, b)
    return _ratio(intersection, union)


def pairwise_giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU loss of every pair, 1 - GIoU, in [0, 2].

    0 for equal boxes with an area; 1 to 2 for boxes apart, more the further. A pair that spans no
    area at all costs 1.

    Args:
        a: `[..., N, 4]` floating, in any unit.
        b: `[..., M, 4]` in the same unit.

    Returns:
        `[..., N, M]`; N or M may be 0.

    Source: Rezatofighi et al., "Generalized intersection over union", Algorithm 1.
    """
    intersection, union = _intersection_and_union(a, b)
    left, top, right, bottom = _sides(a, b)
    hull = (torch.maximum(*right) - torch.minimum(*left)) * (
        torch.maximum(*bottom) - torch.minimum(*top)
    )
    return 1.0 - _ratio(intersection, union) + _ratio(hull - union, hull)


def pairwise_smooth_l1(a: Tensor, b: Tensor, *, beta: float = 1.0) -> Tensor:
    """Smooth L1 distance of every pair, summed over the four coordinates.

    A difference d costs d^2 / (2 beta) below beta and |d| - beta / 2 above.

    Args:
        a: `[..., N, 4]` floating, in units of the frame ([0, 1] inside it).
        b: `[..., M, 4]` in the same unit.
        beta: where the square becomes a line, in the same unit.

    Returns:
        `[..., N, M]`; N or M may be 0.

    Source: Girshick, "Fast R-CNN", Eq. 3.
    """
    distance = torch.zeros((), dtype=a.dtype, device=a.device)
    for ours, theirs in _sides(a, b):
        apart = (ours - theirs).abs()
        distance = distance + torch.where(apart < beta, apart**2 / (2 * beta), apart - beta / 2)
    return distance


def _intersection_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    left, top, right, bottom = _sides(a, b)
    width = (torch.minimum(*right) - torch.maximum(*left)).clamp(min=0)
    height = (torch.minimum(*bottom) - torch.maximum(*top)).clamp(min=0)
    intersection = width * height
    areas_a, areas_b = ((right[k] - left[k]) * (bottom[k] - top[k]) for k in (0, 1))
    return intersection, areas_a + areas_b - intersection


def _sides(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Left, top, right and bottom of both sets, as `[..., N, 1]` and `[..., 1, M]`.

    Side by side and not as a last dimension of 4, which would make the reductions slow.
    """
    return [(a[..., :, None, k], b[..., None, :, k]) for k in range(4)]


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """The quotient, and 0 where the whole is 0."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1.0), 0.0)

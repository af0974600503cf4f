"""What a capsule network is trained by: spread of class scores, and cross-entropy with overlap.

Suffix legend: N = clips, C = classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def spread_loss(scores: Tensor, labels: Tensor, margin: Tensor | float) -> Tensor:
    """Margin loss: the wanted class must be more active than every other one, by the margin.

    Of a clip with several labels each wanted class is held against each unwanted one, and the mean
    is over the wanted ones. Labels between 0 and 1 (mixed clips) weigh both sides. A clip without
    any label counts 0.

    Args:
        scores: `[N, C]` activations in [0, 1].
        labels: `[N, C]` in [0, 1].
        margin: in [0, 1].

    Returns:
        Scalar, the mean over clips; 0 (with gradients) without clips.

    Source: Matrix capsules with EM routing, Eq. 3; several labels are our choice.
    """
    scores, wanted = _precise(scores), _precise(labels)
    gaps = (margin - (scores[:, :, None] - scores[:, None, :])).clamp(min=0).square()
    pairs = wanted[:, :, None] * (1 - wanted)[:, None, :]
    pairs = pairs * (1 - torch.eye(scores.shape[1], dtype=pairs.dtype, device=pairs.device))
    each = (pairs * gaps).sum(dim=(1, 2)) / wanted.sum(dim=1).clamp(min=1)
    return each.sum() / max(len(each), 1)


def margin_at(passes: Tensor, margins: tuple[float, float], length: int) -> Tensor:
    """The margin after so many passes: from the first to the second along a straight line.

    Args:
        passes: scalar, 0 at the beginning.
        margins: first and last.
        length: passes until the last one; it stays afterwards. 0 begins with the last one.

    Source: Matrix capsules with EM routing, Sec. 3.3 (0.2 to 0.9); the length is open there.
    """
    first, last = margins
    share = (passes.float() / length).clamp(max=1.0) if length else torch.ones_like(passes).float()
    return first + (last - first) * share


def map_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy of pixels, the mean; `[N, T, H, W]` logits, masks in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(_precise(logits), _precise(masks))


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice coefficient of map and mask, over all pixels of a clip.

    Args:
        logits: `[N, T, H, W]`.
        masks: the same shape, in [0, 1].

    Returns:
        Scalar in [0, 1], the mean over clips. Both terms of the ratio have 1 added, so that a clip
        without actors wants an empty map.

    Source: V-Net, Sec. 3, without the squares.
    """
    maps, masks = _precise(logits).sigmoid().flatten(1), _precise(masks).flatten(1)
    shared = (maps * masks).sum(dim=1)
    ratio = (2 * shared + 1) / (maps.sum(dim=1) + masks.sum(dim=1) + 1)
    return (1 - ratio).sum() / max(len(ratio), 1)


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()

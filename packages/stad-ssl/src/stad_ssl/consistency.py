"""Consistency of what a network says about two views of the same clips.

Suffix legend: N = clips, D = features, T, H, W = frames, height, width of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence between features of two views, as distributions.

    A softmax turns a row of features into a distribution, so a row counts up to a constant that is
    added to all of it. Both views learn.

    Args:
        first: `[N, D]` features of one view.
        second: `[N, D]` of the other.

    Returns:
        Scalar in [0, log 2], the mean over clips: 0 where the views agree, whichever comes first.
        0 (with gradients) without clips.

    Raises:
        ValueError: shapes that disagree.

    Source: End-to-end semi-supervised learning for video action detection, Eq. 1; the paper does
    not say how features become distributions.
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            "jensen_shannon: features must be [N, D] of both views, found "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    return _divergence(_precise(first).log_softmax(dim=1), _precise(second).log_softmax(dim=1))


def class_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence between the class scores of two views.

    Args:
        first: `[N, C]` scores in [0, 1] of one view; rows are divided by their sum.
        second: `[N, C]` of the other.

    Returns:
        As `jensen_shannon`.

    Raises:
        ValueError: shapes that disagree.

    Source: Consistency-based semi-supervised learning for object detection, Eq. 3, the baseline
    "Co-SSD (CC)".
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(
            "class_divergence: scores must be [N, C] of both views, found "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    return _divergence(_log_shares(first), _log_shares(second))


def squared_difference(first: Tensor, second: Tensor) -> Tensor:
    """Squared difference of two localisation maps, pixel by pixel.

    Args:
        first: maps of any shape, in [0, 1].
        second: the other view's, after its augmentation was undone; the same shape.

    Returns:
        The same shape, in [0, 1], in at least float32. Both views learn.

    Raises:
        ValueError: shapes that disagree.

    Source: End-to-end semi-supervised learning for video action detection, Eq. 2.
    """
    if first.shape != second.shape:
        raise ValueError(
            "squared_difference: maps of both views must have one shape, found "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    return (_precise(first) - _precise(second)).square()


def seen_mean(values: Tensor, seen: Tensor | None = None) -> Tensor:
    """Mean of a map over the pixels that both views show.

    Args:
        values: `[N, T, H, W]`.
        seen: bool, of a shape that broadcasts to it; None sees all.

    Returns:
        Scalar; 0 (with gradients) where nothing is seen.
    """
    if seen is None:
        return values.sum() / max(values.numel(), 1)
    shown = seen.expand_as(values)
    return (values * shown).sum() / shown.sum().clamp(min=1)


def localisation_consistency(first: Tensor, second: Tensor, seen: Tensor | None = None) -> Tensor:
    """Mean squared difference of the localisation maps of two views.

    Args:
        first: `[N, T, H, W]` in [0, 1].
        second: the other view's, after its augmentation was undone.
        seen: bool, of a shape that broadcasts to it: where the other view shows the place.

    Returns:
        Scalar in [0, 1]; 0 for equal maps, and (with gradients) where nothing is seen.

    Raises:
        ValueError: shapes that disagree.

    Source: as `squared_difference`; the paper leaves open whether L2 is a sum, a mean or a root.
    """
    return seen_mean(squared_difference(first, second), seen)


def _divergence(first_ND: Tensor, second_ND: Tensor) -> Tensor:
    """Of logarithms of distributions."""
    log_two = torch.full((), 2.0, dtype=first_ND.dtype, device=first_ND.device).log()
    middle_ND = torch.logaddexp(first_ND, second_ND) - log_two
    each_N = sum(
        (0.5 * side_ND.exp() * (side_ND - middle_ND)).sum(dim=1)
        for side_ND in (first_ND, second_ND)
    )
    return torch.as_tensor(each_N).sum() / max(len(first_ND), 1)


def _log_shares(scores: Tensor) -> Tensor:
    positive = _precise(scores).clamp(min=1e-7)
    return (positive / positive.sum(dim=1, keepdim=True)).log()


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()

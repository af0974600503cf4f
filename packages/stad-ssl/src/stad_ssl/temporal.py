"""Where in time a localisation map changes, as attention for the consistency of two views.

Maps are probabilities `[N, T, H, W]`; attention has their shape. It says where to look and is no
loss itself: unless asked otherwise no gradient flows through it, since a network could else lower
its loss by maps that do not move.
Suffix legend: N = clips, T, H, W = frames, height, width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def variance_attention(
    maps: Tensor, *, past: int = 2, future: int = 2, cyclic: bool = False, detach: bool = True
) -> Tensor:
    """Variance of each pixel over the frames around each frame.

    Args:
        maps: `[N, T, H, W]` in [0, 1], T at least 1.
        past: frames before that count.
        future: frames after that count.
        cyclic: the first frame follows the last one; else windows end with the clip, and the
            variance is over the frames that are left.
        detach: let no gradient flow through the attention.

    Returns:
        `[N, T, H, W]` in [0, 1/4]: the mean squared distance from the window's mean. 0 for maps
        that do not change; what is added to a map does not matter; it turns with the maps' time
        where `past` equals `future`.

    Raises:
        ValueError: maps of another form, negative windows, or a cyclic window longer than the clip.

    Source: End-to-end semi-supervised learning for video action detection, Eq. 4 and Sec. 4
    ("2 future and 2 past frames"); windows at the ends of a clip are our choice.
    """
    _check(maps, "variance_attention", least=1)
    length = maps.shape[1]
    if past < 0 or future < 0 or (cyclic and past + future + 1 > length):
        raise ValueError(
            "variance_attention: past and future must be at least 0 and, in a cycle, fit into its "
            f"{length} frames, found {past} and {future}"
        )
    given = _precise(maps.detach() if detach else maps)
    frame = torch.arange(length, device=maps.device)
    places = frame[:, None] + torch.arange(-past, future + 1, device=maps.device)
    if cyclic:
        weights = torch.ones(places.shape, dtype=given.dtype, device=maps.device)
        places = places % length
    else:
        weights = ((places >= 0) & (places < length)).to(given.dtype)
        places = places.clamp(0, length - 1)
    weights = (weights / weights.sum(dim=1, keepdim=True))[..., None, None]
    around = given[:, places]  # [N, T, window, H, W]
    mean = (around * weights).sum(dim=2, keepdim=True)
    return ((around - mean).square() * weights).sum(dim=2)


def cyclic_clip(maps: Tensor, others: Tensor) -> Tensor:
    """The maps of one view, followed by those of the other view backwards without its ends.

    Args:
        maps: `[N, T, H, W]`, T at least 2.
        others: the other view's, after its augmentation in space was undone; time runs as in
            `maps`.

    Returns:
        `[N, 2 T - 2, H, W]`: frames 0 to T - 1 of the one, then T - 2 down to 1 of the other. From
        its last frame it goes on with its first, so it can run in circles.

    Raises:
        ValueError: maps of another form, or shapes that disagree.

    Source: as `variance_attention`, Sec. 3.3, "cyclic variance".
    """
    _check(maps, "cyclic_clip", least=2)
    if maps.shape != others.shape:
        raise ValueError(
            "cyclic_clip: maps of both views must have one shape, found "
            f"{list(maps.shape)} and {list(others.shape)}"
        )
    return torch.cat([maps, others[:, 1:-1].flip(1)], dim=1)


def cyclic_variance_attention(
    maps: Tensor, others: Tensor, *, past: int = 2, future: int = 2, detach: bool = True
) -> Tensor:
    """Variance over the circle of both views, on the frames of the first one.

    Arguments as `cyclic_clip` and `variance_attention`; a window must fit into 2 T - 2 frames.
    """
    cycle = cyclic_clip(maps, others)
    found = variance_attention(cycle, past=past, future=future, cyclic=True, detach=detach)
    return found[:, : maps.shape[1]]


def gradient_attention(maps: Tensor, *, absolute: bool = True, detach: bool = True) -> Tensor:
    """Second derivative of each pixel in time: where a map's change is not smooth.

    Both derivatives are central differences, one-sided at the ends of the clip.

    Args:
        maps: `[N, T, H, W]`, T at least 2.
        absolute: take the absolute value, which keeps a loss weighed by it from going below 0. The
            paper's equation has none; without it pixels whose probability rises and then falls
            would be rewarded for a difference between the views.
        detach: let no gradient flow through the attention.

    Returns:
        `[N, T, H, W]`, in [0, 1] or [-1, 1]. 0 for maps that change linearly; what is linear in
        time may be added to a map.

    Raises:
        ValueError: maps of another form.

    Source: End-to-end semi-supervised learning for video action detection, Eq. 6.
    """
    _check(maps, "gradient_attention", least=2)
    given = _precise(maps.detach() if detach else maps)
    second = _central_difference(_central_difference(given))
    return second.abs() if absolute else second


def attended(difference: Tensor, attention: Tensor, share: float = 1.0) -> Tensor:
    """A map of differences, of which a share is weighed by attention.

    Args:
        difference: `[N, T, H, W]`, from `squared_difference`.
        attention: the same shape.
        share: w in [0, 1]: w (M * L) + (1 - w) L. At 1 nothing but the attended part is left.

    Raises:
        ValueError: shapes that disagree, or a share outside [0, 1].

    Source: End-to-end semi-supervised learning for video action detection, Eq. 3; Eq. 5 is its
    case w = 1.
    """
    if difference.shape != attention.shape or not 0 <= share <= 1:
        raise ValueError(
            "attended: difference and attention must have one shape and the share lie in [0, 1], "
            f"found {list(difference.shape)}, {list(attention.shape)} and {share}"
        )
    if share == 0:
        return difference
    return share * (attention * difference) + (1 - share) * difference


def consistency_objective(
    classification: Tensor, localisation: Tensor, *, shares: tuple[float, float] = (0.3, 0.7)
) -> Tensor:
    """Both consistency losses, weighed: lambda_1 of classes and lambda_2 of maps.

    Source: End-to-end semi-supervised learning for video action detection, Eq. 8 and Sec. 4. The
    training objective (Eqs. 7 and 9) is the detector's own losses plus 0.1 times this.
    """
    return shares[0] * classification + shares[1] * localisation


def _central_difference(maps: Tensor) -> Tensor:
    inner = (maps[:, 2:] - maps[:, :-2]) / 2
    return torch.cat([maps[:, 1:2] - maps[:, :1], inner, maps[:, -1:] - maps[:, -2:-1]], dim=1)


def _check(maps: Tensor, owner: str, *, least: int) -> None:
    if maps.ndim != 4 or maps.shape[1] < least or not maps.is_floating_point():
        raise ValueError(
            f"{owner}: maps must be floating [N, T, H, W] with at least {least} frames, found "
            f"{maps.dtype} {list(maps.shape)}"
        )


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()

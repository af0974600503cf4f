"""MixMatch for clips: guessed targets are made surer, and clips are mixed in pairs.

Suffix legend: N = clips.
"""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor


def sharpen(shares: Tensor, temperature: float = 0.5) -> Tensor:
    """Distributions over classes made surer: each share to the power 1 / T, rows sum to 1.

    Args:
        shares: `[N, C]`, not negative; rows that are 0 become even.
        temperature: T above 0; 1 changes nothing but the sum, towards 0 the best class takes all.

    Raises:
        ValueError: a temperature that is not positive.

    Source: MixMatch, Eq. 7.
    """
    _check_temperature(temperature)
    logs = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()
    return (logs / temperature).softmax(dim=1)


def sharpen_maps(maps: Tensor, temperature: float = 0.5) -> Tensor:
    """Probabilities of pixels made surer: `sharpen` of the two classes actor and background.

    Args:
        maps: any shape, in [0, 1]; 1/2 stays.
        temperature: as `sharpen`.

    Raises:
        ValueError: a temperature that is not positive.
    """
    _check_temperature(temperature)
    return torch.special.logit(maps, eps=1e-6).div(temperature).sigmoid()


def mix_share(chance: float, alpha: float = 0.75) -> float:
    """The share in [1/2, 1] of the first clip, from one uniform number.

    Args:
        chance: uniform in [0, 1].
        alpha: of the distribution Beta(alpha, alpha), above 0; it is mirrored to the upper half, so
            that a mixed clip stays nearer to the first.

    Raises:
        ValueError: a chance outside [0, 1], or an alpha that is not positive.

    Source: MixMatch, Eqs. 8 and 9.
    """
    if not 0 <= chance <= 1 or not alpha > 0:
        raise ValueError(
            f"mix_share: chance must lie in [0, 1] and alpha above 0, found {chance} and {alpha}"
        )
    # The distribution is even about 1/2, so that mirroring the draw mirrors the chance. The inverse
    # may miss the middle by a rounding error.
    return max(0.5, float(betaincinv(alpha, alpha, max(chance, 1 - chance))))


def mixed(values: Tensor, others: Tensor, shares: Tensor) -> Tensor:
    """Clips, labels or maps of which others make up the part 1 - share.

    Args:
        values: `[N, ...]`.
        others: the same shape.
        shares: `[N]` in [0, 1], of `values`.

    Raises:
        ValueError: shapes that disagree.

    Source: MixMatch, Eqs. 10 and 11.
    """
    if values.shape != others.shape or shares.shape != values.shape[:1]:
        raise ValueError(
            "mixed: both sides must have one shape [N, ...] and shares [N], found "
            f"{list(values.shape)}, {list(others.shape)} and {list(shares.shape)}"
        )
    weight = shares.reshape(-1, *(1 for _ in values.shape[1:]))
    return weight * values + (1 - weight) * others


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"sharpen: the temperature must be positive, found {temperature}")

"""Iterated pseudo labels: rounds of training, each on what the network said at its beginning.

Suffix legend: N = clips, C = classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def round_starts(steps: int, *, burn_in: int, rounds: int) -> tuple[int, ...]:
    """The steps at which the rounds after a burn-in begin, of equal length up to one step.

    Args:
        steps: of the whole training.
        burn_in: steps on annotated clips alone, before the first round.
        rounds: how many.

    Returns:
        Increasing, the first one `burn_in`; at each of them the labels are to be made anew.

    Raises:
        ValueError: fewer steps after the burn-in than rounds.

    Source: Pseudo-label: the simple and efficient semi-supervised learning method, iterated as in
    End-to-end semi-supervised learning for video action detection, Sec. 4 ("requires multiple
    iterations of training").
    """
    if rounds < 1 or burn_in < 0 or steps - burn_in < rounds:
        raise ValueError(
            f"round_starts: {rounds} rounds need at least as many steps after the burn-in, found "
            f"{steps - burn_in} of {steps}"
        )
    return tuple(burn_in + number * (steps - burn_in) // rounds for number in range(rounds))


def class_pseudo_labels(scores: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The best class of each clip as its label, and whether it is sure enough to be used.

    Args:
        scores: `[N, C]` in [0, 1].
        threshold: least score of the best class.

    Returns:
        `[N, C]` with one 1 in each row, of the dtype of `scores`, and bool `[N]`.

    Raises:
        ValueError: scores of another form.
    """
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise ValueError(f"class_pseudo_labels: scores must be [N, C], found {list(scores.shape)}")
    best, label = scores.detach().max(dim=1)
    given = torch.nn.functional.one_hot(label, scores.shape[1]).to(scores.dtype)
    return given, best >= threshold


def map_pseudo_labels(maps: Tensor, threshold: float = 0.5) -> Tensor:
    """Localisation maps as masks of 0 and 1, of the same shape and dtype, without gradient."""
    return (maps.detach() >= threshold).to(maps.dtype)

"""What anchors say of classes: probabilities, and the loss of Faster R-CNN's random draw.

Suffixes: N images or spans, A anchors, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stad_models import losses
from stad_models.heads.matching import Match, draw_weights
from stad_models.processes import shared_normaliser

BACKGROUND = 3
"""Negative anchors that are drawn for each positive one."""


def class_outputs(num_classes: int, *, exclusive: bool) -> int:
    """Outputs per anchor: a probability per class, and of no class where one excludes another."""
    return num_classes + 1 if exclusive else num_classes


def probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """Probabilities of classes `[..., C]`; where they exclude each other the last is background."""
    return logits.softmax(dim=-1)[..., :-1] if exclusive else logits.sigmoid()


def class_loss(logits: Tensor, labels: Tensor, found: Match, *, exclusive: bool) -> Tensor:
    """Classification loss, averaged over a draw of up to 256 anchors, a quarter of them positive.

    The draw is taken in expectation (`matching.draw_weights`). Of an image or a span that has two
    positive anchors and a hundred others, a draw that is filled up with these says little of which
    class it is; hence there are `BACKGROUND` negative anchors for each positive one.

    Args:
        logits: `[N, A, outputs]`.
        labels: `[N, A, C]` in {0, 1}; of positive anchors alone.
        found: which anchors are positive and negative.
        exclusive: softmax with a background class, else binary cross-entropy summed over classes.

    Source: CFAD, Eq. 2 (the first term); Faster R-CNN, Sec. 3.1; the shares are those by which its
    second stage learns classes (Fast R-CNN, Sec. 2.3).
    """
    share = 1 / (1 + BACKGROUND)
    weight_NA = draw_weights(found, count=256, positives=share, per_positive=BACKGROUND)
    wanted = labels * found.positive_NA[..., None]
    if exclusive:
        # Two classes at a time, which an exclusive dataset does not have, would share the one.
        wanted = wanted / wanted.sum(dim=-1, keepdim=True).clamp(min=1)
        wanted = torch.cat((wanted, ~found.positive_NA[..., None]), dim=-1)
        each_NA = -(wanted * logits.float().log_softmax(dim=-1)).sum(dim=-1)
        total = (each_NA * weight_NA).sum()
    else:
        weights = weight_NA[..., None].expand_as(logits)
        total = losses.binary(logits, wanted, weights)
    return total / shared_normaliser(weight_NA.sum())

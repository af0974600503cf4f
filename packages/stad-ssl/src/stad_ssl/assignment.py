"""Temporal Label Assignment (TLA): proposals take the labels of the keyframes around them.

Suffix legend: B = clips, N = proposals, M = annotated boxes, C = classes.
Source of all: SE-STAD, Sec. 3.4, Algorithm 1, Eq. 6 and 7.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stad_ssl.boxes import pairwise_giou_loss, pairwise_smooth_l1
from stad_ssl.frames import Neighbours, Proposals, PseudoLabels
from stad_ssl.gathering import gather

Background = Literal["drop", "negative"]
"""What becomes of a proposal without labels: not an actor, or an actor that does nothing."""

_LOWEST_LOG = -100.0
"""Logarithms stop here, as in torch's binary_cross_entropy: certainty costs finitely."""


@dataclass(frozen=True, kw_only=True)
class CostWeights:
    """Weights of the parts of the assignment's cost; the paper's are all 1.

    Attributes:
        classification: of the binary cross-entropy, a mean over classes. The paper names no
            reduction; the number of classes as a weight gives the sum.
        distance: of the smooth L1 distance, a sum over coordinates in [0, 1].
        giou: of the GIoU loss.

    Raises:
        ValueError: a weight that is negative or not finite.
    """

    classification: float = 1.0
    distance: float = 1.0
    giou: float = 1.0

    def __post_init__(self) -> None:
        for name in ("classification", "distance", "giou"):
            weight = getattr(self, name)
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"cost weight {name} must be finite and at least 0; got {weight}")


_PAPER = CostWeights()


@torch.no_grad()
def assignment_cost(
    boxes: Tensor,
    scores: Tensor,
    annotated: Tensor,
    labels: Tensor,
    *,
    weights: CostWeights = _PAPER,
) -> Tensor:
    """Cost of giving each proposal the labels of each annotated box. Records no gradient.

    Args:
        boxes: `[..., N, 4]` xyxy, in [0, 1] within the frame.
        scores: `[..., N, C]` probabilities; their logarithms stop at -100.
        annotated: `[..., M, 4]` xyxy, in the same unit.
        labels: `[..., M, C]` in {0, 1}, floating like the rest.
        weights: of the parts.

    Returns:
        `[..., N, M]`, finite for finite boxes and scores in [0, 1]; N or M may be 0.

    Source: SE-STAD, Eq. 6.
    """
    columns = labels.transpose(-1, -2)
    likelihood = _log_yes(scores) @ columns + _log_no(scores) @ (1.0 - columns)
    return (
        weights.classification * -likelihood / scores.shape[-1]
        + weights.distance * pairwise_smooth_l1(boxes, annotated)
        + weights.giou * pairwise_giou_loss(boxes, annotated)
    )


@torch.no_grad()
def background_cost(scores: Tensor, *, weights: CostWeights = _PAPER) -> Tensor:
    """Cost of a background object: the classification part against no labels at all.

    Args:
        scores: `[..., N, C]` probabilities.
        weights: of the parts.

    Returns:
        `[..., N]`.

    Source: SE-STAD, end of Sec. 3.4.
    """
    return weights.classification * -_log_no(scores).mean(dim=-1)


def solve_assignment(
    cost: Tensor,
    background: Tensor,
    *,
    proposals: Sequence[int] | None = None,
    annotations: Sequence[int] | None = None,
) -> Tensor:
    """The cheapest assignment of each problem, by the Hungarian method.

    Every annotation serves at most one proposal. With N <= M each proposal gets one; with N > M,
    N - M background objects are added, so every annotation is used and the rest is background.

    A background object costs a proposal the same whichever it is. So the sum over all proposals is
    a constant plus the sum of `cost - background` over the assigned ones, and the solver needs no
    columns for background.

    Args:
        cost: `[B, N, M]`, or `[N, M]` for one problem, finite.
        background: `[B, N]` or `[N]`, finite.
        proposals: how many of the N rows are real, per problem; the rest is padding. None: all.
        annotations: how many of the M columns are real, likewise.

    Returns:
        int64 `[B, N]` or `[N]` in CPU memory: the annotation of each proposal, -1 for background
        and padding.

    Raises:
        ValueError: shapes that do not fit, or a cost that is not finite.

    Source: SE-STAD, Eq. 7.
    """
    if cost.ndim == 2:
        return solve_assignment(
            cost[None], background[None], proposals=proposals, annotations=annotations
        )[0]
    if cost.ndim != 3 or background.shape != cost.shape[:2]:
        raise ValueError(
            "cost must be [B, N, M] and background [B, N]; found "
            f"{list(cost.shape)} and {list(background.shape)}"
        )
    gain = (cost.detach().cpu().double() - background.detach().cpu().double()[..., None]).numpy()
    if not np.isfinite(gain).all():
        raise ValueError("costs must be finite; found NaN or infinity")
    rows = [cost.shape[1]] * len(cost) if proposals is None else proposals
    columns = [cost.shape[2]] * len(cost) if annotations is None else annotations
    assigned = np.full(cost.shape[:2], -1, dtype=np.int64)
    for problem, (row_count, column_count) in enumerate(zip(rows, columns, strict=True)):
        chosen, given = linear_sum_assignment(gain[problem, :row_count, :column_count])
        assigned[problem, chosen] = given
    return torch.from_numpy(assigned)


def assign_temporal_labels(
    proposals: Sequence[Proposals],
    neighbours: Sequence[Neighbours],
    *,
    background: Background = "drop",
    weights: CostWeights = _PAPER,
) -> list[PseudoLabels]:
    """Temporal Label Assignment: each proposal takes the labels of one annotation beside it.

    The annotations of a clip are those of its nearest former and its nearest later keyframe; with
    one of them missing, those of the other. Without both the clip is not `known`. Without
    annotated boxes all proposals are background; without proposals there are no pseudo boxes.
    The boxes are the teacher's, the labels the annotation's; the scores decide the assignment only.

    A person in both keyframes is two annotations. While there are no more proposals than
    annotations, each proposal takes one, however far it is; so proposals that are hardly people
    should be left out before.

    Args:
        proposals: the teacher's, one per clip of the batch.
        neighbours: the keyframes around each clip.
        background: "drop" leaves proposals that got no annotation out; "negative" keeps them as
            actors without labels.
        weights: of the cost's parts.

    Returns:
        One per clip, rows in the order of the proposals.

    Raises:
        ValueError: input that `Proposals`, `Keyframe` or `Neighbours` rule out (NaN, labels other
            than 0 and 1, boxes far off the frame), clips or classes that disagree, or an unknown
            rule for background.

    Source: SE-STAD, Algorithm 1.
    """
    check_background(background)
    batch = gather(proposals, neighbours)
    boxes, annotated = batch.normalised()
    scores, clips = batch.scores, len(neighbours)
    rows = torch.bincount(batch.clip, minlength=clips).tolist()
    columns = torch.bincount(batch.annotated_clip, minlength=clips).tolist()
    boxes_BN4, scores_BNC = _padded(boxes, rows), _padded(scores, rows)
    cost_BNM = assignment_cost(
        boxes_BN4,
        scores_BNC,
        _padded(annotated, columns),
        _padded(batch.labels, columns),
        weights=weights,
    )
    background_BN = background_cost(scores_BNC, weights=weights)
    assigned_BN = solve_assignment(cost_BNM, background_BN, proposals=rows, annotations=columns)
    real_BN = torch.arange(assigned_BN.shape[1]) < torch.tensor(rows)[:, None]
    assigned = assigned_BN[real_BN]
    matched = assigned >= 0
    first_B = torch.tensor([0, *columns]).cumsum(0)[:-1]
    labels = torch.zeros_like(scores)
    labels[matched] = batch.labels[(first_B[batch.clip] + assigned)[matched]]
    keep = matched if background == "drop" else torch.ones_like(matched)
    known = [bool(near.keyframes) for near in neighbours]
    return batch.kept(keep, labels, assigned, known=known)


def check_background(background: str) -> None:
    """Refuse an unknown rule for proposals without labels.

    Raises:
        ValueError: neither "drop" nor "negative".
    """
    if background not in ("drop", "negative"):
        raise ValueError(f'background must be "drop" or "negative"; got {background!r}')


def _log_yes(scores: Tensor) -> Tensor:
    return scores.log().clamp_(min=_LOWEST_LOG)


def _log_no(scores: Tensor) -> Tensor:
    return (-scores).log1p_().clamp_(min=_LOWEST_LOG)


def _padded(rows: Tensor, counts: list[int]) -> Tensor:
    """Rows of all clips as `[B, longest, ...]`, filled up with zeros."""
    return pad_sequence(list(rows.split(counts)), batch_first=True)

"""How good pseudo labels are: counts per class, against hidden truth where there is some.

Suffix legend: K = pseudo boxes, M = true boxes, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from stad_ssl.boxes import pairwise_iou
from stad_ssl.frames import Keyframe, PseudoLabels


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabelCounts:
    """Counts of pseudo boxes and labels; add those of several batches or processes with `+`.

    Index 0 counts boxes, index 1 + c the labels of class c: everything is int64 `[1 + C]`, in CPU
    memory.

    Attributes:
        given: all that there are.
        judged: those in clips whose truth is known.
        present: how many the truth of these clips has.
        correct: judged boxes that match a true one, and their labels that the true box has.
    """

    given: Tensor
    judged: Tensor
    present: Tensor
    correct: Tensor

    @property
    def precision(self) -> Tensor:
        """Share of what was judged that is correct, float64 `[1 + C]`; NaN where nothing was."""
        return self.correct.double() / self.judged

    @property
    def recall(self) -> Tensor:
        """Share of the truth that was found, float64 `[1 + C]`; NaN where there was none."""
        return self.correct.double() / self.present

    def __add__(self, other: "PseudoLabelCounts") -> "PseudoLabelCounts":
        if len(self.given) != len(other.given):
            raise ValueError(
                f"counts of {len(self.given) - 1} classes cannot be added to counts of "
                f"{len(other.given) - 1}"
            )
        return PseudoLabelCounts(
            given=self.given + other.given,
            judged=self.judged + other.judged,
            present=self.present + other.present,
            correct=self.correct + other.correct,
        )


@torch.no_grad()
def count_pseudo_labels(
    pseudo: Sequence[PseudoLabels],
    truth: Sequence[Keyframe | None] | None = None,
    *,
    iou: float = 0.5,
) -> PseudoLabelCounts:
    """Count pseudo boxes and labels, and how many are right.

    Boxes are matched one to one, see `match_boxes`. A label is correct if its box matches a true
    box that has it. Clips that are not `known` count nowhere, neither as given nor as missed.

    Args:
        pseudo: what a strategy gave, at least one clip.
        truth: the hidden annotation of each clip's frame, in the unit of the pseudo boxes, None
            where there is none; None altogether counts without judging.
        iou: overlap from which a pseudo box matches a true one.

    Raises:
        ValueError: no clip, numbers of clips or classes that disagree, or an IoU outside (0, 1].
    """
    if not pseudo:
        raise ValueError("counting needs at least one clip; found none")
    truths: Sequence[Keyframe | None] = [None] * len(pseudo) if truth is None else truth
    if len(truths) != len(pseudo):
        raise ValueError(f"pseudo labels of {len(pseudo)} clips but truth of {len(truths)}")
    classes = pseudo[0].labels.shape[1]
    nothing = torch.zeros(1 + classes, dtype=torch.int64)
    counts = PseudoLabelCounts(given=nothing, judged=nothing, present=nothing, correct=nothing)
    for clip, (ours, real) in enumerate(zip(pseudo, truths, strict=True)):
        for labels in (ours.labels, *(() if real is None else (real.labels,))):
            if labels.shape[1] != classes:
                raise ValueError(f"clip 0 has {classes} classes, clip {clip} has {labels.shape[1]}")
        if ours.known:
            counts += _count_clip(ours, real, iou)
    return counts


def _count_clip(ours: PseudoLabels, real: Keyframe | None, iou: float) -> PseudoLabelCounts:
    labels = ours.labels.cpu() > 0
    given, nothing = _with_boxes(labels), torch.zeros(1 + labels.shape[1], dtype=torch.int64)
    if real is None:
        return PseudoLabelCounts(given=given, judged=nothing, present=nothing, correct=nothing)
    true_labels = real.labels.cpu() > 0
    matched = match_boxes(ours.boxes, real.boxes, iou=iou)
    hit = matched >= 0
    return PseudoLabelCounts(
        given=given,
        judged=given,
        present=_with_boxes(true_labels),
        correct=_with_boxes(labels[hit] & true_labels[matched[hit]]),
    )


def _with_boxes(labels: Tensor) -> Tensor:
    """Number of rows, then the labels of each class."""
    return torch.cat([torch.tensor([len(labels)]), labels.sum(dim=0)])


@torch.no_grad()
def match_boxes(found: Tensor, truth: Tensor, *, iou: float = 0.5) -> Tensor:
    """Pair boxes that overlap enough, one to one, with the largest sum of overlaps.

    Args:
        found: `[N, 4]` xyxy.
        truth: `[M, 4]` xyxy, in the same unit.
        iou: pairs that overlap less are none.

    Returns:
        int64 `[N]` in CPU memory: the row of `truth`, or -1. All -1 without true boxes.

    Raises:
        ValueError: an IoU outside (0, 1].
    """
    if not 0.0 < iou <= 1.0:
        raise ValueError(f"iou must lie in (0, 1]; got {iou}")
    overlap = pairwise_iou(found.detach().cpu().double(), truth.detach().cpu().double())
    enough = overlap >= iou
    rows, columns = map(
        torch.from_numpy,
        linear_sum_assignment(torch.where(enough, overlap, 0.0).numpy(), maximize=True),
    )
    paired = enough[rows, columns]
    matched = torch.full((len(found),), -1, dtype=torch.int64)
    matched[rows[paired]] = columns[paired]
    return matched

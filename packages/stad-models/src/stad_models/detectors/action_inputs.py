"""Which regions an action head learns from and looks at.

Suffixes: R proposals, G annotated boxes of the whole batch, C actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

from stad_models.heads.localisation import Proposals
from stad_models.structures import Targets

TrainInputs = Literal["dense", "sparse", "truth", "external"]
"""Proposals of the localisation head, the same after suppression, annotated boxes alone, or the
proposals of another detector."""

TestInputs = Literal["detected", "external"]
"""Boxes of the localisation head, or the proposals of another detector."""


@torch.no_grad()
def external_proposals(
    given: Sequence[Tensor] | None, *, count: int, threshold: float, limit: int
) -> Proposals:
    """Boxes of another detector, scored above `threshold`, at most `limit` of the best per clip.

    They are taken as they are: their detector has suppressed them already.

    Args:
        given: per clip `[Pi, 5]`: xyxy in pixels of the clip tensor, and a score.
        count: clips of the batch.
        threshold: scores must be above.
        limit: boxes per clip.

    Raises:
        ValueError: none are given, or of another number of clips, or of another shape.
    """
    if given is None:
        raise ValueError(
            "SeStad: options ask for external proposals and none came with the clips; give "
            "Targets.proposals in training and model(clips, proposals=...) in evaluation"
        )
    if len(given) != count:
        raise ValueError(f"SeStad: proposals of {len(given)} clips for a batch of {count}")
    for clip, rows in enumerate(given):
        if rows.ndim != 2 or rows.shape[1] != 5:
            raise ValueError(
                f"SeStad: proposals of clip {clip} must be [P, 5] (box and score), "
                f"found {list(rows.shape)}"
            )
    best = [
        rows[rows[:, 4].argsort(descending=True, stable=True)[:limit]].float() for rows in given
    ]
    sizes = torch.tensor([len(rows) for rows in best], device=best[0].device)
    clips = torch.arange(count, device=sizes.device).repeat_interleave(sizes)
    rows_R5 = torch.cat(best)
    boxes_R4 = rows_R5[:, :4]
    good_R = (rows_R5[:, 4] > threshold) & (boxes_R4[:, 2:] > boxes_R4[:, :2]).all(dim=1)
    return Proposals(boxes=boxes_R4, scores=rows_R5[:, 4], clips=clips).select(good_R)


@torch.no_grad()
def training_rois(
    proposals: Proposals | None, targets: Targets, *, positive_iou: float, add_ground_truth: bool
) -> tuple[Tensor, Tensor]:
    """Regions `[R, 5]` that train the action head, and their labels `[R, C]`.

    Proposals that overlap an annotated box of their clip by at least `positive_iou` take the labels
    of the one they overlap most; the others are left out. Annotated boxes, where added, come last;
    without proposals (None) they are all there is.
    """
    counts = torch.tensor([len(rows) for rows in targets.boxes], device=targets.boxes[0].device)
    truth_clips = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    truth_boxes, truth_labels = torch.cat(targets.boxes), torch.cat(targets.labels)
    if proposals is not None:
        truth_boxes = truth_boxes.to(proposals.boxes)
    truth = Proposals(boxes=truth_boxes, scores=truth_boxes[:, 0], clips=truth_clips).rois()
    if proposals is None or len(truth) == 0:
        return truth, truth_labels
    iou_RG = box_iou(proposals.boxes, truth_boxes)
    same_clip_RG = proposals.clips[:, None] == truth_clips
    best_R, row_R = iou_RG.where(same_clip_RG, -1.0).max(dim=1)
    positive_R = best_R >= positive_iou
    rois, labels = proposals.rois()[positive_R], truth_labels[row_R[positive_R]]
    if add_ground_truth:
        rois, labels = torch.cat((rois, truth)), torch.cat((labels, truth_labels))
    return rois, labels

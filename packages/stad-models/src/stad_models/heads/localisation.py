"""What every localisation head offers to a detector. N clips, at most K proposals each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

HeadOutput = Any
"""What a localisation head says; its form is the head's own affair."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """Boxes that may hold an actor, of a whole batch, by clip and then by score, best first.

    Attributes:
        boxes: `[R, 4]` xyxy in pixels of the clip tensor.
        scores: `[R]` in [0, 1].
        clips: `[R]` int64, position in the batch.
    """

    boxes: Tensor
    scores: Tensor
    clips: Tensor

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def select(self, rows: Tensor) -> Proposals:
        """The named rows, in the order given."""
        return Proposals(boxes=self.boxes[rows], scores=self.scores[rows], clips=self.clips[rows])

    def rois(self) -> Tensor:
        """`[R, 5]`: position in the batch, then the box, as RoIAlign takes them."""
        return torch.cat((self.clips[:, None].to(self.boxes.dtype), self.boxes), dim=1)


class LocalisationHead(Protocol):
    """Finds actors, of whatever action, on a pyramid of keyframe maps.

    What a call gives goes back into the other two, so that one pass serves losses and proposals.
    """

    def __call__(self, levels: Sequence[Tensor], size: tuple[int, int]) -> HeadOutput:
        """Maps `[N, C, H, W]`, fine to coarse, and the clip's (width, height) in pixels."""
        ...

    def losses(self, output: HeadOutput, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named losses against boxes `[Ni, 4]` per clip."""
        ...

    def proposals(self, output: HeadOutput, *, threshold: float, limit: int) -> Proposals:
        """Dense boxes scored above `threshold`, at most `limit` per clip, detached, before NMS."""
        ...


def best_boxes(
    scores_NL: Tensor,
    decode: Callable[[Tensor, Tensor], Tensor],
    *,
    size: tuple[int, int],
    threshold: float,
    limit: int,
) -> Proposals:
    """Dense boxes scored above `threshold`, at most `limit` per clip, best first.

    Args:
        scores_NL: of every location or anchor.
        decode: from positions in the batch `[R]` and columns of `scores_NL` `[R]` to boxes
            `[R, 4]`; only boxes that are kept are asked for.
        size: (width, height) of the clip, at whose border boxes are cut; what is left without area
            is dropped.
        threshold: scores must be above.
        limit: boxes per clip.
    """
    scores_NK, rows_NK = scores_NL.topk(min(limit, scores_NL.shape[1]), dim=1)
    clips_R, columns_R = (scores_NK > threshold).nonzero(as_tuple=True)
    boxes_R4 = cut(decode(clips_R, rows_NK[clips_R, columns_R]), size)
    found = Proposals(boxes=boxes_R4, scores=scores_NK[clips_R, columns_R], clips=clips_R)
    return found.select((boxes_R4[:, 2:] > boxes_R4[:, :2]).all(dim=1))


def cut(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes `[..., 4]` cut at the border of a clip of this (width, height)."""
    width, height = size
    sides = (
        boxes[..., 0].clamp(0, width),
        boxes[..., 1].clamp(0, height),
        boxes[..., 2].clamp(0, width),
        boxes[..., 3].clamp(0, height),
    )
    return torch.stack(sides, dim=-1)


def suppress(proposals: Proposals, *, iou: float, limit: int) -> Proposals:
    """Non-maximum suppression within each clip, then at most `limit` of the best per clip.

    Empty input gives empty output. A box goes where a better one of the same clip overlaps it by
    more than `iou`.
    """
    kept = batched_nms(proposals.boxes, proposals.scores, proposals.clips, iou)
    kept = kept.sort().values
    survivors = proposals.select(kept)
    return survivors.select(_rank_in_clip(survivors.clips) < limit)


def vote(kept: Proposals, proposals: Proposals, *, iou: float) -> Proposals:
    """Boxes that survived suppression, each replaced by the mean of the boxes that agree with it.

    Those are the proposals of its clip that overlap it by at least `iou`, itself among them,
    weighed by the square of their scores (for FCOS: actor probability times centerness). Scores
    stay. Empty input gives empty output.

    Source: Object detection via a multi-region and semantic segmentation-aware CNN model, Sec. 4.
    """
    overlap_KR = box_iou(kept.boxes, proposals.boxes)
    agree_KR = (overlap_KR >= iou) & (kept.clips[:, None] == proposals.clips)
    weight_KR = proposals.scores.square().where(agree_KR, 0.0)
    boxes_K4 = weight_KR @ proposals.boxes / weight_KR.sum(dim=1, keepdim=True)
    return Proposals(boxes=boxes_K4, scores=kept.scores, clips=kept.clips)


def _rank_in_clip(clips: Tensor) -> Tensor:
    # Rows of a clip lie together, so a row's rank is its distance from the first row of its clip.
    return torch.arange(len(clips), device=clips.device) - torch.searchsorted(clips, clips)

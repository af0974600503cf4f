"""What a teacher finds in a batch of clips, as pseudo labels are made from it.

Suffix legend: N = boxes of all clips, C = classes.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from stad_cli.engine.model_input import normalise
from stad_cli.method_section import MethodSection
from stad_data.loading import Batch, ClipInfo
from stad_eval import InputError
from stad_models.structures import Detections
from stad_ssl import Proposals


@runtime_checkable
class Proposing(Protocol):
    """A detector that gives its proposals before suppression, with probabilities of actions."""

    def propose(
        self, clips: Tensor, *, threshold: float, limit: int, nms: float = 1.0
    ) -> list[Detections]:
        """See `SeStad.propose`."""
        ...


@torch.no_grad()
def teacher_proposals(
    teacher: nn.Module, batch: Batch, settings: MethodSection, device: torch.device
) -> list[Proposals]:
    """The teacher's boxes of each clip and their actions, in CPU memory, in pixels of the clip.

    A detector without `propose` is taken at its detections, after its own suppression. Boxes are
    cut at the borders of their clip.

    Raises:
        InputError: Values that are not finite: training has diverged.
    """
    clips = normalise(batch.clips.to(device, non_blocking=True))
    if isinstance(teacher, Proposing):
        found = teacher.propose(
            clips,
            threshold=settings.proposal_score,
            limit=settings.proposal_limit,
            nms=settings.proposal_nms,
        )
    else:
        found = [_chosen(detections, settings) for detections in teacher(clips)]
    return _in_frames(found, batch.clips_info)


def _chosen(found: Detections, settings: MethodSection) -> Detections:
    """The best detections that score enough and do not overlap too much."""
    rows = (found.actor_scores > settings.proposal_score).nonzero()[:, 0]
    if settings.proposal_nms < 1.0:
        kept = nms(
            found.boxes[rows].float(), found.actor_scores[rows].float(), settings.proposal_nms
        )
        rows = rows[kept]
    best = found.actor_scores[rows].argsort(descending=True, stable=True)
    rows = rows[best[: settings.proposal_limit]]
    return Detections(
        boxes=found.boxes[rows], actor_scores=found.actor_scores[rows], scores=found.scores[rows]
    )


def _in_frames(found: Sequence[Detections], infos: Sequence[ClipInfo]) -> list[Proposals]:
    counts = [len(one) for one in found]
    boxes_N4 = torch.cat([one.boxes for one in found]).float().cpu()
    scores_NC = torch.cat([one.scores for one in found]).float().cpu()
    if not bool(boxes_N4.isfinite().all() and scores_NC.isfinite().all()):
        raise InputError(
            "training diverged: what the teacher finds is no longer finite",
            remedy="lower optim.lr, lengthen optim.warm_up, set optim.clip_grad, or try amp none",
        )
    frames_N4 = torch.tensor([info.size * 2 for info in infos]).repeat_interleave(
        torch.tensor(counts), dim=0
    )
    boxes_N4 = torch.minimum(boxes_N4.clamp(min=0.0), frames_N4)
    return [
        Proposals(boxes=boxes, scores=scores)
        for boxes, scores in zip(boxes_N4.split(counts), scores_NC.split(counts), strict=True)
    ]

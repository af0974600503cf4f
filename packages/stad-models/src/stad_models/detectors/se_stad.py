"""SE-STAD: one trunk, a localisation head on the keyframe, an action head on the clip.

Source: A simple and efficient pipeline to build an end-to-end spatial-temporal action detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from stad_models import losses
from stad_models.backbones.features import Backbone, Features
from stad_models.heads.localisation import HeadOutput, LocalisationHead, Proposals, suppress, vote
from stad_models.processes import shared_normaliser
from stad_models.structures import Detections, Targets

ACTOR_POWERS = {"action": 0, "action*actor": 1, "action*actor^2": 2}
"""How often the actor's score is a factor of an action's, by the name of the rule."""


@dataclass(frozen=True, kw_only=True)
class SeStadOptions:
    """How proposals are chosen and scored. Source: SE-STAD, Sec. 4.1.2 and 4.1.3.

    Attributes:
        train_score: proposals must score more than this to train the action head.
        train_proposals: at most this many proposals per clip, without NMS.
        positive_iou: a proposal that overlaps an annotated box by at least this takes the labels of
            the box it overlaps most; all others are ignored.
        add_ground_truth: train the action head on the annotated boxes as well.
        actor_weight: weight of the localisation losses.
        action_weight: weight of the action loss. The paper's training section and its table of
            weights put the 10 here; its Eq. 3 puts it on localisation.
        label_smoothing: share of an action label that is spread, see `losses.action`.
        test_score: proposals must score more than this.
        test_nms: IoU above which the worse of two proposals goes.
        test_vote: IoU from which proposals join a kept box in a weighted mean, see
            `heads.localisation.vote`; None, as in the paper, leaves boxes as they are.
        test_candidates: at most this many proposals per clip enter NMS.
        max_actors: at most this many actors per clip.
        action_threshold: scores below become 0.
        score: what an action's score is: its probability alone, times the actor's score, or times
            the square of that. For FCOS the square is actor probability times centerness; it ranks
            well placed boxes first, which tells where probabilities of actions are vague.
    """

    train_score: float = 0.3
    train_proposals: int = 100
    positive_iou: float = 0.5
    add_ground_truth: bool = True
    actor_weight: float = 1.0
    action_weight: float = 10.0
    label_smoothing: float = 0.0
    test_score: float = 0.4
    test_nms: float = 0.3
    test_vote: float | None = None
    test_candidates: int = 1000
    max_actors: int = 10
    action_threshold: float = 0.002
    score: Literal["action", "action*actor", "action*actor^2"] = "action"

    def __post_init__(self) -> None:
        if self.score not in ACTOR_POWERS:
            raise ValueError(
                f"SeStadOptions: score must be one of {', '.join(ACTOR_POWERS)}, "
                f"found {self.score!r}"
            )
        if self.test_vote is not None and not 0 < self.test_vote <= 1:
            raise ValueError(
                f"SeStadOptions: test_vote must be in (0, 1] or None, found {self.test_vote}"
            )


class SeStad(nn.Module):
    """The detector, composed of built parts.

    Args:
        backbone: a `Backbone`.
        neck: pyramid over the backbone's keyframe maps.
        localisation_head: finds actors on the pyramid.
        action_head: takes `(clip maps, rois [R, 5])` and gives logits `[R, num_classes]`.
        num_classes: actions.
        exclusive: one action per actor (softmax), or any number (sigmoid).
        clip_length: frames that the model was made for; others work where the backbone allows.
        clip_stride: frames between them in the video.
        options: see `SeStadOptions`.
    """

    def __init__(  # noqa: PLR0913 - four parts, and what a checkpoint has to say about them
        self,
        backbone: Backbone,
        neck: nn.Module,
        localisation_head: LocalisationHead,
        action_head: nn.Module,
        *,
        num_classes: int,
        exclusive: bool,
        clip_length: int,
        clip_stride: int,
        options: SeStadOptions,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.localisation_head = localisation_head
        self.action_head = action_head
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.clip_length = clip_length
        self.clip_stride = clip_stride
        self.options = options

    def forward(
        self, clips: Tensor, targets: Targets | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Losses where targets are given, else detections.

        Args:
            clips: `[N, 3, T, H, W]` float, normalised.
            targets: the annotated actors of the N keyframes, on the same device.

        Returns:
            With targets the weighted losses "actor_class", "actor_box", "actor_centerness" and
            "action", whose sum is to be minimised. Without, one `Detections` per clip.

        Under `torch.distributed` all processes must come here together when there are targets,
        since the losses' normalisers are shared.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        _check_clips(clips)
        features, output = self.localise(clips)
        if targets is None:
            return self._detections(features, output, len(clips))
        _check_targets(targets, len(clips), self.num_classes)
        return self._losses(features, output, targets)

    def localise(self, clips: Tensor) -> tuple[Features, HeadOutput]:
        """Features of the clips, and what one pass of the localisation head says of them."""
        features = self.backbone(clips)
        size = (clips.shape[4], clips.shape[3])
        return features, self.localisation_head(self.neck(features.keyframe), size)

    def classify(self, features: Features, rois: Tensor) -> Tensor:
        """Action logits `[R, num_classes]` of rois `[R, 5]`."""
        return self.action_head(features.clip, rois)

    def _losses(
        self, features: Features, output: HeadOutput, targets: Targets
    ) -> dict[str, Tensor]:
        options = self.options
        found = {
            name: loss * options.actor_weight
            for name, loss in self.localisation_head.losses(output, targets.boxes).items()
        }
        proposals = self.localisation_head.proposals(
            output, threshold=options.train_score, limit=options.train_proposals
        )
        rois, labels = training_rois(
            proposals,
            targets,
            positive_iou=options.positive_iou,
            add_ground_truth=options.add_ground_truth,
        )
        total = losses.action(
            self.classify(features, rois),
            labels,
            exclusive=self.exclusive,
            smoothing=options.label_smoothing,
        )
        normaliser = shared_normaliser(total.new_tensor(float(len(rois))))
        found["action"] = total / normaliser * options.action_weight
        return found

    def _detections(self, features: Features, output: HeadOutput, count: int) -> list[Detections]:
        options = self.options
        proposals = self.localisation_head.proposals(
            output, threshold=options.test_score, limit=options.test_candidates
        )
        actors = suppress(proposals, iou=options.test_nms, limit=options.max_actors)
        if options.test_vote is not None:
            actors = vote(actors, proposals, iou=options.test_vote)
        logits = self.classify(features, actors.rois()).float()
        scores = logits.softmax(dim=1) if self.exclusive else logits.sigmoid()
        scores = scores * actors.scores[:, None] ** ACTOR_POWERS[options.score]
        scores = scores.where(scores >= options.action_threshold, 0.0)
        sizes = torch.bincount(actors.clips, minlength=count).tolist()
        parts = zip(
            actors.boxes.split(sizes), actors.scores.split(sizes), scores.split(sizes), strict=True
        )
        return [
            Detections(boxes=boxes, actor_scores=actor_scores, scores=action_scores)
            for boxes, actor_scores, action_scores in parts
        ]


@torch.no_grad()
def training_rois(
    proposals: Proposals, targets: Targets, *, positive_iou: float, add_ground_truth: bool
) -> tuple[Tensor, Tensor]:
    """Regions `[R, 5]` that train the action head, and their labels `[R, C]`.

    Proposals that overlap an annotated box of their clip by at least `positive_iou` take the labels
    of the one they overlap most; the others are left out. Annotated boxes, where added, come last.
    """
    counts = torch.tensor([len(boxes) for boxes in targets.boxes], device=proposals.boxes.device)
    truth_clips = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    truth_boxes = torch.cat(targets.boxes).to(proposals.boxes)
    truth_labels = torch.cat(targets.labels)
    truth = Proposals(boxes=truth_boxes, scores=truth_boxes[:, 0], clips=truth_clips).rois()
    if len(truth) == 0:
        return truth, truth_labels
    iou_RG = box_iou(proposals.boxes, truth_boxes)
    same_clip_RG = proposals.clips[:, None] == truth_clips
    best_R, row_R = iou_RG.where(same_clip_RG, -1.0).max(dim=1)
    positive_R = best_R >= positive_iou
    rois, labels = proposals.rois()[positive_R], truth_labels[row_R[positive_R]]
    if add_ground_truth:
        rois, labels = torch.cat((rois, truth)), torch.cat((labels, truth_labels))
    return rois, labels


def _check_clips(clips: Tensor) -> None:
    if clips.ndim != 5 or clips.shape[1] != 3:
        raise ValueError(f"SeStad: clips must be [N, 3, T, H, W], found {list(clips.shape)}")
    if not clips.is_floating_point():
        raise TypeError(
            f"SeStad: clips must be floating point, found {clips.dtype}; "
            "divide frames by 255 and normalise them first"
        )


def _check_targets(targets: Targets, count: int, num_classes: int) -> None:
    if len(targets) != count:
        raise ValueError(f"SeStad: targets of {len(targets)} clips for a batch of {count}")
    for clip, labels in enumerate(targets.labels):
        if labels.shape[1] != num_classes:
            raise ValueError(
                f"SeStad: labels of clip {clip} have {labels.shape[1]} classes, "
                f"the model has {num_classes}"
            )

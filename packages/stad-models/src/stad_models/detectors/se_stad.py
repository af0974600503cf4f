"""SE-STAD: one trunk, a localisation head on the keyframe, an action head on the clip.

Source: A simple and efficient pipeline to build an end-to-end spatial-temporal action detector.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stad_models import losses
from stad_models.backbones.features import Backbone, Features
from stad_models.detectors.action_inputs import external_proposals, training_rois
from stad_models.detectors.se_stad_options import ACTOR_POWERS, SeStadOptions
from stad_models.heads.localisation import HeadOutput, LocalisationHead, Proposals, suppress, vote
from stad_models.processes import shared_normaliser
from stad_models.structures import Detections, Targets


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
        self,
        clips: Tensor,
        targets: Targets | None = None,
        *,
        proposals: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Losses where targets are given, else detections.

        Args:
            clips: `[N, 3, T, H, W]` float, normalised.
            targets: the annotated actors of the N keyframes, on the same device.
            proposals: boxes of another detector, per clip `[Pi, 5]` xyxy in pixels and a score, for
                `options.test_inputs` "external"; those for training come with the targets.

        Returns:
            With targets the weighted losses: those of the localisation head, such as "actor_class"
            and "actor_box", and "action"; their sum is to be minimised. Without, one `Detections`
            per clip.

        Under `torch.distributed` all processes must come here together when there are targets,
        since the losses' normalisers are shared.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        _check_clips(clips)
        features, output = self.localise(clips)
        if targets is None:
            actors = self._actors(output, len(clips), proposals)
            return self._detections(features, actors, len(clips))
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

    def propose(
        self, clips: Tensor, *, threshold: float, limit: int, nms: float = 1.0
    ) -> list[Detections]:
        """Proposals with their actions: what pseudo labels are made from.

        Args:
            clips: as `forward` takes them.
            threshold: proposals must score more than this.
            limit: at most this many per clip, the best ones.
            nms: IoU above which the worse of two proposals goes; 1 keeps them dense, as training
                takes them.

        Returns:
            One `Detections` per clip. Unlike those of `forward`, their scores are the probabilities
            of the actions alone, whatever `options.score` says, and none is set to 0.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips of the wrong shape.
        """
        _check_clips(clips)
        features, output = self.localise(clips)
        candidates = limit if nms >= 1.0 else max(limit, self.options.test_candidates)
        actors = self.localisation_head.proposals(output, threshold=threshold, limit=candidates)
        if nms < 1.0:
            actors = suppress(actors, iou=nms, limit=limit)
        return _by_clip(actors, self._probabilities(features, actors), len(clips))

    def _losses(
        self, features: Features, output: HeadOutput, targets: Targets
    ) -> dict[str, Tensor]:
        options = self.options
        found = {
            name: loss * options.actor_weight
            for name, loss in self.localisation_head.losses(output, targets.boxes).items()
        }
        rois, labels = training_rois(
            self._training_proposals(output, targets),
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

    def _training_proposals(self, output: HeadOutput, targets: Targets) -> Proposals | None:
        options = self.options
        limit = options.train_proposals
        if options.train_inputs == "truth":
            return None
        if options.train_inputs == "external":
            return external_proposals(
                targets.proposals,
                count=len(targets),
                threshold=options.external_score,
                limit=limit,
            )
        dense = self.localisation_head.proposals(output, threshold=options.train_score, limit=limit)
        if options.train_inputs == "dense":
            return dense
        return suppress(dense, iou=options.train_nms, limit=limit)

    def _actors(
        self, output: HeadOutput, count: int, proposals: Sequence[Tensor] | None
    ) -> Proposals:
        options = self.options
        if options.test_inputs == "external":
            return external_proposals(
                proposals,
                count=count,
                threshold=options.external_score,
                limit=options.max_actors,
            )
        dense = self.localisation_head.proposals(
            output, threshold=options.test_score, limit=options.test_candidates
        )
        actors = suppress(dense, iou=options.test_nms, limit=options.max_actors)
        return actors if options.test_vote is None else vote(actors, dense, iou=options.test_vote)

    def _detections(self, features: Features, actors: Proposals, count: int) -> list[Detections]:
        options = self.options
        scores = self._probabilities(features, actors)
        scores = scores * actors.scores[:, None] ** ACTOR_POWERS[options.score]
        return _by_clip(actors, scores.where(scores >= options.action_threshold, 0.0), count)

    def _probabilities(self, features: Features, actors: Proposals) -> Tensor:
        logits = self.classify(features, actors.rois()).float()
        return logits.softmax(dim=1) if self.exclusive else logits.sigmoid()


def _by_clip(actors: Proposals, scores: Tensor, count: int) -> list[Detections]:
    """One value per clip of actors `[R]` and their action scores `[R, C]`."""
    sizes = torch.bincount(actors.clips, minlength=count).tolist()
    parts = zip(
        actors.boxes.split(sizes), actors.scores.split(sizes), scores.split(sizes), strict=True
    )
    return [
        Detections(boxes=boxes, actor_scores=actor_scores, scores=action_scores)
        for boxes, actor_scores, action_scores in parts
    ]


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

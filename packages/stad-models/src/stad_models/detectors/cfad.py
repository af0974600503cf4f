"""CFAD: whole action tubes in one pass, coarse at first and refined at key timestamps.

Suffixes: B clips, T frames of a clip, S spans, N sampled features, R tubes.
Source: CFAD: coarse-to-fine action detector for spatiotemporal action localization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stad_models.backbones.features import Backbone
from stad_models.detectors.cfad_options import CfadOptions
from stad_models.detectors.cfad_tubes import (
    CfadHeads,
    CoarseChoice,
    SpanFeatures,
    choose_coarse,
    refine,
)
from stad_models.detectors.snippets import check_clips, check_targets
from stad_models.heads.action_tubes import ActionTubes, SpanTubes, action_tubes, tubes_of_span
from stad_models.heads.anchor_classes import class_outputs
from stad_models.heads.coarse_tube import coarse_losses
from stad_models.heads.refine_tube import box_losses, importance_loss
from stad_models.heads.temporal_proposal import TemporalOutput, propose_spans, temporal_losses
from stad_models.heads.tube_features import sample_spans
from stad_models.processes import with_unused
from stad_models.structures import Targets, Tubes


class Cfad(nn.Module):
    """The detector, composed of built parts.

    Args:
        backbone: gives the clip map.
        heads: see `CfadHeads`; class outputs must fit `num_classes` and `exclusive`.
        frame_stride: frames of the clip per frame of the clip map.
        samples: N features per span, at least 3.
        num_classes: actions.
        exclusive: whether an actor does one action at a time.
        clip_length: frames T that clips should have; any other number does too.
        clip_stride: frames between them in the video.
        channels_in: channels of a clip.
        options: see `CfadOptions`.

    Raises:
        ValueError: too few samples, or heads made for other classes.
    """

    def __init__(  # noqa: PLR0913 - the parts, and what clips and classes it is for
        self,
        backbone: Backbone,
        heads: CfadHeads,
        *,
        frame_stride: int,
        samples: int,
        num_classes: int,
        exclusive: bool,
        clip_length: int,
        clip_stride: int,
        channels_in: int,
        options: CfadOptions,
    ) -> None:
        super().__init__()
        outputs = class_outputs(num_classes, exclusive=exclusive)
        if samples < 3:
            raise ValueError(f"Cfad: samples must be at least 3, found {samples}")
        if {heads.coarse.outputs, heads.boxes.outputs} != {outputs}:
            raise ValueError(
                f"Cfad: {num_classes} classes need heads of {outputs} outputs per anchor, found "
                f"{heads.coarse.outputs} and {heads.boxes.outputs}"
            )
        self.backbone = backbone
        self.heads = heads
        self.frame_stride = frame_stride
        self.samples = samples
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.clip_length = clip_length
        self.clip_stride = clip_stride
        self.channels_in = channels_in
        self.options = options
        self._proposals_alone = options.proposal_steps > 0

    def after_update(self, step: int) -> None:
        """Told how many updates are done: the first ones train temporal proposals alone."""
        self._proposals_alone = step < self.options.proposal_steps

    def forward(
        self, clips: Tensor, targets: Targets | None = None
    ) -> dict[str, Tensor] | list[Tubes]:
        """Losses where targets are given, else tubes.

        Args:
            clips: `[B, 3, T, H, W]` float, normalised, each a whole video.
            targets: with tracks over all T frames, on the same device.

        Returns:
            With targets the weighted losses, whose sum is to be minimised: "span_class" and
            "span_shape", and, once `after_update` was told that the first phase is over (at once
            where there is none), "tube_class", "tube_shape", "importance", "box_class" and
            "box_shape". Without, one `Tubes` per clip.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        check_clips("Cfad", clips, channels=self.channels_in, length=1)
        frames = clips.shape[2]
        if targets is not None:
            if targets.tracks is None:
                raise ValueError(
                    "Cfad: targets need tracks over all frames of each clip, found boxes of the "
                    'keyframe only; make clips of whole videos ([clip] form = "video")'
                )
            check_targets(
                "Cfad", targets, count=len(clips), length=frames, num_classes=self.num_classes
            )
        clip_map = self.backbone(clips).clip[0]
        temporal: TemporalOutput = self.heads.temporal(clip_map, frames)
        if targets is not None and targets.tracks is not None:
            truth = [action_tubes(tracks) for tracks in targets.tracks]
            return self._losses(clip_map, temporal, truth)
        return self._tubes(clip_map, temporal, (clips.shape[4], clips.shape[3]))

    def _losses(
        self, clip_map: Tensor, temporal: TemporalOutput, truth: Sequence[ActionTubes]
    ) -> dict[str, Tensor]:
        options, heads = self.options, self.heads
        true_spans = [one.spans.unique(dim=0) for one in truth]
        losses = _weighted(temporal_losses(temporal, true_spans), options.span_weight)
        if self._proposals_alone:
            idle = (heads.coarse, heads.selector, heads.boxes)
            return {**losses, "span_class": with_unused(losses["span_class"], *idle)}
        proposed, _ = propose_spans(temporal, limit=options.max_spans, nms=options.span_nms)
        # The modules cannot do with no span at all.
        least = 0 if any(map(len, true_spans)) else 1
        spans = [
            torch.cat((true, one[spread(len(one), max(options.train_spans, least))]))
            for true, one in zip(true_spans, proposed, strict=True)
        ]
        seen = self.sampled(clip_map, spans, [torch.ones_like(one[:, 0]) for one in spans])
        shown = [
            tubes_of_span(truth[clip], span, least=options.span_overlap)
            for clip, span in zip(seen.clips.tolist(), seen.spans, strict=True)
        ]
        losses |= self._tube_losses(seen, shown)
        return losses

    def _tube_losses(self, seen: SpanFeatures, shown: Sequence[SpanTubes]) -> dict[str, Tensor]:
        options, heads = self.options, self.heads
        coarse = coarse_losses(
            heads.coarse(seen.sampled),
            shown,
            exclusive=self.exclusive,
            segment=options.segment,
            positive=options.positive,
            negative=options.negative,
        )
        importance = importance_loss(
            heads.selector(seen.sampled), shown, threshold=options.key_overlap
        )
        boxes = box_losses(
            heads.boxes(seen.sampled.transpose(1, 2).flatten(0, 1)),
            shown,
            exclusive=self.exclusive,
            positive=options.positive,
            negative=options.negative,
        )
        return {
            "tube_class": options.tube_weight * coarse["tube_class"],
            "tube_shape": options.curve_weight * coarse["tube_shape"],
            "importance": options.importance_weight * importance,
            **_weighted(boxes, options.box_weight),
        }

    @torch.no_grad()
    def _tubes(
        self, clip_map: Tensor, temporal: TemporalOutput, size: tuple[int, int]
    ) -> list[Tubes]:
        seen = self.spans(clip_map, temporal)
        if not len(seen.spans):
            return [_no_tubes(temporal.frames, clip_map.device) for _ in clip_map]
        choice = self.coarse(seen, clips=len(clip_map), frames=temporal.frames)
        boxes_RT4, scores_R = self.refined(seen, choice, frames=temporal.frames)
        return _per_clip(_inside(boxes_RT4, size), scores_R, seen, choice, clips=len(clip_map))

    def spans(self, clip_map: Tensor, temporal: TemporalOutput) -> SpanFeatures:
        """The temporal proposals of clips in evaluation, and their features."""
        options = self.options
        found, scores = propose_spans(
            temporal, limit=options.max_spans, nms=options.span_nms, least=options.span_score
        )
        return self.sampled(clip_map, found, scores)

    def sampled(
        self, clip_map: Tensor, spans: Sequence[Tensor], scores: Sequence[Tensor]
    ) -> SpanFeatures:
        """Features of the spans `[Si, 2]` of each clip, which have scores `[Si]`."""
        counts = torch.tensor([len(one) for one in spans], device=clip_map.device)
        clips = torch.arange(len(spans), device=clip_map.device).repeat_interleave(counts)
        together = torch.cat(list(spans))
        sampled = sample_spans(
            clip_map, clips, together, count=self.samples, frame_stride=self.frame_stride
        )
        return SpanFeatures(
            spans=together, scores=torch.cat(list(scores)), clips=clips, sampled=sampled
        )

    def coarse(self, seen: SpanFeatures, *, clips: int, frames: int) -> CoarseChoice:
        """The coarse tubes of clips after suppression; there must be a span."""
        return choose_coarse(
            self.heads.coarse(seen.sampled),
            seen,
            clips=clips,
            frames=frames,
            exclusive=self.exclusive,
            options=self.options,
        )

    def refined(
        self, seen: SpanFeatures, choice: CoarseChoice, *, frames: int
    ) -> tuple[Tensor, Tensor]:
        """Boxes `[R, T, 4]` and scores `[R]` of coarse tubes after refinement."""
        return refine(
            self.heads,
            seen,
            choice,
            frames=frames,
            exclusive=self.exclusive,
            options=self.options,
        )


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of the places 0 to `count` - 1, evenly spread; all of them where there are fewer."""
    taken = min(count, wanted)
    return [(2 * number + 1) * count // (2 * taken) for number in range(taken)]


def _weighted(losses: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    return {name: weight * loss for name, loss in losses.items()}


def _inside(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes `[R, T, 4]` cut at the frame's borders; those turned inside out have no area."""
    cut = torch.minimum(boxes.clamp(min=0), boxes.new_tensor(size * 2))
    return torch.cat((cut[..., :2], torch.maximum(cut[..., 2:], cut[..., :2])), dim=2)


def _no_tubes(frames: int, device: torch.device) -> Tubes:
    return Tubes(
        boxes=torch.zeros((0, frames, 4), device=device),
        spans=torch.zeros((0, 2), device=device),
        labels=torch.zeros(0, dtype=torch.int64, device=device),
        scores=torch.zeros(0, device=device),
    )


def _per_clip(
    boxes: Tensor, scores: Tensor, seen: SpanFeatures, choice: CoarseChoice, *, clips: int
) -> list[Tubes]:
    """The tubes of each clip, best first."""
    clips_R, spans_R2 = seen.clips[choice.spans], seen.spans[choice.spans]
    found: list[Tubes] = []
    for clip in range(clips):
        mine = (clips_R == clip).nonzero()[:, 0]
        mine = mine[scores[mine].argsort(descending=True, stable=True)]
        found.append(
            Tubes(
                boxes=boxes[mine],
                spans=spans_R2[mine],
                labels=choice.labels[mine],
                scores=scores[mine],
            )
        )
    return found

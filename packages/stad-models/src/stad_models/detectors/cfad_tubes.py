"""CFAD's way from sampled features to tubes: coarse ones, suppressed, then refined.

Suffixes: S spans, N sampled features, R tubes, T frames of a clip, A anchors, C classes, Q features
that are looked at.
Source: CFAD, Sec. 3.3 and 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stad_models.detectors.cfad_options import CfadOptions
from stad_models.heads.anchor_classes import probabilities
from stad_models.heads.coarse_tube import CoarseModule, CoarseTubes, coarse_boxes
from stad_models.heads.refine_tube import (
    ClassProposals,
    TimestampSelector,
    local_search,
)
from stad_models.heads.temporal_proposal import TemporalProposals
from stad_models.heads.tube_suppression import suppress_tubes
from stad_models.trajectories import evenly, normalised_times, spline


class CfadHeads(nn.Module):
    """The built heads of CFAD, in the order in which they work.

    Args:
        temporal: finds spans.
        coarse: finds coarse tubes in a span.
        selector: finds key timestamps in a span.
        boxes: finds boxes at timestamps.
    """

    def __init__(
        self,
        temporal: TemporalProposals,
        coarse: CoarseModule,
        selector: TimestampSelector,
        boxes: ClassProposals,
    ) -> None:
        super().__init__()
        self.temporal = temporal
        self.coarse = coarse
        self.selector = selector
        self.boxes = boxes


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanFeatures:
    """Spans of a batch of clips, and what is seen in them.

    Attributes:
        spans: `[S, 2]` in frames of their clips.
        scores: `[S]`, how sure the temporal proposals are of each; 1 in training.
        clips: `[S]` int64, the clip of each, in rising order.
        sampled: `[S, C, N, H, W]`.
    """

    spans: Tensor
    scores: Tensor
    clips: Tensor
    sampled: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class CoarseChoice:
    """The coarse tubes of a batch of clips that are left after suppression.

    Attributes:
        spans: `[R]` int64, rows of `SpanFeatures`.
        coefficients: `[R, k + 1, 4]`.
        anchors: `[R, 4]`.
        labels: `[R]` int64.
        scores: `[R]`, probabilities of their classes.
    """

    spans: Tensor
    coefficients: Tensor
    anchors: Tensor
    labels: Tensor
    scores: Tensor


def choose_coarse(
    output: CoarseTubes,
    seen: SpanFeatures,
    *,
    clips: int,
    frames: int,
    exclusive: bool,
    options: CfadOptions,
) -> CoarseChoice:
    """The best coarse tubes of each clip after suppression.

    Every anchor speaks for each class on its own, and tubes of different classes do not suppress
    each other. The order in which they do takes the span's score into account, since of two spans
    that show the same action both may look like it: class probability times span score. (The paper
    does not say how proposals are ranked.)

    Args:
        output: what the coarse module says of the spans, of which there is at least one.
        seen: the spans.
        clips: how many clips there are.
        frames: T.
        exclusive: as for the detector.
        options: how many to keep.
    """
    chances_SAC = probabilities(output.logits, exclusive=exclusive)
    ranks_SAC = chances_SAC * seen.scores[:, None, None]
    per_span = chances_SAC[0].numel()
    kept = [torch.zeros((3, 0), dtype=torch.int64, device=seen.spans.device)]
    for clip in range(clips):
        mine_S = (seen.clips == clip).nonzero()[:, 0]
        if not len(mine_S):
            continue
        flat = ranks_SAC[mine_S].flatten()
        best = flat.topk(min(options.candidates, len(flat))).indices
        # Spans of a clip lie side by side, so these are places in the whole batch.
        places = torch.unravel_index(best + mine_S[0] * per_span, chances_SAC.shape)
        span_P, anchor_P, label_P = places
        rows = suppress_tubes(
            _on_frames(output, seen.spans[span_P], span_P, anchor_P, frames),
            seen.spans[span_P],
            label_P,
            threshold=options.tube_nms,
            limit=options.max_tubes,
        )
        kept.append(torch.stack((span_P[rows], anchor_P[rows], label_P[rows])))
    span_R, anchor_R, label_R = torch.cat(kept, dim=1)
    return CoarseChoice(
        spans=span_R,
        coefficients=output.coefficients[span_R, anchor_R],
        anchors=output.anchors[anchor_R],
        labels=label_R,
        scores=chances_SAC[span_R, anchor_R, label_R],
    )


def refine(
    heads: CfadHeads,
    seen: SpanFeatures,
    choice: CoarseChoice,
    *,
    frames: int,
    exclusive: bool,
    options: CfadOptions,
) -> tuple[Tensor, Tensor]:
    """Boxes `[R, T, 4]` and scores `[R]` of coarse tubes after refinement.

    At every key timestamp of a tube's span the box found near it replaces the coarse one, and the
    tube becomes the spline through its boxes at all N timestamps. Its score is the mean of its
    class probability and of those of the boxes that were found: as many votes as there are boxes,
    and one of the coarse tube (the paper's "smooth average", which it does not define); times the
    score of its span, since a part of an action may look as sure as the whole.

    Without refinement boxes are those of the polynomials, and the class probability is the mean.
    """
    certain_R = seen.scores[choice.spans]
    frames_T = torch.arange(frames, device=seen.spans.device, dtype=seen.spans.dtype)
    at_RT = normalised_times(frames_T, seen.spans[choice.spans])
    if not (options.refine and len(choice.spans)):
        boxes_RT4 = coarse_boxes(choice.coefficients, choice.anchors, at_RT)
        return boxes_RT4, choice.scores * certain_R
    count = seen.sampled.shape[2]
    stamps_N = evenly(count, like=at_RT)
    knots_RN4 = coarse_boxes(
        choice.coefficients, choice.anchors, stamps_N.expand(len(choice.spans), -1)
    )
    used_S, row_R = choice.spans.unique(return_inverse=True)
    keys_SN = key_choice(heads.selector, seen.sampled[used_S], options)
    tube_K, stamp_K = keys_SN[row_R].nonzero(as_tuple=True)
    votes_R, total_R = torch.ones_like(choice.scores), choice.scores.clone()
    if len(tube_K):
        looked = heads.boxes(seen.sampled[used_S].transpose(1, 2)[keys_SN])
        places_SN = (keys_SN.flatten().cumsum(0) - 1).view_as(keys_SN)
        place_K, label_K = places_SN[row_R[tube_K], stamp_K], choice.labels[tube_K]
        chances_QAC = probabilities(looked.logits, exclusive=exclusive)
        boxes_K4, scores_K, found_K = local_search(
            knots_RN4[tube_K, stamp_K],
            looked.boxes[place_K],
            chances_QAC[place_K, :, label_K],
            reach=options.search,
        )
        knots_RN4[tube_K, stamp_K] = boxes_K4
        total_R.index_add_(0, tube_K, scores_K)
        votes_R.index_add_(0, tube_K, found_K.to(votes_R))
    boxes_RT4 = spline(stamps_N.expand(len(knots_RN4), -1), knots_RN4, at_RT)
    return boxes_RT4, total_R / votes_R * certain_R


def key_choice(selector: TimestampSelector, sampled: Tensor, options: CfadOptions) -> Tensor:
    """Which of the N features `[S, N]` of spans are looked at for boxes."""
    spans, _, count = sampled.shape[:3]
    if options.selection == "learned":
        return selector(sampled).sigmoid() >= options.importance
    taken = min(options.selection_count, count)
    if options.selection == "uniform":
        places = torch.linspace(0, count - 1, taken).round().long()
    else:
        places = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:taken]
    keys_SN = torch.zeros((spans, count), dtype=torch.bool, device=sampled.device)
    keys_SN[:, places.to(sampled.device)] = True
    return keys_SN


def _on_frames(
    output: CoarseTubes, spans: Tensor, span_P: Tensor, anchor_P: Tensor, frames: int
) -> Tensor:
    frames_T = torch.arange(frames, device=spans.device, dtype=spans.dtype)
    at_PT = normalised_times(frames_T, spans)
    return coarse_boxes(output.coefficients[span_P, anchor_P], output.anchors[anchor_P], at_PT)

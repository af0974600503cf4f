"""Temporal proposals: when in a clip something happens, whatever it is.

Time is counted in frames of the clip. Suffixes: N clips, L lengths of anchors, R anchors in time.
Source: R-C3D, Sec. 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from stad_models import losses
from stad_models.backbones.residual import Norm
from stad_models.heads.action_tubes import span_iou
from stad_models.heads.matching import Match, draw_weights
from stad_models.processes import shared_normaliser

LENGTHS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
"""Lengths of anchors, as parts of the clip; ours, since R-C3D's are for clips of any length."""

_LARGEST_CHANGE = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class TemporalOutput:
    """What the head says.

    Attributes:
        logits: `[N, R]`, whether anything happens.
        changes: `[N, R, 2]`, shift of the middle (in lengths) and logarithm of the growth.
        anchors: `[R, 2]`, start and end in frames; they may leave the clip.
        frames: frames T of the clips.
    """

    logits: Tensor
    changes: Tensor
    anchors: Tensor
    frames: int


class TemporalProposals(nn.Module):
    """A 3D convolution, a maximum over space, and anchors of several lengths at every time.

    Args:
        channels: of the clip map.
        frame_stride: frames of the clip per frame of the map.
        lengths: of anchors, as parts of the clip.
        hidden: channels of the convolution.
        norm: its normalisation layer.
    """

    def __init__(
        self,
        channels: int,
        *,
        frame_stride: int,
        lengths: Sequence[float] = LENGTHS,
        hidden: int = 512,
        norm: Norm = nn.BatchNorm3d,
    ) -> None:
        super().__init__()
        if not lengths or min(lengths) <= 0:
            raise ValueError(f"TemporalProposals: lengths must be positive, found {lengths}")
        self.frame_stride = frame_stride
        self.lengths = tuple(lengths)
        self.conv = nn.Conv3d(channels, hidden, 3, padding=1, bias=False)
        self.norm = norm(hidden)
        self.logits = nn.Conv1d(hidden, len(self.lengths), 1)
        self.changes = nn.Conv1d(hidden, 2 * len(self.lengths), 1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        for layer in (self.logits, self.changes):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType] - it has one

    def forward(self, clip_map: Tensor, frames: int) -> TemporalOutput:
        """From the map `[N, C, T', H, W]` of clips of T frames."""
        x = self.norm(self.conv(clip_map)).relu().amax(dim=(3, 4))
        logits_NR = self.logits(x).transpose(1, 2).flatten(1).float()
        changes_NTD = self.changes(x).transpose(1, 2)
        return TemporalOutput(
            logits=logits_NR,
            changes=changes_NTD.reshape(len(x), -1, 2).float(),
            anchors=self._anchors(x.shape[2], frames, x.device),
            frames=frames,
        )

    def _anchors(self, cells: int, frames: int, device: torch.device) -> Tensor:
        """`[T' x L, 2]`, time by time, lengths innermost."""
        middle = (torch.arange(cells, device=device) + 0.5) * self.frame_stride
        half = torch.tensor(self.lengths, device=device) * frames / 2
        return torch.stack((middle[:, None] - half, middle[:, None] + half), dim=2).flatten(0, 1)


def temporal_losses(output: TemporalOutput, spans: Sequence[Tensor]) -> dict[str, Tensor]:
    """Losses "span_class" and "span_shape" against the spans `[Gi, 2]` of each clip.

    Positive are anchors that overlap a span by 0.7, or more than any other does; negative those
    that overlap none by 0.3. Averaged over a draw of 64 per clip, taken in expectation.

    Source: R-C3D, Sec. 3.2 and Eq. 1.
    """
    rows = [_match(output.anchors, one) for one in spans]
    row_NR, positive_NR, negative_NR = (torch.stack(part) for part in zip(*rows, strict=True))
    found = Match(row_NA=row_NR, positive_NA=positive_NR, negative_NA=negative_NR)
    weight_NR = draw_weights(found, count=64, positives=0.5)
    normaliser = shared_normaliser(weight_NR.sum())
    classes = losses.binary(output.logits, positive_NR.float(), weight_NR)
    clips, anchors = positive_NR.nonzero(as_tuple=True)
    wanted = [
        spans[int(clip)][row_NR[clip, anchor]] for clip, anchor in zip(clips, anchors, strict=True)
    ]
    wanted_P2 = torch.stack(wanted) if wanted else output.anchors[:0]
    shape = losses.smooth_l1(
        output.changes[positive_NR],
        encode_spans(wanted_P2, output.anchors[anchors]),
        beta=1.0,
        weights=weight_NR[positive_NR],
    )
    return {"span_class": classes / normaliser, "span_shape": shape / normaliser}


@torch.no_grad()
def propose_spans(
    output: TemporalOutput, *, limit: int, nms: float = 0.7, least: float = 0.0
) -> tuple[list[Tensor], list[Tensor]]:
    """The best spans `[Si, 2]` of each clip, and their scores `[Si]`, best first.

    Spans are cut at the ends of the clip and last at least a frame.

    Args:
        output: what the head says.
        limit: most spans per clip.
        nms: of two spans that overlap more, the worse is dropped.
        least: spans that score less are dropped; a clip may end up with none.
    """
    spans_NR2 = decode_spans(output.changes, output.anchors).clamp(0, output.frames)
    middle = spans_NR2.mean(dim=2).clamp(0.5, output.frames - 0.5)
    low = torch.minimum(spans_NR2[..., 0], middle - 0.5)
    high = torch.maximum(spans_NR2[..., 1], middle + 0.5)
    scores_NR = output.logits.sigmoid()
    zero = torch.zeros_like(low)
    # As boxes of height 1 the overlap of spans is that of boxes.
    boxes_NR4 = torch.stack((low, zero, high, zero + 1), dim=2)
    clips_NR = torch.arange(len(low), device=low.device)[:, None].expand_as(low)
    kept = batched_nms(boxes_NR4.flatten(0, 1), scores_NR.flatten(), clips_NR.flatten(), nms)
    kept = kept[scores_NR.flatten()[kept] >= least]
    spans: list[Tensor] = []
    scores: list[Tensor] = []
    for clip in range(len(low)):
        mine = kept[clips_NR.flatten()[kept] == clip][:limit]
        spans.append(boxes_NR4.flatten(0, 1)[mine][:, 0::2])
        scores.append(scores_NR.flatten()[mine])
    return spans, scores


def encode_spans(spans: Tensor, anchors: Tensor) -> Tensor:
    """The changes `[..., 2]` from anchors to spans, both with a length."""
    length = anchors[..., 1] - anchors[..., 0]
    shift = (spans.mean(dim=-1) - anchors.mean(dim=-1)) / length
    return torch.stack((shift, ((spans[..., 1] - spans[..., 0]) / length).log()), dim=-1)


def decode_spans(changes: Tensor, anchors: Tensor) -> Tensor:
    """Spans `[..., 2]` from changes of anchors; the inverse of `encode_spans`."""
    length = anchors[..., 1] - anchors[..., 0]
    middle = anchors.mean(dim=-1) + changes[..., 0] * length
    half = length * changes[..., 1].clamp(max=_LARGEST_CHANGE).exp() / 2
    return torch.stack((middle - half, middle + half), dim=-1)


def _match(anchors: Tensor, spans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    none_R = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    if not len(spans):
        return none_R.long(), none_R, ~none_R
    iou_RG = span_iou(anchors, spans)
    best_R, row_R = iou_RG.max(dim=1)
    most_G = iou_RG.amax(dim=0)
    positive_R = (best_R >= 0.7) | ((iou_RG == most_G) & (most_G > 0)).any(dim=1)
    return row_R, positive_R, (best_R < 0.3) & ~positive_R

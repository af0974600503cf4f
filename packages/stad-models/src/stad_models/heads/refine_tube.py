"""Refinement of coarse tubes where it matters: key timestamps, and boxes found there.

Suffixes: S spans, N sampled features, Q features that are looked at, A anchors, R tubes to refine.
Source: CFAD, Sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from stad_models import losses
from stad_models.backbones.residual import Norm
from stad_models.heads.action_tubes import SpanTubes
from stad_models.heads.anchor_classes import class_loss
from stad_models.heads.anchors import decode, encode, per_anchor
from stad_models.heads.coarse_tube import Sizes, cell_anchors, check_anchors, initialise_outputs
from stad_models.heads.matching import chosen, match
from stad_models.processes import shared_normaliser
from stad_models.trajectories import evenly, key_timestamps, linear


class TimestampSelector(nn.Module):
    """How important each sampled feature is: a mean over space and an hourglass over time.

    Args:
        channels: of the sampled features.
        hidden: channels of the hourglass.
        levels: how often it halves the time; at most so often as N allows.

    Source: CFAD, Sec. 3.3 (key timestamp selection); the numbers are ours.
    """

    def __init__(self, channels: int, *, hidden: int = 128, levels: int = 2) -> None:
        super().__init__()
        self.enter = nn.Conv1d(channels, hidden, 1)
        self.down = nn.ModuleList(_conv1d(hidden) for _ in range(levels))
        self.middle = _conv1d(hidden)
        self.up = nn.ModuleList(_conv1d(hidden) for _ in range(levels))
        self.leave = nn.Conv1d(hidden, 1, 1)

    def forward(self, sampled: Tensor) -> Tensor:
        """Logits `[S, N]` of features `[S, C, N, H, W]`."""
        x = self.enter(sampled.mean(dim=(3, 4))).relu()
        skips: list[Tensor] = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
            x = functional.max_pool1d(x, 2, ceil_mode=True)
        x = self.middle(x)
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            x = layer(functional.interpolate(x, size=skip.shape[2], mode="nearest") + skip)
        return self.leave(x).squeeze(1).float()


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundBoxes:
    """What the proposal network says of single features.

    Attributes:
        logits: `[Q, A, outputs]`, see `anchor_classes.class_outputs`.
        changes: `[Q, A, 4]` of the anchors, whatever the class.
        anchors: `[A, 4]`.
    """

    logits: Tensor
    changes: Tensor
    anchors: Tensor

    @property
    def boxes(self) -> Tensor:
        """`[Q, A, 4]` xyxy."""
        spread = self.anchors.expand_as(self.changes)
        flat = decode(self.changes.flatten(0, 1), spread.flatten(0, 1))
        return flat.view_as(self.changes)


class ClassProposals(nn.Module):
    """2D convolutions and a region proposal network that knows classes.

    Args:
        channels: of the features.
        outputs: numbers per anchor that tell its class.
        stride: pixels per cell.
        anchors: their sizes.
        hidden: channels of the convolutions.
        depth: how many there are, at least 1.
        norm: their normalisation layer.

    Raises:
        ValueError: no anchor, or one without an area.

    Source: CFAD, Sec. 3.3 (sample-wise location refinement); Faster R-CNN, Sec. 3.1.
    """

    def __init__(
        self,
        channels: int,
        *,
        outputs: int,
        stride: int,
        anchors: Sizes,
        hidden: int = 256,
        depth: int = 2,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        check_anchors(anchors)
        self.stride, self.sizes, self.outputs = stride, anchors, outputs
        layers: list[nn.Module] = []
        for layer in range(depth):
            conv = nn.Conv2d(hidden if layer else channels, hidden, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            layers += [conv, norm(hidden), nn.ReLU(inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.logits = nn.Conv2d(hidden, outputs * len(anchors), 1)
        self.changes = nn.Conv2d(hidden, 4 * len(anchors), 1)
        initialise_outputs(self.logits, self.changes)

    def forward(self, features: Tensor) -> FoundBoxes:
        """From features `[Q, C, H, W]`."""
        x = self.convs(features)
        return FoundBoxes(
            logits=per_anchor(self.logits(x), self.outputs),
            changes=per_anchor(self.changes(x), 4),
            anchors=cell_anchors(x, self.stride, self.sizes),
        )


def importance_loss(logits: Tensor, spans: Sequence[SpanTubes], *, threshold: float) -> Tensor:
    """Binary cross-entropy of importance `[S, N]`, averaged over spans that show a tube.

    Key timestamps are those of any tube of the span (`trajectories.key_timestamps`).
    """
    shown_S = torch.tensor([len(one) > 0 for one in spans], device=logits.device)
    wanted_SN = torch.stack([_keys(one, logits.shape[1], threshold) for one in spans])
    weights_SN = shown_S[:, None].float().expand_as(logits)
    total = losses.binary(logits, wanted_SN.to(logits), weights_SN)
    return total / shared_normaliser(weights_SN.sum())


def box_losses(
    output: FoundBoxes,
    spans: Sequence[SpanTubes],
    *,
    exclusive: bool,
    positive: float = 0.5,
    negative: float = 0.3,
) -> dict[str, Tensor]:
    """Losses "box_class" and "box_shape" of all N features of each span, in order.

    The boxes at a timestamp are those of the tubes there, on a line between their frames; a tube
    that has not begun or is over has none.
    """
    count = len(output.logits) // len(spans)
    stamps_N = evenly(count, like=output.changes)
    truth = [each for one in spans for each in _at_stamps(one, stamps_N)]
    boxes = [one[0] for one in truth]
    found = match(boxes, output.anchors, positive=positive, negative=negative, nobody_left_out=True)
    labels = [
        classes[row_A] if len(classes) else classes.new_zeros((len(row_A), classes.shape[1]))
        for (_, classes), row_A in zip(truth, found.row_NA, strict=True)
    ]
    positive_QA = found.positive_NA
    anchors_P4 = output.anchors.expand_as(output.changes)[positive_QA]
    shape = losses.smooth_l1(
        output.changes[positive_QA], encode(chosen(boxes, found), anchors_P4), beta=1.0
    )
    return {
        "box_class": class_loss(output.logits, torch.stack(labels), found, exclusive=exclusive),
        "box_shape": shape / shared_normaliser(positive_QA.sum()),
    }


def local_search(
    coarse: Tensor, boxes: Tensor, scores: Tensor, *, reach: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The best box whose centre lies near a coarse box.

    Args:
        coarse: `[R, 4]` xyxy.
        boxes: `[R, A, 4]`.
        scores: `[R, A]`.
        reach: sigma: the centre may be so many widths and heights away.

    Returns:
        Boxes `[R, 4]`, the coarse one where there is none; their scores `[R]`; whether there is one
        `[R]`.

    Source: CFAD, Eq. 7.
    """
    centre_R12 = (coarse[:, None, :2] + coarse[:, None, 2:]) / 2
    reach_R12 = reach * (coarse[:, None, 2:] - coarse[:, None, :2])
    away_RA2 = ((boxes[..., :2] + boxes[..., 2:]) / 2 - centre_R12).abs()
    inside_RA = (away_RA2 <= reach_R12).all(dim=2)
    best_R, row_R = scores.where(inside_RA, -1.0).max(dim=1)
    box_R4 = boxes.take_along_dim(row_R[:, None, None], dim=1).squeeze(1)
    found_R = best_R >= 0
    return box_R4.where(found_R[:, None], coarse), best_R.clamp(min=0), found_R


def _keys(tubes: SpanTubes, count: int, threshold: float) -> Tensor:
    # On the CPU, since every step of the search looks at what the one before found.
    times_T, present_GT, boxes_GT4 = tubes.times.cpu(), tubes.present.cpu(), tubes.boxes.cpu()
    keys_N = torch.zeros(count, dtype=torch.bool)
    for boxes, present in zip(boxes_GT4, present_GT, strict=True):
        keys_N |= key_timestamps(times_T[present], boxes[present], count=count, threshold=threshold)
    return keys_N


def _at_stamps(tubes: SpanTubes, stamps: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Boxes `[G', 4]` and classes `[G', C]` of the tubes that are there, per normalised time."""
    if not len(tubes):
        return [(tubes.boxes.new_zeros((0, 4)), tubes.classes)] * len(stamps)
    boxes: list[Tensor] = []
    there: list[Tensor] = []
    for mine, present in zip(tubes.boxes, tubes.present, strict=True):
        times = tubes.times[present]
        boxes.append(linear(times, mine[present], stamps))
        # A tube of one frame is there all the time, as its span is no longer.
        there.append(((times[0] <= stamps) & (stamps <= times[-1])) | (times[0] == times[-1]))
    boxes_GN4, there_GN = torch.stack(boxes), torch.stack(there)
    return [
        (boxes_GN4[here_G, number], tubes.classes[here_G])
        for number, here_G in enumerate(there_GN.unbind(dim=1))
    ]


def _conv1d(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(channels, channels, 3, padding=1), nn.ReLU(inplace=True))

"""Coarse tubes: anchors with classes, and polynomials over the whole span instead of boxes.

Suffixes: S spans, A anchors, P positive anchors, T frames of the clip, k order, C classes.
Source: CFAD, Sec. 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from stad_models.backbones.residual import Norm
from stad_models.heads.action_tubes import SpanTubes
from stad_models.heads.anchor_classes import class_loss
from stad_models.heads.anchors import per_anchor
from stad_models.heads.locations import points_of
from stad_models.heads.matching import Match
from stad_models.heads.tube_features import AttentiveConvs
from stad_models.heads.tube_matching import match_tubes
from stad_models.processes import shared_normaliser
from stad_models.trajectories import decode_tube, encode_tube, polynomial

Sizes = tuple[tuple[float, float], ...]
"""Widths and heights of the anchors around the centre of every cell, in pixels of the clip."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoarseTubes:
    """What the module says of spans.

    Attributes:
        logits: `[S, A, outputs]`, see `anchor_classes.class_outputs`.
        coefficients: `[S, A, k + 1, 4]`: changes of the anchor as polynomials of normalised time.
        anchors: `[A, 4]` xyxy in pixels; they may leave the clip.
    """

    logits: Tensor
    coefficients: Tensor
    anchors: Tensor


class CoarseModule(nn.Module):
    """Two branches over sampled features, one of them over their differences in time.

    Each branch is averaged over its own times (there is one difference less than there are
    features) before the two are summed, which is their sum averaged over time.

    Args:
        channels: of the sampled features.
        outputs: numbers per anchor that tell its class.
        stride: pixels per cell.
        anchors: their sizes.
        order: k of the polynomials.
        residual: whether there is the branch of differences.
        hidden: channels of the convolutions.
        depth: convolutions per branch.
        norm: the normalisation layer.

    Raises:
        ValueError: no anchor, one without an area, or a negative order.
    """

    def __init__(  # noqa: PLR0913 - the numbers of a network
        self,
        channels: int,
        *,
        outputs: int,
        stride: int,
        anchors: Sizes,
        order: int = 4,
        residual: bool = True,
        hidden: int = 256,
        depth: int = 1,
        norm: Norm = nn.BatchNorm3d,
    ) -> None:
        super().__init__()
        check_anchors(anchors)
        if order < 0:
            raise ValueError(f"CoarseModule: order must be at least 0, found {order}")
        self.stride, self.sizes, self.order = stride, anchors, order
        self.outputs = outputs
        self.plain = AttentiveConvs(channels, hidden, depth=depth, norm=norm)
        self.difference = (
            AttentiveConvs(channels, hidden, depth=depth, norm=norm) if residual else None
        )
        self.logits = nn.Conv2d(hidden, outputs * len(anchors), 1)
        self.curves = nn.Conv2d(hidden, 4 * (order + 1) * len(anchors), 1)
        initialise_outputs(self.logits, self.curves)

    def forward(self, sampled: Tensor) -> CoarseTubes:
        """From features `[S, C, N, H, W]` of spans, N at least 2 where there are differences."""
        x = self.plain(sampled).mean(dim=2)
        if self.difference is not None:
            x = x + self.difference(sampled.diff(dim=2)).mean(dim=2)
        curves = per_anchor(self.curves(x), 4 * (self.order + 1))
        return CoarseTubes(
            logits=per_anchor(self.logits(x), self.outputs),
            coefficients=curves.unflatten(2, (self.order + 1, 4)),
            anchors=cell_anchors(x, self.stride, self.sizes),
        )


def coarse_losses(
    output: CoarseTubes,
    spans: Sequence[SpanTubes],
    *,
    exclusive: bool,
    segment: int = 6,
    positive: float = 0.5,
    negative: float = 0.3,
) -> dict[str, Tensor]:
    """Losses "tube_class" and "tube_shape" against the tubes of each span.

    Source: CFAD, Eq. 2 and 3.
    """
    found = match_tubes(
        output.anchors, spans, segment=segment, positive=positive, negative=negative
    )
    labels_SAC = _anchor_classes(found, spans, output)
    span_P, anchor_P = found.positive_NA.nonzero(as_tuple=True)
    tube_P = found.row_NA[span_P, anchor_P].tolist()
    rows = [(spans[span], tube) for span, tube in zip(span_P.tolist(), tube_P, strict=True)]
    shape = output.coefficients.sum() * 0
    if rows:
        total = tube_shape_loss(
            output.coefficients[span_P, anchor_P],
            output.anchors[anchor_P],
            torch.stack([one.boxes[tube] for one, tube in rows]),
            torch.stack([one.present[tube] for one, tube in rows]),
            torch.stack([one.times for one, _ in rows]),
        )
        shape = total / shared_normaliser(total.new_tensor(float(len(rows))))
    else:
        shared_normaliser(shape.new_zeros(()))  # every process takes part in the sum
    return {
        "tube_class": class_loss(output.logits, labels_SAC, found, exclusive=exclusive),
        "tube_shape": shape,
    }


def tube_shape_loss(
    coefficients: Tensor, anchors: Tensor, boxes: Tensor, present: Tensor, times: Tensor
) -> Tensor:
    """Squared error of encoded boxes, averaged over the frames of a tube, summed over anchors.

    Args:
        coefficients: `[P, k + 1, 4]`.
        anchors: `[P, 4]`, with an area.
        boxes: `[P, T, 4]`, with an area where present.
        present: `[P, T]` bool, in at least one frame each.
        times: `[P, T]`, normalised.

    Source: CFAD, Eq. 3.
    """
    safe_PT4 = boxes.where(present[..., None], anchors[:, None])
    wanted_PT4 = encode_tube(safe_PT4, anchors).to(coefficients)
    error_PT = (polynomial(coefficients, times.to(coefficients)) - wanted_PT4).square().sum(dim=2)
    return ((error_PT * present).sum(dim=1) / present.sum(dim=1)).sum()


def coarse_boxes(coefficients: Tensor, anchors: Tensor, times: Tensor) -> Tensor:
    """Boxes `[P, F, 4]` of coarse tubes at normalised times `[P, F]`."""
    return decode_tube(polynomial(coefficients, times), anchors)


def cell_anchors(x: Tensor, stride: int, sizes: Sizes) -> Tensor:
    """Anchors `[H x W x sizes, 4]` of a map `[N, C, H, W]`, cell by cell."""
    points_L2 = points_of([x], [stride])
    half_K2 = torch.tensor(sizes, device=x.device, dtype=points_L2.dtype) / 2
    centre_L12 = points_L2[:, None]
    return torch.cat((centre_L12 - half_K2, centre_L12 + half_K2), dim=2).flatten(0, 1)


def check_anchors(sizes: Sizes) -> None:
    """Refuse anchors that are none.

    Raises:
        ValueError: no anchor, one without an area, or one without an end.
    """
    if not sizes or any(len(size) != 2 or not all(0 < s < inf for s in size) for size in sizes):
        raise ValueError(
            "anchors must be [width, height] in pixels, finite and above 0, at least one; "
            f"found {sizes}"
        )


def initialise_outputs(*layers: nn.Conv2d) -> None:
    """Small weights and no bias: at first all anchors say nearly the same."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _anchor_classes(found: Match, spans: Sequence[SpanTubes], output: CoarseTubes) -> Tensor:
    """Classes `[S, A, C]` of the tubes that anchors belong to; 0 in spans without tubes."""
    count = spans[0].classes.shape[1]
    labels = [
        one.classes[row_A] if len(one) else output.logits.new_zeros((len(row_A), count))
        for one, row_A in zip(spans, found.row_NA, strict=True)
    ]
    return torch.stack(labels)

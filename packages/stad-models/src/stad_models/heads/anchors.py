"""Anchors: boxes that a head starts from, and the four numbers that move one to where it belongs.

Source: Faster R-CNN, Sec. 3.1; Focal loss for dense object detection, Sec. 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stad_models.heads.locations import points_of, spread

LARGEST_CHANGE = math.log(1000 / 16)
"""Changes of width and height are cut at this logarithm, so that no box becomes infinite."""


@dataclass(frozen=True, kw_only=True)
class AnchorShapes:
    """The boxes around the centre of every cell.

    Attributes:
        scale: side of the smallest square anchor, in strides of its level.
        steps: anchors per doubling of the size: 3 make sides 1, 1.26 and 1.59 times as large.
        ratios: height by width; the area stays.
    """

    scale: float = 4.0
    steps: int = 3
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.steps >= 1 and self.ratios and min(self.ratios) > 0):
            raise ValueError(
                f"AnchorShapes: scale, steps and ratios must be positive, found {self}"
            )

    @property
    def count(self) -> int:
        """Anchors per cell."""
        return self.steps * len(self.ratios)


def anchors_of(levels: Sequence[Tensor], strides: Sequence[int], shapes: AnchorShapes) -> Tensor:
    """All anchors `[L x count, 4]` of maps `[N, C, H, W]`, xyxy in pixels; they may leave the clip.

    Cell by cell, level by level; the anchors of a cell lie side by side, ratios innermost.
    """
    sides = [
        (
            shapes.scale * 2 ** (step / shapes.steps) / math.sqrt(ratio),
            shapes.scale * 2 ** (step / shapes.steps) * math.sqrt(ratio),
        )
        for step in range(shapes.steps)
        for ratio in shapes.ratios
    ]
    points_L2 = points_of(levels, strides)
    half_A2 = torch.tensor(sides, device=points_L2.device) / 2
    half_LA2 = spread(strides, levels)[:, None, None] * half_A2
    centre_L12 = points_L2[:, None]
    return torch.cat((centre_L12 - half_LA2, centre_L12 + half_LA2), dim=2).flatten(0, 1)


def encode(boxes_R4: Tensor, anchors_R4: Tensor, weights: tuple[float, float] = (1, 1)) -> Tensor:
    """The change `[R, 4]` from anchors to boxes: shift of the centre, logarithm of the growth.

    Args:
        boxes_R4: xyxy, with an area.
        anchors_R4: xyxy, with an area.
        weights: of shifts (in anchor widths and heights) and of logarithms.

    Source: Rich feature hierarchies, appendix C.
    """
    centre_R2, size_R2 = _centre_and_size(boxes_R4)
    anchor_R2, anchor_size_R2 = _centre_and_size(anchors_R4)
    shift_R2 = (centre_R2 - anchor_R2) / anchor_size_R2 * weights[0]
    growth_R2 = (size_R2 / anchor_size_R2).log() * weights[1]
    return torch.cat((shift_R2, growth_R2), dim=1)


def decode(changes_R4: Tensor, anchors_R4: Tensor, weights: tuple[float, float] = (1, 1)) -> Tensor:
    """Boxes `[R, 4]` from anchors and changes; the inverse of `encode`."""
    centre_R2, size_R2 = _centre_and_size(anchors_R4)
    growth_R2 = (changes_R4[:, 2:] / weights[1]).clamp(max=LARGEST_CHANGE).exp()
    centre_R2 = centre_R2 + changes_R4[:, :2] / weights[0] * size_R2
    half_R2 = size_R2 * growth_R2 / 2
    return torch.cat((centre_R2 - half_R2, centre_R2 + half_R2), dim=1)


def per_anchor(x: Tensor, numbers: int) -> Tensor:
    """A map `[N, A x numbers, H, W]` as float32 rows `[N, H x W x A, numbers]`, as anchors lie."""
    rows_NHWC = x.permute(0, 2, 3, 1)
    return rows_NHWC.reshape(x.shape[0], -1, numbers).float()


def _centre_and_size(boxes_R4: Tensor) -> tuple[Tensor, Tensor]:
    low_R2, high_R2 = boxes_R4[:, :2], boxes_R4[:, 2:]
    return (low_R2 + high_R2) / 2, high_R2 - low_R2

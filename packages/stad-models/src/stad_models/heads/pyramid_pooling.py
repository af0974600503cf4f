"""Features of boxes from the level of a pyramid that suits their size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

CANONICAL = (224.0, 16.0)
"""A box of 224 pixels is pooled from the level of stride 16."""


def pool_from_pyramid(
    levels: Sequence[Tensor], rois_R5: Tensor, *, strides: Sequence[int], resolution: int
) -> Tensor:
    """RoIAlign of every box on one level: the coarsest whose stride is not too large for it.

    Args:
        levels: maps `[N, C, H, W]`, fine to coarse.
        rois_R5: position in the batch and xyxy in pixels; no rows give no rows.
        strides: pixels per cell of each level, none smaller than the one before.
        resolution: cells that a box is cut into, each way.

    Returns:
        `[R, C, resolution, resolution]`.

    Source: Feature pyramid networks, Eq. 1.
    """
    if rois_R5.is_meta:  # `flops.count`: boxes have no size there, and pooling no multiply-adds
        return _pool(levels[0], rois_R5, strides[0], resolution)
    size, stride = CANONICAL
    sides_R2 = rois_R5[:, 3:] - rois_R5[:, 1:3]
    wanted_R = sides_R2.prod(dim=1).clamp(min=0).sqrt() * (stride / size) + 1e-6
    borders = torch.tensor(strides[1:], device=wanted_R.device, dtype=wanted_R.dtype)
    level_R = (wanted_R[:, None] >= borders).sum(dim=1)
    count, channels = rois_R5.shape[0], levels[0].shape[1]
    found = levels[0].new_zeros((count, channels, resolution, resolution))
    for number, (x, pixels) in enumerate(zip(levels, strides, strict=True)):
        (rows,) = (level_R == number).nonzero(as_tuple=True)
        found = found.index_put((rows,), _pool(x, rois_R5[rows], pixels, resolution))
    return found


def _pool(x: Tensor, rois_R5: Tensor, stride: int, resolution: int) -> Tensor:
    return roi_align(
        x,
        rois_R5.to(x.dtype),
        resolution,
        spatial_scale=1 / stride,
        sampling_ratio=2,
        aligned=True,
    )

"""Where the cells of a pyramid lie. L locations of all levels: level by level, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def points_of(levels: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Centres (x, y) `[L, 2]` in pixels of all cells of maps `[N, C, H, W]`."""
    device = levels[0].device
    points: list[Tensor] = []
    for x, stride in zip(levels, strides, strict=True):
        rows = (torch.arange(x.shape[2], device=device) + 0.5) * stride
        columns = (torch.arange(x.shape[3], device=device) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
        points.append(torch.stack((grid_x, grid_y), dim=2).flatten(0, 1))
    return torch.cat(points)


def spread(values: Sequence[object], levels: Sequence[Tensor]) -> Tensor:
    """One float value (or row of values) per level, repeated for its cells: `[L, ...]`."""
    per_level = torch.tensor(values, device=levels[0].device, dtype=torch.float32)
    return torch.cat(
        [
            value.expand(x.shape[2] * x.shape[3], *value.shape)
            for value, x in zip(per_level, levels, strict=True)
        ]
    )


def boxes_from_distances(points_L2: Tensor, distances_L4: Tensor, strides_L: Tensor) -> Tensor:
    """Boxes `[L, 4]` in pixels from distances of a point to its box's sides, in strides."""
    pixels_L4 = distances_L4 * strides_L[:, None]
    return torch.cat((points_L2 - pixels_L4[:, :2], points_L2 + pixels_L4[:, 2:]), dim=1)

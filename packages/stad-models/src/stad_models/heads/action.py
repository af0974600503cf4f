"""Actions of actors, from what a clip's features hold inside their boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d
from torchvision.ops import roi_align

PRIOR = 0.1
"""What each action's probability starts from: most actors do few of the actions."""


class LinearAction(nn.Module):
    """RoIAlign on each pathway's mean over time, max over space, dropout, one linear layer.

    With a `grid` finer than 1 the max is taken in each of its cells, so that the linear layer knows
    what moves where in the box: the left arm up and the right arm down, or the reverse.

    Args:
        channels: channels of all pathways together.
        num_classes: actions.
        stride: pixels of the clip per cell of the maps.
        resolution: cells that RoIAlign cuts a box into, each way.
        dropout: of the pooled feature, in training.
        aligned: RoIAlign's half-cell correction (the public R101 Caffe2 model is without).
        grid: cells, each way, that keep a maximum of their own; 1 in the paper.
        context: whether the mean of the whole map joins each region's feature, so that the scene
            has a say.

    Source: SE-STAD, Sec. 3.3.2; PySlowFast, `ResNetRoIHead`.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        stride: int,
        resolution: int = 7,
        dropout: float = 0.5,
        aligned: bool = True,
        grid: int = 1,
        context: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.resolution = resolution
        self.aligned = aligned
        self.grid = grid
        self.context = context
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(channels * (grid**2 + context), num_classes)
        start_rare(self.projection)

    def forward(self, clip: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits `[R, num_classes]`.

        Args:
            clip: maps of the pathways, each `[N, C, T, H, W]`.
            rois: `[R, 5]`: position in the batch and box in pixels; no rows give no rows.
        """
        pooled = [self._pool(x.mean(dim=2), rois) for x in clip]
        return self.projection(self.dropout(torch.cat(pooled, dim=1)))

    def _pool(self, map_NCHW: Tensor, rois: Tensor) -> Tensor:
        cells = roi_align(
            map_NCHW,
            rois.to(map_NCHW.dtype),
            self.resolution,
            spatial_scale=1 / self.stride,
            sampling_ratio=0,
            aligned=self.aligned,
        )
        whole = self.grid == 1  # amax has a deterministic gradient on every device
        pooled = cells.amax((2, 3)) if whole else adaptive_max_pool2d(cells, self.grid).flatten(1)
        if not self.context:
            return pooled
        scene = map_NCHW.mean(dim=(2, 3))[rois[:, 0].long()]
        return torch.cat([pooled, scene], dim=1)


def start_rare(projection: nn.Linear) -> None:
    """Start a layer of action logits: Xavier weights, and every action as likely as `PRIOR`."""
    nn.init.xavier_uniform_(projection.weight)
    nn.init.constant_(projection.bias, math.log(PRIOR / (1 - PRIOR)))

"""Actions from an actor's region and a coarse picture of the whole scene beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.ops import roi_align

from stad_models.heads.action import start_rare


class SceneAction(nn.Module):
    """RoIAlign 8x8 joined with the scene averaged to 8x8 cells, dropout, maximum, linear layer.

    The form of the action head that was published with SE-STAD's peers: 4608 numbers per actor for
    a SlowFast ResNet, half of them the scene's. Dropout comes before the maximum over cells, so it
    hides cells rather than whole channels.

    Args:
        channels: channels of all pathways together.
        num_classes: actions.
        stride: pixels of the clip per cell of the maps.
        resolution: cells that a box and the scene are cut into, each way.
        dropout: of the cells, in training.
        aligned: RoIAlign's half-cell correction.

    Source: mmaction2's AVA detectors (`with_global`, `dropout_before_pool`).
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        stride: int,
        resolution: int = 8,
        dropout: float = 0.5,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.resolution = resolution
        self.aligned = aligned
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(2 * channels, num_classes)
        start_rare(self.projection)

    def forward(self, clip: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits `[R, num_classes]`.

        Args:
            clip: maps of the pathways, each `[N, C, T, H, W]` with the same H and W.
            rois: `[R, 5]`: position in the batch and box in pixels; no rows give no rows.
        """
        map_NCHW = torch.cat([x.mean(dim=2) for x in clip], dim=1)
        actor = roi_align(
            map_NCHW,
            rois.to(map_NCHW.dtype),
            self.resolution,
            spatial_scale=1 / self.stride,
            sampling_ratio=0,
            aligned=self.aligned,
        )
        scene = adaptive_avg_pool2d(map_NCHW, self.resolution)[rois[:, 0].long()]
        cells = self.dropout(torch.cat((actor, scene), dim=1))
        return self.projection(cells.amax((2, 3)))

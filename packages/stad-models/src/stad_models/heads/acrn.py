"""Actor-centric relations: what an actor does, from how it relates to every place of the scene.

Suffixes: N clips, R actors, C channels of the clip's maps, D channels of relations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from stad_models.heads.action import start_rare


class Acrn(nn.Module):
    """Joins an actor's feature to every place of the scene, convolves, and takes the maximum.

    The actor's feature (RoIAlign on the mean over time, maximum over its cells) is laid beside the
    scene's feature of every place. A 1x1 convolution of both gives their relation, 3x3 convolutions
    gather it from neighbouring places, and a linear layer reads actions off its maximum over all
    places, joined with the actor's own feature: from the maximum alone it could not tell whose
    motion it is where a scene holds several actors. The 1x1 convolution is computed as a sum of its
    two halves, each once: on the scene and on the actors, which is the same and needs no copy of
    the scene per actor.

    GroupNorm, which knows no batch, stands where others have BatchNorm: the number of actors
    changes from step to step and may be 0. It has one group, of all channels: the actor adds one
    number per channel, the same at every place, so that groups of a few channels would subtract
    much of it again as their mean.

    Args:
        channels: channels of all pathways together.
        num_classes: actions.
        stride: pixels of the clip per cell of the maps.
        width: channels of the relations.
        depth: 3x3 convolutions.
        resolution: cells that RoIAlign cuts a box into, each way.
        dropout: of the pooled relation, in training.
        aligned: RoIAlign's half-cell correction.

    Source: Actor-centric relation network, Sec. 3; SE-STAD's appendix, Table 7 (whose numbers are
    not given: width, depth, normalisation and the actor's own feature beside the maximum are ours).
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        stride: int,
        width: int = 512,
        depth: int = 1,
        resolution: int = 7,
        dropout: float = 0.5,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.resolution = resolution
        self.aligned = aligned
        self.of_scene = nn.Conv2d(channels, width, 1, bias=False)
        self.of_actor = nn.Linear(channels, width, bias=False)
        self.relation = nn.Sequential(nn.GroupNorm(1, width), nn.ReLU(inplace=True))
        self.gather = nn.Sequential()
        for _ in range(depth):
            self.gather.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
            self.gather.append(nn.GroupNorm(1, width))
            self.gather.append(nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(width + channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.kaiming_normal_(self.of_actor.weight, mode="fan_out", nonlinearity="relu")
        start_rare(self.projection)

    def forward(self, clip: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits `[R, num_classes]`.

        Args:
            clip: maps of the pathways, each `[N, C, T, H, W]` with the same H and W.
            rois: `[R, 5]`: position in the batch and box in pixels; no rows give no rows.
        """
        map_NCHW = torch.cat([x.mean(dim=2) for x in clip], dim=1)
        cells = roi_align(
            map_NCHW,
            rois.to(map_NCHW.dtype),
            self.resolution,
            spatial_scale=1 / self.stride,
            sampling_ratio=0,
            aligned=self.aligned,
        )
        actor_RC = cells.amax((2, 3))
        actor_RD = self.of_actor(actor_RC)
        scene_NDHW = self.of_scene(map_NCHW)
        relation_RDHW = scene_NDHW[rois[:, 0].long()] + actor_RD[:, :, None, None]
        relation_RDHW = self.gather(self.relation(relation_RDHW))
        pooled = torch.cat((relation_RDHW.amax((2, 3)), actor_RC), dim=1)
        return self.projection(self.dropout(pooled))

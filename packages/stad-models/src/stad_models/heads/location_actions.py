"""What is done at every location of a clip, told from K frames and, where wanted, a 3D trunk.

Suffixes: N clips, F frames, K frames of a tubelet, c channels of a frame's coarse map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stad_models.heads.aggregation import ChannelAttention
from stad_models.heads.motion_excitation import MotionExcitation


class LocationActions(nn.Module):
    """Action logits per cell of a coarse map, STMA's action branch.

    Each frame's map passes convolutions of stride 2. The K results, with motion excitation where
    asked for, are joined with the 3D trunk's map, if there is one, and brought to `width` channels
    by a 1x1 convolution; with a 3D trunk channel-wise self-attention follows. A last 1x1
    convolution tells the actions.

    Args:
        channels: channels of a frame's map.
        length: frames K.
        num_classes: actions.
        coarse: channels after each convolution of stride 2; the last number is c.
        width: channels of what is joined.
        motion: whether frames pass motion excitation.
        clip_channels: channels of the 3D trunk's map; 0 if there is none.
        reach: cells from a place to the eight others around it that the last convolution, then
            3x3, reads as well, so that it knows what moves where; 0 reads the place alone.

    Attributes:
        factor: cells of a frame's map per cell of the logits, each way.
        clip_channels: as given.

    Source: STMA, Sec. 2.2 and Fig. 1 (b); channels and the joining convolution are ours, and
    a reach of more than 0, for maps finer than the paper's.
    """

    def __init__(
        self,
        channels: int,
        *,
        length: int,
        num_classes: int,
        coarse: tuple[int, ...] = (128, 256, 256),
        width: int = 512,
        motion: bool = True,
        clip_channels: int = 0,
        reach: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step in coarse:
            layers += [
                nn.Conv2d(channels, step, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(step),
                nn.ReLU(inplace=True),
            ]
            channels = step
        self.coarse = nn.Sequential(*layers)
        self.motion = MotionExcitation(channels) if motion else nn.Identity()
        self.join = nn.Sequential(
            nn.Conv2d(length * channels + clip_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.attention = ChannelAttention() if clip_channels else nn.Identity()
        self.projection = nn.Conv2d(
            width, num_classes, 3 if reach else 1, padding=reach, dilation=max(reach, 1)
        )
        self.factor = 2 ** len(coarse)
        self.clip_channels = clip_channels

    def frame_maps(self, features: Tensor) -> Tensor:
        """Coarse maps `[F, c, h, w]` from the maps `[F, channels, H, W]` of single frames."""
        return self.coarse(features)

    def forward(self, frames: Tensor, clip: Tensor | None = None) -> Tensor:
        """Logits `[N, num_classes, h, w]`.

        Args:
            frames: coarse maps of K frames, `[N, K, c, h, w]`.
            clip: the 3D trunk's map `[N, clip_channels, h, w]`, where there is one.
        """
        together = self.motion(frames).flatten(1, 2)
        if clip is not None:
            together = torch.cat((together, clip), dim=1)
        return self.projection(self.attention(self.join(together)))

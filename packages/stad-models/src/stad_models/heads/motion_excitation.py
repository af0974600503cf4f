"""Motion excitation: channels that move between frames count for more.

Suffixes: N clips, K frames of a tubelet, c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MotionExcitation(nn.Module):
    """Weighs every channel of every frame by how it differs from the next frame.

    The next frame, convolved channel by channel, minus the frame; zero for the last one. Averaged
    over space, a 1x1 convolution and a sigmoid make it a mask, and what passes the mask is added to
    the input.

    Args:
        channels: channels c of a frame's map.

    Source: STMA, Sec. 2.2, Eq. 1 and 2. The convolution of Eq. 1 is channel-wise 3x3 and starts as
    the identity, after STM and TEA, which the paper follows.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.align = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.mask = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.align.weight.zero_()
            self.align.weight[:, :, 1, 1] = 1

    def forward(self, x: Tensor) -> Tensor:
        """`[N, K, c, h, w]` to the same shape."""
        return x + x * self.masks(x)

    def masks(self, x: Tensor) -> Tensor:
        """Masks `[N, K, c, 1, 1]` in (0, 1)."""
        later = x[:, 1:]
        moved = self.align(later.flatten(0, 1)).unflatten(0, later.shape[:2]) - x[:, :-1]
        motion_NKc11 = moved.mean(dim=(3, 4), keepdim=True)
        motion_NKc11 = torch.cat((motion_NKc11, torch.zeros_like(x[:, :1, :, :1, :1])), dim=1)
        return self.mask(motion_NKc11.flatten(0, 1)).sigmoid().unflatten(0, x.shape[:2])

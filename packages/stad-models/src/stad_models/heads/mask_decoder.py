"""From maps at stride 8 to a localisation map of full size, joined by finer maps on the way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_FIRST_LOGIT = -2.0
"""Of every pixel when training begins: few belong to an object."""


class MaskDecoder(nn.Module):
    """Three joints of coarse and fine maps, and one logit per pixel.

    The first two joints look over three frames, so that what is found goes on in time.

    Args:
        channels: of the maps at stride 8, all together.
        skip_channels: of the maps at strides 2 and 4 that join them.
        width: channels after each joint.
    """

    def __init__(self, channels: int, skip_channels: Sequence[int], *, width: int) -> None:
        super().__init__()
        halves, quarters = skip_channels
        self.join8 = _joint(channels, width, frames=3)
        self.skip4 = nn.Conv3d(quarters, width, 1)
        self.join4 = _joint(2 * width, width, frames=3)
        self.skip2 = nn.Conv3d(halves, width, 1)
        self.join2 = _joint(2 * width, width, frames=1)
        self.last = nn.ConvTranspose3d(width, 1, (1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))
        nn.init.normal_(self.last.weight, std=0.01)
        if self.last.bias is not None:
            nn.init.constant_(self.last.bias, _FIRST_LOGIT)

    def forward(self, eighths: Tensor, quarters: Tensor, halves: Tensor) -> Tensor:
        """Logits `[N, 1, T, H, W]` from maps `[N, channels, T, H / s, W / s]` at strides s."""
        x = self.join8(eighths)
        x = self.join4(torch.cat([_doubled(x), functional.relu(self.skip4(quarters))], dim=1))
        x = self.join2(torch.cat([_doubled(x), functional.relu(self.skip2(halves))], dim=1))
        return self.last(x)


def _joint(channels_in: int, channels_out: int, *, frames: int) -> nn.Sequential:
    kernel, padding = (frames, 3, 3), (frames // 2, 1, 1)
    convolution = nn.Conv3d(channels_in, channels_out, kernel, padding=padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm3d(channels_out), nn.ReLU(inplace=True))


def _doubled(x: Tensor) -> Tensor:
    """Twice the height and width, each cell repeated."""
    return x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)

"""A 3x3 convolution that chooses where to look. Maps are [N, C, H, W]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

CELLS = 9
"""Cells of a 3x3 kernel: each gets a shift (two numbers) and a weight of its own per location."""


class DeformableConv(nn.Module):
    """Modulated deformable 3x3 convolution, stride 1, that starts as half a plain one.

    One plain convolution tells, per location, where each of the nine cells of the kernel reads and
    how much it counts. In all of its 27 channels, the first 18 are the shifts (down and right, in
    turn), the others the weights before a sigmoid, as in the public layout of MOC and CenterNet.

    Source: Deformable ConvNets v2: more deformable, better results, Sec. 3.2.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        plain = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.weight = plain.weight
        self.bias = plain.bias
        self.offsets = nn.Conv2d(channels_in, 3 * CELLS, 3, padding=1)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(_bias(self.offsets))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels_in, H, W]` to `[N, channels_out, H, W]`, in the type of the weights."""
        offsets, weights = self.offsets(x).split((2 * CELLS, CELLS), dim=1)
        kind = self.weight.dtype  # under autocast the plain convolution gives a narrower one
        return deform_conv2d(
            x.to(kind),
            offsets.to(kind),
            self.weight,
            self.bias,
            padding=(1, 1),
            mask=torch.sigmoid(weights.to(kind)),
        )


def _bias(layer: nn.Conv2d) -> Tensor:
    if layer.bias is None:
        raise ValueError("DeformableConv: the convolution that gives offsets needs a bias")
    return layer.bias

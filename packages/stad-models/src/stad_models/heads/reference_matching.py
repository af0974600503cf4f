"""What the frames of a clip have in common with an object of a reference frame.

Suffix legend: N = clips, T = frames, K = numbers of a key, V = numbers of a value, R = cells of the
reference, Q = cells of all frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
"""Pixels per cell of the maps that are matched."""

_FIRST_SCALE = 10.0
"""Of cosines before the softmax, when training begins: the best cells outweigh the rest."""


class ReferenceEncoder(nn.Module):
    """Three strided convolutions over the reference frame and its mask.

    Args:
        channels_in: of the frame and the mask together.
        width: channels of the first layer; each of the others has twice as many as the one before.
        channels: V, what the last layer puts out.
    """

    def __init__(self, channels_in: int, width: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _strided(channels_in, width),
            _strided(width, 2 * width),
            _strided(2 * width, channels),
        )

    def forward(self, given: Tensor) -> Tensor:
        """`[N, channels_in, H, W]` to `[N, V, H / 8, W / 8]`."""
        return self.layers(given)


class ReferenceMatching(nn.Module):
    """Every cell of a frame looks for its like on the reference and reads what is known of it.

    Keys come from the clip's own maps, values from the reference and its mask. A cell reads the
    mean value of the reference's cells, weighed by a softmax over the cosines of their keys with
    its own; beside the values it reads how much of those cells the mask covers. Where something
    lies on the reference does not matter.

    Args:
        channels: of the clip's maps.
        keys: K.
        encoder: gives the values.
        values: V, what it puts out.

    Attributes:
        scale: of the cosines; it learns.

    Source: Space-time memory networks for video object segmentation, Sec. 3.2, with the first frame
    as the only memory, and one set of keys for both sides.
    """

    def __init__(self, channels: int, *, keys: int, encoder: ReferenceEncoder, values: int) -> None:
        super().__init__()
        self.key = nn.Conv3d(channels, keys, 1)
        self.encoder = encoder
        self.scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
        self.channels = values + 1
        nn.init.kaiming_normal_(self.key.weight, nonlinearity="linear")
        if self.key.bias is not None:
            nn.init.zeros_(self.key.bias)

    def forward(self, maps: Tensor, given: Tensor) -> Tensor:
        """What the frames after the first read from the first one.

        Args:
            maps: `[N, channels, 1 + T, h, w]` at stride 8, the reference first.
            given: `[N, 4, H, W]`, the reference frame and, last, its mask in [0, 1]; H and W are 8
                times h and w.

        Returns:
            `[N, V + 1, T, h, w]`; the last channel is in [0, 1], and 0 for an empty mask.
        """
        sizes = (maps.shape[2] - 1, *maps.shape[3:])
        keys = functional.normalize(self.key(maps), dim=1)
        reference_NKR, frames_NKQ = keys[:, :, 0].flatten(2), keys[:, :, 1:].flatten(2)
        likeness_NQR = frames_NKQ.transpose(1, 2) @ reference_NKR
        weights_NQR = (self.scale * likeness_NQR).softmax(dim=2)
        covered = functional.avg_pool2d(given[:, -1:], STRIDE)
        known_NVR = torch.cat([self.encoder(given), covered.to(maps.dtype)], dim=1).flatten(2)
        read_NQV = weights_NQR @ known_NVR.transpose(1, 2).to(weights_NQR.dtype)
        return read_NQV.transpose(1, 2).unflatten(2, sizes)


def _strided(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))

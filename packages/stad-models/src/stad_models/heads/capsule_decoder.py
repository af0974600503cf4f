"""From the capsules of one class to a localisation map over a clip.

Suffix legend: N = clips, C = classes, P = numbers of a pose.
Source: VideoCapsuleNet, Sec. 3.3, and the layout of its public weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stad_models.heads.capsule import POSE


class MaskedDecoder(nn.Module):
    """Transposed convolutions from capsules to pixels, joined by maps of the encoder on the way.

    Capsules have no time; the decoder makes it: each of the three last steps doubles the frames.
    Maps of the encoder with another number of frames are averaged to that of the decoder.

    Args:
        num_classes: C.
        kernel: window of the convolution that made the primary capsules, which is undone first.
        stride: of that convolution.
        skip_channels: channels of the encoder's maps at strides 2, 4 and 8; their frames must be
            whole multiples of the decoder's.
        width: channels after each step.
        dropout: share of the channels that are left out before the last layer.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        kernel: int,
        stride: int,
        skip_channels: Sequence[int],
        width: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        halves, quarters, eighths = skip_channels
        self.grow1 = nn.ConvTranspose2d(num_classes * POSE, width, kernel, stride=stride)
        self.grow2 = _doubling(2 * width, width)
        self.grow3 = _doubling(2 * width, width)
        self.grow4 = _doubling(2 * width, 2 * width)
        self.skip8 = nn.Conv2d(eighths, width, 3, padding=1)
        self.skip4 = nn.Conv3d(quarters, width, 3, padding=1)
        self.skip2 = nn.Conv3d(halves, width, 3, padding=1)
        self.drop = nn.Dropout3d(dropout)
        self.last = nn.Conv3d(2 * width, 1, 3, padding=1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        nn.init.normal_(self.last.weight, std=0.01)

    def forward(self, poses: Tensor, mask: Tensor, skips: Sequence[Tensor], frames: int) -> Tensor:
        """Logits of the map.

        Args:
            poses: `[N, C, P, h, w]` of class capsules.
            mask: `[N, C]`, 1 for the classes that are to be localised.
            skips: maps of the encoder `[N, channels, T', H / s, W / s]` at strides 2, 4 and 8; the
                last one is averaged over time.
            frames: T of the clip, a multiple of 8.

        Returns:
            `[N, 1, T, H, W]`.
        """
        halves, quarters, eighths = skips
        x = functional.relu(self.grow1((poses * mask[:, :, None, None, None]).flatten(1, 2)))
        x = torch.cat([x, functional.relu(self.skip8(eighths.mean(dim=2)))], dim=1)
        x = x[:, :, None].expand(-1, -1, frames // 8, -1, -1)
        x = _joined(self.grow2(x), self.skip4, quarters)
        x = _joined(self.grow3(x), self.skip2, halves)
        return self.last(self.drop(functional.relu(self.grow4(x))))


def _doubling(channels_in: int, channels_out: int) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)


def _joined(x: Tensor, convolution: nn.Module, skip: Tensor) -> Tensor:
    """The map after its ReLU, beside the encoder's at the same frames."""
    if skip.shape[2] != x.shape[2]:
        skip = functional.avg_pool3d(skip, (skip.shape[2] // x.shape[2], 1, 1))
    return torch.cat([functional.relu(x), functional.relu(convolution(skip))], dim=1)

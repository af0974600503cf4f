"""Iterative deep layer aggregation: from maps of many strides to one fine map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stad_models.backbones.deformable import DeformableConv

Conv = Callable[[int, int], nn.Module]
"""Makes a 3x3 convolution from a number of channels to another."""


def plain_conv(channels_in: int, channels_out: int) -> nn.Module:
    """A 3x3 convolution with a bias, in the place of a deformable one."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


class ConvNorm(nn.Module):
    """A convolution, batch normalisation and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, conv: Conv) -> None:
        super().__init__()
        self.conv = conv(channels_in, channels_out)
        self.norm = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels_in, H, W]` to `[N, channels_out, H, W]`."""
        return self.relu(self.norm(self.conv(x)))


class Step(nn.Module):
    """Brings a coarse map to the channels and size of a finer one and joins the two.

    Args:
        channels_in: channels of the coarse map.
        channels: channels of the fine map, and of the result.
        factor: how many times finer the fine map is; 1 leaves the size alone.
        conv: makes the convolutions.
    """

    def __init__(self, channels_in: int, channels: int, factor: int, conv: Conv) -> None:
        super().__init__()
        self.project = ConvNorm(channels_in, channels, conv)
        self.up: nn.Module = nn.Identity() if factor == 1 else DepthwiseUpsampling(channels, factor)
        self.join = ConvNorm(channels, channels, conv)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """`[N, channels_in, h, w]` and `[N, channels, H, W]` to the latter shape."""
        return self.join(self.up(self.project(coarse)) + fine)


class Merging(nn.Module):
    """Joins coarser and coarser maps into the finest, one step after the other.

    Args:
        channels: channels of the finest map, and of every result.
        coarser: channels of the coarser maps, from fine to coarse.
        factors: per coarser map, how many times finer the finest map is.
        conv: makes the convolutions.
    """

    def __init__(
        self, channels: int, coarser: Sequence[int], factors: Sequence[int], conv: Conv
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            Step(channels_in, channels, factor, conv)
            for channels_in, factor in zip(coarser, factors, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One result per map: the finest as it came, then the outcome of every step."""
        merged = [maps[0]]
        for step, coarse in zip(self.steps, maps[1:], strict=True):
            merged.append(step(coarse, merged[-1]))
        return merged


class Aggregation(nn.Module):
    """DLA's decoder: maps of L strides, each half as fine as the one before, to one fine map.

    First the two coarsest maps are merged, then the three coarsest, up to all of them; the last
    result of each round is a map of one stride that has seen all coarser ones. Then all of these
    but the coarsest are merged at the finest stride.

    Args:
        channels: channels of the maps, from fine to coarse; the result has those of the finest.
        conv: makes the convolutions, `DeformableConv` as published.

    Source: Objects as points, Sec. 4 and Fig. 6; MOC's public code.
    """

    def __init__(self, channels: Sequence[int], conv: Conv = DeformableConv) -> None:
        super().__init__()
        levels = len(channels)
        rounds: list[nn.Module] = []
        for level in reversed(range(levels - 1)):
            # Rounds before this one brought all coarser maps to the size and channels of the next.
            coarser = [channels[level + 1]] * (levels - 1 - level)
            rounds.append(Merging(channels[level], coarser, [2] * len(coarser), conv))
        self.rounds = nn.ModuleList(rounds)
        last = range(1, levels - 1)
        self.last = Merging(
            channels[0], [channels[level] for level in last], [2**level for level in last], conv
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps `[N, C, H, W]` from fine to coarse to one map of the finest size."""
        current = list(maps)
        seen: list[Tensor] = []
        for rows in self.rounds:
            first = len(current) - 2 - len(seen)
            current[first:] = rows(current[first:])
            seen.insert(0, current[-1])
        return self.last(seen)[-1]


class DepthwiseUpsampling(nn.ConvTranspose2d):
    """Upsampling by learned weights, channel by channel, that starts as bilinear interpolation.

    On a CPU it computes in float32 under autocast, and returns what it was given: in bfloat16
    transposed convolutions by channel are some fifty times slower there (torch 2.15).
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(
            channels,
            channels,
            2 * factor,
            stride=factor,
            padding=factor // 2,
            groups=channels,
            bias=False,
        )
        with torch.no_grad():
            place = torch.arange(2 * factor, dtype=torch.float32)
            rise = 1 - (place - (factor - 0.5)).abs() / factor
            self.weight.copy_(rise[:, None] * rise)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """`[N, C, h, w]` to `[N, C, h * factor, w * factor]`."""
        if input.device.type != "cpu" or input.dtype != torch.bfloat16:
            return super().forward(input, output_size)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float(), output_size).to(input.dtype)

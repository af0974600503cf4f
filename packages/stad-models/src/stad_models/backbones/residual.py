"""Residual blocks with a time axis. Maps are [N, C, T, H, W]; kernels are (time, height, width)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
"""Makes a normalisation layer for a number of channels, such as `nn.BatchNorm3d`."""


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """The numbers of one residual block.

    Attributes:
        channels_in: channels of the input.
        width: channels inside the block.
        channels_out: channels of the output.
        temporal_kernel: kernel size over time of the block's first convolution, odd.
        temporal_stride: stride over time, taken by the first convolution.
        stride: stride over space, taken by the first 3x3 convolution.
        dilation: dilation over space of the 3x3 convolutions.
    """

    channels_in: int
    width: int
    channels_out: int
    temporal_kernel: int
    temporal_stride: int = 1
    stride: int = 1
    dilation: int = 1

    @property
    def projects(self) -> bool:
        """Whether the shortcut must change shape, and so is a 1x1x1 convolution."""
        return self.channels_in != self.channels_out or self.stride * self.temporal_stride != 1


class Bottleneck(nn.Module):
    """1x1 (over time: the temporal kernel), 3x3, 1x1 convolutions beside a shortcut.

    Source: SlowFast networks, Sec. 3; the stride sits on the 3x3 convolution as in PySlowFast.
    """

    def __init__(self, shape: BlockShape, norm: Norm = nn.BatchNorm3d) -> None:
        super().__init__()
        kernel, dilation = shape.temporal_kernel, shape.dilation
        self.conv1 = nn.Conv3d(
            shape.channels_in,
            shape.width,
            (kernel, 1, 1),
            stride=(shape.temporal_stride, 1, 1),
            padding=(kernel // 2, 0, 0),
            bias=False,
        )
        self.norm1 = norm(shape.width)
        self.conv2 = nn.Conv3d(
            shape.width,
            shape.width,
            (1, 3, 3),
            stride=(1, shape.stride, shape.stride),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            bias=False,
        )
        self.norm2 = norm(shape.width)
        self.conv3 = nn.Conv3d(shape.width, shape.channels_out, 1, bias=False)
        self.norm3 = norm(shape.channels_out)
        self.shortcut = Shortcut(shape, norm) if shape.projects else None
        self.relu = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation at the end of the residual branch."""
        return self.norm3

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels_in, T, H, W]` to `[N, channels_out, T', H', W']`, strided."""
        residual = self.relu(self.norm1(self.conv1(x)))
        residual = self.relu(self.norm2(self.conv2(residual)))
        residual = self.norm3(self.conv3(residual))
        return self.relu(residual + (x if self.shortcut is None else self.shortcut(x)))


class Basic(nn.Module):
    """Two 3x3 convolutions, the first with the temporal kernel, beside a shortcut."""

    def __init__(self, shape: BlockShape, norm: Norm = nn.BatchNorm3d) -> None:
        super().__init__()
        kernel, dilation = shape.temporal_kernel, shape.dilation
        self.conv1 = nn.Conv3d(
            shape.channels_in,
            shape.width,
            (kernel, 3, 3),
            stride=(shape.temporal_stride, shape.stride, shape.stride),
            padding=(kernel // 2, dilation, dilation),
            dilation=(1, dilation, dilation),
            bias=False,
        )
        self.norm1 = norm(shape.width)
        self.conv2 = nn.Conv3d(
            shape.width,
            shape.channels_out,
            (1, 3, 3),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            bias=False,
        )
        self.norm2 = norm(shape.channels_out)
        self.shortcut = Shortcut(shape, norm) if shape.projects else None
        self.relu = nn.ReLU(inplace=True)

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation at the end of the residual branch."""
        return self.norm2

    def forward(self, x: Tensor) -> Tensor:
        """`[N, channels_in, T, H, W]` to `[N, channels_out, T', H', W']`, strided."""
        residual = self.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return self.relu(residual + (x if self.shortcut is None else self.shortcut(x)))


class Shortcut(nn.Module):
    """A strided 1x1x1 convolution with normalisation."""

    def __init__(self, shape: BlockShape, norm: Norm = nn.BatchNorm3d) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            shape.channels_in,
            shape.channels_out,
            1,
            stride=(shape.temporal_stride, shape.stride, shape.stride),
            bias=False,
        )
        self.norm = norm(shape.channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """As the block's residual branch changes the shape."""
        return self.norm(self.conv(x))

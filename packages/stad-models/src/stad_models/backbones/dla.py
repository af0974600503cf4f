"""DLA: a 2D network for single frames that gives one fine map of features. Maps are [N, C, H, W].

Source: Deep layer aggregation; as a detector's trunk: Objects as points, and MOC.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from torch import Tensor, nn

from stad_models.backbones.deformable import DeformableConv
from stad_models.backbones.dla_aggregation import Aggregation, plain_conv
from stad_models.backbones.dla_tree import tree

PLAIN_LEVELS = 2
"""The first levels are convolutions in a row; the others are trees, and what the decoder joins."""


@dataclass(frozen=True, kw_only=True)
class DlaShape:
    """The numbers of a DLA; the defaults are those of DLA-34.

    Attributes:
        channels_in: channels of a frame: 3, or 15 for five stacked images of optical flow.
        stem_kernel: kernel size of the first convolution, odd.
        stem_stride: its stride.
        widths: channels of each level; at least two trees are needed behind the plain levels.
        depths: convolutions of each plain level (0 leaves it out), depth of each tree.
        strides: stride of each level; that of the trees behind the first must be 2.
        deformable: whether the decoder's convolutions are deformable.

    Raises:
        ValueError: numbers that do not fit together.
    """

    channels_in: int = 3
    stem_kernel: int = 7
    stem_stride: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    depths: tuple[int, ...] = (1, 1, 1, 2, 2, 1)
    strides: tuple[int, ...] = (1, 2, 2, 2, 2, 2)
    deformable: bool = True

    def __post_init__(self) -> None:
        levels = len(self.widths)
        if levels < PLAIN_LEVELS + 2 or not levels == len(self.depths) == len(self.strides):
            raise ValueError(
                "DlaShape: widths, depths and strides need one number per level, at least "
                f"{PLAIN_LEVELS + 2}, found {levels}, {len(self.depths)} and {len(self.strides)}"
            )
        if min(self.depths[:PLAIN_LEVELS]) < 0 or min(self.depths[PLAIN_LEVELS:]) < 1:
            raise ValueError(f"DlaShape: trees need a depth of at least 1, found {self.depths}")
        if any(stride != 2 for stride in self.strides[PLAIN_LEVELS + 1 :]):
            raise ValueError(
                f"DlaShape: trees behind the first need the stride 2, found {self.strides}"
            )
        if self.stem_kernel % 2 == 0:
            raise ValueError(f"DlaShape: stem_kernel must be odd, found {self.stem_kernel}")

    @property
    def pixel_strides(self) -> tuple[int, ...]:
        """Pixels per cell of each level."""
        # A level without convolutions leaves the size alone, whatever its stride.
        steps = [
            stride if depth else 1 for stride, depth in zip(self.strides, self.depths, strict=True)
        ]
        return tuple(accumulate(steps, mul, initial=self.stem_stride))[1:]


class Dla(nn.Module):
    """Frames to one map of features, as fine as the first tree.

    Args:
        shape: the network's numbers.

    Attributes:
        channels_in: channels of a frame.
        channels: channels of the map.
        stride: pixels per cell of the map.
        multiple: width and height of frames must be multiples of it: pixels per cell of the
            coarsest map.
    """

    def __init__(self, shape: DlaShape | None = None) -> None:
        super().__init__()
        self.shape = shape or DlaShape()
        numbers = self.shape
        self.stem = nn.Sequential(
            nn.Conv2d(
                numbers.channels_in,
                numbers.widths[0],
                numbers.stem_kernel,
                stride=numbers.stem_stride,
                padding=numbers.stem_kernel // 2,
                bias=False,
            ),
            nn.BatchNorm2d(numbers.widths[0]),
            nn.ReLU(inplace=True),
        )
        self.levels = nn.ModuleList(_levels(numbers))
        trees = numbers.widths[PLAIN_LEVELS:]
        self.aggregation = Aggregation(trees, DeformableConv if numbers.deformable else plain_conv)
        self.channels_in = numbers.channels_in
        self.channels = trees[0]
        self.stride = numbers.pixel_strides[PLAIN_LEVELS]
        self.multiple = numbers.pixel_strides[-1]

    def forward(self, frames: Tensor) -> Tensor:
        """`[N, channels_in, H, W]` to `[N, channels, H / stride, W / stride]`."""
        x = self.stem(frames)
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return self.aggregation(maps[PLAIN_LEVELS:])


def _levels(shape: DlaShape) -> list[nn.Module]:
    channels, levels = shape.widths[0], list[nn.Module]()
    for level, numbers in enumerate(zip(shape.widths, shape.depths, shape.strides, strict=True)):
        width, depth, stride = numbers
        if level < PLAIN_LEVELS:
            levels.append(_plain_level(channels, width, depth, stride))
            channels = width if depth else channels
        else:
            keeps_input = level > PLAIN_LEVELS
            levels.append(tree(depth, channels, width, stride=stride, keeps_input=keeps_input))
            channels = width
    return levels


def _plain_level(channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place in range(depth):
        layers += [
            nn.Conv2d(
                width if place else channels,
                width,
                3,
                stride=1 if place else stride,
                padding=1,
                bias=False,
            ),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)

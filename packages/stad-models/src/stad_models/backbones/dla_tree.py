"""Hierarchical deep layer aggregation: trees of residual blocks. Maps are [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut that comes from outside."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """`[N, channels_in, H, W]` to the shape of the shortcut."""
        residual = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(residual)) + shortcut)


class Root(nn.Module):
    """Where the branches of a tree meet: a 1x1 convolution over all of them."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of one size to one map."""
        return self.relu(self.norm(self.conv(torch.cat(tuple(maps), dim=1))))


class Pair(nn.Module):
    """The smallest tree: two blocks in a row, and a root that joins what both gave.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        stride: of the first block; its shortcut is max-pooled by it.
        keeps_input: whether the (pooled) input joins the root.
        handed_down: channels of the maps that join the root from outside.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        stride: int = 1,
        keeps_input: bool = False,
        handed_down: int = 0,
    ) -> None:
        super().__init__()
        self.keeps_input = keeps_input
        self.block1 = Block(channels_in, channels_out, stride)
        self.block2 = Block(channels_out, channels_out, 1)
        kept = channels_in if keeps_input else 0
        self.root = Root(2 * channels_out + kept + handed_down, channels_out)
        self.pool = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        self.project = (
            nn.Identity()
            if channels_in == channels_out
            else nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
            )
        )

    def forward(self, x: Tensor, handed_down: Sequence[Tensor] = ()) -> Tensor:
        """`[N, channels_in, H, W]` to `[N, channels_out, H / stride, W / stride]`."""
        pooled = self.pool(x)
        first = self.block1(x, self.project(pooled))
        second = self.block2(first, first)
        kept = (pooled,) if self.keeps_input else ()
        return self.root((second, first, *handed_down, *kept))


class Tree(nn.Module):
    """Two trees in a row; the last root also sees what the first tree gave.

    Args:
        depth: levels of branching, at least 2; a tree of depth d holds 2^d blocks.
        channels_in, channels_out, stride, keeps_input, handed_down: as in `Pair`.

    Source: Deep layer aggregation, Sec. 3.2 and Fig. 3 (f).
    """

    def __init__(
        self,
        depth: int,
        channels_in: int,
        channels_out: int,
        *,
        stride: int = 1,
        keeps_input: bool = False,
        handed_down: int = 0,
    ) -> None:
        super().__init__()
        self.keeps_input = keeps_input
        self.pool = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        self.tree1 = tree(depth - 1, channels_in, channels_out, stride=stride)
        kept = channels_in if keeps_input else 0
        self.tree2 = tree(
            depth - 1, channels_out, channels_out, handed_down=channels_out + kept + handed_down
        )

    def forward(self, x: Tensor, handed_down: Sequence[Tensor] = ()) -> Tensor:
        """`[N, channels_in, H, W]` to `[N, channels_out, H / stride, W / stride]`."""
        kept = (self.pool(x),) if self.keeps_input else ()
        first = self.tree1(x)
        return self.tree2(first, (*handed_down, *kept, first))


def tree(
    depth: int,
    channels_in: int,
    channels_out: int,
    *,
    stride: int = 1,
    keeps_input: bool = False,
    handed_down: int = 0,
) -> Pair | Tree:
    """A tree of the given depth, at least 1; arguments as in `Tree`."""
    if depth == 1:
        return Pair(
            channels_in,
            channels_out,
            stride=stride,
            keeps_input=keeps_input,
            handed_down=handed_down,
        )
    return Tree(
        depth,
        channels_in,
        channels_out,
        stride=stride,
        keeps_input=keeps_input,
        handed_down=handed_down,
    )

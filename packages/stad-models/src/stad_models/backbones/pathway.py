"""One pathway of a 3D residual network: a stem and four stages. Maps are [N, C, T, H, W].

Source: SlowFast networks for video recognition; structure and order of layers as in PySlowFast.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor, nn

from stad_models.backbones.nonlocal_block import NonLocal
from stad_models.backbones.recomputation import recomputed
from stad_models.backbones.residual import Basic, BlockShape, Bottleneck, Norm

STAGES = ("res2", "res3", "res4", "res5")
Four = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class PathwayShape:
    """The numbers of one pathway; tuples of four are for stages res2 to res5.

    Attributes:
        stem_width: channels of the stem.
        stem_kernel: kernel size of the stem over (time, height, width), odd.
        stem_stride: stride of the stem over space.
        stem_pool: whether a 3x3 max-pool of stride 2 follows the stem.
        widths: channels inside the blocks.
        depths: blocks per stage.
        bottleneck: bottleneck blocks, which put out four times their width, or basic blocks.
        temporal_kernels: kernel size over time of each stage.
        temporal_blocks: how many of each stage's blocks, from the first, have that kernel (the
            others 1); None means all.
        temporal_strides: stride over time of each stage's first block.
        strides: stride over space of each stage's first block.
        dilations: dilation over space.
        nonlocal_after: per stage, the 0-based blocks that a non-local block follows.
        motion_stem: start every second filter of the stem as a difference over time. Trained from
            scratch on few clips, motion is then seen from the first step.
    """

    stem_width: int = 64
    stem_kernel: tuple[int, int, int] = (1, 7, 7)
    stem_stride: int = 2
    stem_pool: bool = True
    widths: Four = (64, 128, 256, 512)
    depths: Four = (3, 4, 6, 3)
    bottleneck: bool = True
    temporal_kernels: Four = (1, 1, 3, 3)
    temporal_blocks: Four | None = None
    temporal_strides: Four = (1, 1, 1, 1)
    strides: Four = (1, 2, 2, 1)
    dilations: Four = (1, 1, 1, 2)
    nonlocal_after: tuple[tuple[int, ...], ...] = ((), (), (), ())
    motion_stem: bool = False

    def __post_init__(self) -> None:
        numbers = (self.stem_width, self.stem_stride, *self.widths, *self.depths, *self.strides)
        if min(numbers) < 1:
            raise ValueError(f"PathwayShape: widths, depths and strides must be positive: {self}")
        if any(size % 2 == 0 for size in (*self.stem_kernel, *self.temporal_kernels)):
            raise ValueError(
                f"PathwayShape: kernel sizes must be odd, found stem_kernel={self.stem_kernel}, "
                f"temporal_kernels={self.temporal_kernels}"
            )

    @property
    def channels(self) -> Four:
        """Channels that each stage puts out."""
        a, b, c, d = (width * (4 if self.bottleneck else 1) for width in self.widths)
        return (a, b, c, d)

    @property
    def pixel_strides(self) -> Four:
        """Pixels of the clip per cell of each stage's map."""
        stem = self.stem_stride * (2 if self.stem_pool else 1)
        _, a, b, c, d = accumulate(self.strides, mul, initial=stem)
        return (a, b, c, d)


class Stem(nn.Module):
    """Convolution, normalisation, ReLU and, where asked for, a max-pool."""

    def __init__(self, shape: PathwayShape, norm: Norm = nn.BatchNorm3d) -> None:
        super().__init__()
        over_time, high, wide = shape.stem_kernel
        self.conv = nn.Conv3d(
            3,
            shape.stem_width,
            shape.stem_kernel,
            stride=(1, shape.stem_stride, shape.stem_stride),
            padding=(over_time // 2, high // 2, wide // 2),
            bias=False,
        )
        self.norm = norm(shape.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if shape.stem_pool else None

    def forward(self, clips: Tensor) -> Tensor:
        """Clips `[N, 3, T, H, W]` to the first map."""
        x = self.relu(self.norm(self.conv(clips)))
        return x if self.pool is None else self.pool(x)


class Stage(nn.Module):
    """Residual blocks in a row, some of them followed by a non-local block.

    Attributes:
        recompute: compute the activations a second time in the backward pass instead of keeping
            them; see `recomputation`.
    """

    def __init__(self, blocks: list[nn.Module], nonlocals: dict[int, nn.Module]) -> None:
        super().__init__()
        self.recompute = False
        self.blocks = nn.ModuleList(blocks)
        self.nonlocals = nn.ModuleDict({str(block): module for block, module in nonlocals.items()})

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]` to the stage's map."""
        return recomputed(self, self._run, x) if self.recompute else self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.blocks):
            x = block(x)
            if str(index) in self.nonlocals:
                x = self.nonlocals[str(index)](x)
        return x


class Pathway(nn.Module):
    """A stem and four stages; not run as a whole, since pathways exchange maps between stages.

    Args:
        shape: the pathway's numbers.
        fused: channels that another pathway adds to the input of each stage.
        norm: the normalisation layer.
    """

    def __init__(
        self, shape: PathwayShape, *, fused: Four = (0, 0, 0, 0), norm: Norm = nn.BatchNorm3d
    ) -> None:
        super().__init__()
        self.shape = shape
        self.stem = Stem(shape, norm)
        channels = shape.stem_width
        for stage, name in enumerate(STAGES):
            self.add_module(name, _stage(shape, stage, channels + fused[stage], norm))
            channels = shape.channels[stage]
        initialise(self)
        if shape.motion_stem:
            start_from_motion(self.stem.conv.weight)

    def stage(self, name: str) -> nn.Module:
        """A stage by its name."""
        return self.get_submodule(name)


@torch.no_grad()
def start_from_motion(weight: Tensor) -> None:
    """Take the mean over time from every second filter `[C, 3, t, h, w]`: still scenes give 0."""
    weight[::2] -= weight[::2].mean(dim=2, keepdim=True)


def initialise(module: nn.Module) -> None:
    """Kaiming weights for convolutions; the last norm of each residual branch starts at zero.

    So every block begins as its shortcut, which makes training from scratch start smoothly.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, (Bottleneck, Basic, NonLocal)):
            weight = getattr(part.last_norm, "weight", None)
            if isinstance(weight, nn.Parameter):
                nn.init.zeros_(weight)


def _stage(shape: PathwayShape, stage: int, channels_in: int, norm: Norm) -> Stage:
    block_type = Bottleneck if shape.bottleneck else Basic
    depth, width, channels = shape.depths[stage], shape.widths[stage], shape.channels[stage]
    temporal = depth if shape.temporal_blocks is None else shape.temporal_blocks[stage]
    blocks: list[nn.Module] = []
    for block in range(depth):
        first = block == 0
        numbers = BlockShape(
            channels_in=channels_in if first else channels,
            width=width,
            channels_out=channels,
            temporal_kernel=shape.temporal_kernels[stage] if block < temporal else 1,
            temporal_stride=shape.temporal_strides[stage] if first else 1,
            stride=shape.strides[stage] if first else 1,
            dilation=shape.dilations[stage],
        )
        blocks.append(block_type(numbers, norm))
    nonlocals: dict[int, nn.Module] = {
        block: NonLocal(channels, channels // 2, norm=norm) for block in shape.nonlocal_after[stage]
    }
    return Stage(blocks, nonlocals)

"""3D residual networks with 3x3x3 kernels throughout: ResNeXt and ResNet of 3D-ResNets-PyTorch.

Maps are [N, C, T, H, W]; time shrinks with space, from the stem's pool on.
Source: Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Literal

from torch import Tensor, nn

from stad_models.backbones.features import Features
from stad_models.backbones.pathway import STAGES, start_from_motion
from stad_models.backbones.residual import Norm


@dataclass(frozen=True, kw_only=True)
class ResNext3dShape:
    """The numbers of a network; the defaults are those of ResNeXt-101.

    Attributes:
        stem_width: channels of the stem.
        stem_kernel: its kernel (time, height, width), odd.
        stem_strides: its strides (time, space).
        stem_pool: whether a max-pool of stride 2, in time and space, follows.
        widths: channels inside the blocks of each stage.
        depths: blocks of each stage.
        strides: stride of each stage over space, and over time unless told otherwise.
        frame_strides: stride of each stage over time; None is as over space.
        expansion: channels that a bottleneck puts out per channel inside; basic blocks have none.
        cardinality: groups of the bottleneck's 3x3x3 convolution; basic blocks have none.
        block: "bottleneck" (1, 3, 1) or "basic" (3, 3).
        motion_stem: start every second filter of the stem as a difference over time, as in
            `PathwayShape`.

    Raises:
        ValueError: numbers that do not fit together.
    """

    stem_width: int = 64
    stem_kernel: tuple[int, int, int] = (7, 7, 7)
    stem_strides: tuple[int, int] = (1, 2)
    stem_pool: bool = True
    widths: tuple[int, int, int, int] = (128, 256, 512, 1024)
    depths: tuple[int, int, int, int] = (3, 4, 23, 3)
    strides: tuple[int, int, int, int] = (1, 2, 2, 2)
    frame_strides: tuple[int, int, int, int] | None = None
    expansion: int = 2
    cardinality: int = 32
    block: Literal["bottleneck", "basic"] = "bottleneck"
    motion_stem: bool = False

    def __post_init__(self) -> None:
        numbers = (*self.widths, *self.depths, *self.strides, *self.over_time, self.stem_width)
        if min(numbers) < 1:
            raise ValueError(f"ResNext3dShape: numbers must be positive: {self}")
        if any(size % 2 == 0 for size in self.stem_kernel):
            raise ValueError(f"ResNext3dShape: stem_kernel must be odd, found {self.stem_kernel}")
        if self.block not in ("bottleneck", "basic"):
            raise ValueError(
                f"ResNext3dShape: block must be 'bottleneck' or 'basic', found {self.block!r}"
            )
        grouped = self.block == "bottleneck"
        if grouped and any(width % self.cardinality for width in self.widths):
            raise ValueError(
                f"ResNext3dShape: widths must be multiples of the cardinality {self.cardinality}, "
                f"found {self.widths}"
            )

    @property
    def over_time(self) -> tuple[int, int, int, int]:
        """Stride of each stage over time."""
        return self.frame_strides or self.strides

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels that each stage puts out."""
        return tuple(
            width * (self.expansion if self.block == "bottleneck" else 1) for width in self.widths
        )

    @property
    def pixel_strides(self) -> tuple[int, ...]:
        """Pixels of the clip per cell of each stage's map."""
        stem = self.stem_strides[1] * (2 if self.stem_pool else 1)
        return tuple(accumulate(self.strides, mul, initial=stem))[1:]

    @property
    def frame_stride(self) -> int:
        """Frames of the clip per frame of the last stage's map."""
        stem = self.stem_strides[0] * (2 if self.stem_pool else 1)
        return tuple(accumulate(self.over_time, mul, initial=stem))[-1]


class Residual(nn.Module):
    """Convolutions, each with its normalisation, beside a shortcut; ReLU between and at the end.

    Args:
        layers: convolution and normalisation in turn.
        shortcut: what brings the input to the shape of the result.
    """

    def __init__(self, layers: Sequence[tuple[nn.Module, nn.Module]], shortcut: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv for conv, _ in layers)
        self.norms = nn.ModuleList(norm for _, norm in layers)
        self.shortcut = shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]`, strided."""
        residual, last = x, len(self.convs) - 1
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            residual = norm(conv(residual))
            if place < last:
                residual = self.relu(residual)
        return self.relu(residual + self.shortcut(x))


class ResNext3d(nn.Module):
    """A trunk over whole clips; of a clip as long as `frame_stride` the last map has one frame.

    Args:
        shape: the network's numbers.
        norm: the normalisation layer.

    Attributes:
        strides, channels: see `Backbone`.
        frame_stride: frames of the clip per frame of the last map.
    """

    def __init__(self, shape: ResNext3dShape | None = None, *, norm: Norm = nn.BatchNorm3d) -> None:
        super().__init__()
        self.shape = shape or ResNext3dShape()
        numbers = self.shape
        over_time, over_space = numbers.stem_strides
        first = _conv(
            3,
            numbers.stem_width,
            numbers.stem_kernel,
            stride=(over_time, over_space, over_space),
        )
        layers: list[nn.Module] = [first, norm(numbers.stem_width), nn.ReLU(inplace=True)]
        if numbers.stem_pool:
            layers.append(nn.MaxPool3d(3, stride=2, padding=1))
        self.stem = nn.Sequential(*layers)
        channels = numbers.stem_width
        for stage, name in enumerate(STAGES):
            self.add_module(name, _stage(numbers, stage, channels, norm))
            channels = numbers.channels[stage]
        self.strides = _named(numbers.pixel_strides)
        self.channels = _named(numbers.channels)
        self.frame_stride = numbers.frame_stride
        _initialise(self)
        if numbers.motion_stem:
            start_from_motion(first.weight)

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps and the res5 map of clips `[N, 3, T, H, W]`."""
        x = self.stem(clips)
        keyframe: dict[str, Tensor] = {}
        for name in STAGES:
            x = self.get_submodule(name)(x)
            keyframe[name] = x[:, :, x.shape[2] // 2]
        return Features(keyframe=keyframe, clip=(x,))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)


def _stage(shape: ResNext3dShape, stage: int, channels_in: int, norm: Norm) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for block in range(shape.depths[stage]):
        over_time, over_space = shape.over_time[stage], shape.strides[stage]
        stride = (1, 1, 1) if block else (over_time, over_space, over_space)
        blocks.append(_block(shape, stage, channels_in, stride, norm))
        channels_in = shape.channels[stage]
    return nn.Sequential(*blocks)


def _block(
    shape: ResNext3dShape,
    stage: int,
    channels_in: int,
    stride: tuple[int, int, int],
    norm: Norm,
) -> Residual:
    width, channels = shape.widths[stage], shape.channels[stage]
    if shape.block == "bottleneck":
        layers = [
            (_conv(channels_in, width, 1), norm(width)),
            (_conv(width, width, 3, stride=stride, groups=shape.cardinality), norm(width)),
            (_conv(width, channels, 1), norm(channels)),
        ]
    else:
        layers = [
            (_conv(channels_in, width, 3, stride=stride), norm(width)),
            (_conv(width, width, 3), norm(width)),
        ]
    same = channels_in == channels and stride == (1, 1, 1)
    shortcut = (
        nn.Identity()
        if same
        else nn.Sequential(_conv(channels_in, channels, 1, stride=stride), norm(channels))
    )
    return Residual(layers, shortcut)


def _conv(
    channels_in: int,
    channels_out: int,
    kernel: int | tuple[int, int, int],
    *,
    stride: int | tuple[int, int, int] = 1,
    groups: int = 1,
) -> nn.Conv3d:
    sizes = (kernel, kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Conv3d(
        channels_in,
        channels_out,
        sizes,
        stride=stride,
        padding=(sizes[0] // 2, sizes[1] // 2, sizes[2] // 2),
        groups=groups,
        bias=False,
    )


def _initialise(module: nn.Module) -> None:
    """Kaiming weights; the last norm of each residual branch starts at zero, as in `pathway`."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    for part in module.modules():
        if isinstance(part, Residual):
            weight = getattr(part.norms[-1], "weight", None)
            if isinstance(weight, nn.Parameter):
                nn.init.zeros_(weight)


def _named(numbers: tuple[int, ...]) -> dict[str, int]:
    return {**dict(zip(STAGES, numbers, strict=True)), "clip": numbers[-1]}

"""I3D: Inception with kernels over time, whole or up to one of its named layers.

Maps are [N, C, T, H, W]; kernels and strides are (time, height, width) or (time, space). Padding is
TensorFlow's SAME: as much as the last window needs, and the odd cell of it behind.
Source: Quo vadis, action recognition? A new model and the Kinetics dataset.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from stad_models.backbones.features import Features
from stad_models.backbones.residual import Norm

Endpoint = Literal[
    "conv_1a",
    "pool_2a",
    "conv_2b",
    "conv_2c",
    "pool_3a",
    "mixed_3b",
    "mixed_3c",
    "pool_4a",
    "mixed_4b",
    "mixed_4c",
    "mixed_4d",
    "mixed_4e",
    "mixed_4f",
    "pool_5a",
    "mixed_5b",
    "mixed_5c",
]
"""The layers by name, in order."""

ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)

KEYFRAME_MAPS: dict[str, Endpoint] = {
    "res2": "conv_2c",
    "res3": "mixed_3c",
    "res4": "mixed_4f",
    "res5": "mixed_5c",
}
"""The last layers of each stride, under the names that other backbones give theirs."""

_POOL_KERNELS: dict[Endpoint, tuple[int, int, int]] = {
    "pool_2a": (1, 3, 3),
    "pool_3a": (1, 3, 3),
    "pool_4a": (3, 3, 3),
    "pool_5a": (2, 2, 2),
}
_CONV_CHANNELS: dict[Endpoint, int] = {"conv_1a": 64, "conv_2b": 64, "conv_2c": 192}
_CONV_KERNELS: dict[Endpoint, int] = {"conv_2b": 1, "conv_2c": 3}
# Channels of the branches: 1x1x1; 1x1x1 and 3x3x3; the same, narrower; pool and 1x1x1.
_MIXED_CHANNELS: dict[Endpoint, tuple[int, int, int, int, int, int]] = {
    "mixed_3b": (64, 96, 128, 16, 32, 32),
    "mixed_3c": (128, 128, 192, 32, 96, 64),
    "mixed_4b": (192, 96, 208, 16, 48, 64),
    "mixed_4c": (160, 112, 224, 24, 64, 64),
    "mixed_4d": (128, 128, 256, 24, 64, 64),
    "mixed_4e": (112, 144, 288, 32, 64, 64),
    "mixed_4f": (256, 160, 320, 32, 128, 128),
    "mixed_5b": (256, 160, 320, 32, 128, 128),
    "mixed_5c": (384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True)
class I3dShape:
    """The numbers of a network; the defaults are the published ones.

    Attributes:
        channels_in: 3 for colour, 2 for optical flow, 5 for both at once.
        last: the last layer; those after it are not built.
        width: times the published channels of every layer; at least 4 channels are left.
        stem_kernel: side of the first convolution's kernel.
        stem_strides: its strides (time, space).
        pool_strides: those of the four pools, 2a to 5a; (1, 1) keeps the size of the map.

    Raises:
        ValueError: numbers that do not make a network.
    """

    channels_in: int = 3
    last: Endpoint = "mixed_5c"
    width: float = 1.0
    stem_kernel: int = 7
    stem_strides: tuple[int, int] = (2, 2)
    pool_strides: tuple[tuple[int, int], ...] = ((1, 2), (1, 2), (2, 2), (2, 2))

    def __post_init__(self) -> None:
        if self.last not in ENDPOINTS:
            raise ValueError(
                f"I3dShape: last must be one of {', '.join(ENDPOINTS)}, found {self.last!r}"
            )
        if len(self.pool_strides) != len(_POOL_KERNELS):
            raise ValueError(
                "I3dShape: pool_strides must be (time, space) of the 4 pools 2a, 3a, 4a and 5a, "
                f"found {self.pool_strides}"
            )
        strides = (self.stem_strides, *self.pool_strides)
        if any(len(pair) != 2 or min(pair) < 1 for pair in strides):
            raise ValueError(f"I3dShape: strides must be pairs of positive numbers: {strides}")
        if min(self.channels_in, self.stem_kernel) < 1 or self.width <= 0:
            raise ValueError(
                "I3dShape: channels_in, stem_kernel and width must be positive, "
                f"found {self.channels_in}, {self.stem_kernel} and {self.width}"
            )

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The layers that are built, in order."""
        return ENDPOINTS[: ENDPOINTS.index(self.last) + 1]

    def scaled(self, channels: int) -> int:
        """Channels of a layer that has so many in the published network."""
        return max(4, round(channels * self.width))

    def layer_channels(self, endpoint: Endpoint) -> int:
        """Channels that a layer puts out."""
        if endpoint in _CONV_CHANNELS:
            return self.scaled(_CONV_CHANNELS[endpoint])
        if endpoint in _MIXED_CHANNELS:
            a, _, b, _, c, d = _MIXED_CHANNELS[endpoint]
            return sum(map(self.scaled, (a, b, c, d)))
        return self.layer_channels(ENDPOINTS[ENDPOINTS.index(endpoint) - 1])

    def layer_strides(self, endpoint: Endpoint) -> tuple[int, int]:
        """Frames and pixels of the clip per cell of a layer's map."""
        over_time, over_space = self.stem_strides
        before = ENDPOINTS[: ENDPOINTS.index(endpoint) + 1]
        for pool, strides in zip(_POOL_KERNELS, self.pool_strides, strict=True):
            if pool in before:
                over_time, over_space = over_time * strides[0], over_space * strides[1]
        return over_time, over_space


i3d_norm = partial(nn.BatchNorm3d, eps=1e-3)
"""Batch normalisation with the public code's epsilon."""


class SameConv(nn.Module):
    """Convolution with SAME padding, normalisation and ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        strides: tuple[int, int] = (1, 1),
        norm: Norm,
    ) -> None:
        super().__init__()
        self.window = (kernel, kernel, kernel)
        self.strides = (strides[0], strides[1], strides[1])
        self.conv = nn.Conv3d(
            channels_in, channels_out, kernel, stride=self.strides, padding=0, bias=False
        )
        self.norm = norm(channels_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]`, strided: sides are divided by the stride and rounded up."""
        return self.relu(self.norm(self.conv(_padded(x, self.window, self.strides))))


class SamePool(nn.Module):
    """Max-pooling with SAME padding of zeros, as the public code has it; maps are never below."""

    def __init__(self, window: tuple[int, int, int], strides: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.window = window
        self.strides = (strides[0], strides[1], strides[1])

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]`, strided as `SameConv`."""
        padded = _padded(x, self.window, self.strides)
        return functional.max_pool3d(padded, self.window, stride=self.strides)


class Mixed(nn.Module):
    """Four branches side by side: an Inception block."""

    def __init__(
        self, channels_in: int, widths: tuple[int, int, int, int, int, int], *, norm: Norm
    ) -> None:
        super().__init__()
        plain, wide_in, wide, narrow_in, narrow, pooled = widths
        self.plain = SameConv(channels_in, plain, 1, norm=norm)
        self.wide = nn.Sequential(
            SameConv(channels_in, wide_in, 1, norm=norm), SameConv(wide_in, wide, 3, norm=norm)
        )
        self.narrow = nn.Sequential(
            SameConv(channels_in, narrow_in, 1, norm=norm),
            SameConv(narrow_in, narrow, 3, norm=norm),
        )
        self.pooled = nn.Sequential(
            SamePool((3, 3, 3)), SameConv(channels_in, pooled, 1, norm=norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, T, H, W]` to the same size, channels of the branches in order."""
        return torch.cat((self.plain(x), self.wide(x), self.narrow(x), self.pooled(x)), dim=1)


class I3d(nn.Module):
    """Inflated Inception, as a trunk.

    Args:
        shape: the network's numbers.
        norm: the normalisation layer.

    Attributes:
        strides, channels: see `Backbone`; also by the name of every layer that is built.
        frame_stride: frames of the clip per frame of the last map.
        left_out: names of the published network's layers that are not built.
    """

    def __init__(self, shape: I3dShape | None = None, *, norm: Norm = i3d_norm) -> None:
        super().__init__()
        self.shape = shape or I3dShape()
        numbers = self.shape
        pools = dict(zip(_POOL_KERNELS, numbers.pool_strides, strict=True))
        channels = numbers.channels_in
        for name in numbers.endpoints:
            self.add_module(name, _layer(numbers, name, channels, pools, norm))
            channels = numbers.layer_channels(name)
        keyframe: dict[str, Endpoint] = {
            key: name for key, name in KEYFRAME_MAPS.items() if name in numbers.endpoints
        }
        named: dict[str, Endpoint] = {
            **{str(name): name for name in numbers.endpoints},
            **keyframe,
            "clip": numbers.last,
        }
        self.keyframe_maps = keyframe
        self.strides = {key: numbers.layer_strides(name)[1] for key, name in named.items()}
        self.channels = {key: numbers.layer_channels(name) for key, name in named.items()}
        self.frame_stride = numbers.layer_strides(numbers.last)[0]
        self.left_out: tuple[str, ...] = ENDPOINTS[len(numbers.endpoints) :]
        for part in self.modules():
            if isinstance(part, nn.Conv3d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def endpoints(self, clips: Tensor, names: Collection[Endpoint]) -> dict[Endpoint, Tensor]:
        """Maps of the named layers, for clips `[N, C, T, H, W]`.

        Layers after the last of the names are not run.

        Raises:
            ValueError: a layer that is not built is asked for.
        """
        missing = [name for name in names if name not in self.shape.endpoints]
        if missing:
            raise ValueError(
                f"I3d: {', '.join(missing)} asked for, but this network ends with "
                f"{self.shape.last}; build it with a later `last`"
            )
        found: dict[Endpoint, Tensor] = {}
        x = clips
        for name in self.shape.endpoints:
            if len(found) == len(set(names)):
                break
            x = self.get_submodule(name)(x)
            if name in names:
                found[name] = x
        return found

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps and the last map of clips `[N, C, T, H, W]`."""
        wanted: set[Endpoint] = {*self.keyframe_maps.values(), self.shape.last}
        found = self.endpoints(clips, wanted)
        keyframe = {
            key: found[name][:, :, found[name].shape[2] // 2]
            for key, name in self.keyframe_maps.items()
        }
        return Features(keyframe=keyframe, clip=(found[self.shape.last],))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)


def _layer(
    shape: I3dShape,
    name: Endpoint,
    channels_in: int,
    pools: dict[Endpoint, tuple[int, int]],
    norm: Norm,
) -> nn.Module:
    if name in pools:
        return SamePool(_POOL_KERNELS[name], pools[name])
    if name in _MIXED_CHANNELS:
        a, b, c, d, e, f = map(shape.scaled, _MIXED_CHANNELS[name])
        return Mixed(channels_in, (a, b, c, d, e, f), norm=norm)
    return SameConv(
        channels_in,
        shape.layer_channels(name),
        _CONV_KERNELS.get(name, shape.stem_kernel),
        strides=shape.stem_strides if name == "conv_1a" else (1, 1),
        norm=norm,
    )


def _padded(x: Tensor, window: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Zeros around a map, so that a window starts at every stride-th cell of it."""
    pads: list[int] = []
    # functional.pad takes the last dimension first.
    for size, kernel, stride in zip(x.shape[:1:-1], window[::-1], strides[::-1], strict=True):
        whole = max(kernel - (size % stride or stride), 0)
        pads += [whole // 2, whole - whole // 2]
    return functional.pad(x, pads) if any(pads) else x

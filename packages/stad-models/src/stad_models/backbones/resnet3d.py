"""SlowOnly and SlowFast residual networks of any depth and width. Maps are [N, C, T, H, W].

Source: SlowFast networks for video recognition; structure and order of layers as in PySlowFast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stad_models.backbones.features import Features
from stad_models.backbones.pathway import STAGES, Four, Pathway, initialise
from stad_models.backbones.residual import Norm


class SlowOnly(nn.Module):
    """One pathway over all frames of the clip.

    Attributes:
        strides, channels: see `Backbone`.
    """

    def __init__(self, slow: Pathway) -> None:
        super().__init__()
        self.slow = slow
        self.strides = _named(slow.shape.pixel_strides)
        self.channels = _named(slow.shape.channels)

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps and the res5 map of clips `[N, 3, T, H, W]`."""
        x = self.slow.stem(clips)
        keyframe: dict[str, Tensor] = {}
        for name in STAGES:
            x = self.slow.stage(name)(x)
            keyframe[name] = _at_keyframe(x)
        return Features(keyframe=keyframe, clip=(x,))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)


class Fusion(nn.Module):
    """Brings the fast pathway's map to the slow one's frame rate: strided convolution over time.

    Args:
        channels: channels of the fast pathway's map.
        ratio: channels put out per channel.
        kernel: kernel size over time, odd.
        alpha: stride over time.
        norm: what follows the convolution, and then a ReLU; None for the convolution alone, as
            mmaction2 has it.
    """

    def __init__(
        self,
        channels: int,
        *,
        ratio: int,
        kernel: int,
        alpha: int,
        norm: Norm | None = nn.BatchNorm3d,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            channels,
            channels * ratio,
            (kernel, 1, 1),
            stride=(alpha, 1, 1),
            padding=(kernel // 2, 0, 0),
            bias=False,
        )
        self.norm = None if norm is None else norm(channels * ratio)
        self.relu = nn.ReLU(inplace=True)
        initialise(self)

    def forward(self, fast: Tensor) -> Tensor:
        """`[N, C, T, H, W]` to `[N, ratio * C, T / alpha, H, W]`."""
        x = self.conv(fast)
        return x if self.norm is None else self.relu(self.norm(x))


class SlowFast(nn.Module):
    """A slow pathway on every alpha-th frame, fed by a thin fast one on all of them.

    Keyframe maps join slow and fast channels as they are before the lateral fusion.

    Args:
        slow: the slow pathway, built with `fused` equal to what the fusions put out.
        fast: the fast pathway.
        fusions: one per stage input, from the stem's to that of res5.
        alpha: frames of the fast pathway per frame of the slow one.
        spread: whether the slow pathway's frames reach from the clip's first to its last, as in
            PySlowFast, or are every alpha-th from the first, as in mmaction2.

    Attributes:
        strides, channels: see `Backbone`.
    """

    def __init__(
        self,
        slow: Pathway,
        fast: Pathway,
        fusions: list[Fusion],
        *,
        alpha: int,
        spread: bool = True,
    ) -> None:
        super().__init__()
        if slow.shape.pixel_strides != fast.shape.pixel_strides:
            raise ValueError(
                "SlowFast: both pathways need the same spatial strides, found "
                f"{slow.shape.pixel_strides} and {fast.shape.pixel_strides}"
            )
        self.slow = slow
        self.fast = fast
        self.fusions = nn.ModuleList(fusions)
        self.alpha = alpha
        self.spread = spread
        pairs = zip(slow.shape.channels, fast.shape.channels, strict=True)
        a, b, c, d = (slow_channels + fast_channels for slow_channels, fast_channels in pairs)
        self.strides = _named(slow.shape.pixel_strides)
        self.channels = _named((a, b, c, d))

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps and both res5 maps of clips `[N, 3, T, H, W]`.

        Raises:
            ValueError: T is not a multiple of alpha.
        """
        frames = slow_frames(clips.shape[2], self.alpha, spread=self.spread)
        slow, fast = self.slow.stem(clips[:, :, frames]), self.fast.stem(clips)
        keyframe: dict[str, Tensor] = {}
        for name, fusion in zip(STAGES, self.fusions, strict=True):
            slow = self.slow.stage(name)(torch.cat((slow, fusion(fast)), dim=1))
            fast = self.fast.stage(name)(fast)
            keyframe[name] = torch.cat((_at_keyframe(slow), _at_keyframe(fast)), dim=1)
        return Features(keyframe=keyframe, clip=(slow, fast))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)


def slow_frames(length: int, alpha: int, *, spread: bool = True) -> list[int]:
    """Positions that the slow pathway sees: `linspace(0, length - 1, length / alpha)`, truncated.

    For 32 frames and alpha 4: 0, 4, 8, 13, 17, 22, 26, 31, as in PySlowFast. Without `spread`
    every alpha-th: 0, 4, ..., 28, as in mmaction2.

    Raises:
        ValueError: length is not a multiple of alpha.
    """
    count, rest = divmod(length, alpha)
    if rest or count == 0:
        raise ValueError(
            f"SlowFast: the number of frames must be a multiple of alpha = {alpha}, found {length}"
        )
    if not spread:
        return list(range(0, length, alpha))
    return [position * (length - 1) // max(count - 1, 1) for position in range(count)]


def _at_keyframe(x: Tensor) -> Tensor:
    return x[:, :, x.shape[2] // 2]


def _named(numbers: Four) -> dict[str, int]:
    return {**dict(zip(STAGES, numbers, strict=True)), "clip": numbers[-1]}

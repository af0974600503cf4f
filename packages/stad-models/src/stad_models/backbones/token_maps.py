"""What detectors need of transformer backbones: keyframe maps and clip maps from tokens."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def keyframe_map(tokens: Tensor) -> Tensor:
    """The keyframe's tokens of `[N, T, H, W, C]` as a map `[N, C, H, W]`, normalised over channels.

    Sums that pass through many residual blocks differ widely in scale between stages, so detectors
    normalise each stage's map. Here the norm has no weights: the 1x1 convolution that follows in a
    pyramid can scale and shift, and a public checkpoint fills every tensor of the backbone.
    """
    keyframe = tokens[:, tokens.shape[1] // 2]
    normal = functional.layer_norm(keyframe, keyframe.shape[-1:], eps=1e-6)
    return normal.permute(0, 3, 1, 2)


def clip_map(tokens: Tensor) -> Tensor:
    """Tokens `[N, T, H, W, C]` as a map `[N, C, T, H, W]`."""
    return tokens.permute(0, 4, 1, 2, 3)


def check_clip(name: str, clips: Tensor, *, least: int) -> None:
    """Refuse clips `[N, 3, T, H, W]` whose sides are shorter than the coarsest map's cell.

    Raises:
        ValueError: not five axes, no frame, or a side of fewer than `least` pixels.
    """
    if clips.ndim != 5 or clips.shape[1] != 3 or clips.shape[2] == 0:
        raise ValueError(
            f"{name}: clips must be [N, 3, T, H, W] with T of at least 1, found {list(clips.shape)}"
        )
    height, width = clips.shape[3:]
    if min(height, width) < least:
        raise ValueError(
            f"{name}: clips must be at least {least} pixels high and wide, found "
            f"{width}x{height}; resize them"
        )

"""ViViT with a factorised encoder: space first, then time. Tokens are [N, T, H, W, C].

Source: ViViT: a video vision transformer, Sec. 3.2 (tubelets) and 3.3 (model 2); the finer map as
in Exploring plain vision transformer backbones for object detection, Sec. 3 (simple pyramid).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import MLP, StochasticDepth

from stad_models.backbones.features import Features
from stad_models.backbones.recomputation import recomputed
from stad_models.backbones.token_maps import check_clip, clip_map, keyframe_map

PATCH = 16
"""Pixels per token, each way."""
TUBELET = 2
"""Frames per token."""


@dataclass(frozen=True, kw_only=True)
class VivitShape:
    """The numbers of a ViViT.

    Attributes:
        width: channels of the tokens, divisible by `heads`.
        heads: attention heads.
        spatial_depth: blocks that see the tokens of one time.
        temporal_depth: blocks that see the tokens of one place.
        frames: frames of the clip that positions are learned for.
        size: side in pixels of the square clip that positions are learned for.
        mlp_ratio: hidden channels of a block's MLP per channel.
        drop_path: chance that the last block's branches are left out of a clip in training; it
            rises linearly from 0 at the first block.
    """

    width: int = 384
    heads: int = 6
    spatial_depth: int = 12
    temporal_depth: int = 4
    frames: int = 16
    size: int = 224
    mlp_ratio: int = 4
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        numbers = (self.width, self.heads, self.spatial_depth, self.temporal_depth, self.mlp_ratio)
        if min(numbers) < 1 or self.width % (2 * self.heads):
            raise ValueError(
                "VivitShape: depths and heads must be positive and width a multiple of twice the "
                f"heads, found {self}"
            )
        if self.frames % TUBELET or self.size % PATCH or min(self.frames, self.size) < 1:
            raise ValueError(
                f"VivitShape: frames must be a multiple of {TUBELET} and size of {PATCH}, found "
                f"frames={self.frames}, size={self.size}"
            )
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"VivitShape: drop_path must be in [0, 1), found {self.drop_path}")


class Vivit(nn.Module):
    """A `Backbone` of tokens at stride 16, two frames each: "res4" and "clip" at 16, "res3" at 8.

    The spatial transformer sees the tokens of each time on their own; its keyframe gives "res4",
    and "res3" after a transposed convolution of stride 2. The temporal transformer then sees, at
    each place, the tokens of all times, and gives the clip map. (The published classifier hands it
    one token per time instead; a detector needs the places. The layers are the same.)

    Clips may have any even number of frames, and any size of at least 16x16 pixels: what is no
    multiple of 16 is padded with zeros below and to the right. Positions are interpolated.

    Attributes:
        strides, channels: see `Backbone`.
    """

    def __init__(self, shape: VivitShape) -> None:
        super().__init__()
        width, side = shape.width, shape.size // PATCH
        kernel = (TUBELET, PATCH, PATCH)
        self.shape = shape
        self.patches = nn.Conv3d(3, width, kernel, stride=kernel)
        self.space = nn.Parameter(torch.empty(1, width, side, side))
        self.time = nn.Parameter(torch.empty(1, width, shape.frames // TUBELET))
        depth = shape.spatial_depth + shape.temporal_depth
        drops = [shape.drop_path * index / max(depth - 1, 1) for index in range(depth)]
        blocks = [Block(width, shape.heads, shape.mlp_ratio, drop) for drop in drops]
        self.spatial = nn.Sequential(*blocks[: shape.spatial_depth])
        self.temporal = nn.Sequential(*blocks[shape.spatial_depth :])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.finer = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
        self.strides = {"res3": PATCH // 2, "res4": PATCH, "clip": PATCH}
        self.channels = {"res3": width // 2, "res4": width, "clip": width}
        _initialise(self)

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps "res3" and "res4" and the clip map of clips `[N, 3, T, H, W]`.

        Raises:
            ValueError: clips of another shape, an odd number of frames, or fewer than 16 pixels.
        """
        check_clip("Vivit", clips, least=PATCH)
        if clips.shape[2] % TUBELET:
            raise ValueError(
                f"Vivit: the number of frames must be a multiple of {TUBELET}, found "
                f"{clips.shape[2]}"
            )
        over = [-side % PATCH for side in clips.shape[3:]]
        tokens = self.patches(functional.pad(clips, (0, over[1], 0, over[0])))
        count, _, frames, high, wide = tokens.shape
        space, time = self._positions(frames, high, wide)
        x = (tokens + space).permute(0, 2, 3, 4, 1)
        x = self.spatial(x.reshape(count * frames, high * wide, -1))
        x = x.view(count, frames, high, wide, -1)
        coarse = keyframe_map(x)
        # Cells of padding alone would lie beyond the map that a stride of 8 gives.
        finer = self.finer(coarse)[:, :, : -(-clips.shape[3] // 8), : -(-clips.shape[4] // 8)]
        x = (x + time).permute(0, 2, 3, 1, 4)
        x = self.temporal(x.reshape(count * high * wide, frames, -1))
        x = self.norm(x).view(count, high, wide, frames, -1).permute(0, 3, 1, 2, 4)
        return Features(keyframe={"res3": finer, "res4": coarse}, clip=(clip_map(x),))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)

    def _positions(self, frames: int, high: int, wide: int) -> tuple[Tensor, Tensor]:
        """Positions over space `[1, C, 1, H, W]`, and over time `[1, T, 1, 1, C]`."""
        space, time = self.space, self.time
        if space.shape[2:] != (high, wide):
            space = functional.interpolate(space, size=(high, wide), mode="bicubic")
        if time.shape[2] != frames:
            time = functional.interpolate(time, size=frames, mode="linear")
        return space[:, :, None], time.transpose(1, 2)[:, :, None, None]


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a shortcut.

    Attributes:
        recompute: whether the backward pass computes the block's activations again.

    Source: An image is worth 16x16 words, Eq. 2 and 3.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, [mlp_ratio * width, width], activation_layer=nn.GELU, inplace=None)
        self.drop_path = StochasticDepth(drop_path, "row")
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B, P, C]` to the same shape; a row attends to itself only."""
        return recomputed(self, self._run, x) if self.recompute else self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        query, key, value = (
            self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.drop_path(self.project(mixed.transpose(1, 2).flatten(2)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def _initialise(model: Vivit) -> None:
    """Truncated normal weights of deviation 0.02, as vision transformers have; biases of zero."""
    nn.init.trunc_normal_(model.space, std=0.02)
    nn.init.trunc_normal_(model.time, std=0.02)
    for part in model.modules():
        if isinstance(part, (nn.Linear, nn.Conv3d, nn.ConvTranspose2d)):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)

"""Multiscale vision transformers, plugged in from torchvision. Tokens are [N, T, H, W, C].

Source: Multiscale vision transformers (v1); MViTv2: improved multiscale vision transformers for
classification and detection (v2). Layers, and the names of their tensors, are torchvision's.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.video.mvit import MultiscaleBlock, MViT, Pool, PositionalEncoding

from stad_models.backbones.features import Features
from stad_models.backbones.pathway import STAGES
from stad_models.backbones.recomputation import recomputed
from stad_models.backbones.token_maps import check_clip, clip_map, keyframe_map

Size = tuple[int, int, int]


class MultiscaleTransformer(nn.Module):
    """A `Backbone` of four stages at strides 4, 8, 16 and 16 (or 32); time is halved once.

    Clips may have any number of frames, and any size of at least 32x32 pixels: absolute positions
    (v1) are interpolated over time and space, relative ones (v2) over their distances, both
    linearly and at run time, so that checkpoints fit whatever the clips.

    With `last_stride` 16 the last stage keeps the resolution of the one before it, and its keys and
    values are pooled by 2 as they are there. As in the ResNets for detection, regions are then
    pooled from a finer map, and the tensors are the same.

    Args:
        transformer: torchvision's, of four stages; its head is dropped.
        last_stride: pixels per cell of the last stage.

    Attributes:
        strides, channels: see `Backbone`.
        recompute: whether the backward pass computes the blocks' activations again.

    Raises:
        ValueError: the transformer has another number of stages, or the stride is neither.
    """

    def __init__(self, transformer: MViT, *, last_stride: Literal[16, 32] = 16) -> None:
        super().__init__()
        if last_stride not in (16, 32):
            raise ValueError(
                f"MultiscaleTransformer: last_stride must be 16 or 32, found {last_stride}"
            )
        blocks = [cast("MultiscaleBlock", block) for block in transformer.blocks]
        firsts = [index for index, block in enumerate(blocks) if block.pool_skip is not None]
        if len(firsts) != 3:
            raise ValueError(
                "MultiscaleTransformer: four stages are needed, found "
                f"{len(firsts) + 1} (blocks that halve the map: {firsts})"
            )
        self.last_blocks = tuple(index - 1 for index in (*firsts, len(blocks)))
        del transformer.head
        if last_stride == 16:
            _keep_resolution(blocks[firsts[-1] :])
        self.transformer = transformer
        self.recompute = False
        widths = [_width(blocks[index]) for index in self.last_blocks]
        strides = (4, 8, 16, last_stride)
        self.strides = {**dict(zip(STAGES, strides, strict=True)), "clip": last_stride}
        self.channels = {**dict(zip(STAGES, widths, strict=True)), "clip": widths[-1]}

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps of every stage, and the normalised map of the last, of `[N, 3, T, H, W]`.

        Raises:
            ValueError: clips of another shape, or of fewer than 32 pixels a side.
        """
        check_clip("MViT", clips, least=32)
        patches = self.transformer.conv_proj(clips)
        size: Size = (patches.shape[2], patches.shape[3], patches.shape[4])
        x = _with_positions(self.transformer.pos_encoding, patches.flatten(2).transpose(1, 2), size)
        keyframe: dict[str, Tensor] = {}
        for index, block in enumerate(self.transformer.blocks):
            x, size = self._block(cast("MultiscaleBlock", block), x, size)
            if index in self.last_blocks:
                name = STAGES[self.last_blocks.index(index)]
                keyframe[name] = keyframe_map(_places(x, size))
        clip = clip_map(_places(self.transformer.norm(x), size))
        return Features(keyframe=keyframe, clip=(clip,))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)

    def _block(self, block: MultiscaleBlock, x: Tensor, size: Size) -> tuple[Tensor, Size]:
        if not self.recompute:
            return block(x, size)
        stride = (1, 1, 1) if block.pool_skip is None else (1, 2, 2)
        time, high, wide = (-(-n // step) for n, step in zip(size, stride, strict=True))
        return recomputed(block, lambda y: block(y, size)[0], x), (time, high, wide)


def _width(block: MultiscaleBlock) -> int:
    last = [layer for layer in block.mlp if isinstance(layer, nn.Linear)][-1]
    return last.out_features


def _keep_resolution(blocks: list[MultiscaleBlock]) -> None:
    """Take the stride from a stage's queries and give it to its keys and values."""
    blocks[0].pool_skip = None
    _convolution(blocks[0].attn.pool_q).stride = (1, 1, 1)
    for block in blocks:
        for pool in (block.attn.pool_k, block.attn.pool_v):
            _convolution(pool).stride = (1, 2, 2)


def _convolution(pool: nn.Module | None) -> nn.Conv3d:
    return cast("nn.Conv3d", cast("Pool", pool).pool)


def _places(tokens: Tensor, size: Size) -> Tensor:
    """Tokens `[N, 1 + THW, C]` without the class token, as `[N, T, H, W, C]`."""
    return tokens[:, 1:].unflatten(1, size)


def _with_positions(encoding: PositionalEncoding, tokens: Tensor, size: Size) -> Tensor:
    """Put the class token before tokens `[N, THW, C]` and add what positions they have."""
    class_token = encoding.class_token.expand(len(tokens), 1, -1)
    x = torch.cat((class_token, tokens), dim=1)
    if encoding.spatial_pos is None or encoding.temporal_pos is None or encoding.class_pos is None:
        return x
    space_SC = _over_space(encoding.spatial_pos, encoding.spatial_size, size[1:])
    time_TC = _over_time(encoding.temporal_pos, size[0])
    places_PC = (time_TC[:, None] + space_SC[None]).flatten(0, 1)
    return x + torch.cat((encoding.class_pos[None], places_PC))


def _over_space(table_SC: Tensor, size: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    if size == wanted:
        return table_SC
    map_CHW = table_SC.unflatten(0, size).permute(2, 0, 1)
    return functional.interpolate(map_CHW[None], size=wanted, mode="bilinear")[0].flatten(1).T


def _over_time(table_TC: Tensor, wanted: int) -> Tensor:
    if len(table_TC) == wanted:
        return table_TC
    return functional.interpolate(table_TC.T[None], size=wanted, mode="linear")[0].T

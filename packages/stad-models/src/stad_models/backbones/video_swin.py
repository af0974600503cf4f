"""Video Swin transformers, plugged in from torchvision. Tokens are [N, T, H, W, C].

Source: Video Swin transformer. Layers, and the names of their tensors, are torchvision's.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d, SwinTransformer3d

from stad_models.backbones.features import Features
from stad_models.backbones.pathway import STAGES
from stad_models.backbones.recomputation import recomputed
from stad_models.backbones.token_maps import check_clip, clip_map, keyframe_map


class VideoSwin(nn.Module):
    """A `Backbone` of four stages at strides 4, 8, 16 and 32; time is halved once.

    Clips may have any number of frames, and any size of at least 32x32 pixels: what is no multiple
    of a patch or a window is padded with zeros after its last frame, row and column. The last stage
    cannot keep a stride of 16, since the layer before it merges four cells into one.

    Args:
        transformer: torchvision's, of four stages, with `window_block` for its blocks; its head is
            dropped.

    Attributes:
        strides, channels: see `Backbone`.
        recompute: whether the backward pass computes the stages' activations again.

    Raises:
        ValueError: the transformer has another number of stages.
    """

    def __init__(self, transformer: SwinTransformer3d) -> None:
        super().__init__()
        parts = list(transformer.features)
        if len(parts) != 7:
            raise ValueError(
                "VideoSwin: four stages with three mergers between them are needed, found "
                f"{len(parts)} parts"
            )
        del transformer.head
        self.transformer = transformer
        self.recompute = False
        last = transformer.num_features
        widths = [last // 8, last // 4, last // 2, last]
        self.strides = {**dict(zip(STAGES, (4, 8, 16, 32), strict=True)), "clip": 32}
        self.channels = {**dict(zip(STAGES, widths, strict=True)), "clip": last}

    def features(self, clips: Tensor) -> Features:
        """Keyframe maps of every stage, and the normalised map of the last, of `[N, 3, T, H, W]`.

        Raises:
            ValueError: clips of another shape, or of fewer than 32 pixels a side.
        """
        check_clip("VideoSwin", clips, least=32)
        x = self.transformer.pos_drop(self.transformer.patch_embed(clips))
        keyframe: dict[str, Tensor] = {}
        for index, part in enumerate(self.transformer.features):
            x = recomputed(part, part, x) if self.recompute else part(x)
            if index % 2 == 0:  # a stage; odd parts merge cells
                keyframe[STAGES[index // 2]] = keyframe_map(x)
        return Features(keyframe=keyframe, clip=(clip_map(self.transformer.norm(x)),))

    def forward(self, clips: Tensor) -> Features:
        """Same as `features`."""
        return self.features(clips)


class WindowAttention(ShiftedWindowAttention3d):
    """torchvision's attention, with the right relative positions also in windows that were cut.

    A map smaller than the window cuts it; torchvision then numbers the window's cells as if it had
    its full height and width. With full windows both give the same.
    """

    relative_position_index: Tensor

    def get_relative_position_bias(self, window_size: list[int]) -> Tensor:
        """Bias `[1, heads, P, P]` between the P cells of a window of (time, height, width)."""
        t, h, w = window_size
        index = self.relative_position_index.view(*self.window_size, *self.window_size)
        index_PP = index[:t, :h, :w, :t, :h, :w].reshape(t * h * w, t * h * w)
        return self.relative_position_bias_table[index_PP].permute(2, 0, 1)[None]


def window_block(
    dim: int,
    num_heads: int,
    **settings: Any,  # noqa: ANN401 - torchvision's own, handed on
) -> SwinTransformerBlock:
    """A block of the transformer with `WindowAttention`; arguments are torchvision's."""
    settings["attn_layer"] = WindowAttention
    return SwinTransformerBlock(dim, num_heads, **settings)

"""The named transformer backbones: MViT, Video Swin and ViViT, for detection."""

from __future__ import annotations

from typing import Literal

from torchvision.models import video
from torchvision.models.video.swin_transformer import SwinTransformer3d

from stad_models.backbones.mvit import MultiscaleTransformer
from stad_models.backbones.video_swin import VideoSwin, window_block
from stad_models.backbones.vivit import Vivit, VivitShape

LastStride = Literal[16, 32]

VIVIT_SMALL = VivitShape()
"""ViT-S in space, four blocks over time, for 16 x 224 x 224 clips."""


def mvit_v1_b(*, last_stride: LastStride = 16, drop_path: float = 0.2) -> MultiscaleTransformer:
    """MViT-B (v1), made for 16 frames at every 4th of the video, 224x224.

    Args:
        last_stride: pixels per cell of the last stage, see `MultiscaleTransformer`; published: 32.
        drop_path: chance that the last block's branches are left out of a clip in training.
    """
    net = video.mvit_v1_b(stochastic_depth_prob=drop_path)
    return MultiscaleTransformer(net, last_stride=last_stride)


def mvit_v2_s(*, last_stride: LastStride = 16, drop_path: float = 0.2) -> MultiscaleTransformer:
    """MViTv2-S, made for 16 frames at every 4th of the video, 224x224; arguments as `mvit_v1_b`."""
    net = video.mvit_v2_s(stochastic_depth_prob=drop_path)
    return MultiscaleTransformer(net, last_stride=last_stride)


def swin3d_t(*, drop_path: float = 0.1) -> VideoSwin:
    """Video Swin-T, made for 32 frames at every 2nd of the video, 224x224.

    Args:
        drop_path: chance that the last block's branches are left out of a clip in training.
    """
    return _swin(width=96, depths=[2, 2, 6, 2], heads=[3, 6, 12, 24], drop_path=drop_path)


def swin3d_s(*, drop_path: float = 0.1) -> VideoSwin:
    """Video Swin-S, made for 32 frames at every 2nd of the video, 224x224."""
    return _swin(width=96, depths=[2, 2, 18, 2], heads=[3, 6, 12, 24], drop_path=drop_path)


def swin3d_b(*, drop_path: float = 0.1) -> VideoSwin:
    """Video Swin-B, made for 32 frames at every 2nd of the video, 224x224."""
    return _swin(width=128, depths=[2, 2, 18, 2], heads=[4, 8, 16, 32], drop_path=drop_path)


def _swin(*, width: int, depths: list[int], heads: list[int], drop_path: float) -> VideoSwin:
    return VideoSwin(
        SwinTransformer3d(
            patch_size=[2, 4, 4],
            embed_dim=width,
            depths=depths,
            num_heads=heads,
            window_size=[8, 7, 7],
            stochastic_depth_prob=drop_path,
            block=window_block,
        )
    )


def vivit_small(shape: VivitShape = VIVIT_SMALL) -> Vivit:
    """ViViT of ViT-S's width with a factorised encoder, for 16 frames at every 4th of the video."""
    return Vivit(shape)

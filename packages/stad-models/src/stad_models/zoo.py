"""Every named model, composed where a reader can see it."""

from __future__ import annotations

import math

import torch
from torch import nn

from stad_models.backbones.pathway import Four, Pathway, PathwayShape
from stad_models.backbones.residual import Norm
from stad_models.backbones.resnet3d import Fusion, SlowFast, SlowOnly
from stad_models.detectors.se_stad import SeStad, SeStadOptions
from stad_models.heads.action import LinearAction
from stad_models.heads.fcos import PUBLISHED_RANGES, Fcos, Ranges
from stad_models.necks.fpn import FeaturePyramid

__all__ = [
    "se_stad_slowfast_r50_8x8",
    "se_stad_slowfast_r50_8x8_res234",
    "se_stad_slowfast_r50_8x8_res345",
    "se_stad_slowfast_r101_nl_8x8",
    "se_stad_slowonly_r50_4x16",
    "se_stad_small",
    "se_stad_tiny",
    "slowfast_r50_4x16",
    "slowfast_r50_8x8",
    "slowfast_r101_nl_8x8",
    "slowonly_r50_4x16",
    "slowonly_r50_8x8",
]

DETECTION_STRIDES: Four = (1, 2, 2, 1)
DETECTION_DILATIONS: Four = (1, 1, 1, 2)


TINY_TRUNK = PathwayShape(
    stem_width=16,
    stem_kernel=(3, 3, 3),
    widths=(16, 32, 64, 96),
    depths=(1, 1, 1, 1),
    bottleneck=False,
    temporal_kernels=(3, 3, 3, 3),
    temporal_strides=(1, 1, 2, 1),
)
"""Basic blocks, every stage with a temporal kernel of 3, half the frames from res4 on."""

SMALL_TRUNK = PathwayShape(
    stem_width=24,
    stem_kernel=(3, 3, 3),
    widths=(24, 48, 128, 256),
    depths=(1, 2, 2, 1),
    bottleneck=False,
    temporal_kernels=(3, 3, 3, 3),
    temporal_strides=(1, 1, 2, 1),
)


def slowonly_r50_4x16(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
) -> SlowOnly:
    """SlowOnly ResNet-50, made for 4 frames at every 16th of the video."""
    return SlowOnly(Pathway(PathwayShape(strides=strides, dilations=dilations), norm=norm))


def slowonly_r50_8x8(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
) -> SlowOnly:
    """SlowOnly ResNet-50, made for 8 frames at every 8th of the video: the same layers."""
    return slowonly_r50_4x16(strides=strides, dilations=dilations, norm=norm)


def slowfast_r50_8x8(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
) -> SlowFast:
    """SlowFast ResNet-50: 32 frames at every 2nd, of which the slow pathway sees 8."""
    slow = PathwayShape(strides=strides, dilations=dilations)
    return _slowfast(slow, alpha=4, fusion_kernel=7, norm=norm)


def slowfast_r50_4x16(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
) -> SlowFast:
    """SlowFast ResNet-50: 32 frames at every 2nd, of which the slow pathway sees 4."""
    slow = PathwayShape(strides=strides, dilations=dilations)
    return _slowfast(slow, alpha=8, fusion_kernel=5, norm=norm)


def slowfast_r101_nl_8x8(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
) -> SlowFast:
    """SlowFast ResNet-101-50-50 with non-local blocks in slow res4: 32 frames at every 2nd.

    Only the first 6 of the 23 blocks of res4 have temporal convolutions, as in ResNet-50.
    """
    slow = PathwayShape(
        depths=(3, 4, 23, 3),
        temporal_blocks=(3, 4, 6, 3),
        nonlocal_after=((), (), (6, 13, 20), ()),
        strides=strides,
        dilations=dilations,
    )
    return _slowfast(slow, alpha=4, fusion_kernel=5, norm=norm)


def _slowfast(
    slow: PathwayShape, *, alpha: int, fusion_kernel: int, norm: Norm, thinner: int = 8
) -> SlowFast:
    """SlowFast whose fast pathway is `thinner` times as narrow; fusions double its channels."""
    a, b, c, d = (width // thinner for width in slow.widths)
    fast = PathwayShape(
        stem_width=slow.stem_width // thinner,
        stem_kernel=(5, 7, 7),
        widths=(a, b, c, d),
        depths=slow.depths,
        temporal_kernels=(3, 3, 3, 3),
        temporal_blocks=slow.temporal_blocks,
        strides=slow.strides,
        dilations=slow.dilations,
    )
    sources = (fast.stem_width, *fast.channels[:3])
    fusions = [
        Fusion(channels, ratio=2, kernel=fusion_kernel, alpha=alpha, norm=norm)
        for channels in sources
    ]
    e, f, g, h = (2 * channels for channels in sources)
    return SlowFast(
        Pathway(slow, fused=(e, f, g, h), norm=norm),
        Pathway(fast, norm=norm),
        fusions,
        alpha=alpha,
    )


def se_stad_slowonly_r50_4x16(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """SE-STAD on SlowOnly ResNet-50 4x16. Source: Table 1."""
    return _se_stad(
        slowonly_r50_4x16(), num_classes, exclusive, options, clip_length=4, clip_stride=16
    )


def se_stad_slowfast_r50_8x8(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """SE-STAD on SlowFast ResNet-50 8x8: the paper's main model. Source: Table 1."""
    return _se_stad(slowfast_r50_8x8(), num_classes, exclusive, options)


def se_stad_slowfast_r50_8x8_res345(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """The main model with its pyramid P3 to P5 on res3, res4 and res5.

    Res5 keeps the stride of res4, so P5 is as fine as P4. Source: appendix, Table 8.
    """
    return _se_stad(
        slowfast_r50_8x8(), num_classes, exclusive, options, sources=("res3", "res4", "res5")
    )


def se_stad_slowfast_r50_8x8_res234(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """The main model with a pyramid P2 to P5 on res2, res3 and res4.

    Source: appendix, Table 8; the sizes per level are ours: halved for the finer level P2.
    """
    return _se_stad(
        slowfast_r50_8x8(),
        num_classes,
        exclusive,
        options,
        sources=("res2", "res3", "res4"),
        ranges=((0.0, 32.0), (32.0, 64.0), (64.0, 128.0), (128.0, math.inf)),
    )


def se_stad_slowfast_r101_nl_8x8(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """SE-STAD on SlowFast ResNet-101 8x8 with non-local blocks. Source: Table 1."""
    return _se_stad(slowfast_r101_nl_8x8(), num_classes, exclusive, options)


def _se_stad(
    backbone: SlowOnly | SlowFast,
    num_classes: int,
    exclusive: bool,
    options: SeStadOptions | None,
    *,
    sources: tuple[str, ...] = ("res3", "res4"),
    ranges: Ranges = PUBLISHED_RANGES,
    clip_length: int = 32,
    clip_stride: int = 2,
) -> SeStad:
    neck = FeaturePyramid(
        sources,
        channels_in=backbone.channels,
        strides_in=backbone.strides,
        extra_levels=len(ranges) - len(sources),
    )
    return SeStad(
        backbone,
        neck,
        Fcos(neck.channels, strides=neck.strides, ranges=ranges),
        LinearAction(backbone.channels["clip"], num_classes, stride=backbone.strides["clip"]),
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        options=options or SeStadOptions(),
    )


def se_stad_tiny(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    trunk: PathwayShape = TINY_TRUNK,
    channels: int = 64,
    depth: int = 2,
    ranges: Ranges = ((0.0, 32.0), (32.0, math.inf)),
    dropout: float = 0.2,
    grid: int = 1,
    context: bool = False,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> SeStad:
    """SE-STAD small enough to learn from scratch on two CPU cores, for 8 x 96 x 128 clips.

    Args:
        num_classes: actions.
        exclusive: one action per actor, or any number.
        options: see `SeStadOptions`.
        trunk: the trunk's numbers; `dataclasses.replace(TINY_TRUNK, depths=...)` varies them.
        channels: channels of the pyramid and of the localisation head's towers.
        depth: convolutions per tower.
        ranges: sizes per level; two levels lie on res3 and res4, a third adds P5.
        dropout: before the action head's linear layer.
        grid: cells, each way, of a box that keep a maximum of their own in the action head.
        context: whether the action head also sees the mean of the whole map.
        clip_length: frames per clip.
        clip_stride: frames between them in the video.
    """
    # Channels last is the faster layout for such narrow maps on a CPU; values do not change.
    backbone = SlowOnly(Pathway(trunk)).to(memory_format=torch.channels_last_3d)
    neck = FeaturePyramid(
        ("res3", "res4"),
        channels_in=backbone.channels,
        strides_in=backbone.strides,
        channels=channels,
        extra_levels=len(ranges) - 2,
    )
    return SeStad(
        backbone,
        neck.to(memory_format=torch.channels_last),
        Fcos(channels, strides=neck.strides, ranges=ranges, depth=depth, distance="exp"),
        LinearAction(
            backbone.channels["clip"],
            num_classes,
            stride=backbone.strides["clip"],
            dropout=dropout,
            grid=grid,
            context=context,
        ),
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        options=options or SeStadOptions(),
    )


def se_stad_small(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    trunk: PathwayShape = SMALL_TRUNK,
    channels: int = 64,
    depth: int = 2,
    ranges: Ranges = ((0.0, 48.0), (48.0, math.inf)),
    dropout: float = 0.5,
    grid: int = 1,
    context: bool = False,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> SeStad:
    """The tiny model's bigger sister, for 8 x 120 x 160 clips; arguments as `se_stad_tiny`."""
    return se_stad_tiny(
        num_classes,
        exclusive=exclusive,
        options=options,
        trunk=trunk,
        channels=channels,
        depth=depth,
        ranges=ranges,
        dropout=dropout,
        grid=grid,
        context=context,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )

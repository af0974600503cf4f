"""The named 3D ResNets: SlowOnly and SlowFast, for detection."""

from __future__ import annotations

from typing import Literal

from torch import nn

from stad_models.backbones.pathway import Four, Pathway, PathwayShape
from stad_models.backbones.residual import Norm
from stad_models.backbones.resnet3d import Fusion, SlowFast, SlowOnly

DETECTION_STRIDES: Four = (1, 2, 2, 1)
DETECTION_DILATIONS: Four = (1, 1, 1, 2)

Laterals = Literal["normalised", "plain"]
"""From fast to slow: convolution, normalisation and ReLU on frames as in PySlowFast; or, "plain",
the convolution alone on frames as in mmaction2 (for the same maps as mmaction2's detectors give
also `dilations=(1, 1, 1, 1)`)."""

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
    laterals: Laterals = "normalised",
) -> SlowFast:
    """SlowFast ResNet-50: 32 frames at every 2nd, of which the slow pathway sees 8."""
    slow = PathwayShape(strides=strides, dilations=dilations)
    return _slowfast(slow, alpha=4, fusion_kernel=7, norm=norm, laterals=laterals)


def slowfast_r50_4x16(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
    laterals: Laterals = "normalised",
) -> SlowFast:
    """SlowFast ResNet-50: 32 frames at every 2nd, of which the slow pathway sees 4."""
    slow = PathwayShape(strides=strides, dilations=dilations)
    return _slowfast(slow, alpha=8, fusion_kernel=5, norm=norm, laterals=laterals)


def slowfast_r101_8x8(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
    laterals: Laterals = "normalised",
    temporal_res4: int = 6,
) -> SlowFast:
    """SlowFast ResNet-101: 32 frames at every 2nd, of which the slow pathway sees 8.

    The first `temporal_res4` of the 23 blocks of res4 have temporal convolutions: 6, as in
    ResNet-50, in PySlowFast's R101-50-50 for AVA; all 23 in PyTorchVideo's for Kinetics.
    """
    slow = _r101(strides, dilations, temporal_res4=temporal_res4)
    return _slowfast(slow, alpha=4, fusion_kernel=5, norm=norm, laterals=laterals)


def slowfast_r101_nl_8x8(
    *,
    strides: Four = DETECTION_STRIDES,
    dilations: Four = DETECTION_DILATIONS,
    norm: Norm = nn.BatchNorm3d,
    laterals: Laterals = "normalised",
) -> SlowFast:
    """SlowFast ResNet-101-50-50 with non-local blocks after blocks 6, 13 and 20 of slow res4."""
    slow = _r101(strides, dilations, nonlocal_after=(6, 13, 20))
    return _slowfast(slow, alpha=4, fusion_kernel=5, norm=norm, laterals=laterals)


def _r101(
    strides: Four,
    dilations: Four,
    *,
    temporal_res4: int = 6,
    nonlocal_after: tuple[int, ...] = (),
) -> PathwayShape:
    return PathwayShape(
        depths=(3, 4, 23, 3),
        temporal_blocks=(3, 4, temporal_res4, 3),
        nonlocal_after=((), (), nonlocal_after, ()),
        strides=strides,
        dilations=dilations,
    )


def _slowfast(
    slow: PathwayShape,
    *,
    alpha: int,
    fusion_kernel: int,
    norm: Norm,
    laterals: Laterals,
    thinner: int = 8,
) -> SlowFast:
    """SlowFast whose fast pathway is `thinner` times as narrow; fusions double its channels."""
    if laterals not in ("normalised", "plain"):
        raise ValueError(f"laterals must be 'normalised' or 'plain', found {laterals!r}")
    plain = laterals == "plain"
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
        Fusion(
            channels,
            ratio=2,
            kernel=fusion_kernel,
            alpha=alpha,
            norm=None if plain else norm,
        )
        for channels in sources
    ]
    e, f, g, h = (2 * channels for channels in sources)
    return SlowFast(
        Pathway(slow, fused=(e, f, g, h), norm=norm),
        Pathway(fast, norm=norm),
        fusions,
        alpha=alpha,
        spread=not plain,
    )

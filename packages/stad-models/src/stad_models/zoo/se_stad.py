"""SE-STAD on 3D ResNets: the published models and further trunks; the same on any backbone."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from stad_models.backbones.features import Backbone
from stad_models.backbones.recomputation import recompute_stages
from stad_models.detectors.se_stad import SeStad
from stad_models.detectors.se_stad_options import SeStadOptions
from stad_models.heads.fcos import PUBLISHED_RANGES, Ranges
from stad_models.necks.fpn import FeaturePyramid
from stad_models.zoo.heads import (
    ActionName,
    HeadSize,
    LocalisationName,
    action_head,
    localisation_head,
)
from stad_models.zoo.trunks import (
    Laterals,
    slowfast_r50_4x16,
    slowfast_r50_8x8,
    slowfast_r101_8x8,
    slowfast_r101_nl_8x8,
    slowonly_r50_4x16,
    slowonly_r50_8x8,
)

PyramidName = Literal["res34", "res345", "res234"]
"""Which keyframe maps the pyramid lies on: the rows of SE-STAD's Table 8."""

SOURCES: dict[PyramidName, tuple[str, ...]] = {
    "res34": ("res3", "res4"),
    "res345": ("res3", "res4", "res5"),
    "res234": ("res2", "res3", "res4"),
}
P2_TO_P5: Ranges = ((0.0, 32.0), (32.0, 64.0), (64.0, 128.0), (128.0, math.inf))
"""Sizes per level where there is a P2; ours: the published ones, the finest halved once more."""


def se_stad_slowonly_r50_4x16(
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
) -> SeStad:
    """SE-STAD on SlowOnly ResNet-50 4x16; arguments as `compose`. Source: Table 1."""
    return compose(
        slowonly_r50_4x16(),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=4,
        clip_stride=16,
    )


def se_stad_slowonly_r50_8x8(
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
) -> SeStad:
    """SE-STAD on SlowOnly ResNet-50 8x8; arguments as `compose`. Not in the paper."""
    return compose(
        slowonly_r50_8x8(),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=8,
        clip_stride=8,
    )


def se_stad_slowfast_r50_4x16(
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    laterals: Laterals = "normalised",
) -> SeStad:
    """SE-STAD on SlowFast ResNet-50 4x16, whose slow pathway sees 4 of 32 frames.

    Arguments as `compose`, and `laterals` as the trunk's. Not in the paper.
    """
    return compose(
        slowfast_r50_4x16(laterals=laterals),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
    )


def se_stad_slowfast_r50_8x8(
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    laterals: Laterals = "normalised",
) -> SeStad:
    """SE-STAD on SlowFast ResNet-50 8x8: the paper's main model. Source: Table 1.

    Arguments as `compose`, which make the rows of Tables 3, 7 and 8, and `laterals` as the trunk's.
    """
    return compose(
        slowfast_r50_8x8(laterals=laterals),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
    )


def se_stad_slowfast_r50_8x8_res345(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """The main model with its pyramid P3 to P5 on res3, res4 and res5.

    Res5 keeps the stride of res4, so P5 is as fine as P4. Source: appendix, Table 8.
    """
    return se_stad_slowfast_r50_8x8(
        num_classes, exclusive=exclusive, options=options, pyramid="res345"
    )


def se_stad_slowfast_r50_8x8_res234(
    num_classes: int, *, exclusive: bool = False, options: SeStadOptions | None = None
) -> SeStad:
    """The main model with a pyramid P2 to P5 on res2, res3 and res4.

    Source: appendix, Table 8; the sizes per level are ours: halved for the finer level P2.
    """
    return se_stad_slowfast_r50_8x8(
        num_classes, exclusive=exclusive, options=options, pyramid="res234"
    )


def se_stad_slowfast_r101_8x8(
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    laterals: Laterals = "normalised",
) -> SeStad:
    """SE-STAD on SlowFast ResNet-101 8x8. Source: Table 1, the row with Kinetics-700.

    Arguments as `compose`, and `laterals` as the trunk's.
    """
    return compose(
        slowfast_r101_8x8(laterals=laterals),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
    )


def se_stad_slowfast_r101_nl_8x8(
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    laterals: Laterals = "normalised",
) -> SeStad:
    """SE-STAD on SlowFast ResNet-101 8x8 with non-local blocks. Source: Table 1.

    Arguments as `compose`, and `laterals` as the trunk's.
    """
    return compose(
        slowfast_r101_nl_8x8(laterals=laterals),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
    )


def compose(  # noqa: PLR0913 - everything that a published model decides
    backbone: Backbone,
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    clip_length: int = 32,
    clip_stride: int = 2,
) -> SeStad:
    """SE-STAD of the published sizes on any backbone.

    Args:
        backbone: gives the keyframe maps that the pyramid lies on.
        num_classes: actions.
        exclusive: one action per actor, or any number.
        options: see `SeStadOptions`.
        localisation: the head that finds actors.
        action: the head that tells what they do.
        pyramid: the maps that the pyramid lies on. It has levels P3 to P5, or P2 to P5 with res2.
        recompute: compute activations of the stages of a 3D ResNet a second time in the backward
            pass instead of keeping them: less memory, a third more time, the same result.
        clip_length: frames per clip.
        clip_stride: frames between them in the video.
    """
    if recompute and isinstance(backbone, nn.Module):
        recompute_stages(backbone)
    ranges = P2_TO_P5 if pyramid == "res234" else PUBLISHED_RANGES
    neck = FeaturePyramid(
        SOURCES[pyramid],
        channels_in=backbone.channels,
        strides_in=backbone.strides,
        extra_levels=len(ranges) - len(SOURCES[pyramid]),
    )
    return SeStad(
        backbone,
        neck,
        localisation_head(
            localisation, neck.channels, neck.strides, ranges=ranges, size=HeadSize()
        ),
        action_head(
            action, backbone.channels["clip"], num_classes, stride=backbone.strides["clip"]
        ),
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        options=options or SeStadOptions(),
    )

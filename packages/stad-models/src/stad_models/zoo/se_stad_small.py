"""SE-STAD for small machines: models that learn from scratch on two CPU cores."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from stad_models.backbones.pathway import Pathway, PathwayShape
from stad_models.backbones.recomputation import recompute_stages
from stad_models.backbones.resnet3d import SlowOnly
from stad_models.detectors.se_stad import SeStad
from stad_models.detectors.se_stad_options import SeStadOptions
from stad_models.heads.fcos import Ranges
from stad_models.necks.fpn import FeaturePyramid
from stad_models.zoo.heads import (
    ActionName,
    HeadSize,
    LocalisationName,
    action_head,
    localisation_head,
)
from stad_models.zoo.se_stad import SOURCES, PyramidName
from stad_models.zoo.trunks import SMALL_TRUNK, TINY_TRUNK

RANGES: dict[PyramidName, Ranges] = {
    "res34": ((0.0, 32.0), (32.0, math.inf)),
    "res345": ((0.0, 32.0), (32.0, 64.0), (64.0, math.inf)),
    "res234": ((0.0, 16.0), (16.0, 32.0), (32.0, math.inf)),
}
"""Sizes per level, one for each map that the pyramid lies on."""

LARGER_RANGES: dict[PyramidName, Ranges] = {
    "res34": ((0.0, 48.0), (48.0, math.inf)),
    "res345": ((0.0, 48.0), (48.0, 96.0), (96.0, math.inf)),
    "res234": ((0.0, 24.0), (24.0, 48.0), (48.0, math.inf)),
}
"""The same for the small model's larger clips."""

HEAD = HeadSize(distance="exp", anchor_scale=0.5, candidates=256, regions=48, width=128)
"""Anchors half as large as published, as clips are; few regions, as actors are few."""


def se_stad_tiny(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    trunk: PathwayShape = TINY_TRUNK,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    channels: int = 64,
    depth: int = 2,
    ranges: Ranges | None = None,
    dropout: float = 0.2,
    grid: int = 1,
    context: bool = False,
    recompute: bool = False,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> SeStad:
    """SE-STAD small enough to learn from scratch on two CPU cores, for 8 x 96 x 128 clips.

    Args:
        num_classes: actions.
        exclusive: one action per actor, or any number.
        options: see `SeStadOptions`.
        trunk: the trunk's numbers; `dataclasses.replace(TINY_TRUNK, depths=...)` varies them.
        localisation: the head that finds actors.
        action: the head that tells what they do.
        pyramid: the maps that the pyramid lies on.
        channels: channels of the pyramid and of the localisation head's towers.
        depth: convolutions per tower.
        ranges: sizes per level; by default a level for each of the pyramid's maps, and one more for
            each range beyond these.
        dropout: before the action head's linear layer.
        grid: cells, each way, of a box that keep a maximum of their own in the linear action head.
        context: whether the linear action head also sees the mean of the whole map.
        recompute: compute the activations of stages again instead of keeping them.
        clip_length: frames per clip.
        clip_stride: frames between them in the video.
    """
    # Channels last is the faster layout for such narrow maps on a CPU; values do not change.
    backbone = SlowOnly(Pathway(trunk)).to(memory_format=torch.channels_last_3d)
    if recompute:
        recompute_stages(backbone)
    ranges = ranges or RANGES[pyramid]
    neck = FeaturePyramid(
        SOURCES[pyramid],
        channels_in=backbone.channels,
        strides_in=backbone.strides,
        channels=channels,
        extra_levels=len(ranges) - len(SOURCES[pyramid]),
    )
    return SeStad(
        backbone,
        neck.to(memory_format=torch.channels_last),
        localisation_head(
            localisation, channels, neck.strides, ranges=ranges, size=replace(HEAD, depth=depth)
        ),
        action_head(
            action,
            backbone.channels["clip"],
            num_classes,
            stride=backbone.strides["clip"],
            dropout=dropout,
            grid=grid,
            context=context,
            width=backbone.channels["clip"],
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
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    channels: int = 64,
    depth: int = 2,
    ranges: Ranges | None = None,
    dropout: float = 0.5,
    grid: int = 1,
    context: bool = False,
    recompute: bool = False,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> SeStad:
    """The tiny model's bigger sister, for 8 x 120 x 160 clips; arguments as `se_stad_tiny`."""
    return se_stad_tiny(
        num_classes,
        exclusive=exclusive,
        options=options,
        trunk=trunk,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        channels=channels,
        depth=depth,
        ranges=ranges or LARGER_RANGES[pyramid],
        dropout=dropout,
        grid=grid,
        context=context,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )

"""MOC's and STMA's named models: published ones, and small ones for a CPU."""

from __future__ import annotations

from dataclasses import replace

import torch

from stad_models.backbones.dla import Dla, DlaShape
from stad_models.backbones.resnext3d import ResNext3d, ResNext3dShape
from stad_models.detectors.moc import Moc, MocOptions
from stad_models.detectors.snippets import FLOW_DEPTH
from stad_models.detectors.stma import Stma
from stad_models.detectors.stma_options import StmaOptions
from stad_models.detectors.two_stream_moc import StreamShares, TwoStreamMoc
from stad_models.heads.location_actions import LocationActions
from stad_models.heads.tubelet import TubeletHead

FLOW_CHANNELS = 3 * FLOW_DEPTH
"""Channels of a frame of flow: five successive images of three channels."""

# The tiny models lie in memory with channels last: on a CPU the faster layout for narrow maps.

TINY_DLA = DlaShape(
    stem_kernel=3,
    stem_stride=2,
    widths=(16, 16, 24, 48, 96),
    depths=(0, 0, 1, 1, 1),
    strides=(1, 1, 2, 2, 2),
    deformable=False,
)
"""Three trees, to stride 16, behind a stem of stride 2; plain convolutions throughout."""

TINY_CLIP_TRUNK = ResNext3dShape(
    stem_width=16,
    stem_kernel=(3, 3, 3),
    stem_strides=(2, 2),
    stem_pool=False,
    widths=(16, 32, 64, 96),
    depths=(1, 1, 1, 1),
    strides=(2, 2, 2, 1),
    cardinality=1,
    block="basic",
)
"""Basic blocks; of 16 frames the last map has one, at stride 16."""


def moc_dla34(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: MocOptions | None = None,
    tubelet_length: int = 7,
    clip_length: int | None = None,
    clip_stride: int = 1,
    channels_in: int = 3,
) -> Moc:
    """MOC on DLA-34, one stream. Source: Actions as moving points, Sec. 4.

    Args:
        num_classes: actions.
        exclusive: whether an actor does one action only.
        options: see `MocOptions`.
        tubelet_length: frames K of a tubelet; 7 as published, 5 as STMA's baseline.
        clip_length: frames of a clip; None takes K.
        clip_stride: frames between them in the video.
        channels_in: 3, or `FLOW_CHANNELS` for the stream of optical flow.
    """
    return _moc(
        Dla(DlaShape(channels_in=channels_in)),
        num_classes,
        exclusive=exclusive,
        options=options,
        tubelet_length=tubelet_length,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def moc_dla34_two_stream(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: MocOptions | None = None,
    shares: StreamShares | None = None,
    tubelet_length: int = 7,
    clip_length: int | None = None,
    clip_stride: int = 1,
) -> TwoStreamMoc:
    """MOC on colour and flow, fused late; arguments as `moc_dla34`."""
    colour, flow = (
        moc_dla34(
            num_classes,
            exclusive=exclusive,
            options=options,
            tubelet_length=tubelet_length,
            clip_length=clip_length,
            clip_stride=clip_stride,
            channels_in=channels,
        )
        for channels in (3, FLOW_CHANNELS)
    )
    return TwoStreamMoc(colour, flow, shares=shares)


def moc_tiny(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: MocOptions | None = None,
    trunk: DlaShape = TINY_DLA,
    hidden: int = 48,
    tubelet_length: int = 5,
    clip_length: int | None = None,
    clip_stride: int = 1,
) -> Moc:
    """MOC small enough to learn from scratch on two CPU cores, for frames of 96 x 128.

    Args:
        num_classes: actions.
        exclusive: whether an actor does one action only.
        options: see `MocOptions`.
        trunk: the trunk's numbers; `dataclasses.replace(TINY_DLA, widths=...)` varies them.
        hidden: channels inside the head's branches.
        tubelet_length: frames K of a tubelet.
        clip_length: frames of a clip; None takes K.
        clip_stride: frames between them in the video.
    """
    model = _moc(
        Dla(trunk),
        num_classes,
        exclusive=exclusive,
        options=options,
        hidden=hidden,
        tubelet_length=tubelet_length,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )
    return model.to(memory_format=torch.channels_last)


def moc_tiny_two_stream(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = True,
    options: MocOptions | None = None,
    shares: StreamShares | None = None,
    trunk: DlaShape = TINY_DLA,
    hidden: int = 48,
    tubelet_length: int = 5,
    clip_length: int | None = None,
    clip_stride: int = 1,
) -> TwoStreamMoc:
    """`moc_tiny` on colour and on flow, fused late; arguments as there and `StreamShares`."""
    colour, flow = (
        moc_tiny(
            num_classes,
            exclusive=exclusive,
            options=options,
            trunk=replace(trunk, channels_in=channels),
            hidden=hidden,
            tubelet_length=tubelet_length,
            clip_length=clip_length,
            clip_stride=clip_stride,
        )
        for channels in (3, FLOW_CHANNELS)
    )
    return TwoStreamMoc(colour, flow, shares=shares)


def stma_dla34_resnext101(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: StmaOptions | None = None,
    tubelet_length: int = 5,
    clip_length: int = 16,
    clip_stride: int = 1,
) -> Stma:
    """STMA on DLA-34 and 3D ResNeXt-101. Source: Sec. 3.1.

    Args:
        num_classes: actions.
        exclusive: one action per actor, or any number.
        options: see `StmaOptions`; its switches decide which parts there are.
        tubelet_length: frames K of a tubelet.
        clip_length: frames T of a clip.
        clip_stride: frames between them in the video.
    """
    options = options or StmaOptions()
    return _stma(
        Dla(),
        ResNext3d() if options.aggregation else None,
        num_classes,
        exclusive=exclusive,
        options=options,
        tubelet_length=tubelet_length,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def stma_tiny(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = True,
    options: StmaOptions | None = None,
    trunk: DlaShape = TINY_DLA,
    clip_trunk: ResNext3dShape = TINY_CLIP_TRUNK,
    hidden: int = 48,
    coarse: tuple[int, ...] = (48, 64),
    width: int = 96,
    reach: int = 0,
    tubelet_length: int = 5,
    clip_length: int = 16,
    clip_stride: int = 1,
) -> Stma:
    """STMA small enough to learn from scratch on two CPU cores, for 16 x 96 x 128 clips.

    Actions are told at stride 16, since a map of stride 32 would have a dozen cells.

    Args:
        num_classes: actions.
        exclusive: one action per actor, or any number.
        options: see `StmaOptions`; its switches decide which parts there are.
        trunk: the 2D trunk's numbers.
        clip_trunk: the 3D trunk's numbers.
        hidden: channels inside the branches for centers, movement and sizes.
        coarse: channels after each convolution of stride 2 in the action branch.
        width: channels of what the action branch joins.
        reach: of its last convolution, see `LocationActions`.
        tubelet_length: frames K of a tubelet.
        clip_length: frames T of a clip.
        clip_stride: frames between them in the video.
    """
    options = options or StmaOptions()
    clip_backbone = ResNext3d(clip_trunk) if options.aggregation else None
    if clip_backbone is not None:
        clip_backbone = clip_backbone.to(memory_format=torch.channels_last_3d)
    return _stma(
        Dla(trunk).to(memory_format=torch.channels_last),
        clip_backbone,
        num_classes,
        exclusive=exclusive,
        options=options,
        hidden=hidden,
        coarse=coarse,
        width=width,
        reach=reach,
        tubelet_length=tubelet_length,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def _moc(
    backbone: Dla,
    num_classes: int,
    *,
    exclusive: bool,
    options: MocOptions | None,
    tubelet_length: int,
    clip_length: int | None,
    clip_stride: int,
    hidden: int = 256,
) -> Moc:
    head = TubeletHead(backbone.channels, length=tubelet_length, centers=num_classes, hidden=hidden)
    return Moc(
        backbone,
        head,
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=tubelet_length if clip_length is None else clip_length,
        clip_stride=clip_stride,
        options=options or MocOptions(),
    )


def _stma(  # noqa: PLR0913 - both published and tiny models are made here
    backbone: Dla,
    clip_backbone: ResNext3d | None,
    num_classes: int,
    *,
    exclusive: bool,
    options: StmaOptions,
    tubelet_length: int,
    clip_length: int,
    clip_stride: int,
    hidden: int = 256,
    coarse: tuple[int, ...] = (128, 256, 256),
    width: int = 512,
    reach: int = 0,
) -> Stma:
    head = TubeletHead(
        backbone.channels,
        length=tubelet_length,
        centers=1 if options.class_agnostic else num_classes,
        extent="distances" if options.gaussian_size else "sides",
        hidden=hidden,
    )
    actions = None
    if options.class_agnostic:
        actions = LocationActions(
            backbone.channels,
            length=tubelet_length,
            num_classes=num_classes,
            coarse=coarse,
            width=width,
            reach=reach,
            motion=options.motion_excitation,
            clip_channels=0 if clip_backbone is None else clip_backbone.channels["clip"],
        )
    return Stma(
        backbone,
        head,
        actions,
        clip_backbone,
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        options=options,
    )

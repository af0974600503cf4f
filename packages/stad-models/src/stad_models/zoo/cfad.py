"""CFAD's named models: published, and small for a CPU."""

from __future__ import annotations

import torch

from stad_models.backbones.i3d import I3d, I3dShape
from stad_models.detectors.cfad import Cfad
from stad_models.detectors.cfad_options import CfadOptions
from stad_models.detectors.cfad_tubes import CfadHeads
from stad_models.heads.anchor_classes import class_outputs
from stad_models.heads.coarse_tube import CoarseModule, Sizes
from stad_models.heads.refine_tube import ClassProposals, TimestampSelector
from stad_models.heads.temporal_proposal import LENGTHS, TemporalProposals
from stad_models.zoo.inception import TINY_I3D

UCF24_ANCHORS: Sizes = (
    (18.6, 30.0),
    (32.5, 58.9),
    (40.7, 103.2),
    (60.6, 113.6),
    (65.5, 163.0),
    (103.9, 187.0),
)
"""Six clusters of the boxes of UCF101-24's training videos, in frames of 224 x 224."""

TINY_ANCHORS: Sizes = (
    (17.8, 39.7),
    (24.5, 65.4),
    (37.3, 52.1),
    (38.0, 79.0),
    (60.2, 81.0),
    (92.4, 86.4),
)
"""Six clusters of the boxes of JHMDB-21's training videos, in frames of 128 x 96."""


def cfad_i3d(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = True,
    options: CfadOptions | None = None,
    anchors: Sizes = UCF24_ANCHORS,
    order: int = 4,
    samples: int = 16,
    residual: bool = True,
    channels_in: int = 3,
    clip_length: int = 96,
    clip_stride: int = 1,
) -> Cfad:
    """CFAD on I3D up to mixed_5b, as for UCF101-24. Source: CFAD, Sec. 4.1.

    Args:
        num_classes: actions.
        exclusive: one action per actor, or any number.
        options: see `CfadOptions`.
        anchors: widths and heights of anchors in pixels of the clip.
        order: k of the polynomials: 4 for UCF101-24, 2 for JHMDB-21.
        samples: N features per span: 16 for UCF101-24, 6 for JHMDB-21, 8 for UCF-Sports.
        residual: whether the coarse module has its branch of differences.
        channels_in: 3 for colour, 5 for colour and optical flow together (early fusion).
        clip_length: frames T: 96 for UCF101-24, 32 for JHMDB-21 and UCF-Sports.
        clip_stride: frames between them in the video; a whole video has its own.
    """
    return _cfad(
        I3d(I3dShape(channels_in=channels_in, last="mixed_5b")),
        num_classes,
        exclusive=exclusive,
        options=options or CfadOptions(),
        anchors=anchors,
        order=order,
        samples=samples,
        residual=residual,
        clip_length=clip_length,
        clip_stride=clip_stride,
        widths=(512, 256, 128),
    )


def cfad_tiny(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = True,
    options: CfadOptions | None = None,
    trunk: I3dShape = TINY_I3D,
    anchors: Sizes = TINY_ANCHORS,
    order: int = 2,
    samples: int = 6,
    residual: bool = True,
    hidden: int = 64,
    clip_length: int = 16,
    clip_stride: int = 1,
) -> Cfad:
    """CFAD small enough to learn from scratch on two CPU cores, for clips of 128 x 96.

    Arguments as `cfad_i3d`; `trunk` gives the trunk's numbers, `hidden` the channels of the heads.
    """
    return _cfad(
        # Channels last in memory: on a CPU the faster layout for narrow maps.
        I3d(trunk).to(memory_format=torch.channels_last_3d),
        num_classes,
        exclusive=exclusive,
        options=options or CfadOptions(),
        anchors=anchors,
        order=order,
        samples=samples,
        residual=residual,
        clip_length=clip_length,
        clip_stride=clip_stride,
        widths=(hidden, hidden, hidden),
    )


def _cfad(  # noqa: PLR0913 - both published and tiny models are made here
    backbone: I3d,
    num_classes: int,
    *,
    exclusive: bool,
    options: CfadOptions,
    anchors: Sizes,
    order: int,
    samples: int,
    residual: bool,
    clip_length: int,
    clip_stride: int,
    widths: tuple[int, int, int],
) -> Cfad:
    channels, stride = backbone.channels["clip"], backbone.strides["clip"]
    outputs = class_outputs(num_classes, exclusive=exclusive)
    temporal, hidden, hourglass = widths
    heads = CfadHeads(
        TemporalProposals(
            channels, frame_stride=backbone.frame_stride, lengths=LENGTHS, hidden=temporal
        ),
        CoarseModule(
            channels,
            outputs=outputs,
            stride=stride,
            anchors=anchors,
            order=order,
            residual=residual,
            hidden=hidden,
        ),
        TimestampSelector(channels, hidden=hourglass),
        ClassProposals(channels, outputs=outputs, stride=stride, anchors=anchors, hidden=hidden),
    )
    return Cfad(
        backbone,
        heads,
        frame_stride=backbone.frame_stride,
        samples=samples,
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        channels_in=backbone.shape.channels_in,
        options=options,
    )

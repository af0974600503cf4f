"""VideoCapsule's named models: the published one, and a small one for a CPU."""

from __future__ import annotations

import torch
from torch import nn

from stad_models.backbones.i3d import I3d, I3dShape
from stad_models.detectors.video_capsule import VideoCapsule, VideoCapsuleOptions
from stad_models.heads.capsule import ClassCapsules, PrimaryCapsules
from stad_models.heads.capsule_decoder import MaskedDecoder

CAPSULE_I3D = I3dShape(last="mixed_4f", pool_strides=((1, 2), (1, 2), (2, 1), (1, 1)))
"""I3D up to its last block of 832 channels, which keeps the stride of 8."""

TINY_CAPSULE_I3D = I3dShape(
    width=0.25,
    last="mixed_4b",
    pool_strides=((1, 2), (1, 2), (2, 1), (1, 1)),
)
"""A quarter of the channels, up to the first block after the last pool."""


def video_capsule_i3d(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: VideoCapsuleOptions | None = None,
    routing: int = 3,
    dropout: float = 0.5,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> VideoCapsule:
    """VideoCapsule on I3D, for frames of 224 x 224; at least 72 pixels a side.

    Args:
        num_classes: actions.
        exclusive: whether an actor does one action only.
        options: see `VideoCapsuleOptions`.
        routing: iterations of EM routing.
        dropout: share of the decoder's channels that are left out before its last layer.
        clip_length: frames of a clip.
        clip_stride: frames between them in the video.
    """
    return _video_capsule(
        I3d(CAPSULE_I3D),
        num_classes,
        exclusive=exclusive,
        options=options,
        types=32,
        kernel=9,
        stride=1,
        width=64,
        routing=routing,
        dropout=dropout,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def video_capsule_tiny(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = True,
    options: VideoCapsuleOptions | None = None,
    trunk: I3dShape = TINY_CAPSULE_I3D,
    types: int = 8,
    width: int = 12,
    routing: int = 3,
    dropout: float = 0.0,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> VideoCapsule:
    """VideoCapsule small enough to train from scratch on two CPU cores, for frames of 96 x 128.

    Capsules lie at stride 16: there are four times fewer cells to route.

    Args:
        num_classes: actions.
        exclusive: whether an actor does one action only.
        options: see `VideoCapsuleOptions`.
        trunk: the trunk's numbers; `dataclasses.replace(TINY_CAPSULE_I3D, width=...)` varies them.
        types: primary capsules per cell.
        width: channels of the decoder's steps.
        routing: iterations of EM routing.
        dropout: share of the decoder's channels that are left out before its last layer.
        clip_length: frames of a clip.
        clip_stride: frames between them in the video.
    """
    # Channels last is the faster layout for such narrow maps on a CPU; values do not change.
    model = _video_capsule(
        I3d(trunk).to(memory_format=torch.channels_last_3d),
        num_classes,
        exclusive=exclusive,
        options=options,
        types=types,
        kernel=2,
        stride=2,
        width=width,
        routing=routing,
        dropout=dropout,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )
    for part in model.decoder.children():
        if isinstance(part, nn.Conv3d | nn.ConvTranspose3d):
            part.to(memory_format=torch.channels_last_3d)
    return model


def _video_capsule(  # noqa: PLR0913 - both models are made here
    trunk: I3d,
    num_classes: int,
    *,
    exclusive: bool,
    options: VideoCapsuleOptions | None,
    types: int,
    kernel: int,
    stride: int,
    width: int,
    routing: int,
    dropout: float,
    clip_length: int,
    clip_stride: int,
) -> VideoCapsule:
    layers = ("conv_1a", "conv_2c", str(trunk.shape.last))
    channels = [trunk.channels[name] for name in layers]
    return VideoCapsule(
        trunk,
        layers,
        PrimaryCapsules(channels[-1], types, kernel, stride=stride),
        ClassCapsules(types, num_classes, iterations=routing),
        MaskedDecoder(
            num_classes,
            kernel=kernel,
            stride=stride,
            skip_channels=channels,
            width=width,
            dropout=dropout,
        ),
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        options=options or VideoCapsuleOptions(),
        multiple=8 * stride,
    )

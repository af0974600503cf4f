"""Networks that follow an object from its mask: on the published I3D, and a small one for a CPU."""

from __future__ import annotations

import torch

from stad_models.backbones.i3d import I3d, I3dShape
from stad_models.detectors.object_segmentation import (
    CHANNELS,
    ObjectSegmentation,
    ObjectSegmentationOptions,
)
from stad_models.heads.mask_decoder import MaskDecoder
from stad_models.heads.reference_matching import ReferenceEncoder, ReferenceMatching

VOS_I3D = I3dShape(
    last="mixed_4f", stem_strides=(1, 2), pool_strides=((1, 2), (1, 2), (1, 1), (1, 1))
)
"""I3D up to its last block of 832 channels, which keeps all frames and the stride of 8."""

TINY_VOS_I3D = I3dShape(
    width=0.125,
    last="mixed_3c",
    stem_kernel=3,
    stem_strides=(1, 2),
    pool_strides=((1, 2), (1, 2), (1, 1), (1, 1)),
)
"""An eighth of the channels, a small first kernel, up to the last block before the third pool."""


def vos_i3d(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: ObjectSegmentationOptions | None = None,
    clip_length: int = 8,
    clip_stride: int = 2,
) -> ObjectSegmentation:
    """Video object segmentation on I3D, which takes its public weights; for frames of 224 x 224.

    Args:
        num_classes: classes of the objects, which it does not tell apart.
        exclusive: whether an object is of one class only.
        options: see `ObjectSegmentationOptions`.
        clip_length: frames of a clip beside the given one.
        clip_stride: frames between them in the video.
    """
    return _object_segmentation(
        I3d(VOS_I3D),
        num_classes,
        exclusive=exclusive,
        options=options,
        width=64,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def vos_tiny(
    num_classes: int,
    *,
    exclusive: bool = True,
    options: ObjectSegmentationOptions | None = None,
    trunk: I3dShape = TINY_VOS_I3D,
    width: int = 16,
    clip_length: int = 8,
    clip_stride: int = 1,
) -> ObjectSegmentation:
    """Video object segmentation small enough to train from scratch on two CPU cores.

    Args:
        num_classes: classes of the objects, which it does not tell apart.
        exclusive: whether an object is of one class only.
        options: see `ObjectSegmentationOptions`.
        trunk: the trunk's numbers; `dataclasses.replace(TINY_VOS_I3D, width=...)` varies them.
        width: channels of the decoder's steps; keys and values have twice as many.
        clip_length: frames of a clip beside the given one.
        clip_stride: frames between them in the video.
    """
    # On a CPU the faster layout for narrow maps.
    return _object_segmentation(
        I3d(trunk).to(memory_format=torch.channels_last_3d),
        num_classes,
        exclusive=exclusive,
        options=options,
        width=width,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def _object_segmentation(
    trunk: I3d,
    num_classes: int,
    *,
    exclusive: bool,
    options: ObjectSegmentationOptions | None,
    width: int,
    clip_length: int,
    clip_stride: int,
) -> ObjectSegmentation:
    layers = ("conv_1a", "conv_2c", str(trunk.shape.last))
    halves, quarters, eighths = (trunk.channels[name] for name in layers)
    values = 2 * width
    matching = ReferenceMatching(
        eighths,
        keys=2 * width,
        encoder=ReferenceEncoder(CHANNELS, width, values),
        values=values,
    )
    return ObjectSegmentation(
        trunk,
        layers,
        matching,
        MaskDecoder(matching.channels + eighths, (halves, quarters), width=width),
        num_classes=num_classes,
        exclusive=exclusive,
        clip_length=clip_length,
        clip_stride=clip_stride,
        options=options or ObjectSegmentationOptions(),
    )

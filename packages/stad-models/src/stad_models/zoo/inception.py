"""I3D as a trunk: published, and narrow for a CPU."""

from __future__ import annotations

from stad_models.backbones.i3d import Endpoint, I3d, I3dShape

TINY_I3D = I3dShape(
    width=0.25,
    last="mixed_4c",
    stem_kernel=3,
    pool_strides=((1, 2), (1, 2), (2, 2), (1, 1)),
)
"""A quarter of the channels, a small first kernel, up to the second block of stride 16."""


def i3d(*, channels_in: int = 3, last: Endpoint = "mixed_5c") -> I3d:
    """I3D up to a named layer, made for 64 frames at every one of the video.

    Args:
        channels_in: 3 for colour, 2 for optical flow, 5 for both at once.
        last: the last layer that is built.
    """
    return I3d(I3dShape(channels_in=channels_in, last=last))


def i3d_tiny(shape: I3dShape = TINY_I3D) -> I3d:
    """I3D small enough to learn from scratch on two CPU cores."""
    return I3d(shape)

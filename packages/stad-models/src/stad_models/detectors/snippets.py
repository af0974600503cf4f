"""The K middle frames of a clip, and frames of any size for a trunk that wants multiples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stad_models.structures import Targets


def first_of_snippet(frames: int, length: int) -> int:
    """Where the K middle frames of a clip begin: its keyframe T // 2 is theirs at K // 2."""
    return frames // 2 - length // 2


def snippet(clips: Tensor, length: int) -> Tensor:
    """The K middle frames `[N, K, C, H, W]` of clips `[N, C, T, H, W]`, T at least K."""
    first = first_of_snippet(clips.shape[2], length)
    return clips[:, :, first : first + length].transpose(1, 2)


def padded(x: Tensor, multiple: int) -> Tensor:
    """Frames or clips `[..., H, W]` with zeros at the right and below, up to a multiple.

    0 is the mean colour of normalised frames.
    """
    right, below = -x.shape[-1] % multiple, -x.shape[-2] % multiple
    return functional.pad(x, (0, right, 0, below)) if right or below else x


def check_lengths(owner: str, clip_length: int, length: int) -> None:
    """Refuse a clip length that has no room for a tubelet.

    Raises:
        ValueError: clips would be shorter than K.
    """
    if clip_length < length:
        raise ValueError(
            f"{owner}: clip_length must be at least the {length} frames of a tubelet, "
            f"found {clip_length}"
        )


def check_clips(owner: str, clips: Tensor, *, channels: int, length: int) -> None:
    """Refuse what is no batch of clips with at least K frames.

    Raises:
        TypeError: clips are not floating point.
        ValueError: clips have the wrong shape, or fewer frames than a tubelet.
    """
    if clips.ndim != 5 or clips.shape[1] != channels:
        raise ValueError(
            f"{owner}: clips must be [N, {channels}, T, H, W], found {list(clips.shape)}"
        )
    if not clips.is_floating_point():
        raise TypeError(
            f"{owner}: clips must be floating point, found {clips.dtype}; "
            "divide frames by 255 and normalise them first"
        )
    if clips.shape[2] < length:
        raise ValueError(
            f"{owner}: clips must have at least the {length} frames of a tubelet, "
            f"found {clips.shape[2]}; repeat the first or last frame of a video that is shorter"
        )


def check_targets(
    owner: str, targets: Targets, *, count: int, length: int, num_classes: int
) -> None:
    """Refuse targets that do not fit a batch of clips.

    Raises:
        ValueError: another number of clips, frames or classes, or no tracks.
    """
    if len(targets) != count:
        raise ValueError(f"{owner}: targets of {len(targets)} clips for a batch of {count}")
    if targets.tracks is None:
        raise ValueError(
            f"{owner}: targets need tracks over the {length} middle frames of each clip, found "
            "boxes of the keyframe only; make clips as tubelets"
        )
    for clip, track in enumerate(targets.tracks):
        found = tuple(track.labels.shape[1:])
        if found != (length, num_classes):
            raise ValueError(
                f"{owner}: tracks of clip {clip} have {found[0]} frames and {found[1]} classes, "
                f"the model has {length} and {num_classes}"
            )


def unflattened(x: Tensor, length: int) -> Tensor:
    """`[N * K, ...]` to `[N, K, ...]`."""
    return x.unflatten(0, (-1, length))


FLOW_SCALE = 16.0
"""Levels of an image of flow per pixel of displacement: 8 pixels reach its end."""

FLOW_DEPTH = 5
"""How many successive images of flow a frame gets."""


def flow_images(flow: Tensor) -> Tensor:
    """Optical flow as images of three channels: across, down and length, 128 for stillness.

    Args:
        flow: `[N, 2, T, H, W]`, (dx, dy) in pixels from each frame to the next.

    Returns:
        `[N, 3, T, H, W]` in [0, 255], of the flow's type; to be normalised as colours are.

    Raises:
        ValueError: flow of another shape.

    Source: Finding action tubes, and its public code; MOC takes the same images.
    """
    if flow.ndim != 5 or flow.shape[1] != 2:
        raise ValueError(f"flow_images: flow must be [N, 2, T, H, W], found {list(flow.shape)}")
    length = flow.square().sum(dim=1, keepdim=True).sqrt()
    return (torch.cat((flow, length), dim=1) * FLOW_SCALE + 128.0).clamp(0.0, 255.0)


def stacked_flow(images: Tensor, depth: int = FLOW_DEPTH) -> Tensor:
    """Optical flow as the flow stream takes it: every frame with the images of those after it.

    Args:
        images: `[N, 3, T, H, W]` images of flow, normalised.
        depth: how many successive images a frame gets.

    Returns:
        `[N, 3 * depth, T, H, W]`; beyond the end the last image is repeated.

    Source: MOC's public code.
    """
    frames = images.shape[2]
    later = torch.arange(frames, device=images.device)
    parts = [images[:, :, (later + shift).clamp(max=frames - 1)] for shift in range(depth)]
    return torch.cat(parts, dim=1)

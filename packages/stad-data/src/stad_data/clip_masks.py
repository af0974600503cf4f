"""Masks for clips: from a dataset's own, or painted from its boxes. Needs the extra ``torch``.

Suffix legend: T = frames, H, W = height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import MaskSource, VideoAnnotation
from stad_data.clips import Clip
from stad_data.warping import warp_masks
from stad_eval import InputError

_LAST = 254
"""The largest number of an object: 255 stands for undecided pixels."""


def with_masks(clip: Clip, source: MaskSource) -> Clip:
    """The clip with the masks of its frames, before or after it was transformed.

    Args:
        clip: A clip of the source's video.
        source: ``annotation.masks``, or ``BoxMasks`` for videos that have boxes alone. Masks of
            another size than the annotated frame are stretched to it.

    Raises:
        InputError: Masks that cannot be read.
    """
    masks = source.read(clip.indices.tolist())
    width, height = clip.placement.size
    fit = np.diag([width / masks.shape[2], height / masks.shape[1], 1.0])
    step = clip.placement.matrix @ fit
    return replace(clip, masks=warp_masks(masks, step, clip.size))


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxMasks:
    """The boxes of a video as masks, a `MaskSource`: a pixel is in a box if its middle is.

    Where boxes overlap the later track of the video lies on top. Frames that are not annotated are
    all 0, as frames without actors are.

    Raises:
        InputError: An actor whose number does not fit into a mask.

    Source: VideoCapsuleNet trains on such masks where a dataset has boxes alone (UCF101-24).
    """

    annotation: VideoAnnotation

    def __post_init__(self) -> None:
        actors = [track.actor for track in self.annotation.tracks]
        if actors and not (min(actors) >= 0 and max(actors) < _LAST):
            raise InputError(
                f"video {self.annotation.video!r}: an actor's number does not fit into a mask",
                path=self.annotation.path,
                expected=f"numbers from 0 to {_LAST - 1}",
                found=f"{min(actors)} to {max(actors)}",
            )

    def read(self, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Masks uint8 [T, H, W] on the annotated frame: 0 background, ``actor + 1`` an actor."""
        width, height = self.annotation.size
        masks = np.zeros((len(frames), height, width), np.uint8)
        for mask, frame in zip(masks, frames, strict=True):
            there = self.annotation.at(frame)
            edges = np.ceil(there.boxes - 0.5).clip(0).astype(np.int64)
            for actor, (x1, y1, x2, y2) in zip(there.actors.tolist(), edges.tolist(), strict=True):
                mask[y1:y2, x1:x2] = actor + 1
        return masks

"""Rotation of whole clips about their middle. Needs the extra ``torch``."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from stad_data import flow_vectors
from stad_data.clip_tracks import cut_boxes
from stad_data.clips import Clip
from stad_data.placement import Placement
from stad_data.warping import warp, warp_masks
from stad_eval import InputError

_MOST = 40.0


@dataclass(frozen=True)
class RandomRotation:
    """Turn the clip about its middle by a random angle; its size stays and the corners are black.

    A box becomes the smallest upright box around the turned one, found from the annotated frame, so
    that two turns do not widen it twice, and ``placement.to_source`` takes it back. That is why
    the angle is limited: at 45 degrees boxes of different forms become the same.

    Attributes:
        degrees: The angle is drawn uniformly between minus and plus this, at most 40.
        p: Probability that the clip is turned at all.
        visible: Boxes are cut at the borders and dropped where less than this share is left.

    Raises:
        InputError: An angle outside [0, 40], or a probability or share outside [0, 1]. When called,
            if the turns of a clip add up to 45 degrees.
    """

    degrees: float
    p: float = 1.0
    visible: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= _MOST or not 0 <= self.p <= 1 or not 0 <= self.visible <= 1:
            raise InputError(
                "RandomRotation cannot use its settings",
                expected=f"degrees in [0, {_MOST:g}], p and visible in [0, 1]",
                found=repr(self),
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The turned clip."""
        if rng.random() >= self.p:
            return clip
        return rotated(clip, rng.uniform(-self.degrees, self.degrees), visible=self.visible)


def rotated(clip: Clip, degrees: float, *, visible: float) -> Clip:
    """The clip turned about its middle, clockwise as it is seen; see `RandomRotation`."""
    size = clip.size
    middle = (size[0] / 2, size[1] / 2)
    step = Placement(size=size).rotated(degrees, middle).matrix
    placement = clip.placement.rotated(degrees, middle)

    def move(boxes: ArrayLike) -> NDArray[np.float64]:
        return placement.to_clip(clip.placement.to_source(boxes))

    pixels = torch.from_numpy(np.ascontiguousarray(clip.frames.transpose(0, 3, 1, 2))).float()
    turned = warp(pixels, step, size)[0].add_(0.5).to(torch.uint8).permute(0, 2, 3, 1)
    boxes, seen = cut_boxes(move(clip.boxes).astype(np.float32), size, visible)
    return replace(
        clip,
        frames=np.ascontiguousarray(turned.numpy()),
        boxes=boxes[seen],
        labels=clip.labels[seen],
        actors=clip.actors[seen],
        placement=placement,
        masks=None if clip.masks is None else warp_masks(clip.masks, step, size),
        tracks=None if clip.tracks is None else clip.tracks.moved(move).cut(size, visible),
        flow=None if clip.flow is None else flow_vectors.turned(clip.flow, step, size),
    )

"""Cutout: rectangles of a clip are hidden, so that a detector learns from what is left."""

from dataclasses import dataclass, replace

import numpy as np

from stad_data.clips import Clip
from stad_eval import InputError


@dataclass(frozen=True)
class Cutout:
    """Hide random rectangles, the same in all frames, under one colour.

    Boxes, tracks, masks and the placement stay: what is hidden is still there. Flow is hidden too:
    it becomes 0.

    Attributes:
        count: How many rectangles; they may overlap.
        area: Smallest and largest share of the frame's area that one hides, drawn uniformly; its
            ratio of width to height lies between 1 : 2 and 2 : 1 of the frame's. Parts that would
            reach over a border are moved inside.
        fill: The colour, as one level of grey.

    Raises:
        InputError: No rectangle, an area outside (0, 1], or no colour.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with
    cutout"; Zhong et al., "Random erasing" (random form and area).
    """

    count: int = 1
    area: tuple[float, float] = (0.02, 0.2)
    fill: int = 0

    def __post_init__(self) -> None:
        low, high = self.area
        if self.count < 1 or not 0 < low <= high <= 1 or not 0 <= self.fill <= 255:
            raise InputError(
                "Cutout cannot use its settings",
                expected="count >= 1, area 0 < low <= high <= 1, fill in 0..255",
                found=repr(self),
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with parts hidden."""
        frames = clip.frames.copy()
        flow = None if clip.flow is None else clip.flow.copy()
        width, height = clip.size
        for _ in range(self.count):
            side = np.sqrt(rng.uniform(*self.area))
            form = 2 ** rng.uniform(-0.5, 0.5)
            wide = min(width, max(1, round(width * side * form)))
            high = min(height, max(1, round(height * side / form)))
            left = int(rng.integers(width - wide + 1))
            top = int(rng.integers(height - high + 1))
            frames[:, top : top + high, left : left + wide] = self.fill
            if flow is not None:
                flow[:, top : top + high, left : left + wide] = 0
        return replace(clip, frames=frames, flow=flow)

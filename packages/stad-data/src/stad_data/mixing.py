"""MixUp for clips with boxes: a second clip shines faintly through the first.

Suffix legend: T = frames, H, W = height and width, N = actors, C = classes.
"""

from dataclasses import dataclass, replace

import numpy as np

from stad_data.clips import Clip
from stad_eval import InputError


@dataclass(frozen=True)
class MixUp:
    """How often clips are mixed, and how much of the first remains.

    Attributes:
        p: Probability that a clip is mixed with another.
        least: The first clip's share is drawn uniformly from [least, 1]; at least a half, so that
            its actors are the ones to be found.

    Raises:
        InputError: A probability outside [0, 1], or a share outside [0.5, 1].
    """

    p: float
    least: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1 or not 0.5 <= self.least <= 1:
            raise InputError(
                "MixUp cannot use its settings",
                expected="p in [0, 1], least in [0.5, 1]",
                found=f"p {self.p}, least {self.least}",
            )

    def draw(self, rng: np.random.Generator) -> float:
        """The share of the first clip; 1 where it stays as it is."""
        return float(rng.uniform(self.least, 1.0)) if rng.random() < self.p else 1.0


def mix(clip: Clip, other: Clip, share: float) -> Clip:
    """A clip of which `other` makes up the part 1 - share, in pixels, flow and labels.

    Boxes, actors and everything else are the first clip's: the second is a disturbance that has
    no boxes to be found. Its labels, as the mean over its actors, take their part of each of the
    first clip's labels, which become float32 [N, C] in [0, 1]; without actors it takes none.

    Raises:
        InputError: Clips of different sizes, flow in one of them only, or a share outside [0, 1].

    Source: mixup: Beyond empirical risk minimization, Sec. 2; boxes as said above.
    """
    if clip.frames.shape != other.frames.shape or not 0 <= share <= 1:
        raise InputError(
            "clips cannot be mixed",
            expected="two clips of one size, share in [0, 1]",
            found=f"{clip.frames.shape} and {other.frames.shape}, share {share}",
        )
    if (clip.flow is None) != (other.flow is None):
        raise InputError(
            "clips cannot be mixed",
            expected="flow in both clips or in none",
            found=f"in {(clip if other.flow is None else other).video!r} only",
        )
    weight = round(share * 256)
    mixed = clip.frames.astype(np.uint16)
    mixed *= np.uint16(weight)
    mixed += other.frames * np.uint16(256 - weight)
    mixed += np.uint16(128)
    mixed >>= np.uint16(8)
    labels = clip.labels.astype(np.float32)
    if len(other.labels):
        labels = share * labels + (1 - share) * other.labels.mean(axis=0, dtype=np.float32)
    flow = clip.flow
    if flow is not None and other.flow is not None:
        flow = np.float32(share) * flow + np.float32(1 - share) * other.flow
    return replace(clip, frames=mixed.astype(np.uint8), labels=labels.astype(np.float32), flow=flow)

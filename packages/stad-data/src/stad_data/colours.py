"""Colours of whole clips changed at random. Needs the extra ``torch``."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from stad_data.clips import Clip
from stad_eval import InputError


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue at random, the same for all frames.

    The first three factors are drawn uniformly from [1 - x, 1 + x] and act as in torchvision
    (brightness, then contrast about the clip's mean grey, then saturation about each pixel's grey);
    the hue turns by up to +- that part of the circle, about the grey axis at constant luma. All are
    joined to one linear map of the colours, so values are cut to 0..255 once, at the end.

    Raises:
        InputError: A strength outside [0, 1], or a hue outside [0, 0.5].
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        strengths = (self.brightness, self.contrast, self.saturation, 2 * self.hue)
        if not all(0 <= strength <= 1 for strength in strengths):
            raise InputError(
                "ColorJitter cannot use its settings",
                expected="brightness, contrast, saturation in [0, 1], hue in [0, 0.5]",
                found=str((self.brightness, self.contrast, self.saturation, self.hue)),
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with other colours."""
        strengths = np.array([self.brightness, self.contrast, self.saturation])
        if not strengths.any() and not self.hue:
            return clip
        brightness, contrast, saturation = 1 + strengths * rng.uniform(-1, 1, 3)
        turn = rng.uniform(-self.hue, self.hue) if self.hue else 0.0
        map_33 = _hue_turn(turn) @ (saturation * np.eye(3) + (1 - saturation) * _GREY)
        map_33 *= brightness * contrast
        offset = 0.0
        if self.contrast:
            # Every fourth pixel of each side tells the mean well enough.
            mean = clip.frames[:, ::4, ::4].mean(axis=(0, 1, 2)) @ _GREY
            offset = (1 - contrast) * brightness * float(mean)
        frames = torch.from_numpy(plain(clip.frames))
        red, green, blue = frames.permute(3, 0, 1, 2).float().contiguous()
        out = torch.empty_like(frames)
        # Plane by plane: many times faster than a matrix product with so short a side.
        for channel, (r, g, b) in enumerate(map_33.tolist()):
            plane = red.mul(r).add_(green, alpha=g).add_(blue, alpha=b)
            out[..., channel] = plane.add_(offset + 0.5).clamp_(0, 255)
        return replace(clip, frames=out.numpy())


# ITU-R BT.601 luma of R, G, B.
_GREY = np.array((0.299, 0.587, 0.114))

# From R, G, B to luma and the two axes of colour of NTSC (YIQ): a turn of the latter is a hue.
_YIQ = np.array([_GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


def _hue_turn(share: float) -> NDArray[np.float64]:
    """The linear map [3, 3] of colours that turns hues by this part of the circle."""
    if not share:
        return np.eye(3)
    c, s = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
    return np.linalg.inv(_YIQ) @ np.array([(1, 0, 0), (0, c, -s), (0, s, c)]) @ _YIQ


def plain(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames that torch can look at: writeable and without negative strides; a copy if need be."""
    if frames.flags.writeable and min(frames.strides) > 0:
        return frames
    return frames.copy()

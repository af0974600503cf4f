"""Transforms of whole clips: one decision for all frames, boxes moved along, inverse remembered.

Every transform is a callable ``(clip, rng) -> clip``; all chance comes from the given generator.
Pixels go through PyTorch's uint8 resize; boxes are our own arithmetic, and each transform updates
``clip.placement``, so that ``clip.placement.to_source`` takes boxes back exactly. Needs the extra
``torch``.

Suffix legend: T = frames, H, W = height and width, N = actors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from stad_data.clips import Clip, Placement
from stad_eval import InputError

Transform = Callable[[Clip, np.random.Generator], Clip]


@dataclass(frozen=True)
class Compose:
    """Transforms one after the other."""

    transforms: Sequence[Transform]

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip after all of them."""
        for transform in self.transforms:
            clip = transform(clip, rng)
        return clip


@dataclass(frozen=True)
class FixedResize:
    """Resize to exactly this size; the aspect ratio may change.

    Raises:
        InputError: A size below one pixel.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        _check_size("FixedResize", self.width, self.height)

    def __call__(self, clip: Clip, _: np.random.Generator) -> Clip:
        """The resized clip."""
        return _resized(clip, self.width, self.height)


@dataclass(frozen=True)
class ShortSideResize:
    """Resize so that the shorter side gets this length, keeping the aspect ratio.

    With ``longest`` the clip is made smaller where its longer side would be over that. Sides are
    rounded to whole pixels, and the placement holds the exact factor of each.

    Raises:
        InputError: A side below one pixel.
    """

    side: int
    longest: int | None = None

    def __post_init__(self) -> None:
        _check_size("ShortSideResize", self.side, 1 if self.longest is None else self.longest)

    def __call__(self, clip: Clip, _: np.random.Generator) -> Clip:
        """The resized clip."""
        width, height = clip.size
        factor = self.side / min(width, height)
        if self.longest is not None:
            factor = min(factor, self.longest / max(width, height))
        return _resized(clip, max(1, round(width * factor)), max(1, round(height * factor)))


@dataclass(frozen=True)
class RandomScaledCrop:
    """Zoom by a random factor and take a random window of a fixed size, in one resize.

    At factor 1 the clip just covers the window (its longer side is cropped); above 1 it is zoomed
    in; below 1 the clip is smaller than the window, lies at a random place in it, and the rest is
    black. The window is a rectangle of whole pixels of the incoming clip, resized to ``size``.

    Attributes:
        size: (width, height) of the outgoing clip.
        scale_range: Smallest and largest factor, drawn uniformly.
        visible: Boxes are cut at the window and dropped where less than this share of their area
            is left.

    Raises:
        InputError: A size below one pixel, a range that is none, or a share outside [0, 1].
    """

    size: tuple[int, int]
    scale_range: tuple[float, float] = (1.0, 1.3)
    visible: float = 0.3

    def __post_init__(self) -> None:
        _check_size("RandomScaledCrop", *self.size)
        low, high = self.scale_range
        if not 0 < low <= high < np.inf or not 0 <= self.visible <= 1:
            raise InputError(
                "RandomScaledCrop cannot use its settings",
                expected="scale_range 0 < low <= high, visible in [0, 1]",
                found=f"scale_range {self.scale_range}, visible {self.visible}",
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The cropped clip."""
        (width, height), (out_width, out_height) = clip.size, self.size
        cover = max(out_width / width, out_height / height)
        factor = cover * rng.uniform(*self.scale_range)
        left, right, at_x, wide = _window(width, out_width, factor, rng.random())
        top, bottom, at_y, high = _window(height, out_height, factor, rng.random())
        pixels = _resize(clip.frames[:, top:bottom, left:right], wide, high)
        if (wide, high) != self.size:
            canvas = np.zeros((len(pixels), out_height, out_width, 3), np.uint8)
            canvas[:, at_y : at_y + high, at_x : at_x + wide] = pixels
            pixels = canvas
        factors = (wide / (right - left), high / (bottom - top))
        placement = clip.placement.shifted(-left, -top).scaled(*factors).shifted(at_x, at_y)
        boxes = _moved(clip.boxes, (-left, -top), factors, (at_x, at_y))
        return _cut(replace(clip, frames=pixels, placement=placement, boxes=boxes), self.visible)


@dataclass(frozen=True)
class RandomFlip:
    """Exchange left and right with probability ``p``, and the labels that name a side.

    Attributes:
        p: Probability.
        label_pairs: (left, right) label indices to exchange along with the sides.

    Raises:
        InputError: A probability outside [0, 1], or a label in two pairs.
    """

    p: float = 0.5
    label_pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        sides = [label for pair in self.label_pairs for label in pair]
        if not 0 <= self.p <= 1 or len(set(sides)) != len(sides) or min(sides, default=0) < 0:
            raise InputError(
                "RandomFlip cannot use its settings",
                expected="p in [0, 1], each label in one pair",
                found=f"p {self.p}, label_pairs {self.label_pairs}",
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip, mirrored or not; mirrored frames are a view of the others."""
        if rng.random() >= self.p:
            return clip
        width = clip.size[0]
        boxes = clip.boxes.copy()
        boxes[:, 0], boxes[:, 2] = width - clip.boxes[:, 2], width - clip.boxes[:, 0]
        labels = clip.labels
        if self.label_pairs:
            left, right = (list(side) for side in zip(*self.label_pairs, strict=True))
            if max(left + right) >= labels.shape[1]:
                raise InputError(
                    "RandomFlip exchanges a label that the clip does not have",
                    expected=f"label indices below {labels.shape[1]}",
                    found=str(self.label_pairs),
                )
            labels = labels.copy()
            labels[:, left + right] = clip.labels[:, right + left]
        return replace(
            clip,
            frames=clip.frames[:, :, ::-1],
            boxes=boxes,
            labels=labels,
            placement=clip.placement.flipped(width),
        )


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast and saturation by random factors, the same for all frames.

    Each factor is drawn uniformly from [1 - x, 1 + x]. The three act as in torchvision (brightness,
    then contrast about the clip's mean grey, then saturation about each pixel's grey), joined to
    one linear map of the colours, so values are cut to 0..255 once, at the end.

    Raises:
        InputError: A strength outside [0, 1].
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        strengths = (self.brightness, self.contrast, self.saturation)
        if not all(0 <= strength <= 1 for strength in strengths):
            raise InputError(
                "ColorJitter cannot use its settings",
                expected="brightness, contrast, saturation in [0, 1]",
                found=str(strengths),
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with other colours."""
        strengths = np.array([self.brightness, self.contrast, self.saturation])
        brightness, contrast, saturation = 1 + strengths * rng.uniform(-1, 1, 3)
        if not strengths.any():
            return clip
        gain = brightness * contrast
        offset = 0.0
        if self.contrast:
            # Every fourth pixel of each side tells the mean well enough.
            mean = clip.frames[:, ::4, ::4].mean(axis=(0, 1, 2)) @ np.array(_GREY)
            offset = (1 - contrast) * brightness * float(mean)
        pixels = torch.from_numpy(_plain(clip.frames)).float()
        if self.saturation:
            grey = pixels @ torch.tensor(_GREY) * (gain * (1 - saturation)) + offset
            pixels.mul_(gain * saturation).add_(grey[..., None])
        else:
            pixels.mul_(gain).add_(offset)
        pixels = pixels.add_(0.5).clamp_(0, 255).to(torch.uint8).numpy()
        return replace(clip, frames=pixels)


@dataclass(frozen=True)
class RepeatKeyframe:
    """Replace every frame by the keyframe: what is left is what a single picture tells."""

    def __call__(self, clip: Clip, _: np.random.Generator) -> Clip:
        """The clip without motion; ``indices`` say so too."""
        middle = clip.keyframe
        return replace(
            clip,
            frames=np.repeat(clip.frames[middle : middle + 1], len(clip.frames), axis=0),
            indices=np.full_like(clip.indices, clip.indices[middle]),
        )


# ITU-R BT.601 luma of R, G, B.
_GREY = (0.299, 0.587, 0.114)


def _check_size(name: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise InputError(
            f"{name} needs a size", expected="at least 1 pixel", found=f"{width} x {height}"
        )


def _resize(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Frames [T, H, W, 3] at another size, bilinear with antialiasing; a view at the same size."""
    if frames.shape[1:3] == (height, width):
        return frames
    pixels = torch.from_numpy(_plain(frames)).permute(0, 3, 1, 2)
    small = interpolate(
        pixels, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(small.permute(0, 2, 3, 1).numpy())


def _plain(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames that torch can look at: writeable and without negative strides; a copy if need be."""
    if frames.flags.writeable and min(frames.strides) > 0:
        return frames
    return frames.copy()


def _resized(clip: Clip, width: int, height: int) -> Clip:
    factors = (width / clip.size[0], height / clip.size[1])
    return replace(
        clip,
        frames=_resize(clip.frames, width, height),
        boxes=_moved(clip.boxes, (0, 0), factors, (0, 0)),
        placement=clip.placement.scaled(*factors),
    )


def _moved(
    boxes: NDArray[np.float32],
    before: tuple[int, int],
    factors: tuple[float, float],
    after: tuple[int, int],
) -> NDArray[np.float32]:
    """Boxes shifted, scaled, shifted, as float32 [N, 4]."""
    map_ = Placement(size=(1, 1)).shifted(*before).scaled(*factors).shifted(*after)
    return map_.to_clip(boxes).astype(np.float32)


def _window(side: int, out: int, factor: float, where: float) -> tuple[int, int, int, int]:
    """One axis of a crop: source start, source stop, place in the output, length in the output."""
    if side * factor <= out:
        length = max(1, round(side * factor))
        return 0, side, round(where * (out - length)), length
    length = min(side, max(1, round(out / factor)))
    start = round(where * (side - length))
    return start, start + length, 0, out


def _cut(clip: Clip, visible: float) -> Clip:
    """Boxes cut at the clip's borders; those that are hidden too much are dropped."""
    width, height = clip.size
    boxes = clip.boxes.copy()
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    area = np.prod(clip.boxes[:, 2:] - clip.boxes[:, :2], axis=1)
    left = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    keep = (left > 0) & (left >= visible * area)
    return replace(clip, boxes=boxes[keep], labels=clip.labels[keep], actors=clip.actors[keep])

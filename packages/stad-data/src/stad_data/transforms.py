"""Transforms of whole clips: one decision for all frames, boxes moved along, inverse remembered.

Every transform is a callable ``(clip, rng) -> clip``; all chance comes from the given generator.
Pixels go through PyTorch's uint8 resize; boxes are our own arithmetic, and each transform updates
``clip.placement``, so that ``clip.placement.to_source`` takes boxes back exactly and
``stad_data.warping.undo`` maps. A clip's masks, tracks and flow move along. Needs the extra
``torch``.

Suffix legend: T = frames, H, W = height and width, N = actors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from stad_data import flow_vectors
from stad_data.clip_tracks import cut_boxes
from stad_data.clips import Clip
from stad_data.colours import ColorJitter as ColorJitter
from stad_data.colours import plain
from stad_data.erasing import Cutout as Cutout
from stad_data.placement import Placement
from stad_data.rotation import RandomRotation as RandomRotation
from stad_data.warping import warp_masks
from stad_eval import InputError

Transform = Callable[[Clip, np.random.Generator], Clip]
_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


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
        stretch: Largest change of the aspect ratio: width over height is multiplied by a factor
            whose logarithm is uniform between plus and minus that of 1 + stretch.
        visible: Boxes are cut at the window and dropped where less than this share of their area
            is left.

    Raises:
        InputError: A size below one pixel, a range that is none, or a share outside [0, 1].
    """

    size: tuple[int, int]
    scale_range: tuple[float, float] = (1.0, 1.3)
    stretch: float = 0.0
    visible: float = 0.3

    def __post_init__(self) -> None:
        _check_size("RandomScaledCrop", *self.size)
        low, high = self.scale_range
        shares = 0 <= self.stretch <= 1 and 0 <= self.visible <= 1
        if not 0 < low <= high < np.inf or not shares:
            raise InputError(
                "RandomScaledCrop cannot use its settings",
                expected="scale_range 0 < low <= high, stretch and visible in [0, 1]",
                found=f"scale_range {self.scale_range}, stretch {self.stretch}, "
                f"visible {self.visible}",
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The cropped clip."""
        (width, height), (out_width, out_height) = clip.size, self.size
        cover = max(out_width / width, out_height / height)
        factor = cover * rng.uniform(*self.scale_range)
        wider = np.sqrt((1 + self.stretch) ** rng.uniform(-1, 1)) if self.stretch else 1.0
        left, right, at_x, wide = _window(width, out_width, factor * wider, rng.random())
        top, bottom, at_y, high = _window(height, out_height, factor / wider, rng.random())
        pixels = _resize(clip.frames[:, top:bottom, left:right], wide, high)
        frames, flow = _on_canvas(pixels, (at_x, at_y), self.size), clip.flow
        if flow is not None:
            flow = flow_vectors.resized(flow[:, top:bottom, left:right], wide, high)
            flow = _on_canvas(flow, (at_x, at_y), self.size)
        factors = (wide / (right - left), high / (bottom - top))
        moved = _moved(clip, frames, flow, (-left, -top), factors, (at_x, at_y))
        return _cut(moved, self.visible)


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
        _check_flip("RandomFlip", self.p, self.label_pairs)

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip, mirrored or not; mirrored frames are a view of the others."""
        if rng.random() >= self.p:
            return clip
        width = clip.size[0]
        clip = _exchanged(clip, self.label_pairs)
        boxes = clip.boxes.copy()
        boxes[:, 0], boxes[:, 2] = width - clip.boxes[:, 2], width - clip.boxes[:, 0]
        flip = Placement(size=clip.size).flipped(width)
        return replace(
            clip,
            frames=clip.frames[:, :, ::-1],
            boxes=boxes,
            placement=clip.placement.flipped(width),
            masks=None if clip.masks is None else clip.masks[:, :, ::-1],
            tracks=None if clip.tracks is None else clip.tracks.moved(flip.to_clip),
            flow=None if clip.flow is None else flow_vectors.mirrored(clip.flow),
        )


@dataclass(frozen=True)
class TemporalFlip:
    """Let the clip run backwards with probability ``p``, and exchange the labels that reverse.

    In a clip of even length the keyframe comes to lie at T // 2 - 1, as ``clip.keyframe`` says;
    detectors that look at T // 2 alone want odd lengths. Tracks are reversed too, so what was the
    keyframe before becomes the one after.

    Attributes:
        p: Probability.
        label_pairs: Labels that become each other, such as sitting down and standing up.

    Raises:
        InputError: A probability outside [0, 1], or a label in two pairs.
    """

    p: float = 0.5
    label_pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        _check_flip("TemporalFlip", self.p, self.label_pairs)

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip, reversed or not; reversed frames are a view of the others."""
        if rng.random() >= self.p:
            return clip
        clip = _exchanged(clip, self.label_pairs)
        return replace(
            clip,
            frames=clip.frames[::-1],
            indices=clip.indices[::-1],
            keyframe=len(clip.frames) - 1 - clip.keyframe,
            placement=clip.placement.reversed(),
            masks=None if clip.masks is None else clip.masks[::-1],
            tracks=None if clip.tracks is None else clip.tracks.reversed(),
            flow=None if clip.flow is None else flow_vectors.backwards(clip.flow),
        )


@dataclass(frozen=True)
class RepeatKeyframe:
    """Replace every frame by the keyframe: what is left is what a single picture tells.

    What is to be found stays as it was: boxes, tracks and masks. Flow becomes 0.
    """

    def __call__(self, clip: Clip, _: np.random.Generator) -> Clip:
        """The clip without motion; ``indices`` say so too."""
        middle = clip.keyframe
        return replace(
            clip,
            frames=np.repeat(clip.frames[middle : middle + 1], len(clip.frames), axis=0),
            indices=np.full_like(clip.indices, clip.indices[middle]),
            flow=None if clip.flow is None else np.zeros_like(clip.flow),
        )


def _check_size(name: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise InputError(
            f"{name} needs a size", expected="at least 1 pixel", found=f"{width} x {height}"
        )


def _resize(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Frames [T, H, W, 3] at another size, bilinear with antialiasing; a view at the same size."""
    if frames.shape[1:3] == (height, width):
        return frames
    pixels = torch.from_numpy(plain(frames)).permute(0, 3, 1, 2)
    small = interpolate(
        pixels, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(small.permute(0, 2, 3, 1).numpy())


def _on_canvas(
    pixels: NDArray[_Pixel], place: tuple[int, int], size: tuple[int, int]
) -> NDArray[_Pixel]:
    """Pixels [T, h, w, C] at a place of a black canvas [T, H, W, C]; as they are if as large."""
    time, high, wide, channels = pixels.shape
    if (wide, high) == size:
        return pixels
    canvas = np.zeros((time, size[1], size[0], channels), pixels.dtype)
    canvas[:, place[1] : place[1] + high, place[0] : place[0] + wide] = pixels
    return canvas


def _check_flip(name: str, p: float, pairs: tuple[tuple[int, int], ...]) -> None:
    sides = [label for pair in pairs for label in pair]
    if not 0 <= p <= 1 or len(set(sides)) != len(sides) or min(sides, default=0) < 0:
        raise InputError(
            f"{name} cannot use its settings",
            expected="p in [0, 1], each label in one pair",
            found=f"p {p}, label_pairs {pairs}",
        )


def _exchanged(clip: Clip, pairs: tuple[tuple[int, int], ...]) -> Clip:
    """The clip with these labels exchanged."""
    if not pairs:
        return clip
    one, other = (list(side) for side in zip(*pairs, strict=True))
    if max(one + other) >= clip.labels.shape[1]:
        raise InputError(
            "a flip exchanges a label that the clip does not have",
            expected=f"label indices below {clip.labels.shape[1]}",
            found=str(pairs),
        )
    order = np.arange(clip.labels.shape[1])
    order[one + other] = other + one
    tracks = clip.tracks
    if tracks is not None:
        tracks = replace(tracks, labels=tracks.labels[:, :, order])
    return replace(clip, labels=clip.labels[:, order], tracks=tracks)


def _resized(clip: Clip, width: int, height: int) -> Clip:
    factors = (width / clip.size[0], height / clip.size[1])
    frames = _resize(clip.frames, width, height)
    flow = None if clip.flow is None else flow_vectors.resized(clip.flow, width, height)
    return _moved(clip, frames, flow, (0, 0), factors, (0, 0))


def _moved(
    clip: Clip,
    frames: NDArray[np.uint8],
    flow: NDArray[np.float32] | None,
    before: tuple[int, int],
    factors: tuple[float, float],
    after: tuple[int, int],
) -> Clip:
    """The clip with these frames and flow, its own after a shift, a resize and a shift."""
    step = Placement(size=clip.size).shifted(*before).scaled(*factors).shifted(*after)
    size = (frames.shape[2], frames.shape[1])
    return replace(
        clip,
        frames=frames,
        boxes=step.to_clip(clip.boxes).astype(np.float32),
        placement=clip.placement.shifted(*before).scaled(*factors).shifted(*after),
        masks=None if clip.masks is None else warp_masks(clip.masks, step.matrix, size),
        tracks=None if clip.tracks is None else clip.tracks.moved(step.to_clip),
        flow=flow,
    )


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
    boxes, keep = cut_boxes(clip.boxes, clip.size, visible)
    return replace(
        clip,
        boxes=boxes[keep],
        labels=clip.labels[keep],
        actors=clip.actors[keep],
        tracks=None if clip.tracks is None else clip.tracks.cut(clip.size, visible),
    )

"""Maps of pixels taken through an affine map: masks, localisation maps, and the way back.

Needs the extra ``torch``; gradients flow through maps of floats.
Suffix legend: T = frames, H, W = height and width of the outcome, h, w = of what comes in.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from stad_data.placement import Placement
from stad_eval import InputError


class Placed(Protocol):
    """Anything that tells where its pixels came from: a `Clip`, a `ClipInfo`, a `View`."""

    @property
    def placement(self) -> Placement:
        """From pixels of the annotated frame to its own."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class View:
    """A view of a video by its placement and its (width, height) alone."""

    placement: Placement
    size: tuple[int, int]


def undo(
    maps: Tensor, clip: Placed, *, size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Maps of a transformed clip, on the annotated frame and in the video's order of time.

    Args:
        maps: [..., T, h, w] on the whole clip, of any resolution.
        clip: The clip, or where it came from.
        size: (width, height) of the outcome, which spans the annotated frame; its own size where
            None.

    Returns:
        As `transfer`.
    """
    frame = View(placement=Placement(size=clip.placement.size), size=clip.placement.size)
    return transfer(maps, clip, frame, size=size)


def transfer(
    maps: Tensor, given: Placed, wanted: Placed, *, size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Maps of one view of a video, on another view of it.

    Maps of uint8 are numbers of objects and take the nearest pixel; floats are interpolated
    between the four nearest pixels, with gradients. The order of the frames is reversed where time
    runs the other way in the other view.

    Args:
        maps: [..., T, h, w] on the whole of the given view, of any resolution.
        given: The view that the maps are on.
        wanted: The view that they shall be on, of the same frames.
        size: (width, height) of the outcome, which spans the wanted view; its own size where None.

    Returns:
        The maps [..., T, H, W], 0 where the given view does not show the place, and bool [H, W]:
        where it does.

    Raises:
        InputError: Maps without pixels, or views of frames of different sizes.
    """
    if given.placement.size != wanted.placement.size:
        raise InputError(
            "the views are not of one video",
            expected=f"an annotated frame of {wanted.placement.size}",
            found=f"{given.placement.size}",
        )
    if maps.ndim < 3 or not min(maps.shape[-2:]):
        raise InputError(
            "cannot move these maps", expected="[..., T, h, w]", found=str(tuple(maps.shape))
        )
    out = wanted.size if size is None else size
    step = (
        _zoom(wanted.size, out)
        @ wanted.placement.matrix
        @ np.linalg.inv(given.placement.matrix)
        @ _zoom((maps.shape[-1], maps.shape[-2]), given.size)
    )
    if given.placement.backwards != wanted.placement.backwards:
        maps = maps.flip(-3)
    return warp(maps, step, out)


def warp(maps: Tensor, step: NDArray[np.float64], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Maps after their pixels went through an affine map.

    Args:
        maps: [..., h, w]; uint8 takes the nearest pixel, floats are interpolated.
        step: [3, 3], from edges of the incoming pixels to edges of the outgoing ones.
        size: (width, height) of the outcome.

    Returns:
        The maps [..., H, W], 0 where nothing came in, and bool [H, W]: where something did.
    """
    height, width = maps.shape[-2:]
    x_HW, y_HW = _sources(step, size)
    inside = (x_HW >= 0) & (x_HW < width) & (y_HW >= 0) & (y_HW < height)
    seen = torch.from_numpy(inside).to(maps.device)
    if not maps.is_floating_point():
        column = torch.from_numpy(np.floor(x_HW).clip(0, width - 1).astype(np.int64))
        row = torch.from_numpy(np.floor(y_HW).clip(0, height - 1).astype(np.int64))
        return maps[..., row.to(maps.device), column.to(maps.device)] * seen, seen
    kind = maps.dtype if maps.dtype in (torch.float32, torch.float64) else torch.float32
    grid = np.stack([2 * x_HW / width - 1, 2 * y_HW / height - 1], axis=-1)
    # One picture with many channels, all sampled at the same places.
    moved = grid_sample(
        maps.reshape(1, -1, height, width).to(kind),
        torch.from_numpy(grid)[None].to(maps.device, kind),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    moved = moved.reshape(*maps.shape[:-2], size[1], size[0]).to(maps.dtype)
    return moved * seen, seen


def warp_masks(
    masks: NDArray[np.uint8] | NDArray[np.float32],
    step: NDArray[np.float64],
    size: tuple[int, int],
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Masks [T, h, w] of a clip after its pixels went through an affine map; see `warp`."""
    return warp(torch.from_numpy(masks.copy()), step, size)[0].numpy()


def _sources(
    step: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the middle of each outgoing pixel lies among the incoming ones: x and y [H, W]."""
    back = np.linalg.inv(step)
    x, y = np.arange(size[0]) + 0.5, (np.arange(size[1]) + 0.5)[:, None]
    return (
        back[0, 0] * x + back[0, 1] * y + back[0, 2],
        back[1, 0] * x + back[1, 1] * y + back[1, 2],
    )


def _zoom(given: tuple[int, int], wanted: tuple[int, int]) -> NDArray[np.float64]:
    return np.diag([wanted[0] / given[0], wanted[1] / given[1], 1.0])

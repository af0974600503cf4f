"""What becomes of flow when the pixels under it move: its places and its vectors.

Needs the extra ``torch``. Flow is float32 [T, H, W, 2], (dx, dy) in pixels. Suffix legend: T =
frames, H, W = height, width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from stad_data.warping import warp

Flow = NDArray[np.float32]


def resized(flow: Flow, width: int, height: int) -> Flow:
    """Flow at another size, bilinear with antialiasing; vectors grow with the sides."""
    if flow.shape[1:3] == (height, width):
        return flow
    factors = np.array((width / flow.shape[2], height / flow.shape[1]), np.float32)
    planes = torch.from_numpy(np.ascontiguousarray(flow.transpose(0, 3, 1, 2)))
    moved = interpolate(
        planes, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return np.ascontiguousarray(moved.permute(0, 2, 3, 1).numpy() * factors)


def mirrored(flow: Flow) -> Flow:
    """Flow after left and right were exchanged: dx changes its sign."""
    return flow[:, :, ::-1] * np.array((-1, 1), np.float32)


def backwards(flow: Flow) -> Flow:
    """Flow of a clip that runs backwards: each frame keeps its own, with both signs changed.

    As flow leads to the next frame of the video, this is where a pixel would have come from if it
    had not changed its speed.
    """
    return -flow[::-1]


def turned(flow: Flow, step: NDArray[np.float64], size: tuple[int, int]) -> Flow:
    """Flow after its pixels went through an affine map; 0 where nothing came in.

    Args:
        flow: The flow.
        step: The map [3, 3], whose linear part the vectors go through.
        size: (width, height) of the outcome.
    """
    planes = torch.from_numpy(np.ascontiguousarray(flow.transpose(0, 3, 1, 2)))
    moved = warp(planes, step, size)[0].permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(moved @ step[:2, :2].T.astype(np.float32))

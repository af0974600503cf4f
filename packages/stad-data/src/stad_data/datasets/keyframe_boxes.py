"""Boxes drawn in some frames and carried to the frames between, as annotation tools do.

Suffix legend: K = drawn boxes, T = frames of the track.
"""

import numpy as np
from numpy.typing import NDArray


def interpolate(
    frame_K: NDArray[np.int64],
    box_K: NDArray[np.float64],
    *,
    shown: NDArray[np.bool_],
    goes_on: NDArray[np.bool_],
    stop: int | None = None,
    step: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The track's frames int64 [T], boxes float64 [T, 4], and the drawn box that each starts from.

    Args:
        frame_K: int64 [K], strictly increasing.
        box_K: float64 [K, 4].
        shown: [K] whether the actor is visible in the drawn frame itself.
        goes_on: [K] whether he is visible after it, until the next drawn frame; corners move
            there in a straight line.
        stop: One past the last frame to which the last box stays, if it goes on; None: it ends.
        step: Only every so manieth frame after a drawn one is annotated.

    Without a shown frame the result is empty.
    """
    frames: list[NDArray[np.int64]] = []
    boxes: list[NDArray[np.float64]] = []
    origins: list[NDArray[np.int64]] = []
    last = len(frame_K) - 1
    for at, (frame, box) in enumerate(zip(frame_K.tolist(), box_K, strict=True)):
        following = box_K[at + 1] if at < last else box
        end = int(frame_K[at + 1]) if at < last else max(stop or 0, frame + 1)
        between = np.arange(frame, end if goes_on[at] else frame + 1, step, dtype=np.int64)
        if not shown[at]:
            between = between[1:]
        share = (between - frame) / (end - frame)
        frames.append(between)
        boxes.append(box + share[:, None] * (following - box))
        origins.append(np.full(len(between), at, np.int64))
    nothing = np.zeros(0, np.int64)
    return (
        np.concatenate([nothing, *frames]),
        np.concatenate([np.zeros((0, 4)), *boxes]),
        np.concatenate([nothing, *origins]),
    )

"""Box geometry: area and intersection over union of xyxy boxes.

Conventions, by name: "half-open" boxes end one past their last pixel, width = x2 - x1 (this
project's own); "inclusive" boxes name their last pixel, width = x2 - x1 + 1 (old evaluators).
Suffix legend: N, M = number of boxes.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError

Convention = Literal["half-open", "inclusive"]


def area(boxes: ArrayLike, *, convention: Convention = "half-open") -> NDArray[np.float64]:
    """Area of every box, [N]; 0 where a box is inverted. No boxes give an empty array.

    Raises:
        InputError: if `boxes` is not [N, 4] or the convention is unknown.
    """
    return _area(_boxes(boxes), _extra(convention))


def paired_iou(
    a: ArrayLike, b: ArrayLike, *, convention: Convention = "half-open"
) -> NDArray[np.float64]:
    """IoU of box i of `a` with box i of `b`, [N] in [0, 1]; 0 where the union has no area.

    Raises:
        InputError: if the inputs are not both [N, 4] or the convention is unknown.
    """
    a_N4, b_N4 = _boxes(a), _boxes(b)
    if a_N4.shape != b_N4.shape:
        raise InputError("paired boxes differ in number", expected=a_N4.shape, found=b_N4.shape)
    return _iou(a_N4, b_N4, _extra(convention))


def pairwise_iou(
    a: ArrayLike, b: ArrayLike, *, convention: Convention = "half-open"
) -> NDArray[np.float64]:
    """IoU of every box of `a` with every box of `b`, [N, M] in [0, 1]; 0 where no area.

    Empty input gives an empty [N, M] array.

    Raises:
        InputError: if the inputs are not [N, 4] and [M, 4] or the convention is unknown.
    """
    a_N4, b_M4 = _boxes(a), _boxes(b)
    return _iou(a_N4[:, None, :], b_M4[None, :, :], _extra(convention))


def _boxes(value: ArrayLike) -> NDArray[np.float64]:
    boxes = np.asarray(value, dtype=np.float64)
    if boxes.size == 0 and boxes.ndim <= 2:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError("boxes have the wrong shape", expected="[N, 4]", found=boxes.shape)
    return boxes


def _extra(convention: Convention) -> float:
    if convention == "half-open":
        return 0.0
    if convention == "inclusive":
        return 1.0
    raise InputError(
        "unknown box convention", expected="'half-open' or 'inclusive'", found=convention
    )


def _area(boxes: NDArray[np.float64], extra: float) -> NDArray[np.float64]:
    width = np.maximum(boxes[..., 2] - boxes[..., 0] + extra, 0.0)
    height = np.maximum(boxes[..., 3] - boxes[..., 1] + extra, 0.0)
    return width * height


def _iou(a: NDArray[np.float64], b: NDArray[np.float64], extra: float) -> NDArray[np.float64]:
    """IoU of boxes whose leading axes broadcast."""
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + extra
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + extra
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    union = _area(a, extra) + _area(b, extra) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)

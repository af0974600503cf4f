"""Optical flow: how far each pixel moves from one frame to the next. Needs the extra ``flow``.

Suffix legend: T = frames, H, W = height and width.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval import InputError

Method = Literal["dis", "tvl1"]

LEAST_SIDE = 16
"""Pixels: OpenCV's DIS reads outside of smaller frames."""

_PARAMETERS = {
    "dis": "DISOpticalFlow, preset medium",
    "tvl1": "DualTVL1OpticalFlow, its defaults",
}
_PACKAGE = "opencv-contrib-python-headless"


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """What decides the flow of given frames.

    Attributes:
        method: "dis": dense inverse search, fast. "tvl1": duality-based TV-L1, which two-stream
            networks were trained on; some eighty times slower.
        size: (width, height) that frames are made before; their own where None. Flow counts in
            pixels of this size.

    Raises:
        InputError: An unknown method, or a size below 16 pixels.

    Source: Kroeger et al., "Fast optical flow using dense inverse search"; Zach et al., "A duality
    based approach for realtime TV-L1 optical flow"; both as OpenCV has them.
    """

    method: Method = "dis"
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.method not in _PARAMETERS:
            raise InputError(
                "unknown method of optical flow",
                expected=", ".join(_PARAMETERS),
                found=str(self.method),
            )
        if self.size is not None:
            object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
            _check_size(self.size)

    @property
    def parameters(self) -> str:
        """The method's parameters in words; another text means another flow."""
        return _PARAMETERS[self.method]


def optical_flow(
    frames: NDArray[np.uint8], settings: FlowSettings | None = None
) -> NDArray[np.float32]:
    """Flow float32 [T, H, W, 2]: (dx, dy) in pixels from each frame to the next.

    What is at (x, y) of frame t is at (x + dx, y + dy) of frame t + 1. The last frame gets 0, as
    if it were shown once more, which is what clips beyond the end of a video show. T = 0 gives
    none.

    Args:
        frames: uint8 [T, H, W, 3] RGB, consecutive frames of a video. ``settings.size`` does not
            apply here: they are taken as they are.
        settings: The method; DIS where None.

    Raises:
        InputError: OpenCV is not installed or lacks the method, or frames below 16 pixels.
    """
    found = list(flow_stream(frames, settings))
    return np.stack(found) if found else np.zeros((*frames.shape[:3], 2), np.float32)


def flow_stream(
    frames: Iterable[NDArray[np.uint8]], settings: FlowSettings | None = None
) -> Iterator[NDArray[np.float32]]:
    """As `optical_flow`, one frame [H, W, 2] after the other, holding two of them.

    Raises:
        InputError: As `optical_flow`.
    """
    cv2 = opencv()
    calculate = _calculator(cv2, settings or FlowSettings())
    before: NDArray[np.uint8] | None = None
    for frame in frames:
        _check_size((frame.shape[1], frame.shape[0]))
        now = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if before is not None:
            yield calculate(before, now)
        before = now
    if before is not None:
        yield np.zeros((*before.shape, 2), np.float32)


def opencv() -> Any:  # noqa: ANN401 - an extra, without types here
    """OpenCV.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module("cv2")
    except ImportError as error:
        raise InputError(
            "optical flow needs OpenCV",
            expected=f"the package {_PACKAGE}",
            found=str(error),
            remedy="install stad-data[flow]",
        ) from error


def _calculator(
    cv2: Any,  # noqa: ANN401
    settings: FlowSettings,
) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]:
    if settings.method == "dis":
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return lambda before, now: dis.calc(before, now, None)
    if not hasattr(cv2, "optflow"):
        raise InputError(
            "this OpenCV has no TV-L1, which is among its contributed modules",
            expected=f"the package {_PACKAGE}",
            found=f"OpenCV {cv2.__version__} without cv2.optflow",
            remedy=f'install {_PACKAGE} in place of it, or use the method "dis"',
        )
    tvl1 = cv2.optflow.DualTVL1OpticalFlow_create()
    return lambda before, now: tvl1.calc(before, now, None)


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < LEAST_SIDE:
        raise InputError(
            "frames too small for optical flow",
            expected=f"sides of at least {LEAST_SIDE} pixels",
            found=f"{size[0]}x{size[1]}",
        )

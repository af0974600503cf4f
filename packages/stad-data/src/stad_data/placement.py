"""Where the pixels of a clip came from: an affine map from the annotated frame, and its inverse.

Suffix legend: N = boxes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval import InputError


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a clip's pixels came from: an affine map, exact in both directions.

    ``x_clip = scale_x * x + shear_x * y + shift_x`` and
    ``y_clip = shear_y * x + scale_y * y + shift_y``, on half-open box edges. The shears are 0
    unless the clip was turned. A mirrored clip has a negative ``scale_x``. Source pixels are those
    of the annotated frame.

    Attributes:
        size: (width, height) of the annotated frame.
        scale_x: Clip pixels per source pixel along x; negative where mirrored.
        scale_y: Clip pixels per source pixel along y; positive unless turned.
        shift_x: Where the source's left edge lies in the clip.
        shift_y: Where the source's upper edge lies in the clip.
        shear_x: Clip pixels along x per source pixel along y.
        shear_y: Clip pixels along y per source pixel along x.
        backwards: Whether time runs backwards in the clip.

    Raises:
        InputError: A map without inverse, of points or of boxes (a turn by exactly 45 degrees maps
            boxes of different forms to the same one), or a value that is not finite.
    """

    size: tuple[int, int]
    scale_x: float = 1.0
    scale_y: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    shear_x: float = 0.0
    shear_y: float = 0.0
    backwards: bool = False

    def __post_init__(self) -> None:
        straight, across = self.scale_x * self.scale_y, self.shear_x * self.shear_y
        finite = np.isfinite((straight, across, self.shift_x, self.shift_y)).all()
        least = 1e-9 * (abs(straight) + abs(across))
        flat = min(abs(straight - across), abs(abs(straight) - abs(across))) <= least
        if not finite or flat or (self.scale_y < 0 and not self.turned):
            raise InputError(
                "a placement needs an invertible map",
                expected="finite values, scales that do not vanish, scale_y > 0 unless turned",
                found=repr(self),
            )

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return self.scale_x * self.scale_y - self.shear_x * self.shear_y < 0

    @property
    def turned(self) -> bool:
        """Whether the axes of the clip are not those of the source."""
        return self.shear_x != 0 or self.shear_y != 0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The map from the source to the clip as [3, 3], for columns (x, y, 1)."""
        return np.array(
            [
                (self.scale_x, self.shear_x, self.shift_x),
                (self.shear_y, self.scale_y, self.shift_y),
                (0.0, 0.0, 1.0),
            ]
        )

    def scaled(self, factor_x: float, factor_y: float) -> "Placement":
        """After the clip was resized by these factors."""
        return replace(
            self,
            scale_x=self.scale_x * factor_x,
            scale_y=self.scale_y * factor_y,
            shift_x=self.shift_x * factor_x,
            shift_y=self.shift_y * factor_y,
            shear_x=self.shear_x * factor_x,
            shear_y=self.shear_y * factor_y,
        )

    def shifted(self, left: float, top: float) -> "Placement":
        """After everything moved by (left, top) clip pixels; a crop at (x, y) moves by (-x, -y)."""
        return replace(self, shift_x=self.shift_x + left, shift_y=self.shift_y + top)

    def flipped(self, width: int) -> "Placement":
        """After left and right were exchanged in a clip of this width."""
        return replace(
            self,
            scale_x=-self.scale_x,
            shift_x=width - self.shift_x,
            shear_x=0.0 - self.shear_x,  # not minus zero
        )

    def rotated(self, degrees: float, centre: tuple[float, float]) -> "Placement":
        """After the clip was turned about a point of it, clockwise as it is seen."""
        angle = np.deg2rad(degrees)
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        x, y = centre
        turn = np.array(
            [(cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y), (0, 0, 1)]
        )
        (scale_x, shear_x, shift_x), (shear_y, scale_y, shift_y), _ = (turn @ self.matrix).tolist()
        return replace(
            self,
            scale_x=scale_x,
            scale_y=scale_y,
            shift_x=shift_x,
            shift_y=shift_y,
            shear_x=shear_x,
            shear_y=shear_y,
        )

    def reversed(self) -> "Placement":
        """After the order of the clip's frames was reversed."""
        return replace(self, backwards=not self.backwards)

    def to_clip(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Boxes [N, 4] of the annotated frame, in clip pixels; not clipped.

        In a turned clip they are the smallest upright boxes around the turned ones.
        """
        boxes_N4 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if self.turned:
            centres, extents = _centres(boxes_N4)
            matrix = self.matrix
            centres = centres @ matrix[:2, :2].T + matrix[:2, 2]
            return _corners(centres, extents @ np.abs(matrix[:2, :2]).T)
        x = boxes_N4[:, 0::2] * self.scale_x + self.shift_x
        y = boxes_N4[:, 1::2] * self.scale_y + self.shift_y
        return self._ordered(x, y)

    def to_source(self, boxes: ArrayLike, *, clip: bool = False) -> NDArray[np.float64]:
        """Boxes [N, 4] in clip pixels, in pixels of the annotated frame: undoes ``to_clip``.

        In a turned clip the result is the box whose turned form the given box just holds. Where
        there is none (a box too thin for the turn), a side of the result has length 0.

        Args:
            boxes: xyxy in clip pixels.
            clip: Whether to cut the result at the borders of the annotated frame.
        """
        boxes_N4 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if self.turned:
            centres, extents = _centres(boxes_N4)
            matrix = self.matrix
            centres = np.linalg.solve(matrix[:2, :2], (centres - matrix[:2, 2]).T).T
            extents = np.linalg.solve(np.abs(matrix[:2, :2]), extents.T).T
            found = _corners(centres.astype(np.float64), extents.clip(0).astype(np.float64))
            x, y = found[:, 0::2], found[:, 1::2]
        else:
            x = (boxes_N4[:, 0::2] - self.shift_x) / self.scale_x
            y = (boxes_N4[:, 1::2] - self.shift_y) / self.scale_y
        if clip:
            x, y = x.clip(0, self.size[0]), y.clip(0, self.size[1])
        if self.turned:
            return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
        return self._ordered(x, y)

    def _ordered(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.mirrored:
            x = x[:, ::-1]
        return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


def _centres(boxes_N4: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and extents [N, 2] of boxes."""
    low, high = boxes_N4[:, :2], boxes_N4[:, 2:]
    return (low + high) / 2, high - low


def _corners(centres: NDArray[np.float64], extents: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([centres - extents / 2, centres + extents / 2], axis=1)

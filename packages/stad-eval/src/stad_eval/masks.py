"""Region similarity J and boundary measure F of index masks, on one frame.

An index mask is [H, W]: 0 is background, every other value one object. Both measures follow DAVIS:
J is the IoU of two regions; F is the harmonic mean of the precision and recall of boundary pixels,
where a pixel is right if the other boundary comes within a disk of `boundary_radius`.

Nothing is computed per object over the whole frame: areas come from the runs of equal index pairs
along the rows, boundaries from the few pixels whose neighbours differ, and a boundary is dilated
on its own bounding box, held as the bits of one whole number. Suffix legend: P = boundary pixels.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", Sec. 4; Pont-Tuset et al., "The 2017 DAVIS Challenge", Sec. 3.
"""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.input_error import InputError

BOUNDARY_TOLERANCE = 0.008


def index_mask(value: ArrayLike, what: str = "mask") -> NDArray[np.uint8]:
    """The mask as uint8 [H, W]; booleans become 0 and 1.

    Raises:
        InputError: if it is not two-dimensional, empty, or holds anything but integers 0 to 255.
    """
    mask = np.asarray(value)
    if mask.ndim != 2 or mask.size == 0 or mask.dtype.kind not in "iub":
        raise InputError(
            f"{what} is not an index mask",
            expected="integers [H, W], neither side 0",
            found=f"{mask.dtype} {list(mask.shape)}",
        )
    if mask.dtype.kind == "b" or mask.dtype == np.uint8:
        return np.ascontiguousarray(mask, dtype=np.uint8)
    if mask.min() < 0 or mask.max() > 255:
        raise InputError(
            f"{what} holds an index that is out of range",
            expected="0 (background) to 255",
            found=f"{mask.min()} to {mask.max()}",
        )
    return np.ascontiguousarray(mask.astype(np.uint8))


def boundary_radius(height: int, width: int, *, tolerance: float = BOUNDARY_TOLERANCE) -> int:
    """Pixels by which a boundary may be off: `tolerance` times the frame's diagonal, rounded up."""
    return math.ceil(tolerance * math.sqrt(height * height + width * width))


def region_similarity(truth: ArrayLike, found: ArrayLike) -> float:
    """J, the IoU of two regions in [0, 1]; any index but 0 is inside, two empty masks give 1.

    Raises:
        InputError: if the inputs are not masks [H, W] of one size.
    """
    return _measure_binary(truth, found, tolerance=BOUNDARY_TOLERANCE).region(1, 1)


def boundary_measure(
    truth: ArrayLike, found: ArrayLike, *, tolerance: float = BOUNDARY_TOLERANCE
) -> float:
    """F of two regions' boundaries in [0, 1]; any index but 0 is inside.

    Two masks without a boundary (empty, or the whole frame) give 1, one without a boundary
    against one with gives 0. `tolerance` is a fraction of the frame's diagonal.

    Raises:
        InputError: if the inputs are not masks [H, W] of one size, or on a negative tolerance.
    """
    return _measure_binary(truth, found, tolerance=tolerance).boundary(1, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameMeasures:
    """J and F of every pair of a true and a found object on one frame.

    Attributes:
        truth: indices of the objects in the ground truth of the frame.
        found: indices in the result.
        regions: J of the pairs that share a pixel.
        boundaries: F of the pairs that share boundary within the tolerance.
        outlined_truth: true objects that have a boundary; one that fills the frame has none.
        outlined_found: found objects that have a boundary.
    """

    truth: AbstractSet[int]
    found: AbstractSet[int]
    regions: dict[tuple[int, int], float]
    boundaries: dict[tuple[int, int], float]
    outlined_truth: AbstractSet[int]
    outlined_found: AbstractSet[int]

    def region(self, truth: int, found: int) -> float:
        """J of two objects, absent ones included: 1 if both are absent, 0 if one is."""
        if truth not in self.truth and found not in self.found:
            return 1.0
        return self.regions.get((truth, found), 0.0)

    def boundary(self, truth: int, found: int) -> float:
        """F of two objects: 1 if neither has a boundary, 0 if one has none."""
        if truth not in self.outlined_truth and found not in self.outlined_found:
            return 1.0
        return self.boundaries.get((truth, found), 0.0)


def measure_frame(
    truth: NDArray[np.uint8],
    found: NDArray[np.uint8],
    *,
    radius: int,
    every_pair: bool = False,
) -> FrameMeasures:
    """J and F of the objects of two index masks, uint8 [H, W] of one size.

    Objects are paired by index, or each with each (`every_pair`). `radius` is in pixels.
    """
    truth, found = _trimmed(truth, found)
    shared = _overlaps(truth, found)
    truth_area, found_area = shared.sum(axis=1), shared.sum(axis=0)
    truths = set((np.flatnonzero(truth_area[1:]) + 1).tolist())
    founds = set((np.flatnonzero(found_area[1:]) + 1).tolist())
    regions: dict[tuple[int, int], float] = {}
    for one, other in zip(*(axis.tolist() for axis in np.nonzero(shared)), strict=True):
        if one and other and (every_pair or one == other):
            union = int(truth_area[one] + found_area[other] - shared[one, other])
            regions[one, other] = int(shared[one, other]) / union
    truth_outlines, found_outlines = _outlines(truth, truths), _outlines(found, founds)
    boundaries: dict[tuple[int, int], float] = {}
    for one, outline in truth_outlines.items():
        others = found_outlines if every_pair else found_outlines.keys() & {one}
        for other in others:
            value = _boundary_f(outline, found_outlines[other], radius)
            if value:
                boundaries[one, other] = value
    return FrameMeasures(
        truth=truths,
        found=founds,
        regions=regions,
        boundaries=boundaries,
        outlined_truth=truth_outlines.keys(),
        outlined_found=found_outlines.keys(),
    )


def _measure_binary(truth: ArrayLike, found: ArrayLike, *, tolerance: float) -> FrameMeasures:
    if not tolerance >= 0.0:
        raise InputError("bad boundary tolerance", expected="0 or more", found=tolerance)
    masks = [
        (index_mask(each, what) > 0).astype(np.uint8)
        for each, what in ((truth, "the true mask"), (found, "the found mask"))
    ]
    if masks[0].shape != masks[1].shape:
        raise InputError("masks differ in size", expected=masks[0].shape, found=masks[1].shape)
    radius = boundary_radius(*masks[0].shape, tolerance=tolerance)
    return measure_frame(masks[0], masks[1], radius=radius)


def _trimmed(
    truth: NDArray[np.uint8], found: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both masks on the box around all objects, with a margin of background where there is any.

    The margin keeps boundaries as they are: inside it a neighbour is background, as it was.
    """
    either = truth | found
    rows = np.flatnonzero(np.bitwise_or.reduce(either, axis=1))
    columns = np.flatnonzero(np.bitwise_or.reduce(either, axis=0))
    if rows.size == 0:
        return truth[:1, :1], found[:1, :1]
    box = (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )
    return truth[box], found[box]


def _overlaps(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each (true index, found index), int64 [K, M], indices up to the greatest."""
    width = int(found.max()) + 1
    height = int(truth.max()) + 1
    # At most 255 * 256 + 255, which uint16 holds.
    code = truth.ravel() * np.uint16(width) + found.ravel()
    ends = np.append(np.flatnonzero(code[1:] != code[:-1]), code.size - 1)
    lengths = np.diff(ends, prepend=-1)
    counts = np.bincount(code[ends], weights=lengths, minlength=height * width)
    return counts.astype(np.int64).reshape(height, width)


class _Outline:
    """The boundary pixels of one object; dilated once, when first asked."""

    def __init__(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> None:
        self.rows_P = rows
        self.columns_P = columns
        self.top, self.bottom = int(rows[0]), int(rows[-1])
        self.left, self.right = int(columns.min()), int(columns.max())
        self._near: NDArray[np.uint8] | None = None

    def hits(self, other: "_Outline", radius: int) -> int:
        """How many pixels of this outline lie within `radius` of the other."""
        near = other.near(radius)
        row_P = self.rows_P - (other.top - radius)
        column_P = self.columns_P - (other.left - radius)
        # Negative places wrap to huge unsigned numbers: one comparison holds both ends.
        inside = (row_P.view(np.uintp) < near.shape[0]) & (column_P.view(np.uintp) < near.shape[1])
        if not inside.all():
            row_P, column_P = row_P[inside], column_P[inside]
        return int(np.count_nonzero(near[row_P, column_P]))

    def near(self, radius: int) -> NDArray[np.uint8]:
        """Pixels within `radius`, 0 or 1, on the bounding box grown by `radius` on all sides."""
        if self._near is None:
            self._near = self._dilated(radius)
        return self._near

    def _dilated(self, radius: int) -> NDArray[np.uint8]:
        height = self.bottom - self.top + 1 + 2 * radius
        width = self.right - self.left + 1 + 2 * radius
        seed = np.zeros(height * width, dtype=np.uint8)
        offset = (radius - self.top) * width + radius - self.left
        seed[self.rows_P * width + self.columns_P + offset] = 1
        bits = int.from_bytes(np.packbits(seed, bitorder="little").tobytes(), "little")
        # The margin of `radius` keeps every shift within its row and within the box.
        spread, reach, grown = bits, 0, 0
        for step in range(radius, -1, -1):
            half = math.isqrt(radius * radius - step * step)
            while reach < half:
                reach += 1
                spread |= (bits << reach) | (bits >> reach)
            shift = step * width
            grown |= (spread << shift) | (spread >> shift)
        packed = np.frombuffer(grown.to_bytes((seed.size + 7) // 8, "little"), dtype=np.uint8)
        whole = np.unpackbits(packed, count=seed.size, bitorder="little")
        return whole.reshape(height, width)


def _outlines(mask: NDArray[np.uint8], objects: AbstractSet[int]) -> dict[int, _Outline]:
    """The boundary of each object that has one.

    A pixel is on the boundary of an object if the object holds some, but not all, of the pixel
    and its neighbours to the right, below and diagonally below; past the frame's edge, the edge
    pixels are repeated.
    """
    width = mask.shape[1] + 1
    wide = np.empty((mask.shape[0] + 1, width), dtype=np.uint8)
    wide[:-1, :-1] = mask
    wide[-1, :-1] = mask[-1]
    wide[:, -1] = wide[:, -2]
    flat = wide.ravel()
    here, right = flat[: -width - 1], flat[1:-width]
    below, across = flat[width:-1], flat[width + 1 :]
    at_P = np.flatnonzero((here != right) | (here != below) | (here != across))
    row_P, column_P = np.divmod(at_P, width)
    real = column_P < width - 1
    at_P, row_P, column_P = at_P[real], row_P[real], column_P[real]
    corners = (flat[at_P], flat[at_P + 1], flat[at_P + width], flat[at_P + width + 1])
    result: dict[int, _Outline] = {}
    for index in objects:
        on = corners[0] == index
        for corner in corners[1:]:
            on |= corner == index
        if on.any():
            result[index] = _Outline(row_P[on], column_P[on])
    return result


def _boundary_f(truth: _Outline, found: _Outline, radius: int) -> float:
    precision = found.hits(truth, radius) / found.rows_P.size
    recall = truth.hits(found, radius) / truth.rows_P.size
    if precision + recall == 0.0:
        return 0.0
    return 2.0 * precision * recall / (precision + recall)

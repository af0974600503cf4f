"""Annotated actors as points on the grid of a tubelet detector, and Gaussians around them.

Suffixes: N clips, R actors of all clips in a row, K frames of a tubelet, C classes, Q points,
h and w cells of the grid. Cell x covers [x, x + 1) in units of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stad_models.structures import Targets

HEAT_OVERLAP = 0.7
"""What a box whose corners are off by the radius of a center's Gaussian should still overlap."""

AREA_SHARE = 0.54
"""Diameter of a Gaussian area by the box's shorter side. Source: TTFNet, Sec. 4.2 (beta)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GridActors:
    """The actors of a batch that are present, and centered inside the frame, at the keyframe.

    Attributes:
        clips: `[R]` int64, position in the batch.
        boxes: `[R, K, 4]` xyxy in cells.
        present: `[R, K]` bool, where the actor has a box.
        inside: `[R, K]` bool, where it has one whose center lies on the frame.
        labels: `[R, C]` at the keyframe.
        clip_count: N.
        grid: (h, w).
    """

    clips: Tensor
    boxes: Tensor
    present: Tensor
    inside: Tensor
    labels: Tensor
    clip_count: int
    grid: tuple[int, int]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def key(self) -> int:
        """Position of the keyframe among the K frames."""
        return self.boxes.shape[1] // 2

    @property
    def centers(self) -> Tensor:
        """`[R, K, 2]` (x, y) in cells."""
        return (self.boxes[..., :2] + self.boxes[..., 2:]) / 2

    @property
    def sides(self) -> Tensor:
        """`[R, K, 2]` width and height in cells."""
        return self.boxes[..., 2:] - self.boxes[..., :2]

    @property
    def cells(self) -> Tensor:
        """`[R, K, 2]` int64 (x, y) of the cells that hold the centers, moved onto the grid."""
        return cells_of(self.centers, self.grid)


def grid_actors(targets: Targets, *, stride: int, size: tuple[int, int]) -> GridActors:
    """Tracks of K frames as points on a grid.

    Args:
        targets: with tracks.
        stride: pixels per cell.
        size: (width, height) of the clips in pixels.

    Raises:
        ValueError: targets without tracks.
    """
    if targets.tracks is None:
        raise ValueError(
            "targets have boxes of the keyframe only; give tracks over the K frames of a tubelet"
        )
    tracks = targets.tracks
    boxes = torch.cat([track.boxes for track in tracks])
    present = torch.cat([track.present for track in tracks])
    labels = torch.cat([track.labels for track in tracks])
    counts = torch.tensor([len(track) for track in tracks], device=boxes.device)
    clips = torch.arange(len(tracks), device=boxes.device).repeat_interleave(counts)
    limit = boxes.new_tensor(size)
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    inside = present & ((centers >= 0) & (centers <= limit)).all(dim=-1)
    key = boxes.shape[1] // 2
    rows = inside[:, key].nonzero()[:, 0]
    return GridActors(
        clips=clips[rows],
        boxes=boxes[rows].float() / stride,
        present=present[rows],
        inside=inside[rows],
        labels=labels[rows, key],
        clip_count=len(tracks),
        grid=grid_of(size, stride),
    )


def grid_of(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Cells (h, w) that a frame of (width, height) pixels needs; the last ones may reach over."""
    width, height = size
    return -(-height // stride), -(-width // stride)


def cells_of(points: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cells int64 `[..., 2]` (x, y) that hold points in units of the grid, moved onto it."""
    height, width = grid
    cells = points.floor().long()
    return torch.stack(
        (cells[..., 0].clamp(0, width - 1), cells[..., 1].clamp(0, height - 1)), dim=-1
    )


def gaussians(cells: Tensor, radii: Tensor, grid: tuple[int, int]) -> Tensor:
    """Gaussians `[Q, h, w]` of height 1 around cells `[Q, 2]`, zero beyond whole radii `[Q]`.

    Their standard deviation is a sixth of the diameter, 2 r + 1 cells; all of a square count.
    """
    height, width = grid
    deviation_Q1 = (2 * radii[:, None] + 1) / 6
    parts: list[Tensor] = []
    for axis, length in ((1, height), (0, width)):
        away = torch.arange(length, device=cells.device) - cells[:, axis, None]
        bell = torch.exp(-away.square() / (2 * deviation_Q1.square()))
        parts.append(bell.where(away.abs() <= radii[:, None], 0.0))
    vertical_Qh, horizontal_Qw = parts
    return vertical_Qh[:, :, None] * horizontal_Qw[:, None, :]


def heat_radii(sides: Tensor) -> Tensor:
    """Radii `[Q]` of the Gaussians of centers for boxes of `[Q, 2]` (width, height) in cells.

    For s the sum and p the product of the sides, rounded up, and o the overlap of 0.7, the radius
    is sqrt((o s)^2 + 4 o (1 - o) p) - o s, rounded down: CornerNet's rule as its first code, and
    MOC's, applies it. It grows with 0.27 of a square's side.
    """
    whole = sides.ceil()
    total, product = whole.sum(dim=1) * HEAT_OVERLAP, whole.prod(dim=1)
    root = (total.square() + 4 * HEAT_OVERLAP * (1 - HEAT_OVERLAP) * product).sqrt()
    return (root - total).floor().clamp(min=0)


def area_radii(sides: Tensor) -> Tensor:
    """Radii `[Q]` of the areas that train regression, for sides `[Q, 2]` in cells.

    27% of the shorter side, rounded down, so that an area lies well inside its box.
    """
    return (sides.amin(dim=1) * (AREA_SHARE / 2)).floor().clamp(min=0)


def center_heat(actors: GridActors, *, by_class: bool) -> Tensor:
    """Targets of centers, `[N, C, h, w]` by class or `[N, 1, h, w]`, in [0, 1].

    1 in the cells that hold a center at the keyframe, the largest of the actors' Gaussians
    elsewhere. A label counts from 0.5 on.
    """
    key = actors.key
    bells = gaussians(actors.cells[:, key], heat_radii(actors.sides[:, key]), actors.grid)
    if not by_class:
        return _largest(bells, actors.clips, actors.clip_count)[:, None]
    rows, labels = (actors.labels >= 0.5).nonzero(as_tuple=True)
    classes = actors.labels.shape[1]
    heat = _largest(bells[rows], actors.clips[rows] * classes + labels, actors.clip_count * classes)
    return heat.unflatten(0, (actors.clip_count, classes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Areas:
    """The cells that train regression, all actors' in a row.

    Attributes:
        points: int64, which of the Q points a cell belongs to.
        x, y: int64, the cell.
        weights: those of each point sum to 1, whatever the size of its area.
    """

    points: Tensor
    x: Tensor
    y: Tensor
    weights: Tensor


def gaussian_areas(
    cells: Tensor, sides: Tensor, maps: Tensor, *, map_count: int, grid: tuple[int, int]
) -> Areas:
    """The cells where the Gaussian of a point is not zero, weighed by it.

    Where areas of one map overlap, a cell goes to the point whose Gaussian is higher there, so
    every center keeps its own.

    Args:
        cells: `[Q, 2]` int64 (x, y) of the points.
        sides: `[Q, 2]` of their boxes, in cells.
        maps: `[Q]` int64, which map each point lies on.
        map_count: how many maps there are.
        grid: (h, w).

    Source: STMA, Sec. 2.4.
    """
    bells = gaussians(cells, area_radii(sides), grid)
    highest = _largest(bells, maps, map_count)[maps]
    bells = bells.where(bells >= highest, 0.0)
    points, y, x = bells.nonzero(as_tuple=True)
    weights = bells[points, y, x]
    return Areas(points=points, x=x, y=y, weights=weights / bells.sum(dim=(1, 2))[points])


def _largest(maps: Tensor, groups: Tensor, group_count: int) -> Tensor:
    """The largest value per cell of the maps `[Q, h, w]` of each group; 0 in a group without."""
    found = maps.new_zeros((group_count, *maps.shape[1:]))
    rows = groups[:, None, None].expand_as(maps)
    return found.scatter_reduce_(0, rows, maps, "amax")

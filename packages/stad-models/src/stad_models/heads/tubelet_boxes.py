"""From the maps of a tubelet head to boxes in K frames.

Suffixes: N clips, Q centers per clip, K frames of a tubelet, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stad_models.heads.tubelet import Extent
from stad_models.heads.tubelet_targets import GridActors, cells_of
from stad_models.structures import Tubelets

DISTANCE_UNIT = 4.0
"""Cells per unit of a raw distance: 16 pixels at stride 4, as in TTFNet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPoints:
    """The best centers of every clip, best first, and the boxes that move through them.

    Attributes:
        scores: `[N, Q]` in [0, 1].
        kinds: `[N, Q]` int64, which map of centers they come from.
        cells: `[N, Q, 2]` int64 (x, y) at the keyframe.
        boxes: `[N, Q, K, 4]` xyxy, half-open, in pixels, clipped to the frame.
    """

    scores: Tensor
    kinds: Tensor
    cells: Tensor
    boxes: Tensor


def found_points(
    heat: Tensor,
    movement: Tensor,
    sizes: Tensor,
    *,
    extent: Extent,
    limit: int,
    stride: int,
    size: tuple[int, int],
) -> FoundPoints:
    """The best local maxima of the heat of all kinds, followed through K frames.

    The size in a frame is read where the center has moved to. A maximum is as high as its eight
    neighbours or higher; where a clip has fewer, cells of score 0 fill up.

    Args:
        heat: `[N, P, h, w]` probabilities of centers.
        movement: `[N, K, 2, h, w]` in cells.
        sizes: `[N, K, S, h, w]`, raw.
        extent: what sizes are.
        limit: how many centers Q per clip, if the maps have so many cells.
        stride: pixels per cell.
        size: (width, height) of the frame in pixels.

    Source: STMA, Sec. 2.5; MOC's public code.
    """
    scores_NQ, kinds_NQ, cells_NQ2 = peaks(heat, limit)
    clips_N1 = torch.arange(len(heat), device=heat.device)[:, None]
    moved_NQK2 = movement[clips_N1, :, :, cells_NQ2[..., 1], cells_NQ2[..., 0]]
    points_NQK2 = cells_NQ2[:, :, None] + moved_NQK2
    grid = (heat.shape[2], heat.shape[3])
    frame_cells = cells_of(points_NQK2, grid)
    frame_cells[:, :, movement.shape[1] // 2] = cells_NQ2
    frames_K = torch.arange(movement.shape[1], device=heat.device)
    raw = sizes[clips_N1[..., None], frames_K, :, frame_cells[..., 1], frame_cells[..., 0]]
    if extent == "sides":
        half = raw.clamp(min=0) / 2
        boxes = torch.cat((points_NQK2 - half, points_NQK2 + half), dim=-1)
    else:
        distances, middles = distances_of(raw), middle_of(frame_cells)
        boxes = torch.cat((middles - distances[..., :2], middles + distances[..., 2:]), dim=-1)
    limits = boxes.new_tensor((*size, *size))
    boxes = (boxes * stride).clamp(min=0).minimum(limits)
    return FoundPoints(scores=scores_NQ, kinds=kinds_NQ, cells=cells_NQ2, boxes=boxes)


def tubelets_of(
    found: FoundPoints, scores: Tensor, *, min_score: float, first: int
) -> list[Tubelets]:
    """One `Tubelets` per clip of the points whose own score exceeds `min_score`.

    Args:
        found: the points.
        scores: `[N, Q, C]` of their actions.
        min_score: what their own score must exceed.
        first: where the K frames begin in each clip.
    """
    kept = found.scores > min_score
    return [
        Tubelets(boxes=found.boxes[clip, rows], scores=scores[clip, rows], first=first)
        for clip, rows in enumerate(kept)
    ]


def peaks(heat: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores `[N, Q]`, kinds `[N, Q]` and cells `[N, Q, 2]` of the highest local maxima.

    Args:
        heat: `[N, P, h, w]`, non-negative.
        limit: how many per clip; fewer where the maps have fewer cells.
    """
    return _highest(_local_maxima(heat), limit)


def background_cells(heat: Tensor, actors: GridActors, limit: int) -> tuple[Tensor, Tensor]:
    """Clips `[B]` and cells `[B, 2]` of the highest local maxima outside all actors' boxes.

    Args:
        heat: `[N, 1, h, w]` probabilities of centers.
        actors: who is there, N clips of them; a cell lies in a box where its middle does.
        limit: how many per clip; fewer where there are no more.
    """
    height, width = actors.grid
    left, top, right, bottom = actors.boxes[:, actors.key, :, None].unbind(dim=1)
    x = torch.arange(width, device=heat.device) + 0.5
    y = torch.arange(height, device=heat.device) + 0.5
    inside_Rhw = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None]
    count_Nhw = heat.new_zeros(heat.shape[0], height, width)
    count_Nhw.index_add_(0, actors.clips, inside_Rhw.to(heat))
    free = _local_maxima(heat).where(count_Nhw[:, None] == 0, 0.0)
    scores, _, cells = _highest(free, limit)
    clips_B, places_B = (scores > 0).nonzero(as_tuple=True)
    return clips_B, cells[clips_B, places_B]


def _local_maxima(heat: Tensor) -> Tensor:
    """The heat of cells that are as high as their eight neighbours, 0 elsewhere."""
    return heat.where(heat == functional.max_pool2d(heat, 3, stride=1, padding=1), 0.0)


def _highest(heat: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    _, kinds, height, width = heat.shape
    scores, places = heat.flatten(1).topk(min(limit, kinds * height * width), dim=1)
    cells = torch.stack((places % width, places % (height * width) // width), dim=-1)
    return scores, places // (height * width), cells


def distances_of(raw: Tensor) -> Tensor:
    """Positive distances in cells from raw numbers, with a gradient everywhere."""
    return functional.softplus(raw) * DISTANCE_UNIT


def middle_of(cells: Tensor) -> Tensor:
    """The middle of cells, from which distances to the sides of a box are counted."""
    return cells + 0.5

"""Losses of tubelet detectors: centers, movement and sizes.

Sums are divided by what all processes of a distributed training count together; without actors
movement and sizes give 0, with gradients. Suffixes as in `tubelet_targets`, A cells of areas.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stad_models import losses
from stad_models.heads.tubelet_boxes import distances_of, middle_of
from stad_models.heads.tubelet_targets import GridActors, center_heat, gaussian_areas
from stad_models.processes import shared_normaliser


def center_focal(logits: Tensor, heat: Tensor, *, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Focal loss of centers, summed; any shape.

    Args:
        logits: of a center lying in the cell.
        heat: targets in [0, 1]; 1 marks a center, less forgives a cell close to one.
        alpha: how much cells that are nearly right are let off.
        beta: how much cells close to a center are let off.

    Source: STMA, Eq. 3; Objects as points, Eq. 1.
    """
    found = torch.sigmoid(logits)
    hit = (1 - found) ** alpha * functional.logsigmoid(logits)
    miss = (1 - heat) ** beta * found**alpha * functional.logsigmoid(-logits)
    return -torch.where(heat == 1, hit, miss).sum()


def center_loss(logits: Tensor, actors: GridActors, *, by_class: bool) -> Tensor:
    """Focal loss per center, for maps `[N, C, h, w]` by class or `[N, 1, h, w]`."""
    heat = center_heat(actors, by_class=by_class)
    count = (actors.labels >= 0.5).sum() if by_class else torch.tensor(len(actors))
    return center_focal(logits, heat) / shared_normaliser(count.to(heat))


def point_movement_loss(movement: Tensor, actors: GridActors) -> Tensor:
    """Mean L1 distance of movement `[N, K, 2, h, w]`, read in the cells of the centers.

    Source: Actions as moving points, Sec. 3.3.
    """
    cells = actors.cells[:, actors.key]
    found_RK2 = movement[actors.clips, :, :, cells[:, 1], cells[:, 0]]
    missed_RK = (found_RK2 - movements(actors)).abs().mean(dim=-1)
    return _mean(missed_RK * actors.present, actors.present)


def area_movement_loss(movement: Tensor, actors: GridActors) -> Tensor:
    """The same, as the weighted mean over each actor's Gaussian area. Source: STMA, Eq. 5."""
    areas = gaussian_areas(
        actors.cells[:, actors.key],
        actors.sides[:, actors.key],
        actors.clips,
        map_count=actors.clip_count,
        grid=actors.grid,
    )
    found_AK2 = movement[actors.clips[areas.points], :, :, areas.y, areas.x]
    missed_AK = (found_AK2 - movements(actors)[areas.points]).abs().mean(dim=-1)
    present_AK = actors.present[areas.points]
    return _mean(missed_AK * present_AK * areas.weights[:, None], actors.present)


def point_size_loss(sizes: Tensor, actors: GridActors) -> Tensor:
    """Mean L1 distance, in cells, of sides `[N, K, 2, h, w]` read at the center in each frame.

    Source: Actions as moving points, Sec. 3.4.
    """
    cells = actors.cells
    frames_K = torch.arange(cells.shape[1], device=cells.device)
    found_RK2 = sizes[actors.clips[:, None], frames_K, :, cells[..., 1], cells[..., 0]]
    missed_RK = (found_RK2 - actors.sides).abs().mean(dim=-1)
    return _mean(missed_RK * actors.inside, actors.inside)


def area_size_loss(sizes: Tensor, actors: GridActors) -> Tensor:
    """1 - GIoU of boxes from distances `[N, K, 4, h, w]`, over an area in each frame.

    Boxes are told by every cell of the Gaussian area around the actor's center in that frame,
    weighed by the Gaussian, so that each actor and frame counts the same. Source: STMA, Eq. 7.
    """
    rows, frames = actors.inside.nonzero(as_tuple=True)
    length = actors.inside.shape[1]
    maps = actors.clips[rows] * length + frames
    areas = gaussian_areas(
        actors.cells[rows, frames],
        actors.sides[rows, frames],
        maps,
        map_count=actors.clip_count * length,
        grid=actors.grid,
    )
    raw_A4 = sizes.flatten(0, 1)[maps[areas.points], :, areas.y, areas.x]
    middles_A2 = middle_of(torch.stack((areas.x, areas.y), dim=-1))
    boxes_A4 = actors.boxes[rows, frames][areas.points]
    wanted_A4 = torch.cat((middles_A2 - boxes_A4[:, :2], boxes_A4[:, 2:] - middles_A2), dim=1)
    total = losses.distance_giou(distances_of(raw_A4), wanted_A4, areas.weights)
    return total / shared_normaliser(actors.inside.sum().to(total))


def movements(actors: GridActors) -> Tensor:
    """What movement should be, `[R, K, 2]`: from the keyframe's cell to the centers, in cells.

    Since it starts from the whole cell, the keyframe's own movement places the center within it.
    Source: STMA, Eq. 4; Actions as moving points, Sec. 3.3.
    """
    return actors.centers - actors.cells[:, actors.key, None]


def _mean(missed: Tensor, counted: Tensor) -> Tensor:
    return missed.sum() / shared_normaliser(counted.sum().to(missed))

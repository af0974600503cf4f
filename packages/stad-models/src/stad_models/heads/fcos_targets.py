"""Which locations of a pyramid are responsible for which actor.

Suffixes: N clips, L locations of all levels, G boxes of the clip that has most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def assign(
    boxes: Sequence[Tensor],
    *,
    points_L2: Tensor,
    strides_L: Tensor,
    ranges_L2: Tensor,
    center_radius: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances that each location should give, for all clips and levels at once.

    A location is positive for a box if it lies strictly inside both the box and the square of
    `center_radius` strides around its centre, and if its largest distance to a side lies in
    [low, high) of its level. Of several such boxes it takes the smallest (the first of equals).

    Args:
        boxes: per clip `[Ni, 4]` xyxy in pixels; `[0, 4]` makes every location negative.
        points_L2: (x, y) in pixels.
        strides_L: pixels per cell.
        ranges_L2: (low, high) in pixels.
        center_radius: in strides.

    Returns:
        Distances to the sides in strides `[N, L, 4]` (meaningless where not positive), positive
        `[N, L]` bool, and the row of the box in its clip `[N, L]` int64.

    Source: FCOS, Sec. 3.2, with center sampling.
    """
    points_L2 = points_L2.detach()
    padded_NG4 = pad_sequence([rows.to(points_L2) for rows in boxes], batch_first=True)
    if padded_NG4.shape[1] == 0:
        padded_NG4 = points_L2.new_zeros((len(boxes), 1, 4))  # padding fits no location
    low_N1G2, high_N1G2 = padded_NG4[:, None, :, :2], padded_NG4[:, None, :, 2:]
    points_L12 = points_L2[:, None]
    distances_NLG4 = torch.cat((points_L12 - low_N1G2, high_N1G2 - points_L12), dim=3)
    reach_L11 = (center_radius * strides_L)[:, None, None]
    away_NLG = (points_L12 - (low_N1G2 + high_N1G2) / 2).abs().amax(dim=3, keepdim=True)
    furthest_NLG = distances_NLG4.amax(dim=3)
    fits_NLG = (
        (distances_NLG4.amin(dim=3) > 0)
        & (away_NLG < reach_L11).squeeze(3)
        & (furthest_NLG >= ranges_L2[:, :1])
        & (furthest_NLG < ranges_L2[:, 1:])
    )
    sides_NG2 = padded_NG4[:, :, 2:] - padded_NG4[:, :, :2]
    area_NLG = sides_NG2.prod(dim=2)[:, None].where(fits_NLG, torch.inf)
    row_NL = area_NLG.argmin(dim=2)
    wanted_NL4 = distances_NLG4.take_along_dim(row_NL[:, :, None, None], dim=2).squeeze(2)
    return wanted_NL4 / strides_L[:, None], fits_NLG.any(dim=2), row_NL

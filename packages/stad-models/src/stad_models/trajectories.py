"""Action tubes as curves over time: polynomials, splines, and the timestamps that decide a shape.

Times are normalised: 0 at the first frame of a span, 1 at its last. Boxes are xyxy.
Suffixes: F frames, N timestamps, B curves, n knots of a curve, D coordinates, k order.
Source: CFAD, Sec. 3.2 and 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stad_models.heads.anchors import decode, encode


def normalised_times(frames: Tensor, spans: Tensor) -> Tensor:
    """Where frames lie in spans, in [0, 1]; what lies outside a span is moved to its end.

    Args:
        frames: `[F]`, indices of frames; fractions lie between them.
        spans: `[S, 2]` start and end, half-open: its last frame is end - 1. A span of one frame or
            less has all of its frames at 0.

    Returns:
        `[S, F]`.

    Source: CFAD, Eq. 4.
    """
    start_S1, length_S1 = spans[:, :1], spans[:, 1:] - spans[:, :1] - 1
    length_S1 = length_S1.where(length_S1 > 0, 1.0)
    return ((frames - start_S1) / length_S1).clamp(0, 1)


def frames_at(times: Tensor, spans: Tensor) -> Tensor:
    """Indices of frames `[S, N]`, with fractions, of times `[N]` in spans `[S, 2]`.

    The inverse of `normalised_times` in spans of more than one frame; shorter ones have their start
    alone.
    """
    length_S1 = (spans[:, 1:] - spans[:, :1] - 1).clamp(min=0)
    return spans[:, :1] + times * length_S1


def polynomial(coefficients: Tensor, times: Tensor) -> Tensor:
    """Values `[..., F, D]` of curves of order k.

    Args:
        coefficients: `[..., k + 1, D]`, the constant first.
        times: `[..., F]`, of the same leading dimensions, or `[F]`.

    Source: CFAD, Eq. 1.
    """
    powers = _powers(times, coefficients.shape[-2])
    # No matrix product, which mixed precision would round to half.
    return (powers[..., None] * coefficients[..., None, :, :]).sum(dim=-2)


def fit_polynomial(times: Tensor, values: Tensor, order: int) -> Tensor:
    """Coefficients `[k + 1, D]` of the curve that is nearest to points, by least squares.

    Of several curves that are as near, as there are for fewer points than coefficients, it is the
    one with the smallest coefficients.

    Args:
        times: `[F]`.
        values: `[F, D]`.
        order: k, at least 0.

    Raises:
        ValueError: the order is negative, or there is no point.
    """
    if order < 0 or len(times) == 0:
        raise ValueError(
            f"fit_polynomial: needs order >= 0 and a point, found order {order} and "
            f"{len(times)} points"
        )
    return torch.linalg.pinv(_powers(times, order + 1)) @ values


def encode_tube(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes `[R, F, 4]`, with an area, relative to anchors `[R, 4]`, as Faster R-CNN encodes."""
    rows, frames = boxes.shape[:2]
    spread_RF4 = anchors[:, None].expand(rows, frames, 4)
    return encode(boxes.flatten(0, 1), spread_RF4.flatten(0, 1)).view(rows, frames, 4)


def decode_tube(changes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes `[R, F, 4]` from changes `[R, F, 4]` of anchors `[R, 4]`; inverse of `encode_tube`.

    Source: CFAD, Eq. 6.
    """
    rows, frames = changes.shape[:2]
    spread_RF4 = anchors[:, None].expand(rows, frames, 4)
    return decode(changes.flatten(0, 1), spread_RF4.flatten(0, 1)).view(rows, frames, 4)


def linear(times: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """Values `[F, D]` on straight lines between knots; before and after them the ends stay.

    Args:
        times: `[n]`, increasing, at least one.
        values: `[n, D]`.
        at: `[F]`, in any order.
    """
    right_F = torch.searchsorted(times, at.contiguous()).clamp(max=len(times) - 1)
    left_F = (right_F - 1).clamp(min=0)
    gap_F = times[right_F] - times[left_F]
    share_F = ((at - times[left_F]) / gap_F.where(gap_F > 0, 1.0)).clamp(0, 1)
    return torch.lerp(values[left_F], values[right_F], share_F[:, None])


def spline(times: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """Values `[B, F, D]` of natural cubic splines: no curvature at their ends.

    Two knots give a straight line. Where it leaves its knots a curve goes on as its last piece.

    Args:
        times: `[B, n]`, strictly increasing, n at least 2.
        values: `[B, n, D]`.
        at: `[F]`, or `[B, F]` for each curve.

    Raises:
        ValueError: fewer than two knots.

    Source: CFAD, Sec. 3.3 (piecewise cubic spline); which kind is our choice, since it is the one
    that two knots define too.
    """
    if times.shape[1] < 2:
        raise ValueError(f"spline: needs at least 2 knots, found {times.shape[1]}")
    gap_Bn = times.diff(dim=1)
    slope_BnD = values.diff(dim=1) / gap_Bn[:, :, None]
    curvature_BnD = _curvature(gap_Bn, slope_BnD)
    spread_BF = at.expand(len(times), -1).contiguous()
    piece_BF = torch.searchsorted(times.contiguous(), spread_BF, right=True) - 1
    piece_BF = piece_BF.clamp(0, times.shape[1] - 2)
    index_BF1 = piece_BF[:, :, None]
    gap_BF1 = gap_Bn.gather(1, piece_BF)[:, :, None]
    past_BF1 = (spread_BF - times.gather(1, piece_BF))[:, :, None]
    left, right = (curvature_BnD.take_along_dim(index_BF1 + side, dim=1) for side in (0, 1))
    start, slope = values.take_along_dim(index_BF1, dim=1), slope_BnD.take_along_dim(index_BF1, 1)
    first = slope - gap_BF1 * (2 * left + right) / 6
    return start + past_BF1 * (
        first + past_BF1 * (left / 2 + past_BF1 * (right - left) / gap_BF1 / 6)
    )


def mean_iou(a: Tensor, b: Tensor) -> Tensor:
    """Mean `[...]` over frames of the IoU of boxes `[..., F, 4]`; boxes without area have 0."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = _area(a) + _area(b) - shared
    return (shared / union.clamp(min=torch.finfo(union.dtype).tiny)).mean(dim=-1)


def interpolated(boxes: Tensor, keys: Tensor, at: Tensor) -> Tensor:
    """Boxes `[F, 4]` of the spline through some of N evenly spaced boxes.

    Args:
        boxes: `[N, 4]` at times 0, 1 / (N - 1), ..., 1.
        keys: `[N]` bool, the ones it goes through; at least two.
        at: `[F]`.
    """
    stamps_N = evenly(len(boxes), like=boxes)
    return spline(stamps_N[keys][None], boxes[keys][None], at)[0]


def key_timestamps(times: Tensor, boxes: Tensor, *, count: int, threshold: float = 0.8) -> Tensor:
    """Which of N evenly spaced timestamps are needed to tell a tube's shape, `[N]` bool.

    It begins with the first and the last and adds, one by one, the timestamp that brings the spline
    through the tube's boxes nearest to the tube, until the mean IoU exceeds the threshold. Of up to
    four timestamps no other choice of as many is better. Of more there may be a better one, since
    the first that is added stays: docs/results.md tells by how much on real tubes.

    Args:
        times: `[F]` in [0, 1], increasing, at least one: where the tube's boxes are.
        boxes: `[F, 4]`; between them and beyond their ends see `linear`.
        count: N, at least 2.
        threshold: epsilon, in [0, 1].

    Raises:
        ValueError: fewer than two timestamps, or no box.

    Source: CFAD, Eq. 5.
    """
    if count < 2 or len(times) == 0:
        raise ValueError(
            f"key_timestamps: needs 2 timestamps and a box, found {count} and {len(times)} boxes"
        )
    stamps_N = evenly(count, like=boxes)
    at_stamps_N4 = linear(times, boxes, stamps_N)
    keys_N = torch.zeros(count, dtype=torch.bool, device=boxes.device)
    keys_N[0] = keys_N[-1] = True
    best = mean_iou(interpolated(at_stamps_N4, keys_N, times), boxes)
    while best <= threshold and not bool(keys_N.all()):
        left_B = (~keys_N).nonzero()[:, 0]
        tried_BN = keys_N.repeat(len(left_B), 1)
        tried_BN[torch.arange(len(left_B), device=boxes.device), left_B] = True
        knots_Bn = tried_BN.nonzero()[:, 1].view(len(left_B), -1)
        curves_BF4 = spline(stamps_N[knots_Bn], at_stamps_N4[knots_Bn], times)
        best, row = mean_iou(curves_BF4, boxes).max(dim=0)
        keys_N[left_B[row]] = True
    return keys_N


def evenly(count: int, *, like: Tensor) -> Tensor:
    """The times `[N]` 0, 1 / (N - 1), ..., 1 of the type and device of another tensor."""
    return torch.linspace(0, 1, count, dtype=like.dtype, device=like.device)


def _powers(times: Tensor, count: int) -> Tensor:
    exponents = torch.arange(count, device=times.device, dtype=times.dtype)
    return times[..., None] ** exponents


def _curvature(gap_Bn: Tensor, slope_BnD: Tensor) -> Tensor:
    """Second derivatives `[B, n, D]` at the knots, from the n - 1 gaps and slopes between them."""
    inner = gap_Bn.shape[1] - 1
    pad = slope_BnD.new_zeros((len(slope_BnD), 1, slope_BnD.shape[2]))
    if inner == 0:
        return torch.cat((pad, pad), dim=1)
    diagonal = 2 * (gap_Bn[:, :-1] + gap_Bn[:, 1:])
    beside = gap_Bn[:, 1:-1]
    matrix = torch.diag_embed(diagonal)
    if inner > 1:
        matrix = matrix + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    found = torch.linalg.solve(matrix, 6 * slope_BnD.diff(dim=1))
    return torch.cat((pad, found, pad), dim=1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)

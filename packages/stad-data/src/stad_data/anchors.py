"""Anchor sizes for detectors: clusters of the training boxes by the overlap of their forms.

Suffix legend: M = boxes, U = different sizes of boxes, A = anchors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_data.annotation import VideoAnnotation
from stad_eval import InputError

_ROUNDS = 300
_CHUNK = 65536


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchors:
    """Widths and heights that cover the training boxes.

    Attributes:
        sizes: float64 [A, 2], width and height, by increasing area.
        mean_iou: Mean over the boxes of the IoU with their best anchor, both at one place: how much
            of the boxes' form the anchors hold, in (0, 1].
        counts: int64 [A], the boxes whose best anchor each one is.
    """

    sizes: NDArray[np.float64]
    mean_iou: float
    counts: NDArray[np.int64]


def box_sizes(
    annotations: Sequence[VideoAnnotation], *, frame: tuple[int, int] | None = None
) -> NDArray[np.float64]:
    """Width and height of every box of some videos, float64 [M, 2].

    Args:
        annotations: The videos; without boxes M = 0.
        frame: (width, height) that every video is stretched to; None keeps the annotated pixels.
    """
    sizes: list[NDArray[np.float64]] = [np.zeros((0, 2))]
    for annotation in annotations:
        scale = np.ones(2) if frame is None else np.divide(frame, annotation.size)
        sizes.extend((t.boxes[:, 2:] - t.boxes[:, :2]) * scale for t in annotation.tracks)
    return np.concatenate(sizes)


def form_iou(sizes: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """IoU [M, A] of boxes of these widths and heights, [M, 2] and [A, 2], about one centre."""
    sizes_M2, others_A2 = np.asarray(sizes, np.float64), np.asarray(others, np.float64)
    width = np.minimum(sizes_M2[:, None, 0], others_A2[None, :, 0])
    height = np.minimum(sizes_M2[:, None, 1], others_A2[None, :, 1])
    shared = width * height
    return shared / (sizes_M2.prod(axis=1)[:, None] + others_A2.prod(axis=1) - shared)


def cluster_sizes(sizes: ArrayLike, *, count: int, seed: int = 0, starts: int = 3) -> Anchors:
    """K-means of box sizes with 1 - IoU as the distance.

    Each start draws its first anchors far apart (k-means++), then moves every anchor to the mean
    width and height of its boxes until none changes hands; an anchor left without boxes goes to the
    box that is covered worst. A mean does not always raise the IoU, so the best round of all starts
    is kept. The same seed gives the same anchors.

    Args:
        sizes: [M, 2], widths and heights, from `box_sizes`.
        count: How many anchors A.
        seed: Of the first anchors.
        starts: How often to begin anew.

    Raises:
        InputError: Sizes that are not positive and finite, or fewer different ones than anchors.

    Source: Redmon and Farhadi, "YOLO9000", Sec. 2 (dimension clusters); CFAD, Sec. 4.1 (6 centers).
    """
    sizes_M2 = np.asarray(sizes, np.float64)
    if (
        sizes_M2.ndim != 2
        or sizes_M2.shape[1] != 2
        or not (np.isfinite(sizes_M2).all() and (sizes_M2 > 0).all())
    ):
        raise InputError(
            "anchors need the sizes of boxes",
            expected="finite widths and heights > 0, [M, 2]",
            found=str(sizes_M2.shape),
        )
    # Pixels are whole numbers in most sets, so that many boxes have the same size.
    sizes_U2, weights_U = np.unique(sizes_M2, axis=0, return_counts=True)
    if count < 1 or starts < 1 or len(sizes_U2) < count:
        raise InputError(
            "cannot make so many anchors",
            expected="count and starts >= 1, and as many different sizes of boxes",
            found=f"count {count}, starts {starts}, {len(sizes_M2)} boxes",
        )
    rng = np.random.default_rng(seed)
    best = max(
        (
            _refined(sizes_U2, weights_U, _far_apart(sizes_U2, weights_U, count, rng))
            for _ in range(starts)
        ),
        key=lambda found: found[0],
    )[1]
    best = best[np.argsort(best.prod(axis=1), kind="stable")]
    nearest_U, iou_U = _nearest(sizes_U2, best)
    return Anchors(
        sizes=best,
        mean_iou=float(np.average(iou_U, weights=weights_U)),
        counts=np.bincount(nearest_U, weights_U, count).astype(np.int64),
    )


def _far_apart(
    sizes_U2: NDArray[np.float64],
    weights_U: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """First anchors: boxes drawn in proportion to their squared distance from those before."""
    anchors = sizes_U2[:0]
    far_U = np.ones(len(sizes_U2))
    left_U = np.ones(len(sizes_U2), np.bool_)
    while len(anchors) < count:
        chance_U = np.where(left_U, weights_U * far_U**2, 0)
        if not chance_U.any():  # what is left differs by rounding errors
            chance_U = left_U.astype(np.float64)
        chosen = int(rng.choice(len(sizes_U2), p=chance_U / chance_U.sum()))
        left_U[chosen] = False
        anchors = np.concatenate([anchors, sizes_U2[[chosen]]])
        far_U = np.minimum(far_U, 1 - form_iou(sizes_U2, sizes_U2[[chosen]])[:, 0])
    return anchors


def _refined(
    sizes_U2: NDArray[np.float64], weights_U: NDArray[np.int64], anchors: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """The best mean IoU on the way of k-means from these anchors, and the anchors that gave it."""
    best = (-1.0, anchors)
    before = np.full(len(sizes_U2), -1)
    for _ in range(_ROUNDS):
        nearest_U, iou_U = _nearest(sizes_U2, anchors)
        mean = float(np.average(iou_U, weights=weights_U))
        if mean > best[0]:
            best = (mean, anchors)
        if (nearest_U == before).all():
            break
        before = nearest_U
        counts = np.bincount(nearest_U, weights_U, len(anchors))
        sums = [np.bincount(nearest_U, weights_U * side, len(anchors)) for side in sizes_U2.T]
        anchors = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        lost = np.flatnonzero(counts == 0)
        anchors[lost] = sizes_U2[np.argsort(iou_U, kind="stable")[: len(lost)]]
    return best


def _nearest(
    sizes_U2: NDArray[np.float64], anchors: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The best anchor of each size [U], and its IoU [U]; in parts, to hold little at a time."""
    nearest_U = np.empty(len(sizes_U2), np.int64)
    iou_U = np.empty(len(sizes_U2))
    for start in range(0, len(sizes_U2), _CHUNK):
        part = slice(start, start + _CHUNK)
        iou = form_iou(sizes_U2[part], anchors)
        nearest_U[part], iou_U[part] = iou.argmax(axis=1), iou.max(axis=1)
    return nearest_U, iou_U

"""Two views of a clip, one changed little and one changed much, for training without labels.

Suffix legend: N = boxes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_data.clip_tracks import cut_boxes
from stad_data.clips import Clip
from stad_data.placement import Placement

Transform = Callable[[Clip, np.random.Generator], Clip]


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """A weak and a strong view of the same frames; each knows its way back to the source.

    Attributes:
        weak: For the teacher.
        strong: For the student.
    """

    weak: Clip
    strong: Clip


def views(clip: Clip, weak: Transform, strong: Transform, rng: np.random.Generator) -> Views:
    """The clip after the weak transform, and that view after the strong one.

    The strong view builds on the weak one: it has the same geometry where ``strong`` changes none
    (colours, cutout), and then boxes found in one lie right in the other. Otherwise `carried` takes
    boxes, and ``warping.transfer`` maps, from view to view. The weak view does not depend on
    ``strong``. Transforms that exchange labels (left and right, backwards) belong into ``weak``,
    since labels are not carried.
    """
    first = weak(clip, rng)
    return Views(weak=first, strong=strong(first, rng))


def carried(
    boxes: ArrayLike,
    given: Placement,
    wanted: Placement,
    *,
    size: tuple[int, int],
    visible: float = 0.3,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes found in one view, in pixels of another view of the same frames.

    Args:
        boxes: [N, 4], half-open ``xyxy`` in pixels of the view they were found in.
        given: That view's placement.
        wanted: The other view's placement.
        size: (width, height) of the other view, at whose borders boxes are cut.
        visible: Boxes of which less than this share of the area is left are dropped.

    Returns:
        float64 [M, 4], and which of the N boxes they are: int64 [M], increasing.
    """
    moved = wanted.to_clip(given.to_source(boxes))
    cut, seen = cut_boxes(moved, size, visible)
    return cut[seen], np.flatnonzero(seen)

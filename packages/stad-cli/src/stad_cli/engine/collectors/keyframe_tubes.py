"""Tubes from detections on every frame: boxes are linked, and a tube's frames share their scores.

Suffix legend: N = boxes found, C = classes, U = tubes.
"""

import numpy as np
from numpy.typing import NDArray

from stad_eval import Boxes, Tubes, link_rows, stack_tubes
from stad_eval.tubes import Tube

LINK_IOU = 0.3
"""Overlap from which boxes of two frames are one person, whatever they do."""
FRAMES_HIDDEN = 3
"""For so many frames a person may be hidden and still be the same."""
RULED_OUT = 1e-3
"""A score of nothing counts as this in a geometric mean, beside the others of its tube."""
SMALLEST_SCORE = 1e-4
"""Tubes of a lower score are left out; scores that hold a power of the actor's are small."""


def tube_of_boxes(actors: Boxes, *, stride: int = 1) -> NDArray[np.int64]:
    """The tube number [N] of every person's box, over all videos.

    Args:
        actors: One class, "person".
        stride: Step between the frames that were looked at.
    """
    return link_rows(actors, min_iou=LINK_IOU, max_gap=FRAMES_HIDDEN, stride=stride, max_boxes=None)


def shared_scores(tube: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores [N, C], each row the geometric mean over the boxes of its tube [N].

    Every frame has its say, as where probabilities are multiplied: an action that one frame rules
    out cannot be outvoted by another that is sure of it. What no frame scores stays 0; [0, C] stays
    as it is.
    """
    if not len(tube):
        return scores
    count_U1 = np.bincount(tube)[:, None]
    sums_UC = _sums(tube, np.log(scores + RULED_OUT))
    means_UC = np.exp(sums_UC / count_U1) - RULED_OUT
    return np.where(_sums(tube, scores) > 0, means_UC, 0.0)[tube]


def _sums(tube: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums [U, C] of rows [N, C] over the tubes that they belong to."""
    sums = [np.bincount(tube, weights=column).astype(np.float64) for column in values.T]
    return np.stack(sums, axis=1)


def tubes_of_boxes(
    actors: Boxes,
    tube: NDArray[np.int64],
    scores: NDArray[np.float64],
    classes: tuple[str, ...],
    *,
    min_length: NDArray[np.int64],
) -> Tubes:
    """One tube per linked person and action.

    Args:
        actors: Boxes, one row each.
        tube: Their tubes, int64 [N].
        scores: float64 [N, C], the same for all boxes of a tube.
        classes: Names of the actions.
        min_length: By video, the fewest boxes of a tube.
    """
    order = np.lexsort((actors.frame, tube))
    cuts = np.flatnonzero(np.diff(tube[order])) + 1
    found: list[Tube] = []
    # A tube is a few rows of a table that is sorted by tube: a cut for each.
    for rows in np.split(order, cuts) if len(order) else []:
        video = int(actors.video[rows[0]])
        if len(rows) < min_length[video]:
            continue
        found += [
            Tube(
                video=actors.videos[video],
                label=label,
                score=float(scores[rows[0], label]),
                frames=actors.frame[rows],
                boxes=actors.box[rows],
            )
            for label in np.flatnonzero(scores[rows[0]] >= SMALLEST_SCORE).tolist()
        ]
    return stack_tubes(found, classes=classes, videos=actors.videos)

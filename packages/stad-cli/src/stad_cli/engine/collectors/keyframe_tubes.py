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
SMALLEST_SCORE = 0.005
"""Tubes of a lower score are left out, as where tubelets are linked."""


def tube_of_boxes(actors: Boxes, *, stride: int = 1) -> NDArray[np.int64]:
    """The tube number [N] of every person's box, over all videos.

    Args:
        actors: One class, "person".
        stride: Step between the frames that were looked at.
    """
    return link_rows(actors, min_iou=LINK_IOU, max_gap=FRAMES_HIDDEN, stride=stride, max_boxes=None)


def shared_scores(tube: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores [N, C], each row the mean over the boxes of its tube [N]; [0, C] stays as it is."""
    if not len(tube):
        return scores
    count_U = np.bincount(tube)
    sums = [np.bincount(tube, weights=column) for column in scores.T]
    return (np.stack(sums, axis=1) / count_U[:, None])[tube]


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

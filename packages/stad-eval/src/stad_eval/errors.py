"""Where detections went wrong: the confusion of classes on frames."""

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.matching import Side, match
from stad_eval.tables import Boxes, annotated_frames, check_truth, indices_of


def confusion(
    truth: Boxes,
    found: Boxes,
    iou: float = 0.5,
    *,
    min_score: float = 0.0,
    best_label_only: bool = False,
) -> NDArray[np.int64]:
    """Counts [C+1, C+1] of what each ground truth was taken for.

    Row = true class, column = detected class, both in the order of `truth.classes`. The last
    column counts ground truth that was missed, the last row detections on background. On each
    frame, boxes of the same class are matched first, by score, each to the best overlap left
    (IoU >= iou); then what remains is matched whatever its class. With several labels per person
    every (box, label) row counts on its own.

    Detections below `min_score` are left out; with `best_label_only` just the best label of each
    box is kept (for classes that exclude each other). Detections on frames that were not annotated
    are left out. Empty tables give zeros.

    Raises:
        InputError: if a detection's class is none of `truth.classes`, on ground truth without
            area, or an IoU threshold outside (0, 1].
    """
    if not 0.0 < iou <= 1.0:
        raise InputError("bad IoU threshold", expected="0 < iou <= 1", found=iou)
    check_truth(truth)
    size = len(truth.classes)
    frames = annotated_frames(truth)
    found = _kept(found, min_score, best_label_only=best_label_only)
    to_video = indices_of(found.videos, {name: at for at, name in enumerate(truth.videos)})
    to_label = indices_of(found.classes, {name: at for at, name in enumerate(truth.classes)})
    video = to_video[found.video] if len(found) else found.video
    label = to_label[found.label] if len(found) else found.label
    if (label < 0).any():
        raise InputError(
            "detections of a class that the ground truth does not list",
            expected=", ".join(truth.classes),
            found=found.classes[int(found.label[np.flatnonzero(label < 0)[0]])],
        )
    keys = frames[:, 0] * 2**40 + frames[:, 1]
    found_key = video * 2**40 + found.frame
    on = (video >= 0) & np.isin(found_key, keys)
    box, score, label = found.box[on], found.score[on], label[on]
    found_cell = np.searchsorted(keys, found_key[on])
    truth_cell = np.searchsorted(keys, truth.video * 2**40 + truth.frame)

    same = match(
        Side(cell=found_cell * size + label, box=box),
        Side(cell=truth_cell * size + truth.label, box=truth.box),
        score=score,
        iou=iou,
        rule="best-unmatched",
    )
    left = np.flatnonzero(same < 0)
    open_truth = np.setdiff1d(np.arange(len(truth)), same)
    other = match(
        Side(cell=found_cell[left], box=box[left]),
        Side(cell=truth_cell[open_truth], box=truth.box[open_truth]),
        score=score[left],
        iou=iou,
        rule="best-unmatched",
    )
    taken = same.copy()
    hit = other >= 0
    taken[left[hit]] = open_truth[other[hit]]
    counts = np.zeros((size + 1, size + 1), dtype=np.int64)
    matched = taken >= 0
    np.add.at(counts, (truth.label[taken[matched]], label[matched]), 1)
    counts[size, :size] = np.bincount(label[~matched], minlength=size)
    missed = np.setdiff1d(np.arange(len(truth)), taken)
    counts[:size, size] = np.bincount(truth.label[missed], minlength=size)
    return counts


def _kept(found: Boxes, min_score: float, *, best_label_only: bool) -> Boxes:
    found = found.select(found.score >= min_score)
    if not best_label_only or not len(found):
        return found
    columns = (*found.box.T[::-1], found.frame, found.video)
    order = np.lexsort((found.label, -found.score, *columns))
    new = np.zeros(order.size, dtype=np.bool_)
    new[0] = True
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    return found.select(order[new])

"""Rows that carry the number of their tube, and tubes made of them.

A linker gives every row of a table a tube number, -1 for none; this is where numbers become tubes.
"""

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.ranking import split_where
from stad_eval.tables import Boxes
from stad_eval.tubes import Tube


def streams_of(
    video: NDArray[np.int64], label: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """A number for every (video, label), whose order is that of the pairs; int64 [N]."""
    return video * max(classes, 1) + label


def number_by_stream(stream: NDArray[np.int64], tube_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tube numbers 0, 1, ... by stream, within a stream in the order of `tube_of`; -1 stays.

    Tubes of two streams are two, even where their numbers are equal. Both [N].
    """
    result = np.full(tube_of.size, -1, dtype=np.int64)
    rows = np.flatnonzero(tube_of >= 0)
    order = rows[np.lexsort((tube_of[rows], stream[rows]))]
    new = (np.diff(tube_of[order]) != 0) | (np.diff(stream[order]) != 0)
    result[order] = np.cumsum(np.append(0, new)[: order.size])
    return result


def tubes_of_rows(
    found: Boxes,
    tube_of: NDArray[np.int64],
    *,
    scores: NDArray[np.float64] | None = None,
    min_length: int = 1,
    stride: int | None = None,
) -> list[Tube]:
    """Tubes by video, label and descending score, of rows with their tube numbers [N].

    Args:
        found: the rows; those of one tube have one video, one label and frames of their own.
        tube_of: int64 [N]; rows of a negative number are in no tube.
        scores: score of each tube by its number; None: the mean of its rows' scores.
        min_length: tubes of fewer rows are left out.
        stride: frames that a tube skipped are filled linearly in steps of so many frames; None:
            gaps stay.

    Raises:
        InputError: if the columns differ in length, `min_length` is below 1, or two rows of a tube
            are on one frame.
    """
    if min_length < 1:
        raise InputError("bad min_length", expected="1 or more", found=min_length)
    if tube_of.shape != (len(found),):
        raise InputError(
            "tube numbers of a wrong shape", expected=(len(found),), found=tube_of.shape
        )
    linked = np.flatnonzero(tube_of >= 0)
    order = linked[np.lexsort((found.frame[linked], tube_of[linked]))]
    tubes = [
        _tube(found, rows, None if scores is None else float(scores[tube_of[rows[0]]]), stride)
        for rows in split_where(order, tube_of)
        if rows.size >= min_length
    ]
    place = {name: index for index, name in enumerate(found.videos)}
    return sorted(
        tubes,
        key=lambda tube: (
            place[tube.video],
            tube.label,
            -tube.score,
            int(tube.frames[0]),
            tube.boxes[0].tolist(),
        ),
    )


def _tube(found: Boxes, rows: NDArray[np.intp], score: float | None, stride: int | None) -> Tube:
    frames, boxes = found.frame[rows], found.box[rows]
    if stride is not None and (np.diff(frames) > stride).any():
        grid = np.arange(frames[0], frames[-1] + 1, stride)
        full = np.union1d(frames, grid)
        boxes = np.stack([np.interp(full, frames, side) for side in boxes.T], axis=1)
        frames = full
    return Tube(
        video=found.videos[int(found.video[rows[0]])],
        label=int(found.label[rows[0]]),
        score=float(found.score[rows].mean()) if score is None else score,
        frames=frames,
        boxes=boxes,
    )

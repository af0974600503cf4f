"""Rows of AVA's form to actors: one box per person and moment, with all labels of its rows.

Suffix legend: R = rows of a file that hold a box, G = actors in keyframes (merged rows),
C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses
from stad_eval import InputError
from stad_eval.formats.ava_csv import AvaRows

# Published boxes have three decimals; what leaves the frame by rounding is cut off.
_TOLERANCE = 0.002


@dataclass(frozen=True, kw_only=True, eq=False)
class Actors:
    """Merged rows: one per actor in a keyframe, sorted by video, then second."""

    row: NDArray[np.int64]  # [G] a row of the file
    video: NDArray[np.int64]  # [G]
    second: NDArray[np.int64]  # [G]
    person: NDArray[np.int64]  # [G]
    box: NDArray[np.float64]  # [G, 4] normalised
    labels: NDArray[np.bool_]  # [G, C]

    def of_video(self, video: int) -> "Actors":
        """The rows of one video."""
        start, stop = np.searchsorted(self.video, (video, video + 1))
        return self.select(slice(start, stop))

    def select(self, rows: slice | NDArray[np.bool_]) -> "Actors":
        """The given rows."""
        return Actors(
            row=self.row[rows],
            video=self.video[rows],
            second=self.second[rows],
            person=self.person[rows],
            box=self.box[rows],
            labels=self.labels[rows],
        )


def merge(rows: AvaRows, path: Path, classes: ActionClasses, known_ids: frozenset[int]) -> Actors:
    """One row per actor and keyframe, with all labels that its rows give it.

    Rows of one video, moment and person merge; without person ids, rows with the same box do, and
    every box is a person of its own. Labels that only ``known_ids`` lists are left out.

    Raises:
        InputError: A row whose action is not known, whose box lies outside the frame or has no
            area, or which gives a person a second box at a time.
    """
    box = _checked_boxes(rows, path)
    unknown = ~np.isin(rows.action, list(known_ids))
    if unknown.any():
        raise _refused(
            rows,
            path,
            unknown,
            "an unknown action_id",
            expected=f"one of the {len(classes)} ids of the label map",
            found=int(rows.action[np.argmax(unknown)]),
        )
    person = _persons(rows, path)
    who = [*box.T[::-1]] if person is None else [*box.T[::-1], person]
    order = np.lexsort((*who, rows.timestamp, rows.video))
    new_frame = _changes([rows.video, rows.timestamp], order)
    new_box = new_frame | _changes(list(box.T), order)
    new_actor = new_box if person is None else new_frame | _changes([person], order)
    if person is not None and (new_box & ~new_actor).any():
        place = int(np.argmax(new_box & ~new_actor))
        a, b = sorted(order[place - 1 : place + 1].tolist(), key=lambda at: rows.row[at])
        raise InputError(
            f"person {person[b]} has two boxes in second {rows.timestamp[b]}",
            path=path,
            row=int(rows.row[b]),
            expected=f"{rows.box[a].tolist()}, as in row {rows.row[a]}",
            found=rows.box[b].tolist(),
            remedy="give the persons different ids, or take one of the rows out",
        )
    group = np.cumsum(new_actor) - 1
    first = order[new_actor]
    labels = np.zeros((len(first), len(classes)), np.bool_)
    ids = np.array(classes.ids)  # a label map is in the order of its ids
    action = rows.action[order]
    label = np.searchsorted(ids, action).clip(max=len(ids) - 1)
    listed = ids[label] == action
    labels[group[listed], label[listed]] = True
    return Actors(
        row=rows.row[first],
        video=rows.video[first],
        second=rows.timestamp[first],
        person=np.arange(len(first)) if person is None else person[first],
        box=box[first],
        labels=labels,
    )


def _refused(
    rows: AvaRows,
    path: Path,
    bad: NDArray[np.bool_],
    problem: str,
    *,
    expected: str,
    found: object,
    remedy: str | None = None,
) -> InputError:
    first = int(np.argmax(bad))
    count = int(bad.sum())
    return InputError(
        problem + (f" (the first of {count} such rows)" if count > 1 else ""),
        path=path,
        row=int(rows.row[first]),
        expected=expected,
        found=found,
        remedy=remedy,
    )


def _checked_boxes(rows: AvaRows, path: Path) -> NDArray[np.float64]:
    """Boxes [R, 4], normalised and cut to the frame where rounding made them leave it."""
    box = rows.box
    outside = np.logical_or.reduce((box < -_TOLERANCE) | (box > 1 + _TOLERANCE), axis=1)
    if outside.any():
        raise _refused(
            rows,
            path,
            outside,
            "a box outside the frame",
            expected=f"x1,y1,x2,y2 in [0, 1], at most {_TOLERANCE} beyond",
            found=box[np.argmax(outside)].tolist(),
            remedy="boxes are normalised by the frame's width and height, not in pixels",
        )
    box = box.clip(0, 1)
    flat = np.logical_or.reduce(box[:, 2:] <= box[:, :2], axis=1)
    if flat.any():
        raise _refused(
            rows,
            path,
            flat,
            "a box of no area",
            expected="x1 < x2 and y1 < y2",
            found=rows.box[np.argmax(flat)].tolist(),
        )
    return box


def _persons(rows: AvaRows, path: Path) -> NDArray[np.int64] | None:
    """Person ids [R], or None for a file without them."""
    absent = np.isnan(rows.eighth)
    if absent.all():
        return None
    if absent.any():
        raise _refused(
            rows,
            path,
            absent,
            "a row without a person id",
            expected="8 columns, as in the other rows",
            found="7",
        )
    bad = (rows.eighth != np.floor(rows.eighth)) | (np.abs(rows.eighth) > 2**53)
    if bad.any():
        raise _refused(
            rows,
            path,
            bad,
            "bad person id",
            expected="a whole number",
            found=float(rows.eighth[np.argmax(bad)]),
            remedy="in annotations the eighth column is a person, in detections a score",
        )
    return rows.eighth.astype(np.int64)


def _changes(
    columns: Sequence[NDArray[np.int64] | NDArray[np.float64]], order: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """[R] in the given order: whether a row differs from the one before in any of the columns."""
    changed = np.zeros(len(order), np.bool_)
    changed[:1] = True
    for column in columns:
        values = column[order]
        changed[1:] |= values[1:] != values[:-1]
    return changed

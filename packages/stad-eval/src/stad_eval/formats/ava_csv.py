"""AVA's CSV files: `video,timestamp,x1,y1,x2,y2,action_id[,person_id or score]`, no header.

Boxes are normalised to [0, 1]; timestamps are whole seconds; there is one row per (box, action). A
row of two columns, `video,timestamp`, is an annotated keyframe without a box (and the whole of an
exclusion list). The eighth column is a person id in ground truth and a score in detections.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.ava_rows import AvaRows, read_ava_rows
from stad_eval.formats.files import replaced
from stad_eval.formats.label_map import LabelMap, read_label_map
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes, unique_pairs

__all__ = [
    "AvaRows",
    "ava_boxes",
    "read_ava_csv",
    "read_ava_frames",
    "read_ava_rows",
    "write_ava_csv",
]

Column8 = Literal["auto", "person", "score"]


def read_ava_csv(
    path: str | Path,
    *,
    classes: LabelMap | Sequence[str] | str | Path,
    column_8: Column8 = "auto",
    unlisted: Literal["refused", "skipped"] = "refused",
) -> Boxes:
    """Ground truth or detections from an AVA CSV file; `frame` holds the timestamp in seconds.

    `classes` is a label map, the path of one, or plain names whose ids are 1, 2, 3, ... in order.
    The eighth column is taken for scores or for person ids; "auto" takes it for person ids if all
    of them are whole numbers. Rows with scores are detections; all others are ground truth, which
    gets score 1 and lists its annotated keyframes (rows of two columns and rows of skipped classes
    included). Action ids that `classes` lacks are refused, or skipped (AVA's own files have 80
    actions, its evaluation 60).

    Raises:
        InputError: with the row, on a malformed row, an unlisted action, a coordinate or score that
            is not finite, a ground-truth box without area or outside [0, 1], or boxes that seem to
            be in pixels.
    """
    return ava_boxes(
        read_ava_rows(path), path, classes=classes, column_8=column_8, unlisted=unlisted
    )


def ava_boxes(
    rows: AvaRows,
    path: str | Path,
    *,
    classes: LabelMap | Sequence[str] | str | Path,
    column_8: Column8 = "auto",
    unlisted: Literal["refused", "skipped"] = "refused",
) -> Boxes:
    """As `read_ava_csv`, of rows that were read before; `path` is for error messages only.

    Raises:
        InputError: as `read_ava_csv`.
    """
    names = label_map(classes)
    detections = _has_scores(rows, column_8, path)
    _check_boxes(rows, path, detections=detections)
    label, listed = _labels(rows, names, path, unlisted)
    annotated = None
    if not detections:
        annotated = unique_pairs(
            np.concatenate([rows.empty[:, 0], rows.video]),
            np.concatenate([rows.empty[:, 1], rows.timestamp]),
        )
    score = rows.eighth if detections else np.ones(label.size)
    # Rows that are all listed need no copy.
    keep = slice(None) if listed.all() else listed
    return Boxes(
        videos=rows.videos,
        classes=names,
        video=rows.video[keep],
        frame=rows.timestamp[keep],
        box=rows.box[keep],
        label=label[keep],
        score=score[keep],
        annotated=annotated,
    )


def read_ava_frames(path: str | Path) -> frozenset[tuple[str, int]]:
    """The (video, timestamp) pairs of a file of two columns, such as an exclusion list.

    Raises:
        InputError: with the row, if a row has not exactly two columns or no whole timestamp.
    """
    rows = read_ava_rows(path)
    if rows.row.size:
        raise InputError(
            "too many columns",
            path=path,
            row=int(rows.row[0]),
            expected="video,timestamp",
            found="a box",
        )
    return frozenset((rows.videos[video], time) for video, time in rows.empty.tolist())


def write_ava_csv(
    path: str | Path, table: Boxes, *, classes: LabelMap | None = None, scores: bool | None = None
) -> None:
    """Write a table of normalised boxes as an AVA CSV file, whole or not at all.

    Action ids come from `classes`, by default `table.classes` (plain names count from 1). Scores
    fill the eighth column, by default if `table` is not ground truth. Annotated frames without a
    row are written as rows of two columns. Numbers keep full precision.

    Raises:
        InputError: if a class of the table has no id, or the folder does not exist.
        OSError: if the file cannot be written.
    """
    names = label_map(table.classes if classes is None else classes)
    numbers = dict(zip(names, names.ids, strict=True))
    missing = [name for name in table.classes if name not in numbers]
    if missing:
        raise InputError("classes without an id", path=path, found=", ".join(missing))
    with_scores = table.annotated is None if scores is None else scores
    ids = [numbers[name] for name in table.classes]
    columns = (table.video, table.frame, table.box, table.label, table.score)
    boxed = set(zip(table.video.tolist(), table.frame.tolist(), strict=True))
    with replaced(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for video, frame, box, label, score in zip(*(c.tolist() for c in columns), strict=True):
            row = [table.videos[video], f"{frame:04d}", *box, ids[label]]
            writer.writerow([*row, score] if with_scores else row)
        pairs = [] if table.annotated is None else np.unique(table.annotated, axis=0).tolist()
        for video, frame in pairs:
            if (video, frame) not in boxed:
                writer.writerow([table.videos[video], f"{frame:04d}"])


def label_map(classes: LabelMap | Sequence[str] | str | Path) -> LabelMap:
    """A label map as it is, from a file, or of plain names, whose ids are 1, 2, 3, ... in order.

    Raises:
        InputError: as `read_label_map`.
    """
    if isinstance(classes, LabelMap):
        return classes
    if isinstance(classes, (str, Path)):
        return read_label_map(classes)
    return LabelMap(classes, range(1, len(classes) + 1))


def _has_scores(rows: AvaRows, column_8: Column8, path: str | Path) -> bool:
    if column_8 not in ("auto", "person", "score"):
        expected = "'auto', 'person' or 'score'"
        raise InputError("unknown meaning of column 8", expected=expected, found=column_8)
    given = ~np.isnan(rows.eighth)
    whole = rows.eighth[given] == np.floor(rows.eighth[given])
    if column_8 == "person" or (column_8 == "auto" and bool(whole.all())):
        return False
    if not given.all():
        raise InputError(
            "detections without a score",
            path=path,
            row=int(rows.row[np.flatnonzero(~given)[0]]),
            expected="8 columns",
            found="7",
        )
    return True


def _check_boxes(rows: AvaRows, path: str | Path, *, detections: bool) -> None:
    box = rows.box
    if detections:
        # Detectors may reach a little over the border; pixels reach far over it.
        checks = [((box < -2.0) | (box > 3.0)).any(axis=1)]
    else:
        outside = ((box < 0.0) | (box > 1.0)).any(axis=1)
        checks = [outside, (box[:, 2] <= box[:, 0]) | (box[:, 3] <= box[:, 1])]
    problems = ("box outside the frame", "box without area")
    expected = ("coordinates normalised to 0 to 1", "x1 < x2 and y1 < y2")
    for bad, problem, wanted in zip(checks, problems, expected, strict=False):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{problem} ({int(bad.sum())} row(s), this is the first)",
                path=path,
                row=int(rows.row[at]),
                expected=wanted,
                found=box[at].tolist(),
                remedy="Divide pixels by the width and height of the frame."
                if problem == problems[0]
                else None,
            )


def _labels(
    rows: AvaRows, names: LabelMap, path: str | Path, unlisted: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if unlisted not in ("refused", "skipped"):
        expected = "'refused' or 'skipped'"
        raise InputError("unknown option 'unlisted'", expected=expected, found=unlisted)
    # Ids are small, so that a table answers; one more entry stands for all larger ids.
    top = max(names.ids, default=-1) + 1
    places = np.full(top + 1, -1, dtype=np.int64)
    places[list(names.ids)] = np.arange(len(names))
    place = places[np.minimum(rows.action, top)]
    listed = place >= 0
    if unlisted == "refused" and not listed.all():
        at = int(np.flatnonzero(~listed)[0])
        raise InputError(
            f"action without a name ({int((~listed).sum())} row(s), this is the first)",
            path=path,
            row=int(rows.row[at]),
            expected=f"one of the {len(names)} ids of the label map",
            found=int(rows.action[at]),
            remedy="Give the complete label map, or skip such rows (unlisted='skipped').",
        )
    return place, listed

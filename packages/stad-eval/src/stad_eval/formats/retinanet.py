"""Detections of 3D-RetinaNet on UCF101-24: tubes and boxes on a grid of 682 x 512.

Tubes: a pickled dict under `action`: video -> list of {`label_id`, `score`, `scores`, `boxes`
[n, 4], `frames`}. Boxes: under `action`: video name and five digits of the frame -> per class,
[n, 5] x1, y1, x2, y2, score. Frames count from 1, classes from 0. Boxes are divided back to the
frame of 320 x 240; the protocol `+3d-retinanet` multiplies them again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats import safe_pickle
from stad_eval.formats.pyannot import SIZE
from stad_eval.formats.tube_arrays import (
    TubeArray,
    entry,
    label_of,
    number,
    number_array,
    read_rows,
    table_of,
)
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes
from stad_eval.tube_tables import Tubes

GRID = (682, 512)
_SCALE = np.array([SIZE[0] / GRID[0], SIZE[1] / GRID[1]] * 2)


def read_retinanet_tubes(
    path: str | Path, *, videos: Sequence[str], classes: Sequence[str]
) -> Tubes:
    """Detected tubes of the given videos, in their order; other videos of the file are left out.

    Raises:
        InputError: naming the place in the file, if it has another form or lacks a video.
    """
    return retinanet_tubes(safe_pickle.load(path), path, videos=videos, classes=classes)


def retinanet_tubes(
    content: object, path: str | Path, *, videos: Sequence[str], classes: Sequence[str]
) -> Tubes:
    """As `read_retinanet_tubes`, from the content of a pickle; `path` is for error messages only.

    Raises:
        InputError: as `read_retinanet_tubes`.
    """
    by_video = entry(content, "action", dict, path)
    items: list[TubeArray] = []
    for video in videos:
        for at, tube in enumerate(entry(by_video, video, list, path, "action")):
            place = f"action['{video}'][{at}]"
            parts: dict[str, Any] = tube if isinstance(tube, dict) else {}
            frames, boxes = number_array(parts.get("frames")), number_array(parts.get("boxes"))
            scores = number_array(parts.get("scores"))
            whole = (frames, boxes, scores)
            if frames is None or boxes is None or boxes.shape != (frames.size, 4):
                raise InputError(
                    "frames and boxes do not fit",
                    path=path,
                    row=place,
                    expected="'frames' [n] and 'boxes' [n, 4]",
                    found=[None if each is None else list(each.shape) for each in whole],
                )
            columns = [frames.ravel(), boxes * _SCALE]
            if scores is not None and scores.shape == (frames.size,):
                columns.append(scores)
            items.append(
                TubeArray(
                    video=video,
                    label=label_of(parts.get("label_id"), classes, path, place),
                    score=number(parts.get("score"), path, place),
                    rows=read_rows(np.column_stack(columns), path, place),
                )
            )
    return table_of(items, videos=videos, classes=classes)


def read_retinanet_frames(
    path: str | Path, *, videos: Sequence[str], classes: Sequence[str]
) -> Boxes:
    """Detections on frames of the given videos, by video, frame and class.

    Raises:
        InputError: naming the place in the file, if it has another form or names another video.
    """
    by_frame = entry(safe_pickle.load(path), "action", dict, path)
    index = {name: at for at, name in enumerate(videos)}
    keys: list[tuple[int, int, int]] = []
    parts: list[NDArray[np.float64]] = []
    for key, by_class in by_frame.items():
        video, frame = _frame_of(key, index, path)
        if not isinstance(by_class, (list, tuple)) or len(by_class) != len(classes):
            raise InputError(
                "not one array per class",
                path=path,
                row=f"action['{key}']",
                expected=f"a list of {len(classes)}",
                found=type(by_class).__name__,
            )
        for label, value in enumerate(by_class):
            rows = number_array(value)
            if rows is None or rows.ndim != 2 or rows.shape[1] != 5:
                place = f"action['{key}'][{label}]"
                raise InputError("not rows of boxes", path=path, row=place, expected="[n, 5]")
            keys.append((video, frame, label))
            parts.append(rows)
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    columns = np.array(keys, dtype=np.int64).reshape(-1, 3)[owner]
    rows = np.concatenate([*parts, np.empty((0, 5))])
    order = np.lexsort(columns.T[::-1])
    return Boxes(
        videos=tuple(videos),
        classes=tuple(classes),
        video=columns[order, 0],
        frame=columns[order, 1],
        label=columns[order, 2],
        score=rows[order, 4],
        box=rows[order, :4] * _SCALE,
    )


def _frame_of(key: object, index: dict[str, int], path: str | Path) -> tuple[int, int]:
    """Video and 0-based frame of a name such as 'Basketball/v_Basketball_g01_c0100017'."""
    text = str(key)
    for digits in (5, 6, 7):
        number = text[-digits:]
        if text[:-digits] in index and number.isascii() and number.isdigit() and int(number) > 0:
            return index[text[:-digits]], int(number) - 1
    raise InputError(
        "not a frame of a video of the ground truth",
        path=path,
        row=f"action['{text}']",
        expected="video name and five digits from 00001",
        found=text,
    )

"""UCF101-24's corrected annotations, `pyannot.pkl`.

A pickled dict: video -> {`numf`, `label`, `annotations`: list of {`label`, `sf`, `ef`, `boxes`}};
or that dict under `db`, beside `classes` and `trainvideos`. `sf` counts from 0, `ef` is one past
the last frame; boxes are [n, 4] x, y, width, height in pixels from 1, in whatever integers hold
them (uint8 too, in which x + width overflows).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.class_lists import UCF24
from stad_eval.formats import safe_pickle
from stad_eval.formats.tube_arrays import (
    TubeArray,
    entry,
    label_of,
    names_of,
    number_array,
    table_of,
    whole_number,
)
from stad_eval.input_error import InputError
from stad_eval.tube_tables import TubeFile

SIZE = (320, 240)


def read_pyannot(
    path: str | Path,
    *,
    videos: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    corners: Literal["act", "pixels"] = "act",
) -> TubeFile:
    """Ground truth of UCF101-24.

    Args:
        path: the file.
        videos: names of the videos to read; None: those that are not under `trainvideos`, or all.
        classes: class names; None: those of the file, or UCF24's 24.
        corners: "act": (x - 1, y - 1, x + w - 2, y + h - 2), the corners that ACT's pickle of the
            same tubes holds and 3D-RetinaNet computes, to go with detections of such models;
            "pixels": (x - 1, y - 1, x + w, y + h), the pixels that the published boxes cover,
            half-open, as `stad-data` reads them.

    Raises:
        InputError: naming the place in the file, if it has another form or lacks a video.
    """
    return pyannot_truth(
        safe_pickle.load(path), path, videos=videos, classes=classes, corners=corners
    )


def pyannot_truth(
    content: object,
    path: str | Path,
    *,
    videos: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    corners: Literal["act", "pixels"] = "act",
) -> TubeFile:
    """As `read_pyannot`, from the content of a pickle; `path` is for error messages only.

    Raises:
        InputError: as `read_pyannot`.
    """
    whole: dict[str, Any] = content if isinstance(content, dict) else {}
    wrapped = "db" in whole
    db = entry(whole, "db", dict, path) if wrapped else whole
    if not db or not all(isinstance(name, str) for name in db):
        raise InputError(
            "not annotations of UCF101-24",
            path=path,
            expected="a dict: video -> {'numf', 'label', 'annotations'}",
            found=type(content).__name__ if db is whole else "an empty 'db'",
        )
    if classes is None and "classes" in whole and wrapped:
        classes = names_of(whole["classes"], path, "classes")
    classes = UCF24 if classes is None else classes
    if videos is None:
        train = whole.get("trainvideos", []) if wrapped else []
        known = {str(name) for name in train} if isinstance(train, (list, tuple)) else set[str]()
        videos = tuple(str(name) for name in db if str(name) not in known)
    items: list[TubeArray] = []
    counts: dict[str, int] = {}
    for video in videos:
        record = entry(db, video, dict, path)
        counts[video] = whole_number(record.get("numf"), path, f"{video}.numf")
        for at, tube in enumerate(entry(record, "annotations", list, path, video)):
            place = f"{video}.annotations[{at}]"
            items.append(_tube(tube, video, classes, path, place, corners))
    return TubeFile(
        tubes=table_of(items, videos=videos, classes=classes),
        frame_counts=counts,
        sizes=dict.fromkeys(videos, SIZE),
    )


def _tube(
    tube: object,
    video: str,
    classes: Sequence[str],
    path: str | Path,
    place: str,
    corners: Literal["act", "pixels"],
) -> TubeArray:
    record: dict[str, Any] = tube if isinstance(tube, dict) else {}
    first = whole_number(record.get("sf"), path, f"{place}.sf")
    end = whole_number(record.get("ef"), path, f"{place}.ef")
    boxes = number_array(record.get("boxes"))
    length = end - first
    if boxes is None or boxes.shape != (length, 4) or length < 1:
        raise InputError(
            "boxes do not fit the frames of the tube",
            path=path,
            row=place,
            expected=f"numbers [{length}, 4] for frames {first} to {end}, 'ef' left out",
            found=None if boxes is None else list(boxes.shape),
        )
    frames = np.arange(first, end, dtype=np.float64) + 1.0
    rows: NDArray[np.float64] = np.column_stack([frames, boxes])
    rows[:, 1:3] -= 1.0
    # Width and height count the pixels in between differently by the two readings.
    rows[:, 3:] += rows[:, 1:3] + (1.0 if corners == "pixels" else -1.0)
    label = label_of(record.get("label"), classes, path, f"{place}.label")
    return TubeArray(video=video, label=label, score=1.0, rows=rows)

"""Tubes in plain JSON and npz, as reference numbers of public evaluators come with them.

The JSON is ACT's ground truth: labels, test_videos, nframes, resolution, gttubes (whose classes are
strings). The npz holds tubes by column: video, label, score, length [N], and rows [R, 5 or 6] of
frame from 1, x1, y1, x2, y2[, score], one tube after the other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.act_pickle import act_truth
from stad_eval.formats.tube_arrays import TubeArray, label_of, number, read_rows, table_of
from stad_eval.input_error import InputError
from stad_eval.tube_tables import TubeFile, Tubes

COLUMNS = ("video", "label", "score", "length", "rows")


def reference_truth(content: dict[str, Any], path: str | Path) -> TubeFile:
    """Ground truth of the JSON; `path` is for error messages only.

    Raises:
        InputError: naming the place, if it has another form.
    """
    videos = content.get("test_videos")
    whole = dict(content)
    if isinstance(videos, list) and all(isinstance(name, str) for name in videos):
        whole["test_videos"] = [videos]
    tubes = content.get("gttubes")
    if isinstance(tubes, dict):
        whole["gttubes"] = {
            video: {_whole(key): value for key, value in by_class.items()}
            if isinstance(by_class, dict)
            else by_class
            for video, by_class in tubes.items()
        }
    return act_truth(whole, path)


def reference_tubes(
    arrays: dict[str, NDArray[Any]],
    path: str | Path,
    *,
    videos: Sequence[str],
    classes: Sequence[str],
) -> Tubes:
    """Detected tubes of the npz; `path` is for error messages only.

    Raises:
        InputError: naming the place, if it has another form.
    """
    video, label, score, length = (arrays[name] for name in COLUMNS[:-1])
    rows = arrays["rows"]
    shapes = {each.shape for each in (video, label, score, length)}
    kinds = "".join(each.dtype.kind for each in (video, label, length))
    fits = len(shapes) == 1 and video.ndim == 1 and set(kinds) <= set("iu")
    fits = fits and score.dtype.kind in "iuf" and rows.ndim == 2
    if not fits or (length < 1).any() or int(length.sum()) != len(rows):
        raise InputError(
            "not tubes",
            path=path,
            expected="columns [N] video, label, score, length, and rows [sum of lengths, 5 or 6]",
            found=", ".join(
                f"{name} {arrays[name].dtype} {arrays[name].shape}" for name in COLUMNS
            ),
        )
    ends = np.cumsum(length.astype(np.int64))
    items: list[TubeArray] = []
    columns = (each.tolist() for each in (video, label, score, ends - length, ends))
    for at, (place, kind, value, low, high) in enumerate(zip(*columns, strict=True)):
        if not 0 <= place < len(videos):
            raise InputError(
                "no such video",
                path=path,
                row=at,
                expected=f"an index from 0 to {len(videos) - 1}",
                found=place,
            )
        items.append(
            TubeArray(
                video=str(videos[place]),
                label=label_of(kind, classes, path, f"label[{at}]"),
                score=number(value, path, f"score[{at}]"),
                rows=read_rows(rows[int(low) : int(high)], path, f"rows of tube {at}"),
            )
        )
    return table_of(items, videos=videos, classes=classes)


def _whole(key: object) -> object:
    return int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 10 else key

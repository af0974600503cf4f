"""MultiSports' file of detected tubes; its ground truth is read by `read_act_truth`.

A pickled dict: 0-based class -> list of (video, score, rows [n, 5 or 6]), rows being frame, x1, y1,
x2, y2[, score of the box]. How frames and boxes count: see `stad_eval.formats.tube_arrays`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stad_eval.formats import safe_pickle
from stad_eval.formats.tube_arrays import (
    Corners,
    TubeArray,
    label_of,
    number,
    read_rows,
    rows_of,
    table_of,
    write_pickle,
)
from stad_eval.input_error import InputError
from stad_eval.tube_tables import Tubes


def read_multisports_tubes(
    path: str | Path,
    *,
    videos: Sequence[str],
    classes: Sequence[str],
    corners: Corners = "half-open",
) -> Tubes:
    """Detected tubes, by class in the order of the file; videos that `videos` lacks follow it.

    Raises:
        InputError: naming the place in the file, if it has another form.
    """
    content = safe_pickle.load(path)
    return multisports_tubes(content, path, videos=videos, classes=classes, corners=corners)


def multisports_tubes(
    content: object,
    path: str | Path,
    *,
    videos: Sequence[str],
    classes: Sequence[str],
    corners: Corners = "half-open",
) -> Tubes:
    """As `read_multisports_tubes`, from the content of a pickle; `path` is for error messages.

    Raises:
        InputError: as `read_multisports_tubes`.
    """
    expected = "a dict: class -> list of (video, score, rows)"
    if not isinstance(content, dict):
        found = type(content).__name__
        raise InputError("not detected tubes", path=path, expected=expected, found=found)
    items: list[TubeArray] = []
    for key, tubes in content.items():
        label = label_of(key, classes, path, f"[{key!r}]")
        if not isinstance(tubes, (list, tuple)):
            found = type(tubes).__name__
            raise InputError(
                "not a list of tubes", path=path, row=f"[{key!r}]", expected=expected, found=found
            )
        for at, tube in enumerate(tubes):
            place = f"[{key!r}][{at}]"
            parts = tube if isinstance(tube, (tuple, list)) else ()
            if len(parts) != 3 or not isinstance(parts[0], str):
                found = f"{type(tube).__name__} of {len(parts)}"
                raise InputError(
                    "not a tube", path=path, row=place, expected="(video, score, rows)", found=found
                )
            items.append(
                TubeArray(
                    video=str(parts[0]),
                    label=label,
                    score=number(parts[1], path, f"{place}[1]"),
                    rows=read_rows(parts[2], path, f"{place}[2]"),
                )
            )
    return table_of(items, videos=videos, classes=classes, corners=corners)


def write_multisports_tubes(
    path: str | Path, tubes: Tubes, *, corners: Corners = "half-open"
) -> None:
    """Write detected tubes; reading gives the same tubes, ordered by class.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written.
    """
    content: dict[int, list[Any]] = {label: [] for label in range(len(tubes.classes))}
    for at in range(len(tubes)):
        tube = (
            tubes.videos[tubes.video[at]],
            float(tubes.score[at]),
            rows_of(tubes, at, corners),
        )
        content[int(tubes.label[at])].append(tube)
    write_pickle(path, content)

"""This project's own file of tubes as arrays: the columns of `Tubes` by their names, in an npz.

Beside them `about`, a JSON text: {"format": "stad-tubes-npz", "version": 1, "frames": {video:
number of frames}, "sizes": {video: [width, height]}}. Frames are 0-based, boxes half-open pixels.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from stad_eval.formats.npz import read_npz, write_npz
from stad_eval.formats.tube_arrays import names_of, whole_number
from stad_eval.input_error import InputError
from stad_eval.tube_tables import TubeFile, Tubes

FORMAT = "stad-tubes-npz"
VERSION = 1
_COLUMNS = ("video", "label", "score", "start", "frame", "box")


def write_tubes_npz(path: str | Path, content: TubeFile | Tubes) -> None:
    """Write tubes, whole or not at all; reading gives the same table, bit for bit.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written.
    """
    file = content if isinstance(content, TubeFile) else TubeFile(tubes=content)
    tubes = file.tubes
    about = {
        "format": FORMAT,
        "version": VERSION,
        "frames": {name: int(count) for name, count in file.frame_counts.items()},
        "sizes": {name: [int(side) for side in size] for name, size in file.sizes.items()},
    }
    arrays: dict[str, Any] = {
        "about": np.array(json.dumps(about)),
        "videos": np.array(tubes.videos, dtype=np.str_),
        "classes": np.array(tubes.classes, dtype=np.str_),
        **{name: getattr(tubes, name) for name in _COLUMNS},
    }
    if tubes.row_score is not None:
        arrays["row_score"] = tubes.row_score
    write_npz(path, arrays)


def read_tubes_npz(path: str | Path) -> TubeFile:
    """Read a file of tubes.

    Raises:
        InputError: naming file and column, on anything that the format does not allow.
    """
    arrays = read_npz(path)
    needed = {"about", "videos", "classes", *_COLUMNS}
    if not needed <= set(arrays) <= needed | {"row_score"}:
        raise InputError(
            "not a file of tubes",
            path=path,
            expected=f"the arrays {', '.join(sorted(needed))}",
            found=", ".join(sorted(arrays)) or "none",
        )
    counts, sizes = _about(str(arrays["about"]), path)
    try:
        tubes = Tubes(
            videos=names_of(arrays["videos"].tolist(), path, "videos"),
            classes=names_of(arrays["classes"].tolist(), path, "classes"),
            row_score=arrays.get("row_score"),
            **{name: arrays[name] for name in _COLUMNS},
        )
    except InputError as error:
        raise InputError(
            error.problem, path=path, expected=error.expected, found=error.found
        ) from None
    return TubeFile(tubes=tubes, frame_counts=counts, sizes=sizes)


def _about(text: str, path: str | Path) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    try:
        about: Any = json.loads(text)
    except (ValueError, RecursionError):
        about = None
    known = isinstance(about, dict) and about.get("format") == FORMAT
    if not known or about.get("version") != VERSION:
        raise InputError(
            "not a file of tubes",
            path=path,
            row="'about'",
            expected=f"format {FORMAT}, version {VERSION}",
            found=text[:120],
        )
    counts, sizes = about.get("frames"), about.get("sizes")
    if not isinstance(counts, dict) or not isinstance(sizes, dict):
        raise InputError(
            "bad 'about'", path=path, expected="'frames' and 'sizes' by video", found=text[:120]
        )
    pairs: dict[str, tuple[int, int]] = {}
    for name, size in sizes.items():
        place = f"sizes['{name}']"
        if not isinstance(size, list) or len(size) != 2:
            raise InputError("bad size", path=path, row=place, expected="[width, height]")
        pairs[name] = whole_number(size[0], path, place), whole_number(size[1], path, place)
    frames = {
        name: whole_number(count, path, f"frames['{name}']") for name, count in counts.items()
    }
    return frames, pairs

"""Boxes of persons that a detector found beforehand, as published with AVA and MultiSports."""

from pathlib import Path

import numpy as np

from stad_data.datasets import tree
from stad_eval import Boxes, InputError


def read_proposals(path: Path | str) -> Boxes:
    """Proposals of a pickle: a dict ``"video,0902"`` -> [N, 5] ``x1, y1, x2, y2, score``.

    The boxes stay normalised and the ``frame`` column counts what the keys count: seconds for AVA,
    frames from 1 for MultiSports. The one class is "person". An empty dict, or [0, 5], is valid.

    Raises:
        InputError: A pickle that holds anything else (none of its code runs), a key without a
            whole number, or a box outside [0, 1] by more than rounding.
    """
    path = Path(path)
    videos: dict[str, int] = {}
    keys: list[tuple[int, int, int]] = []
    tables: list[np.ndarray] = [np.zeros((0, 5))]
    for key, node in tree.read_pickle(path).pairs():
        video, _, moment = str(key).rpartition(",")
        if not video or not (moment.isascii() and moment.isdigit() and len(moment) <= 12):
            raise InputError(
                "a key of another form",
                path=path,
                row=repr(key)[:80],
                expected='"video,0902"',
                found=repr(key)[:80],
            )
        table = node.array(None, 5)
        box = table[:, :4]
        if ((box < -0.01) | (box > 1.01)).any() or (box[:, 2:] < box[:, :2]).any():
            raise InputError(
                "a box outside the frame",
                path=path,
                row=node.place,
                expected="x1 <= x2 and y1 <= y2 in [0, 1]",
                found=str(box.tolist()),
            )
        keys.append((videos.setdefault(video, len(videos)), int(moment), len(table)))
        tables.append(table)
    place = np.array(keys, np.int64).reshape(-1, 3)
    whole = np.concatenate(tables)
    return Boxes(
        videos=tuple(videos),
        classes=("person",),
        video=np.repeat(place[:, 0], place[:, 2]),
        frame=np.repeat(place[:, 1], place[:, 2]),
        box=whole[:, :4],
        label=np.zeros(len(whole), np.int64),
        score=whole[:, 4],
    )

"""Write UCF101-24's files: the annotation pickle and the lists of split 1."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.actions import camel_case
from stad_data.synthetic.films import Film
from stad_data.synthetic.scene import Scene

# Boxes refer to frames of this size, whatever the size of the files.
_SIZE = (320, 240)
_SHORTEST_TUBE = 4


def folder(film: Film) -> str:
    """The class folder of a film."""
    return camel_case(str(film.label))


def write(root: Path, films: Sequence[tuple[Film, Scene]]) -> None:
    """Write `pyannot.pkl`, `trainlist01.txt` and `testlist01.txt`.

    One tube per run of the video's action by one visible actor: `sf` from 0, `ef` exclusive,
    `boxes` x, y, w, h with corners x, y, x + w, y + h as 1-based inclusive pixels, in the smallest
    unsigned type that holds them (not their sum), as the published file has them.
    """
    labels = {name: n for n, name in enumerate(sorted({folder(film) for film, _ in films}))}
    content: dict[str, Any] = {}
    for film, scene in sorted(films, key=lambda pair: _key(pair[0])):
        label = labels[folder(film)]
        content[np.str_(_key(film))] = {
            "annotations": _tubes(scene, label),
            "numf": _small(np.array(scene.num_frames))[()],
            "label": label,
        }
    # Protocol 2 as in the published file; its bytes depend on the content alone.
    (root / "pyannot.pkl").write_bytes(pickle.dumps(content, protocol=2))
    for part in ("train", "test"):
        keys = sorted(_key(film) for film, _ in films if film.part == part)
        (root / f"{part}list01.txt").write_bytes("".join(f"{key}\n" for key in keys).encode())


def _key(film: Film) -> str:
    return f"{folder(film)}/{film.name}"


def _tubes(scene: Scene, label: int) -> list[dict[str, Any]]:
    tubes: list[dict[str, Any]] = []
    width, height = scene.size
    scale = np.array([_SIZE[0] / width, _SIZE[1] / height] * 2)
    for number, actor in enumerate(scene.actors):
        boxes = scene.boxes(number) * scale
        edges = np.diff(actor.performs.astype(np.int8), prepend=0, append=0)
        starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            if stop - start < _SHORTEST_TUBE:
                continue
            low = np.floor(boxes[start:stop, :2]) + 1
            high = np.ceil(boxes[start:stop, 2:])
            corners = np.concatenate([low, high - low], axis=1)
            tubes.append({"label": label, "sf": start, "ef": stop, "boxes": _small(corners)})
    return tubes


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """As uint8 where every value fits, else as uint16."""
    return values.astype(np.uint8 if values.max() <= 255 else np.uint16)

"""Write a dataset in the project's own JSON (`stad_data.datasets.stad_json` reads it)."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from stad_data.annotation import Dataset, Track, VideoAnnotation
from stad_data.conversion import losses
from stad_data.datasets.stad_json import FORMAT, VERSION
from stad_eval.formats.files import replaced


def write(dataset: Dataset, out: Path) -> list[str]:
    """Write everything but pixel masks, one video per line; what it cannot hold.

    Raises:
        InputError: The folder to write to does not exist.
        OSError: The file cannot be written.
    """
    classes = dataset.classes
    head = {
        "format": FORMAT,
        "version": VERSION,
        "name": dataset.name,
        "protocol": dataset.protocol,
        "classes": {
            "names": list(classes.names),
            "ids": list(classes.ids),
            "exclusive": classes.exclusive,
        },
    }
    with replaced(out) as stream:
        stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "videos": [')
        for number, (part, annotation) in enumerate(losses.videos_of(dataset)):
            video = _video(part, annotation, classes.names, out)
            text = json.dumps(video, ensure_ascii=False)
            stream.write(f"{',' if number else ''}\n{text}")
        stream.write("\n]}\n")
    return losses.masks(dataset)


def relative(path: Path, out: Path) -> str:
    """The path of a video as seen from the folder of the file that names it."""
    try:
        return Path(os.path.relpath(path.absolute(), out.parent.absolute())).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def _video(
    part: str, annotation: VideoAnnotation, names: tuple[str, ...], out: Path
) -> dict[str, Any]:
    every = np.array_equal(annotation.keyframes, np.arange(annotation.num_frames))
    seconds = annotation.timestamps
    return {
        "video": annotation.video,
        "part": part,
        "file": relative(annotation.path, out),
        "num_frames": annotation.num_frames,
        "size": list(annotation.size),
        "fps": annotation.fps,
        "keyframes": "all" if every else annotation.keyframes.tolist(),
        "timestamps": None if seconds is None else seconds.tolist(),
        "tracks": [_track(track, names) for track in annotation.tracks],
    }


def _track(track: Track, names: tuple[str, ...]) -> dict[str, Any]:
    def named(row: Any) -> list[str]:  # noqa: ANN401
        return [names[label] for label in np.flatnonzero(row).tolist()]

    same = bool((track.labels == track.labels[0]).all())
    boxes = [[_plain(side) for side in box] for box in track.boxes.tolist()]
    return {
        "actor": track.actor,
        "frames": track.frames.tolist(),
        "boxes": boxes,
        "labels": named(track.labels[0]) if same else [named(row) for row in track.labels],
    }


def _plain(value: float) -> float:
    """Whole numbers without a point, which is most of what datasets hold."""
    return int(value) if value == int(value) else value

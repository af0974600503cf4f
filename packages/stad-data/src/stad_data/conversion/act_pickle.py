"""Write a dataset in ACT's pickle (`stad_data.datasets.act` reads it)."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import Dataset, Track, VideoAnnotation
from stad_data.conversion import losses
from stad_eval import InputError


def write(dataset: Dataset, out: Path) -> list[str]:
    """Write ``labels``, one split, lengths, sizes and tubes; what it cannot hold.

    An actor gives one tube per label, with the rows of the frames where he has it; boxes are
    ``[x1 + 1, y1 + 1, x2, y2]`` and frames count from 1, as in ACT's own files. Tubes are float32,
    or float64 where that would round.

    Raises:
        InputError: The folder to write to does not exist.
        OSError: The file cannot be written.
    """
    if not out.parent.is_dir():
        raise InputError("no such folder to write to", path=out, remedy="Create it first.")
    videos = [annotation for _, annotation in losses.videos_of(dataset)]
    content: dict[str, Any] = {
        "labels": list(dataset.classes.names),
        "train_videos": [[annotation.video for annotation in dataset.train]],
        "test_videos": [[annotation.video for annotation in dataset.test]],
        "nframes": {annotation.video: annotation.num_frames for annotation in videos},
        "resolution": {annotation.video: annotation.size[::-1] for annotation in videos},
        "gttubes": {annotation.video: _tubes(annotation) for annotation in videos},
    }
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        temporary.write_bytes(pickle.dumps(content, protocol=2))
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    gaps = losses.frame_gaps(dataset)
    return [
        *losses.unlabelled(dataset),
        *losses.identities(dataset),
        *losses.sparse_keyframes(dataset),
        *losses.timestamps(dataset),
        *losses.rates(dataset),
        *losses.class_ids(dataset),
        *losses.masks(dataset),
        *(
            ["that actors do several actions at a time (each action is a tube of its own)"]
            if not dataset.classes.exclusive
            else []
        ),
        *([f"{gaps:,} tubes have gaps, which some evaluators refuse"] if gaps else []),
    ]


def _tubes(annotation: VideoAnnotation) -> dict[int, list[NDArray[Any]]]:
    tubes: dict[int, list[NDArray[Any]]] = {}
    for track in annotation.tracks:
        for label in np.flatnonzero(track.labels.any(axis=0)).tolist():
            tubes.setdefault(label, []).append(_rows(track, label))
    return tubes


def _rows(track: Track, label: int) -> NDArray[Any]:
    doing = track.labels[:, label]
    rows = np.concatenate([track.frames[doing, None] + 1.0, track.boxes[doing]], axis=1)
    rows[:, 1:3] += 1
    single = rows.astype(np.float32)
    return single if (single == rows).all() else rows

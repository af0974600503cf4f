"""Write a dataset in ACT's pickle (`stad_data.datasets.act` reads it)."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import Dataset, Track, VideoAnnotation
from stad_data.conversion import losses
from stad_eval.formats.files import replaced_bytes
from stad_eval.formats.tube_arrays import Corners, compact, corner_shift


def write(dataset: Dataset, out: Path, *, corners: Corners = "half-open") -> list[str]:
    """Write ``labels``, one split, lengths, sizes and tubes; what it cannot hold.

    An actor gives one tube per label, with the rows of the frames where he has it; frames count
    from 1. Tubes are float32, or float64 where that would round.

    Args:
        dataset: What to write.
        out: The pickle.
        corners: What the file's corners shall be (see `act`): as they are, or what the published
            pickles of JHMDB ("one-based") and UCF101-24 ("inclusive") hold.

    Raises:
        InputError: The folder to write to does not exist.
        OSError: The file cannot be written.
    """
    videos = [annotation for _, annotation in losses.videos_of(dataset)]
    content: dict[str, Any] = {
        "labels": list(dataset.classes.names),
        "train_videos": [[annotation.video for annotation in dataset.train]],
        "test_videos": [[annotation.video for annotation in dataset.test]],
        "nframes": {annotation.video: annotation.num_frames for annotation in videos},
        "resolution": {annotation.video: annotation.size[::-1] for annotation in videos},
        "gttubes": {annotation.video: _tubes(annotation, corners) for annotation in videos},
    }
    with replaced_bytes(out) as stream:
        # ACT itself runs on Python 2.
        stream.write(pickle.dumps(content, protocol=2))
    gaps = losses.frame_gaps(dataset)
    return [
        *losses.unlabelled(dataset),
        *losses.identities(dataset),
        *losses.sparse_keyframes(dataset),
        *losses.timestamps(dataset),
        *losses.rates(dataset),
        *losses.class_ids(dataset),
        *losses.actor_numbers(dataset),
        f"the name of the dataset and its protocol ({dataset.protocol})",
        *losses.places(dataset, out.parent / "videos"),
        *losses.masks(dataset),
        *(
            ["that actors do several actions at a time (each action is a tube of its own)"]
            if not dataset.classes.exclusive
            else []
        ),
        *([f"{gaps:,} tubes have gaps, which some evaluators refuse"] if gaps else []),
    ]


def _tubes(annotation: VideoAnnotation, corners: Corners) -> dict[int, list[NDArray[Any]]]:
    tubes: dict[int, list[NDArray[Any]]] = {}
    for track in annotation.tracks:
        for label in np.flatnonzero(track.labels.any(axis=0)).tolist():
            tubes.setdefault(label, []).append(_rows(track, label, corners))
    return tubes


def _rows(track: Track, label: int, corners: Corners) -> NDArray[Any]:
    doing = track.labels[:, label]
    boxes = track.boxes[doing] - corner_shift(corners)
    return compact(np.concatenate([track.frames[doing, None] + 1.0, boxes], axis=1))

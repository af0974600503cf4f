"""The plain target: one CSV row per box and label, for any other tool."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stad_data.annotation import Dataset, VideoAnnotation
from stad_data.conversion import losses
from stad_data.conversion.numbers import shortest
from stad_eval.formats.files import replaced

HEADER = ("video", "frame", "label", "instance", "x1", "y1", "x2", "y2")


def write(dataset: Dataset, out: Path) -> list[str]:
    """Write ``video,frame,label,instance,x1,y1,x2,y2`` with that header; what it cannot hold.

    Frames count from 0, labels are class names, instances are the actors' numbers, and boxes are
    half-open pixels of the annotated frame. Training videos come first; within a video rows are in
    the order of frames, then actors, then labels. Numbers read back as the same doubles.

    Raises:
        InputError: The folder to write to does not exist.
        OSError: The file cannot be written.
    """
    names = dataset.classes.names
    with replaced(out) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        for _, annotation in losses.videos_of(dataset):
            writer.writerows(_rows(annotation, names))
    parts = ["which videos are for training and which for test"]
    return [
        *losses.unlabelled(dataset),
        *losses.empty_keyframes(dataset),
        *(parts if dataset.train and dataset.test else []),
        "the frame sizes, lengths and frame rates of the videos",
        *losses.timestamps(dataset),
        *losses.class_ids(dataset),
        *losses.masks(dataset),
    ]


def _rows(annotation: VideoAnnotation, names: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    if not annotation.tracks:
        return
    tracks = annotation.tracks
    frames = np.concatenate([track.frames for track in tracks])
    order = np.argsort(frames, kind="stable")
    frames = frames[order].tolist()
    actors = np.repeat([t.actor for t in tracks], [len(t) for t in tracks])[order].tolist()
    boxes = np.concatenate([track.boxes for track in tracks])[order].tolist()
    rows, labels = np.nonzero(np.concatenate([track.labels for track in tracks])[order])
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        sides = (shortest(side) for side in boxes[row])
        yield annotation.video, frames[row], names[label], actors[row], *sides

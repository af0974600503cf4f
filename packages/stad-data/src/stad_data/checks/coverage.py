"""How much of everything there is in either part of a dataset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stad_data.annotation import Dataset, VideoAnnotation


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much of one class a part of a dataset holds.

    Attributes:
        videos: Videos in which the class occurs.
        tracks: Actors that do it at some time.
        boxes: Boxes that carry it.
    """

    videos: int
    tracks: int
    boxes: int


@dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """One class of a dataset and how much of it there is in either part."""

    name: str
    train: Counts
    test: Counts


@dataclass(frozen=True, kw_only=True)
class PartCoverage:
    """What a part of a dataset holds.

    Attributes:
        name: "train" or "test".
        videos: Annotated videos.
        absent: Those of them without a file.
        frames: Frames of all videos, as annotated.
        annotated_frames: Those in which actors are annotated, or that there is none.
        tracks: Actors.
        boxes: Boxes, each once, whatever its actions.
        classes: Classes that have a box.
    """

    name: str
    videos: int
    absent: int
    frames: int
    annotated_frames: int
    tracks: int
    boxes: int
    classes: int


_COUNTED = ("videos", "tracks", "boxes")
_PART = ("videos", "absent", "frames", "annotated_frames", "tracks", "boxes", "classes")


def coverage(dataset: Dataset) -> list[ClassCoverage]:
    """How much of each class there is, in the order of the classes."""
    train, test = (_count(part, len(dataset.classes)) for part in (dataset.train, dataset.test))
    return [
        ClassCoverage(name=name, train=a, test=b)
        for name, a, b in zip(dataset.classes.names, train, test, strict=True)
    ]


def parts(dataset: Dataset) -> list[PartCoverage]:
    """How much each part holds: training, then test."""
    return [
        PartCoverage(
            name=name,
            videos=len(videos),
            absent=sum(not annotation.path.exists() for annotation in videos),
            frames=sum(annotation.num_frames for annotation in videos),
            annotated_frames=sum(len(annotation.keyframes) for annotation in videos),
            tracks=sum(len(annotation.tracks) for annotation in videos),
            boxes=sum(annotation.num_boxes for annotation in videos),
            classes=sum(count.boxes > 0 for count in _count(videos, len(dataset.classes))),
        )
        for name, videos in (("train", dataset.train), ("test", dataset.test))
    ]


def coverage_table(dataset: Dataset) -> str:
    """The coverage as lines of text: the parts, then the classes."""
    head = [("part", *(name.replace("_", " ") for name in _PART))]
    of_parts = [(row.name, *(getattr(row, name) for name in _PART)) for row in parts(dataset)]
    titles = [("class", *(f"{part} {what}" for part in ("train", "test") for what in _COUNTED))]
    of_classes = [
        (
            row.name,
            *(getattr(counts, name) for counts in (row.train, row.test) for name in _COUNTED),
        )
        for row in coverage(dataset)
    ]
    return "\n".join([*_aligned([*head, *of_parts]), "", *_aligned([*titles, *of_classes])])


def _aligned(rows: Sequence[tuple[object, ...]]) -> list[str]:
    texts = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]


def _count(annotations: Iterable[VideoAnnotation], classes: int) -> list[Counts]:
    videos, tracks, boxes = (np.zeros(classes, np.int64) for _ in range(3))
    for annotation in annotations:
        if not annotation.num_boxes:
            continue
        table = annotation.table
        rows, labels = np.nonzero(table.labels)
        doers = np.unique(np.stack([table.actors[rows], labels]), axis=1)
        boxes += np.bincount(labels, minlength=classes)
        tracks += np.bincount(doers[1], minlength=classes)
        videos += table.labels.any(axis=0)
    return [
        Counts(videos=int(v), tracks=int(t), boxes=int(b))
        for v, t, b in zip(videos, tracks, boxes, strict=True)
    ]

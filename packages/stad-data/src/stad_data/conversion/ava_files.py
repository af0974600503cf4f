"""Write a dataset in AVA's files (`stad_data.datasets.ava` reads them)."""

import csv
from pathlib import Path

import numpy as np

from stad_data.annotation import ActionClasses, Dataset, VideoAnnotation
from stad_data.conversion import losses
from stad_data.conversion.numbers import shortest
from stad_data.datasets.ava_keyframes import SIZES
from stad_eval import InputError
from stad_eval.formats.files import replaced

_PARTS = {"train": "train", "test": "val"}


def write(dataset: Dataset, out: Path) -> list[str]:
    """Write ``<out>/annotations/``: ``train.csv``, ``val.csv``, ``label_map.pbtxt``, sizes.

    The second column counts the seconds of the dataset's timestamps; in a dataset without them it
    counts frames from 0. Which of the two, and what AVA's rows leave out (frame sizes, lengths,
    frame rates), stands in ``video_sizes.csv``, which `ava.read` goes by for videos that are not
    there. Boxes are cut to the frame; an annotated frame without a labelled box is a row of two
    columns. Numbers keep full precision.

    Args:
        dataset: What to write.
        out: A folder; it is made if it does not exist.

    Returns:
        What the form cannot hold.

    Raises:
        InputError: ``out`` is a file, videos with and without timestamps mixed, or a class or
            video name that the files cannot hold.
        OSError: The files cannot be written.
    """
    if out.is_file():
        raise InputError("AVA's form is a folder of files", path=out, remedy="name a folder")
    timed = {annotation.timestamps is not None for _, annotation in losses.videos_of(dataset)}
    if len(timed) > 1:
        raise InputError("some videos have timestamps and some have none", path=out)
    _check_names(dataset, out)
    folder = out / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    cut = 0
    for part, videos in (("train", dataset.train), ("test", dataset.test)):
        with replaced(folder / f"{_PARTS[part]}.csv") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            for annotation in videos:
                cut += _write_rows(writer, annotation, dataset.classes)
    with replaced(folder / "label_map.pbtxt") as stream:
        for name, number in zip(dataset.classes.names, dataset.classes.ids, strict=True):
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            stream.write(f'item {{\n  name: "{quoted}"\n  id: {number}\n}}\n')
    odd = _write_sizes(dataset, folder / "video_sizes.csv")
    by_frames = timed == {False}
    return [
        *losses.unlabelled(dataset),
        *([f"the parts of {cut:,} boxes that lie outside the frame"] if cut else []),
        *([f"the exact keyframes of {odd:,} videos, unless the videos are there"] if odd else []),
        *(["that an actor does one action at a time"] if dataset.classes.exclusive else []),
        *(
            ["seconds: the second column counts frames from 0 (see video_sizes.csv)"]
            if by_frames
            else []
        ),
        *losses.masks(dataset),
        f"the name of the dataset and its protocol ({dataset.protocol})",
        *losses.places(dataset, out / "videos"),
    ]


def _check_names(dataset: Dataset, out: Path) -> None:
    for name in dataset.classes.names:
        if "\n" in name or not name:
            raise InputError("a class name that a label map cannot hold", path=out, found=name)
    if min(dataset.classes.ids) < 0:
        raise InputError("a class number below 0", path=out, found=str(min(dataset.classes.ids)))


def _write_rows(writer: object, annotation: VideoAnnotation, classes: ActionClasses) -> int:
    """Rows in the order of moments, actors, labels; how many boxes had to be cut."""
    write = getattr(writer, "writerow")  # noqa: B009 - csv's writers have no type of their own
    cut = 0
    sides = np.array([*annotation.size, *annotation.size], np.float64)
    moments = annotation.keyframes if annotation.timestamps is None else annotation.timestamps
    for frame, moment in zip(annotation.keyframes.tolist(), moments.tolist(), strict=True):
        here = annotation.at(frame)
        boxes = here.boxes.clip(0, sides) / sides
        cut += int((here.boxes.clip(0, sides) != here.boxes).any(axis=1).sum())
        rows, labels = np.nonzero(here.labels)
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
            box = [shortest(side) for side in boxes[row].tolist()]
            number, actor = classes.ids[label], int(here.actors[row])
            write([annotation.video, f"{moment:04d}", *box, number, actor])
        if not len(rows):
            write([annotation.video, f"{moment:04d}"])
    return cut


def _write_sizes(dataset: Dataset, path: Path) -> int:
    """The table of sizes; in how many videos the rate does not lead to the keyframes."""
    odd = 0
    with replaced(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(SIZES)
        for _, annotation in losses.videos_of(dataset):
            fps, first, time = annotation.fps or 30.0, 0.0, "frame"
            seconds = annotation.timestamps
            if seconds is not None:
                time = "second"
                if len(seconds):
                    # The whole second at which the video begins, by its first keyframe.
                    first = float(np.round(seconds[0] - annotation.keyframes[0] / fps))
                    shown = np.round((seconds - first) * fps)
                    odd += not np.array_equal(shown, annotation.keyframes)
            width, height = annotation.size
            writer.writerow(
                [
                    *(annotation.video, width, height, annotation.num_frames),
                    *(shortest(fps), shortest(first), time),
                ]
            )
    return odd

"""Labels: empty parts and classes, labels against class folders, several where one is meant."""

from collections.abc import Sequence

import numpy as np

from stad_data.annotation import ActionClasses, Dataset, VideoAnnotation
from stad_data.checks.coverage import coverage
from stad_data.checks.problem import Example, Problem, in_video, problems

_FOLDERS = 0.9


def empty_parts(dataset: Dataset, *, skipped: bool) -> list[Problem]:
    """A part without any video; without one for training, nothing can be learnt.

    Args:
        dataset: The dataset.
        skipped: Whether absent videos are left out.
    """
    found: list[Problem] = []
    for part, videos in (("train", dataset.train), ("test", dataset.test)):
        left = [video for video in videos if not skipped or video.path.exists()]
        if not left:
            without = " with a file" if videos else ""
            found += problems(
                "empty-part",
                "error" if part == "train" else "warning",
                f"part of the dataset has no video{without}",
                [Example(found=f"{part}, of {len(videos):,} annotated")],
                "check the lists that divide the dataset, and the names of the files",
            )
    return found


def left_out(dataset: Dataset) -> list[Problem]:
    """What the reader passed over, in its own words."""
    return problems(
        "left-out",
        "warning",
        "kind of rows is not read",
        [Example(found=line) for line in dataset.left_out],
        "nothing, if that is meant (AVA scores 60 of its 80 actions); else name a label map that"
        " has them (--labels)",
    )


def empty_classes(dataset: Dataset) -> list[Problem]:
    """Classes that a part never shows, where it shows others."""
    found: list[Problem] = []
    rows = coverage(dataset)
    for part in ("train", "test"):
        counts = [(row.name, row.train if part == "train" else row.test) for row in rows]
        lacking = [name for name, count in counts if not count.boxes]
        if len(lacking) == len(counts):
            continue
        shifted = lacking == [counts[0][0]] and len(counts) > 2
        found += problems(
            "empty-class",
            "warning",
            f"of {len(counts)} classes have no box in the {part} part",
            [Example(found=name) for name in lacking],
            "the first class alone is empty: does the file count its labels from 1 where 0 is read?"
            if shifted
            else "check the label map and the labels' numbers; scores leave such classes out",
        )
    return found


def unlike_folder(annotations: Sequence[VideoAnnotation], classes: ActionClasses) -> list[Problem]:
    """Labels that differ from the class folder of their video (``Basketball/v_...``)."""
    names = [_plain(name) for name in classes.names]
    wanted = [_plain(a.video.rpartition("/")[0]) for a in annotations]
    known = [folder in names for folder in wanted]
    if not classes.exclusive or not known or sum(known) < _FOLDERS * len(known):
        return []
    found: list[Example] = []
    shifts: set[int] = set()
    for annotation, folder, there in zip(annotations, wanted, known, strict=True):
        own = set(np.flatnonzero(annotation.table.labels.any(axis=0)).tolist())
        if there and own - {names.index(folder)}:
            shifts |= {(label - names.index(folder)) % len(names) for label in own}
            labels = ", ".join(f"{label} ({classes.names[label]})" for label in sorted(own))
            found.append(in_video(annotation, f"label {labels}"))
    constant = len(found) > 1 and len(shifts) == 1
    return problems(
        "label-unlike-folder",
        "error",
        "videos have another label than their folder is named after",
        found,
        f"all labels are {min(shifts)} ahead of their folder's: do they count from another number?"
        if constant
        else "check the order of the class names against the labels' numbers",
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def several_actions(
    annotations: Sequence[VideoAnnotation], classes: ActionClasses
) -> list[Problem]:
    """Actors with two actions at a time, where classes exclude each other."""
    if not classes.exclusive:
        return []
    found: list[Example] = []
    count = 0
    for annotation in annotations:
        table = annotation.table
        rows = np.flatnonzero(table.labels.sum(axis=1) > 1)
        count += rows.size
        if rows.size:
            at = rows[0]
            names = (classes.names[n] for n in np.flatnonzero(table.labels[at]).tolist())
            note = f"actor {table.actors[at]}: {', '.join(names)}"
            found.append(in_video(annotation, note, f"frame {table.frames[at]}"))
    return problems(
        "several-actions",
        "error",
        "boxes have several actions, where classes are said to exclude each other",
        found,
        'say that they do not ("exclusive": false), or leave one action per box',
        count=count,
    )

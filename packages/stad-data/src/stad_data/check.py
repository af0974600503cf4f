"""Preflight of a dataset: what would make training fail, or silently learn the wrong thing.

A dataset's reader already refuses files that contradict themselves. What is looked for here needs
the videos (are they there, do they decode, do their frame counts and shapes agree with the
annotation), or the dataset as a whole (boxes, spans, classes, duplicates, leaks between its parts).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from stad_data.annotation import Dataset
from stad_data.checks import duplicates, files, labels, leaks, spans
from stad_data.checks.all_boxes import all_boxes
from stad_data.checks.boxes import check_boxes
from stad_data.checks.coverage import (
    ClassCoverage,
    Counts,
    PartCoverage,
    coverage,
    coverage_table,
    parts,
)
from stad_data.checks.files import Decode, Look
from stad_data.checks.problem import Example, Problem, problems
from stad_eval import InputError

__all__ = [
    "ClassCoverage",
    "Counts",
    "Example",
    "PartCoverage",
    "Problem",
    "check",
    "coverage",
    "coverage_table",
    "parts",
    "refused",
]


def check(
    dataset: Dataset | Callable[[], Dataset],
    *,
    decode: Decode = "ends",
    missing: Literal["refuse", "skip"] = "refuse",
    root: Path | str | None = None,
    seen: Callable[[int], None] = lambda _: None,
) -> list[Problem]:
    """Everything that is found wrong with a dataset, errors first; nothing for a sound one.

    Args:
        dataset: The dataset, best read with ``missing="keep"``, which tells absent videos apart;
            or a call that reads it: an InputError of that call becomes the one problem.
        decode: How far videos are tried: not opened at all, opened and counted with their first
            and last frame decoded, or decoded from beginning to end.
        missing: What will be done about absent videos: with "skip" they are no error.
        root: The dataset's folder or file, to look for rows that its CSV files hold twice.
        seen: Told 1 after every video.
    """
    if not isinstance(dataset, Dataset):
        try:
            dataset = dataset()
        except InputError as error:
            return refused(error)
    annotations = (*dataset.train, *dataset.test)
    looks: list[Look] = []
    for annotation in annotations:
        looks.append(files.look(annotation, decode))
        seen(1)
    strays = files.stray_files(dataset)
    sizes = {each.annotation.video: each.size for each in looks if each.size is not None}
    found = [
        *labels.empty_parts(dataset, skipped=missing == "skip"),
        *files.absent(looks, strays, skipped=missing == "skip"),
        *files.unannotated(strays),
        *files.damaged(looks),
        *files.frame_counts(looks),
        *files.past_end(looks),
        *files.shapes(looks),
        *check_boxes(all_boxes(annotations), sizes),
        *spans.starts_at_one(annotations),
        *spans.off_times(annotations),
        *labels.unlike_folder(annotations, dataset.classes),
        *labels.several_actions(annotations, dataset.classes),
        *labels.left_out(dataset),
        *labels.empty_classes(dataset),
        *duplicates.repeated_rows(_tables(root)),
        *duplicates.repeated_tubes(annotations),
        *duplicates.repeated_files(dataset),
        *leaks.shared_recordings(dataset),
    ]
    return sorted(found, key=lambda problem: problem.severity != "error")


def refused(error: InputError) -> list[Problem]:
    """What a reader refuses, as a problem; where that is a damaged video, all damaged ones."""
    if error.path is not None and (damaged := files.damaged_beside(error.path)):
        return damaged
    return problems(
        "unreadable",
        "error",
        "thing keeps the annotation from being read",
        [Example(found=str(error))],
        error.remedy or "mend the file at that place; the rest is checked after that",
    )


def _tables(root: Path | str | None) -> Sequence[Path]:
    """The annotation tables of a dataset: its CSV files."""
    if root is None:
        return ()
    root = Path(root)
    if root.is_file():
        return (root,) if root.suffix.lower() == ".csv" else ()
    return sorted({*root.glob("*.csv"), *root.glob("annotations/*.csv")})

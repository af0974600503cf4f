"""Scores after training: of a checkpoint, or of a file of detections that anything wrote.

Suffix legend: N = rows of a table.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stad_cli.config import Recipe
from stad_cli.engine import checkpoint
from stad_cli.engine.dataset import dataset_of, open_dataset, part_of
from stad_cli.engine.distributed import Device, processes
from stad_cli.engine.evaluate import clips_of, evaluate
from stad_cli.engine.evaluation import Evaluation, actor_table
from stad_cli.engine.mask_evaluation import MaskEvaluation
from stad_cli.engine.randomness import reproducible
from stad_cli.progress import progress
from stad_cli.run_source import recall_data
from stad_data import Dataset, VideoAnnotation, truth_table
from stad_eval import Boxes, InputError, LabelMap, detections_json, read_ava_csv


def checkpoint_path(given: Path) -> Path:
    """The checkpoint that a path means: the file itself, or the best one of a run folder.

    Raises:
        InputError: A folder that holds no run.
    """
    if not given.is_dir():
        return given
    best = given / "checkpoints" / "best.pt"
    if not best.is_file():
        raise InputError(
            "no trained network in this folder",
            path=given,
            expected="a run folder with checkpoints/best.pt",
            remedy="a run has one from its first evaluation on; resume it, or name another folder",
        )
    return best


def run_of(weights: Path) -> Path:
    """The run folder that a checkpoint lies in."""
    return weights.resolve().parent.parent


def score_checkpoint(  # noqa: PLR0913 - the options of a command
    source: Path,
    *,
    data: Path | None = None,
    dataset: str | None = None,
    split: int | None = None,
    part: str | None = None,
    iou: float = 0.5,
    masks: Path | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> Evaluation | MaskEvaluation:
    """Run a checkpoint over the annotated frames of a dataset and score what it finds.

    Args:
        source: A run folder or a checkpoint.
        data: The dataset's folder; None for where the run was trained.
        dataset: Its layout; None for the recipe's.
        split: Which split; None for the recipe's.
        part: "train" or "test"; None for the recipe's.
        iou: Overlap from which a box counts as found.
        masks: Folder for the masks of objects that are followed: VIDEO/FRAME.png.
        device: Where to compute.
        quiet: Show no progress.

    Raises:
        InputError: No checkpoint, no data, data with other classes than the checkpoint's (objects
            are followed whatever their class), or masks of a network that gives none.
    """
    weights = checkpoint_path(source)
    model, classes, recipe = checkpoint.build_model(weights)
    recipe = _changed(recipe, dataset=dataset, split=split, part=part, iou=iou)
    follows = recipe.clip.form == "object"
    if masks is not None and not follows:
        raise InputError(
            "this network writes no masks",
            path=weights,
            expected='a run with [clip] form = "object"',
            found=f'form = "{recipe.clip.form}"',
            remedy="leave --masks out",
        )
    found = dataset_of(recipe, recall_data(run_of(weights), data))
    if not follows and found.classes.names != classes.names:
        raise InputError(
            "the checkpoint tells other classes apart than this dataset",
            path=weights,
            expected=", ".join(found.classes.names),
            found=", ".join(classes.names),
            remedy="give the dataset that it was trained for",
        )
    total = clips_of(recipe, part_of(found, recipe.eval.part))
    with (
        processes(device) as group,
        reproducible(seed=recipe.run.seed, threads=recipe.run.threads, group=group),
        progress("evaluating", total, unit="clips", quiet=quiet) as seen,
    ):
        network, part = model.to(group.device), recipe.eval.part
        return evaluate(network, found, part, recipe, group, masks=masks, seen=seen)


def _changed(
    recipe: Recipe, *, dataset: str | None, split: int | None, part: str | None, iou: float
) -> Recipe:
    data = {"dataset": dataset or recipe.data.dataset, "split": split or recipe.data.split}
    scored = {"part": part or recipe.eval.part, "iou": iou}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "eval": recipe.eval.model_copy(update=scored),
        }
    )


def score_detections(
    source: Path,
    *,
    data: Path | None,
    dataset: str | None,
    split: int = 1,
    part: str = "test",
    iou: float = 0.5,
) -> Evaluation:
    """Score a file of detections against a dataset's annotation.

    Args:
        source: Detections as JSON (boxes in pixels, frames by index), or as AVA's CSV (normalised
            boxes, frames by second).
        data: The dataset's folder.
        dataset: Its layout.
        split: Which split.
        part: "train" or "test".
        iou: Overlap from which a box counts as found.

    Raises:
        InputError: A file that is no detections, no data, or classes or videos that the dataset
            does not know.
    """
    start = time.monotonic()
    if source.suffix.lower() not in (".json", ".csv"):
        raise InputError(
            "this is neither a run nor a file of detections",
            path=source,
            expected="a run folder, a .pt checkpoint, .json or .csv",
            found=source.suffix or "no ending",
        )
    if data is None or dataset is None:
        raise InputError(
            "detections need the annotation to be scored against",
            path=source,
            remedy="add --data FOLDER and --dataset ava, jhmdb, ucf24 or synthetic",
        )
    if not source.is_file():
        raise InputError("no such file of detections", path=source)
    known = open_dataset(dataset, data, split=split)
    videos = part_of(known, part)
    if source.suffix.lower() == ".csv":
        found = actors = _from_csv(source, known, videos)
    else:
        content = detections_json.read(source)
        found, actors = content.found, content.actors
    _check_videos(found, known, source, part)
    return Evaluation(
        part=part,
        protocol=known.protocol,
        iou=iou,
        truth=truth_table(videos, known.classes),
        found=found,
        actor_truth=actor_table(videos),
        actors=actors,
        clips=sum(len(annotation.keyframes) for annotation in videos),
        seconds=time.monotonic() - start,
    )


def _from_csv(source: Path, dataset: Dataset, videos: Sequence[VideoAnnotation]) -> Boxes:
    """Detections of an AVA CSV in pixels and frame indices, on the keyframes of these videos."""
    names = LabelMap(dataset.classes.names, dataset.classes.ids)
    found = read_ava_csv(source, classes=names, column_8="score")
    if any(annotation.timestamps is None for annotation in videos):
        raise InputError(
            "a CSV counts in seconds, and this dataset does not",
            path=source,
            expected="detections as JSON",
            found=dataset.name,
        )
    scale_V4 = np.ones((len(found.videos), 4))
    frame_N = np.full(len(found), -1, np.int64)
    number = {name: index for index, name in enumerate(found.videos)}
    for annotation in videos:
        if (video := number.get(annotation.video)) is None or annotation.timestamps is None:
            continue
        scale_V4[video] = annotation.size * 2
        rows = np.flatnonzero(found.video == video)
        place = np.searchsorted(annotation.timestamps, found.frame[rows])
        known = place < len(annotation.timestamps)
        known[known] = annotation.timestamps[place[known]] == found.frame[rows][known]
        frame_N[rows[known]] = annotation.keyframes[place[known]]
    kept = frame_N >= 0
    pixels = replace(found, box=found.box * scale_V4[found.video])
    return replace(pixels.select(kept), frame=frame_N[kept])


def _check_videos(found: Boxes, dataset: Dataset, source: Path, part: str) -> None:
    """Refuse detections on videos that the dataset does not have at all: a wrong file or folder."""
    known = {annotation.video for annotation in (*dataset.train, *dataset.test)}
    strange = [name for name in found.videos if name not in known]
    if strange:
        raise InputError(
            f"detections on {len(strange)} of {len(found.videos)} videos that {dataset.name} does "
            f"not have, such as {strange[0]!r}",
            path=source,
            expected=f"videos of the {part} part, such as {min(known)!r}",
            remedy="check --data, --dataset and --split",
        )

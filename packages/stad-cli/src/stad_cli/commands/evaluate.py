"""`stad eval`: score a trained run, or a file of detections."""

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stad_cli.dataset_names import DatasetName

if TYPE_CHECKING:
    from stad_cli.engine.evaluation import Evaluation

EXAMPLE = (
    "Examples:  stad eval runs/se_stad_tiny_jhmdb\n\n"
    "           stad eval detections.json --data JHMDB --dataset jhmdb"
)


class Part(StrEnum):
    """Which of the dataset's videos."""

    TRAIN = "train"
    TEST = "test"


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|DETECTIONS",
            help="A run folder or checkpoint (.pt), or detections (.json, or AVA's .csv).",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the dataset.", show_default="where the run was trained on"),
    ] = None,
    dataset: Annotated[
        DatasetName | None,
        typer.Option(help="Layout of that folder.", show_default="the run's"),
    ] = None,
    split: Annotated[
        int | None, typer.Option(min=1, help="Which split.", show_default="the run's, or 1")
    ] = None,
    part: Annotated[
        Part | None, typer.Option(help="Which videos.", show_default="the run's, or test")
    ] = None,
    iou: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Overlap from which a box counts as found.")
    ] = 0.5,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a run's best checkpoint on its test videos, or a file of detections.

    Prints the frame-mAP by class under the dataset's protocol, and the average precision of the
    actors' boxes, whatever they do; for detectors of tubes also video-mAP, v-MABO, and how many
    tubes are right or wrong in which way.
    """
    from stad_cli.scoring import score_checkpoint, score_detections

    if is_checkpoint(source):
        evaluation = score_checkpoint(
            source,
            data=data,
            dataset=dataset,
            split=split,
            part=None if part is None else part.value,
            iou=iou,
            device=device,
            quiet=as_json,
        )
    else:
        evaluation = score_detections(
            source,
            data=data,
            dataset=dataset,
            split=split or 1,
            part=(part or Part.TEST).value,
            iou=iou,
        )
    print_scores(evaluation, as_json=as_json)


def is_checkpoint(source: Path) -> bool:
    """Whether a path means a trained network rather than detections."""
    return source.is_dir() or source.suffix == ".pt"


def print_scores(evaluation: "Evaluation", *, as_json: bool) -> None:
    """The tables, or one JSON object, on stdout."""
    result, tubes, types = evaluation.result, evaluation.video_result, evaluation.tube_types
    if as_json:
        content = json.loads(result.to_json()) | {"actor_AP": _plain(evaluation.actor_result.mean)}
        if tubes is not None:
            content["tubes"] = json.loads(tubes.to_json())
        if types is not None:
            content["tube_types"] = types.to_dict()
        sys.stdout.write(json.dumps(content) + "\n")
        return
    sys.stdout.write(result.table() + "\n")
    if tubes is not None:
        sys.stdout.write("\n" + tubes.table() + "\n")
    if types is not None:
        sys.stdout.write("\n" + types.table() + "\n\n")
    sys.stdout.write(summary(evaluation) + "\n")


def summary(evaluation: "Evaluation") -> str:
    """One line: frame-mAP and actor AP; of tubes video-mAP by threshold and v-MABO too."""
    parts = [
        f"frame-mAP {100 * evaluation.result.mean:.2f} %",
        f"actor AP {100 * evaluation.actor_result.mean:.2f} %",
    ]
    if evaluation.video_result is not None:
        means = evaluation.video_result.mean.items()
        parts += [f"video-mAP@{iou} {100 * mean:.2f} %" for iou, mean in means]
        parts.append(f"v-MABO {100 * evaluation.video_result.coverage.class_agnostic:.2f} %")
    return ", ".join(parts)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value

"""`stad eval`: score a trained run, or a file of detections."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from stad_eval import FrameResult

EXAMPLE = (
    "Examples:  stad eval runs/se_stad_tiny_jhmdb\n\n"
    "           stad eval detections.json --data JHMDB --dataset jhmdb"
)


class DatasetName(StrEnum):
    """The layouts that can be read."""

    AVA = "ava"
    AVA_KINETICS = "ava-kinetics"
    JHMDB = "jhmdb"
    UCF24 = "ucf24"
    UCF_SPORTS = "ucf-sports"
    MULTISPORTS = "multisports"
    YOUTUBE_VOS = "youtube-vos"
    DAVIS = "davis"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"
    JSON = "json"
    ACT = "act"
    COCO_VIDEO = "coco-video"
    SYNTHETIC = "synthetic"


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
    actors' boxes, whatever they do.
    """
    from stad_cli.scoring import score_checkpoint, score_detections

    if is_checkpoint(source):
        evaluation = score_checkpoint(
            source,
            data=data,
            dataset=None if dataset is None else dataset.value,
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
            dataset=None if dataset is None else dataset.value,
            split=split or 1,
            part=(part or Part.TEST).value,
            iou=iou,
        )
    print_scores(evaluation.result, evaluation.actor_result, as_json=as_json)


def is_checkpoint(source: Path) -> bool:
    """Whether a path means a trained network rather than detections."""
    return source.is_dir() or source.suffix == ".pt"


def print_scores(result: "FrameResult", actors: "FrameResult", *, as_json: bool) -> None:
    """The table, or one JSON object, on stdout."""
    if as_json:
        content = {**json.loads(result.to_json()), "actor_AP": json.loads(actors.to_json())["mAP"]}
        sys.stdout.write(json.dumps(content) + "\n")
        return
    sys.stdout.write(result.table() + "\n")
    sys.stdout.write(f"frame-mAP {100 * result.mean:.2f} %, actor AP {100 * actors.mean:.2f} %\n")

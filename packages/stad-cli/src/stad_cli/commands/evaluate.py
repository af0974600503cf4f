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
    from stad_cli.engine.mask_evaluation import MaskEvaluation

EXAMPLE = (
    "Examples:  stad eval runs/se_stad_tiny_jhmdb\n\n"
    "           stad eval detections.json --data JHMDB --dataset jhmdb\n\n"
    "           stad eval runs/vos_tiny_synthetic --data VOS --masks found"
)


class Part(StrEnum):
    """Which of the dataset's videos."""

    TRAIN = "train"
    TEST = "test"


def evaluate(  # noqa: PLR0913 - the options of a command
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
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Of a network that follows objects: write its masks here, as palette PNG files "
            "VIDEO/FRAME.png."
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a run's best checkpoint on its test videos, or a file of detections.

    Prints the frame-mAP by class under the dataset's protocol, and the average precision of the
    actors' boxes, whatever they do; for detectors of tubes also video-mAP, v-MABO, and how many
    tubes are right or wrong in which way. For networks that follow objects by their masks J and F
    of every object, and their means.
    """
    from stad_cli.scoring import score_checkpoint, score_detections
    from stad_eval import InputError

    if masks is not None and not is_checkpoint(source):
        raise InputError(
            "--masks goes with a run or a checkpoint",
            path=source,
            remedy="score files of masks by: stad-eval masks",
        )
    if is_checkpoint(source):
        evaluation = score_checkpoint(
            source,
            data=data,
            dataset=dataset,
            split=split,
            part=None if part is None else part.value,
            iou=iou,
            masks=masks,
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


def print_scores(evaluation: "Evaluation | MaskEvaluation", *, as_json: bool) -> None:
    """The tables, or one JSON object, on stdout."""
    from stad_cli.engine.mask_evaluation import MaskEvaluation

    if isinstance(evaluation, MaskEvaluation):
        found = evaluation.result
        sys.stdout.write((found.to_json() if as_json else found.table()) + "\n")
        if not as_json:
            sys.stdout.write(mask_summary(evaluation) + "\n")
        return
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


def mask_summary(evaluation: "MaskEvaluation") -> str:
    """One line: J&F, J and F over objects and by groups of classes, and what was not scored."""
    if not evaluation.parts:
        return "nothing to score: of no object a mask is known beyond its first one"
    parts = [f"{name} {100 * value:.2f} %" for name, value in evaluation.metrics().items()]
    left_out = evaluation.videos - len(evaluation.parts)
    if left_out:
        parts.append(f"{left_out} of {evaluation.videos} videos have nothing to score")
    return ", ".join(parts)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value

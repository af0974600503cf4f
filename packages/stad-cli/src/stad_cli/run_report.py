"""The HTML page of a run: its numbers, curves, confusion, best and worst clips, and its recipe."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stad_cli.config import Recipe, load_recipe
from stad_cli.engine.dataset import dataset_of, part_of
from stad_cli.engine.evaluation import Evaluation, actor_table, tube_table
from stad_cli.engine.mask_evaluation import MaskEvaluation
from stad_cli.engine.object_evaluation import stored_evaluation
from stad_cli.engine.run_folder import RunFolder
from stad_cli.engine.run_log import read_log
from stad_cli.keyframe_picture import picture
from stad_cli.keyframe_quality import KeyframeQuality, keyframe_qualities, pick
from stad_cli.run_source import recall_data, remember_data
from stad_cli.whole_file import naming, whole_file
from stad_data import Dataset, truth_table
from stad_eval import (
    InputError,
    confusion,
    detections_json,
    read_tubes_json,
    tube_errors,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stad_eval.report import Section

CLIPS = 8
"""Best clips, and as many worst ones."""
CONFIDENT = 0.3
"""Lowest score of a detection in the confusion view."""


def write_report(
    run: Path,
    *,
    data: Path | None = None,
    dataset: Dataset | None = None,
    evaluation: Evaluation | MaskEvaluation | None = None,
) -> Path:
    """Write RUN/report.html and give its path; an older one is replaced once this is complete.

    Args:
        run: The run folder.
        data: The dataset's folder; None for the one that the run remembers. A given one is
            remembered.
        dataset: The dataset of the recipe, where it was read already.
        evaluation: What the run's end was worth; None reads the detections that it left.

    Raises:
        InputError: No run, a run that has not been evaluated yet, or data that is not there.
        OSError: The page cannot be written.
    """
    folder = RunFolder(run)
    if not folder.recipe.is_file():
        raise InputError(
            "this folder is no run",
            path=run,
            expected="a folder that holds recipe.toml",
            remedy="name a folder that `stad train` wrote",
        )
    recipe = load_recipe(folder.recipe)
    found_data = recall_data(run, data)
    found = dataset or dataset_of(recipe, found_data)
    scored = evaluation or _stored_evaluation(folder, recipe, found)
    if isinstance(scored, MaskEvaluation):
        text = _mask_page(run, recipe, found, scored)
    else:
        text = _page(run, recipe, found, scored)
    target = run / "report.html"
    with whole_file(target, "text") as file, naming(target):
        file.write(text)
    if data is not None:
        remember_data(run, data)
    return target


def _stored_evaluation(
    folder: RunFolder, recipe: Recipe, dataset: Dataset
) -> Evaluation | MaskEvaluation:
    part = recipe.eval.part
    follows = recipe.clip.form == "object"
    path = folder.masks(part) if follows else folder.detections(part)
    if not path.exists():
        raise InputError(
            "this run has not been evaluated yet",
            path=folder.path,
            expected=f"its detections in {path.relative_to(folder.path)}",
            remedy="let the training end: go on with it by `stad train ... --resume`",
        )
    videos = part_of(dataset, part)
    if follows:
        return stored_evaluation(dataset, part, videos, path)
    content = detections_json.read(path)
    tubes = folder.tubes(part)
    found_tubes = read_tubes_json(tubes).tubes if tubes.is_file() else None
    return Evaluation(
        part=part,
        protocol=dataset.protocol,
        iou=recipe.eval.iou,
        truth=truth_table(videos, dataset.classes),
        found=content.found,
        actor_truth=actor_table(videos),
        actors=content.actors,
        clips=sum(len(annotation.keyframes) for annotation in videos),
        seconds=0.0,
        tube_truth=None if found_tubes is None else tube_table(videos, dataset.classes),
        tubes=found_tubes,
    )


def _page(run: Path, recipe: Recipe, dataset: Dataset, scored: Evaluation) -> str:
    from stad_eval import report

    entries = read_log(run)
    sections = [
        *_training(entries),
        report.Section(
            title="Precision and recall",
            text="By action; a detection is right where it overlaps a true box of the same action "
            f"by an IoU of at least {scored.iou:g}.",
            content=[report.pr_curves(scored.result)],
        ),
        report.Section(title="Average precision", content=[report.ap_bars(scored.result)]),
        *_tubes(scored),
        _confusion(scored, dataset),
        *_clips(recipe, dataset, scored),
        report.Section(title="Recipe", content=[_code(recipe.to_toml())]),
    ]
    truth = scored.result.counts
    headline: dict[str, str | float] = {
        f"frame-mAP at IoU {scored.iou:g}": _number(scored.result.mean),
        "actor AP, whatever they do": _number(scored.actor_result.mean),
        **_tube_headline(scored),
        "scored on": f"{truth['frames']:,} keyframes with {truth['truths']:,} true actions, "
        f"{scored.part} part of {dataset.name}, protocol {scored.protocol}",
        **_setting(recipe),
    }
    return report.page(
        run.resolve().name,
        sections,
        headline=headline,
        subtitle=f"Recipe {recipe.name}. {recipe.about}".strip(),
    )


def _mask_page(run: Path, recipe: Recipe, dataset: Dataset, scored: MaskEvaluation) -> str:
    """The page of a network that follows objects: their J and F instead of boxes."""
    from stad_eval import report

    sections = [
        *_training(read_log(run), {"J": "#2f6fab", "F": "#d1602d"}),
        report.Section(
            title="Objects",
            text="J is the overlap of regions, F the agreement of boundaries, of each object over "
            "the frames that count; then their means.",
            content=[_code(scored.result.table())],
        ),
        report.Section(title="Recipe", content=[_code(recipe.to_toml())]),
    ]
    headline: dict[str, str | float] = {
        **{name: _number(value) for name, value in scored.metrics().items()},
        "scored on": f"{scored.result.counts['objects']:,} objects of {len(scored.parts)} of "
        f"{scored.videos} videos, {scored.part} part of {dataset.name}, protocol "
        f"{scored.protocol.name}",
        **_setting(recipe),
    }
    return report.page(
        run.resolve().name,
        sections,
        headline=headline,
        subtitle=f"Recipe {recipe.name}. {recipe.about}".strip(),
    )


def _setting(recipe: Recipe) -> dict[str, str | float]:
    return {
        "model": f"{recipe.model.name}, {recipe.clip.length} frames, every "
        f"{_ordinal(recipe.clip.stride)}"
        + (" (the keyframe alone, repeated)" if recipe.clip.repeat_keyframe else ""),
        "training": f"{recipe.optim.steps:,} steps of "
        f"{recipe.optim.batch * recipe.optim.accumulate} clips, seed {recipe.run.seed}",
    }


def _tube_headline(scored: Evaluation) -> dict[str, str | float]:
    if scored.video_result is None:
        return {}
    means = {f"video-mAP at {iou}": _number(mean) for iou, mean in scored.video_result.mean.items()}
    return means | {"v-MABO": _number(scored.video_result.coverage.class_agnostic)}


def _tubes(scored: Evaluation) -> "list[Section]":
    from stad_eval import report
    from stad_eval.result_page import error_bars, gain_bars

    if scored.video_result is None or scored.tubes is None or scored.tube_truth is None:
        return []
    errors = tube_errors(scored.tube_truth, scored.tubes, scored.protocol)
    return [
        report.Section(
            title="Tubes",
            text="Average precision of action tubes by class and overlap in space and time, and "
            "what became of the tubes at an overlap of 0.5.",
            content=[_code(scored.video_result.table()), error_bars(errors), gain_bars(errors)],
        )
    ]


def _number(value: float) -> str | float:
    return "none: no ground truth" if math.isnan(value) else value


def _ordinal(number: int) -> str:
    return {1: "frame", 2: "2nd frame", 3: "3rd frame"}.get(number, f"{number}th frame")


_SHOWN = {"frame_mAP": "#2f6fab", "actor_AP": "#d1602d"}
"""Scores that are drawn while training, and their colours."""


def _training(
    entries: Sequence[Mapping[str, Any]], shown: Mapping[str, str] = _SHOWN
) -> "list[Section]":
    from stad_eval import report

    losses = [entry for entry in entries if entry.get("loss")]
    scores = [entry for entry in entries if entry.get("eval")]
    sections: list[Section] = []
    if losses:
        names = list(dict.fromkeys(name for entry in losses for name in entry["loss"]))
        series = {name: [_value(entry["loss"].get(name)) for entry in losses] for name in names}
        steps = [entry["step"] for entry in losses]
        sections.append(report.Section(title="Losses", content=[report.loss_curves(steps, series)]))
    if len({entry["step"] for entry in scores}) > 1:
        sections.append(
            report.Section(title="Score while training", content=[_score_curves(scores, shown)])
        )
    return sections


def _value(value: float | None) -> float:
    return math.nan if value is None else value


def _score_curves(entries: Sequence[Mapping[str, Any]], shown: Mapping[str, str]) -> "Figure":
    from matplotlib.figure import Figure

    by_step = {entry["step"]: entry["eval"] for entry in entries}
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, colour in shown.items():
        values = [100.0 * _value(found.get(name)) for found in by_step.values()]
        label = f"{name.replace('_', '-')} ({values[-1]:.1f})"
        axes.plot(list(by_step), values, color=colour, marker="o", markersize=3.5, label=label)
    axes.set(xlabel="step", ylabel="%", ylim=(0, 100))
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.8)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), title="(last)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure


def _confusion(scored: Evaluation, dataset: Dataset) -> "Section":
    from stad_eval import report

    exclusive = dataset.classes.exclusive
    counts = confusion(
        scored.truth, scored.found, scored.iou, min_score=CONFIDENT, best_label_only=exclusive
    )
    kept = "the best action of each box" if exclusive else "every action"
    return report.Section(
        title="Confusion",
        text=f"What each true action was taken for, counting {kept} with a score of at least "
        f"{CONFIDENT:g}. The last column was missed; the last row was found where nothing is.",
        content=[report.confusion_matrix(counts, dataset.classes.names)],
    )


def _clips(recipe: Recipe, dataset: Dataset, scored: Evaluation) -> "list[Section]":
    from stad_eval import report

    best, worst = pick(keyframe_qualities(scored.truth, scored.found, iou=scored.iou), CLIPS)
    annotations = {annotation.video: annotation for annotation in part_of(dataset, scored.part)}

    def strip(chosen: Sequence[KeyframeQuality]) -> str:
        images = [
            picture(
                annotations[one.video],
                one,
                dataset.classes.names,
                length=recipe.clip.length,
                stride=recipe.clip.stride,
            )
            for one in chosen
        ]
        captions = [f"{one.video}, frame {one.frame}: {100 * one.quality:.0f}" for one in chosen]
        return report.image_strip(images, captions)

    measure = (
        "Green is true, orange was found; below each keyframe the clip around it. The number is "
        "what was right of all that is true or was claimed, each action weighed by its score: 100 "
        "is perfect, 0 nothing right."
    )
    sections: list[Section] = []
    if best:
        sections.append(report.Section(title="Best clips", text=measure, content=[strip(best)]))
    if worst:
        sections.append(report.Section(title="Worst clips", text=measure, content=[strip(worst)]))
    return sections


def _code(text: str) -> str:
    from markupsafe import Markup

    return Markup("<pre>{}</pre>").format(text)

"""A detector's score on a part of a dataset."""

import contextlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine.clip_forms import collector, evaluation_samples, followed
from stad_cli.engine.collectors.findings import Findings, joined
from stad_cli.engine.dataset import frame_caches, part_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.evaluation import Evaluation, ground_truth, tube_table
from stad_cli.engine.mask_evaluation import MaskEvaluation
from stad_cli.engine.object_evaluation import evaluate_objects
from stad_cli.engine.predictions import predictions
from stad_data import Dataset, VideoAnnotation
from stad_data.clips import FrameSource
from stad_data.sampling import keyframe_samples, shard


def evaluate(  # noqa: PLR0913 - what is evaluated, how, and whom to tell
    model: nn.Module,
    dataset: Dataset,
    part: str,
    recipe: Recipe,
    group: Processes,
    *,
    thin: bool = False,
    caches: Mapping[str, FrameSource] | None = None,
    masks: Path | None = None,
    seen: Callable[[int], None] = lambda _: None,
) -> Evaluation | MaskEvaluation:
    """Run a detector over a part and score what it finds; of clips of objects that is their masks.

    Several processes share the keyframes, or the videos where clips of a video are linked; each of
    them gets the whole Evaluation. The model computes in float32 and is left in the modes (training
    or not) that it came in.

    Args:
        model: On the group's device.
        dataset: Its protocol is used.
        part: "train" or "test".
        recipe: Clip form, size, batch and IoU.
        group: This process and its peers.
        thin: Look at (and score) only every n-th video (`eval.every_nth_video`) and annotated frame
            of a video (`eval.every_nth_frame`, of keyframes alone), as during training. With
            frames left out no tubes are scored.
        caches: Frames by video name; made here where the recipe says `cache` and None is given.
        masks: Of objects: a folder that what was found is written to, see `evaluate_objects`.
        seen: Told how many more clips are done.

    Raises:
        InputError: A part without annotated frames, or a video that cannot be read.
    """
    start = time.monotonic()
    videos = evaluated_videos(dataset, part, recipe, thin=thin)
    if recipe.clip.form == "object":
        with inference(model):
            return evaluate_objects(
                model,
                dataset,
                part,
                videos,
                recipe,
                group,
                caches=caches,
                masks=masks,
                seen=seen,
            )
    every = recipe.eval.every_nth_frame if thin else 1
    samples = evaluation_samples(recipe, videos, every_nth_frame=every)
    own = samples[_own(samples, recipe, group)]
    if caches is None:
        needed = (videos[number] for number in np.unique(own[:, 0]).tolist())
        caches = frame_caches(needed, recipe.data)
    gathered = collector(recipe, videos, dataset.classes, every_nth_frame=every)
    with inference(model):
        found = predictions(model, recipe, videos, own, caches=caches, device=group.device)
        for info, one in found:
            gathered.add(info, one)
            seen(1)
    parts: list[Findings] = group.gather(gathered.findings())
    whole = joined(parts)
    truth, actor_truth = ground_truth(videos, dataset.classes)
    evaluation = Evaluation(
        part=part,
        protocol=dataset.protocol,
        iou=recipe.eval.iou,
        truth=truth,
        found=whole.found,
        actor_truth=actor_truth,
        actors=whole.actors,
        clips=len(samples),
        seconds=time.monotonic() - start,
        tube_truth=None if whole.tubes is None else tube_table(videos, dataset.classes),
        tubes=whole.tubes,
    )
    looked_at_all = recipe.clip.form != "keyframe" or every == 1
    # Tubes need all of their frames.
    return evaluation if looked_at_all else evaluation.without_tubes().on(samples)


def evaluated_videos(
    dataset: Dataset, part: str, recipe: Recipe, *, thin: bool = False
) -> tuple[VideoAnnotation, ...]:
    """The videos of a part, or every n-th of them where the evaluation is thin."""
    videos = part_of(dataset, part)
    return videos[:: recipe.eval.every_nth_video] if thin else videos


def thinned(
    evaluation: Evaluation | MaskEvaluation, dataset: Dataset, recipe: Recipe
) -> Evaluation | MaskEvaluation:
    """Of a whole evaluation what a thin one would have looked at."""
    thin = recipe.eval
    if isinstance(evaluation, MaskEvaluation):
        videos = evaluated_videos(dataset, evaluation.part, recipe, thin=True)
        return evaluation.on({annotation.video for annotation in videos})
    every = thin.every_nth_frame if recipe.clip.form == "keyframe" else 1
    if every == 1 and thin.every_nth_video == 1:
        return evaluation
    samples = keyframe_samples(part_of(dataset, evaluation.part), every=every)
    known = evaluation if every == 1 else evaluation.without_tubes()
    return known.on(samples[samples[:, 0] % thin.every_nth_video == 0])


def clips_of(recipe: Recipe, videos: Sequence[VideoAnnotation]) -> int:
    """How many clips a whole evaluation looks at."""
    return len(evaluation_samples(recipe, followed(recipe, videos)))


def _own(samples: NDArray[np.int64], recipe: Recipe, group: Processes) -> NDArray[np.bool_]:
    """Which samples are this process's: a run of keyframes, or of whole videos."""
    if recipe.clip.form == "keyframe" and not recipe.eval.link:
        rows = shard(len(samples), rank=group.rank, ranks=group.ranks)
        place = np.arange(len(samples))
        return (place >= rows.start) & (place < rows.stop)
    numbers = np.unique(samples[:, 0])
    rows = shard(len(numbers), rank=group.rank, ranks=group.ranks)
    return np.isin(samples[:, 0], numbers[rows.start : rows.stop])


@contextlib.contextmanager
def inference(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; afterwards every module is as it was (frozen ones too)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training

"""From a recipe's [method] to a strategy of stad-ssl, and the thresholds that one of them needs."""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from stad_cli.engine.batches import evaluation_batches
from stad_cli.engine.evaluate import inference
from stad_cli.engine.methods.annotated_frames import annotated_videos
from stad_cli.engine.methods.method import TrainingData
from stad_cli.engine.methods.teacher_proposals import teacher_proposals
from stad_cli.method_section import MethodSection
from stad_data.sampling import keyframe_samples, shard
from stad_ssl import (
    CostWeights,
    Keyframe,
    Proposals,
    Strategy,
    assign_temporal_labels,
    calibrate_thresholds,
    interpolate_labels,
    no_pseudo_labels,
    threshold_labels,
)


def labelling(settings: MethodSection, *, exclusive: bool, thresholds: Tensor | None) -> Strategy:
    """The strategy of these settings.

    Args:
        settings: The recipe's section.
        exclusive: An actor does one action at a time.
        thresholds: `[C]`, of "class_threshold".
    """
    classification, distance, giou = settings.cost
    weights = CostWeights(classification=classification, distance=distance, giou=giou)
    by_score = partial(
        threshold_labels,
        restrict=settings.restrict,
        exclusive=exclusive,
        background=settings.background,
    )
    strategies: dict[str, Strategy] = {
        "none": no_pseudo_labels,
        "ema": no_pseudo_labels,
        "interpolation": interpolate_labels,
        "threshold": partial(by_score, threshold=settings.threshold),
        "tla": partial(assign_temporal_labels, background=settings.background, weights=weights),
    }
    if thresholds is not None:
        strategies["class_threshold"] = partial(by_score, threshold=thresholds)
    return strategies[settings.strategy]


def calibrated_thresholds(teacher: nn.Module, data: TrainingData) -> Tensor:
    """One threshold `[C]` per class: the best one for the teacher on the annotated training frames.

    All processes call this together, share the frames, and get the same.
    """
    recipe, group = data.recipe, data.group
    settings = recipe.method
    videos = annotated_videos(data)
    samples = keyframe_samples(videos, every=settings.calibrate_every_nth_frame)
    rows = shard(len(samples), rank=group.rank, ranks=group.ranks)
    own = samples[rows.start : rows.stop]
    found: list[tuple[Proposals, Keyframe]] = []
    extent = np.ones(2)
    batches = evaluation_batches(
        recipe, videos, own, caches=data.caches, workers=recipe.run.workers
    )
    with inference(teacher):
        for batch in batches:
            proposals = teacher_proposals(teacher, batch, settings, group.device)
            truth = map(_keyframe, batch.boxes, batch.labels)
            found.extend(zip(proposals, truth, strict=True))
            extent = np.maximum(extent, batch.clips.shape[3:])
    gathered: list[list[tuple[Proposals, Keyframe]]] = group.gather(found)
    proposals, truth = zip(*[pair for part in gathered for pair in part], strict=True)
    height, width = np.max(group.gather(extent), axis=0).tolist()
    return calibrate_thresholds(proposals, truth, size=(height, width))


def _keyframe(boxes: Tensor, labels: Tensor) -> Keyframe:
    return Keyframe(boxes=boxes, labels=(labels > 0).to(torch.bool))

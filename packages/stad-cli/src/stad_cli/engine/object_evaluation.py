"""Following the objects of a part of a dataset by their given masks, and the score of that."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine.clip_forms import evaluation_samples, followed
from stad_cli.engine.collectors.objects import FollowedObjects, frame_names
from stad_cli.engine.dataset import frame_caches
from stad_cli.engine.distributed import Processes
from stad_cli.engine.mask_evaluation import MaskEvaluation, protocol_of
from stad_cli.engine.predictions import predictions
from stad_data import ActionClasses, Dataset, VideoAnnotation
from stad_data.clip_masks import BoxMasks
from stad_data.clips import FrameSource
from stad_data.sampling import shard
from stad_eval import MaskResult, read_mask_png, score_mask_video, write_mask_png
from stad_eval.mask_protocols import MaskProtocol
from stad_models.structures import Maps


def evaluate_objects(  # noqa: PLR0913 - as `evaluate`, which it is a part of
    model: nn.Module,
    dataset: Dataset,
    part: str,
    videos: Sequence[VideoAnnotation],
    recipe: Recipe,
    group: Processes,
    *,
    caches: Mapping[str, FrameSource] | None,
    masks: Path | None,
    seen: Callable[[int], None],
) -> MaskEvaluation:
    """Follow every object of these videos from its first mask on, and score the masks found.

    Several processes share the videos; each of them gets the whole evaluation.

    Args:
        model: On the group's device, in evaluation mode.
        dataset: Its protocol and classes are used.
        part: What the videos are.
        videos: The videos.
        recipe: Clips, size and batch.
        group: This process and its peers.
        caches: Frames by video name; made here where the recipe says `cache` and None is given.
        masks: Folder that what was found on every frame is written to, as VIDEO/FRAME.png; None
            writes nothing. Every process writes its own videos.
        seen: Told how many more clips are done.

    Raises:
        InputError: A video that cannot be read.
        OSError: A mask cannot be written.
    """
    start = time.monotonic()
    rows = shard(len(videos), rank=group.rank, ranks=group.ranks)
    own = videos[rows.start : rows.stop]
    protocol = protocol_of(dataset)
    if caches is None:
        caches = frame_caches(own, recipe.data)
    parts: dict[str, MaskResult] = {}
    for annotation, found in _followed(model, recipe, own, group, caches=caches, seen=seen):
        kept = _kept(annotation, found, None if masks is None else masks / annotation.video)
        if is_scored(annotation):
            parts[annotation.video] = score_video(annotation, kept, dataset.classes, protocol)
    gathered: list[dict[str, MaskResult]] = group.gather(parts)
    return MaskEvaluation(
        part=part,
        protocol=protocol,
        videos=len(videos),
        parts={name: result for each in gathered for name, result in each.items()},
        clips=len(evaluation_samples(recipe, followed(recipe, videos))),
        seconds=time.monotonic() - start,
    )


def stored_evaluation(
    dataset: Dataset, part: str, videos: Sequence[VideoAnnotation], masks: Path
) -> MaskEvaluation:
    """The evaluation of masks that were written before, see `evaluate_objects`.

    Raises:
        InputError: A mask is missing or damaged.
    """
    protocol, parts = protocol_of(dataset), dict[str, MaskResult]()
    for annotation in filter(is_scored, videos):
        names, folder = frame_names(annotation), masks / annotation.video
        found = {
            frame: read_mask_png(folder / f"{names[frame]}.png")
            for frame in annotation.keyframes.tolist()
        }
        parts[annotation.video] = score_video(annotation, found, dataset.classes, protocol)
    return MaskEvaluation(
        part=part, protocol=protocol, videos=len(videos), parts=parts, clips=0, seconds=0.0
    )


def is_scored(annotation: VideoAnnotation) -> bool:
    """Whether more of a video is known than each object's first mask.

    Published validation parts keep the others for themselves: every frame with masks is then the
    first of some object, and no object has a second one.
    """
    firsts = {int(track.frames[0]) for track in annotation.tracks}
    again = any(len(track) > 1 for track in annotation.tracks)
    return bool(firsts) and (again or not set(annotation.keyframes.tolist()) <= firsts)


def score_video(
    annotation: VideoAnnotation,
    found: Mapping[int, NDArray[np.uint8]],
    classes: ActionClasses,
    protocol: MaskProtocol,
) -> MaskResult:
    """J and F of the objects of one video.

    Args:
        annotation: The video.
        found: Index masks uint8 [H, W], at least of the keyframes.
        classes: Those of the dataset.
        protocol: How masks are scored. Where it scores the objects of the first frame alone, those
            that come later count as background.
    """
    source = annotation.masks or BoxMasks(annotation=annotation)
    frames = annotation.keyframes.tolist()
    masks = [found[frame] for frame in frames]
    if protocol.objects == "first-frame":
        known = np.unique(source.read(frames[:1]))
        masks = [np.where(np.isin(mask, known), mask, np.uint8(0)) for mask in masks]
    names = {
        track.actor + 1: classes.names[int(track.labels.any(axis=0).argmax())]
        for track in annotation.tracks
    }
    truth = (source.read([frame])[0] for frame in frames)
    return score_mask_video(truth, masks, protocol, video=annotation.video, classes=names)


def _followed(
    model: nn.Module,
    recipe: Recipe,
    videos: Sequence[VideoAnnotation],
    group: Processes,
    *,
    caches: Mapping[str, FrameSource],
    seen: Callable[[int], None],
) -> Iterator[tuple[VideoAnnotation, FollowedObjects]]:
    """Every video with what was found in it; those without a frame to look at come last."""
    objects: list[VideoAnnotation] = []
    waiting: dict[str, tuple[VideoAnnotation, FollowedObjects]] = {}
    for annotation in videos:
        own = followed(recipe, [annotation])
        objects += own
        found = FollowedObjects(annotation, own, threshold=recipe.eval.map_threshold)
        waiting[annotation.video] = (annotation, found)
    samples = evaluation_samples(recipe, objects)
    clips = predictions(model, recipe, objects, samples, caches=caches, device=group.device)
    for name, pairs in groupby(clips, key=lambda pair: pair[0].video):
        for info, maps in pairs:
            if not isinstance(maps, Maps):
                raise TypeError(f"a network of localisation maps was expected, found {type(maps)}")
            waiting[name][1].add(info, maps)
            seen(1)
        yield waiting.pop(name)
    yield from waiting.values()


def _kept(
    annotation: VideoAnnotation, found: FollowedObjects, folder: Path | None
) -> dict[int, NDArray[np.uint8]]:
    """The masks of the keyframes; with a folder, those of all frames are written there."""
    keyframes = set(annotation.keyframes.tolist())
    if folder is None:
        return {frame: found.index_mask(frame) for frame in keyframes}
    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[int, NDArray[np.uint8]] = {}
    for frame, name in enumerate(frame_names(annotation)):
        mask = found.index_mask(frame)
        write_mask_png(folder / f"{name}.png", mask)
        if frame in keyframes:
            kept[frame] = mask
    return kept

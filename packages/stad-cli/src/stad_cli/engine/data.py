"""From a recipe and a folder to batches on a device."""

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stad_cli import dataset_forms
from stad_cli.config import DataSection, Recipe, nearest
from stad_cli.engine.batch_loader import load_batches
from stad_cli.engine.clip_forms import clip_maker, trained_on, training_samples
from stad_cli.engine.detector import FUSED_CHANNELS, STACKED_CHANNELS
from stad_cli.engine.distributed import Processes
from stad_cli.engine.external_proposals import ExternalProposals, wanted_proposals
from stad_cli.engine.labelled_videos import labelled_videos
from stad_data import Dataset, VideoAnnotation, transforms
from stad_data.clip_flow import FlowSource, early_fusion
from stad_data.clip_tracks import ClipTracks
from stad_data.clips import FrameSource
from stad_data.datasets.video_files import Missing
from stad_data.frame_cache import cache_videos
from stad_data.loading import Batch, ClipDataset, Transform, collate
from stad_data.mixing import MixUp
from stad_data.sampling import EpochBatches, Key, balanced_weights
from stad_data.shard_frames import open_shards
from stad_data.synthetic.dense_truth import read_dense_truth
from stad_eval import InputError
from stad_models.detectors.snippets import flow_images, stacked_flow
from stad_models.structures import Targets, TrackTargets

# The trunks' public weights were trained on frames normalised by these (of frames in [0, 1]).
MEAN, SPREAD = 0.45, 0.225

UNDECIDED = 255
"""What a mask holds where it is not known whose a pixel is."""


def open_dataset(
    name: str,
    root: Path,
    *,
    split: int = 1,
    missing: Missing = "refuse",
    index: Path | None = None,
) -> Dataset:
    """Read a dataset's annotations from its folder.

    Args:
        name: One of `dataset_names.DATASET_NAMES`: "ava", "jhmdb", "ucf24", ...
        root: The folder, or the one file of datasets that have one.
        split: Where the dataset has several.
        missing: What to do about annotated videos without a file.
        index: File that keeps AVA's annotation.

    Raises:
        InputError: Unknown name, no such folder, or files that are not of this layout.
    """
    form = dataset_forms.canonical(name)
    if not root.exists():
        raise InputError(
            "no such data folder", path=root, remedy="name the dataset's folder by --data"
        )
    reading = dataset_forms.Reading(split=split, missing=missing, index=index)
    return dataset_forms.read(form, root, reading)


def dataset_of(recipe: Recipe, root: Path) -> Dataset:
    """The recipe's dataset, cut to `data.videos` where that names some.

    Raises:
        InputError: See `open_dataset`; videos that are neither files nor in `data.shards`; a video
            of `data.videos` that is not there; `data.dense` for a set without dense truth.
    """
    data = recipe.data
    dataset = open_dataset(
        data.dataset,
        root,
        split=data.split,
        missing="keep" if data.shards else data.missing,
        index=Path(data.index) if data.index else None,
    )
    if data.shards:
        dataset = _with_frames(dataset, open_shards(data.shards), data)
    if recipe.data.dense:
        dense = read_dense_truth(root, dataset.train, part="train")
        dataset = replace(dataset, train=dense)
    wanted = recipe.data.videos
    if not wanted:
        return dataset
    known = [annotation.video for annotation in (*dataset.train, *dataset.test)]
    for video in wanted:
        if video not in known:
            raise InputError(
                f"data.videos names {video!r}, which is not in the dataset",
                path=root,
                remedy=nearest(video, known[:1000]),
            )
    return replace(
        dataset,
        train=tuple(annotation for annotation in dataset.train if annotation.video in wanted),
        test=tuple(annotation for annotation in dataset.test if annotation.video in wanted),
    )


def _with_frames(dataset: Dataset, shards: Container[str], data: DataSection) -> Dataset:
    """The dataset without the videos that are nowhere, where the recipe lets them be skipped.

    Raises:
        InputError: There are such videos, and the recipe refuses them.
    """
    absent = {
        annotation.video: annotation
        for annotation in (*dataset.train, *dataset.test)
        if annotation.video not in shards and not annotation.path.exists()
    }
    if absent and data.missing == "refuse":
        video, annotation = next(iter(absent.items()))
        raise InputError(
            f"{len(absent)} annotated videos are neither in data.shards nor files",
            path=data.shards,
            expected=f"{video}, or {annotation.path}",
            found="neither",
            remedy="write their shards too (`stad data shard`), or go on without them by"
            ' data.missing="skip"',
        )
    return replace(
        dataset,
        train=tuple(each for each in dataset.train if each.video not in absent),
        test=tuple(each for each in dataset.test if each.video not in absent),
    )


def part_of(dataset: Dataset, part: str) -> tuple[VideoAnnotation, ...]:
    """The training or the test videos.

    Raises:
        InputError: Another word, or a part without a single annotated frame.
    """
    if part not in ("train", "test"):
        raise InputError(f"unknown part {part!r}", expected="train or test")
    videos = dataset.train if part == "train" else dataset.test
    if not any(len(annotation.keyframes) for annotation in videos):
        raise InputError(f"the {part} part of {dataset.name} has no annotated frame")
    return videos


def frame_caches(
    annotations: Iterable[VideoAnnotation],
    data: DataSection,
    *,
    seen: Callable[[int], None] = lambda _: None,
) -> dict[str, FrameSource]:
    """Frames by video: decoded into memory where the recipe says `cache`, else out of its shards.

    Nothing where it says neither. `seen` is told 1 after every decoded video.

    Raises:
        InputError: A video that cannot be read, more frames than `cache_gib` has room for, or no
            shards where the recipe says.
    """
    if data.shards:
        return dict(open_shards(data.shards))
    if not data.cache:
        return {}
    videos = tuple(annotations)
    made = cache_videos(
        [annotation.path for annotation in videos],
        size=data.cache_size or data.size,
        workers=min(4, os.cpu_count() or 1),
        max_bytes=int(data.cache_gib * 2**30),
        progress=lambda _done, _total: seen(1),
        gaps="close" if any(annotation.gaps == "close" for annotation in videos) else "step",
    )
    return {annotation.video: made[annotation.path] for annotation in videos}


def training_batches(
    recipe: Recipe,
    dataset: Dataset,
    group: Processes,
    *,
    start: int,
    caches: Mapping[str, FrameSource],
) -> Iterator[Batch]:
    """This process's endless stream of training batches, from backward pass number `start` on.

    Which clips a batch holds and how they are changed depends on the seed and the number of the
    backward pass alone; R processes with batch b draw together what one with batch R x b draws.

    Raises:
        InputError: No training sample; while iterating, whatever is wrong with a video.
    """
    clips, order = training_clips(recipe, dataset, group, start=start, caches=caches)
    pinned = group.device.type == "cuda"
    make = _Collated(clips, wanted_proposals(recipe, "train_inputs", clips.annotations))
    return load_batches(make, order, workers=recipe.run.workers, pinned=pinned)


def training_clips(
    recipe: Recipe,
    dataset: Dataset,
    group: Processes,
    *,
    start: int,
    caches: Mapping[str, FrameSource],
) -> tuple[ClipDataset, EpochBatches]:
    """The labelled clips of training, and which of them make this process's batches.

    Raises:
        InputError: No training sample.
    """
    videos = trained_on(recipe, labelled_videos(recipe.data, part_of(dataset, "train")))
    samples = training_samples(recipe, videos)
    if not len(samples) and recipe.clip.form == "tubelet":
        raise InputError(
            f"the train part of {dataset.name} has no {recipe.clip.tubelet} annotated frames in a "
            "row that no actor enters or leaves",
            remedy="set clip.tubelet to fewer frames, or data.skip_empty=false",
        )
    if not len(samples) and recipe.clip.form == "object":
        raise InputError(
            f"the train part of {dataset.name} has no object that is annotated on two frames",
            expected="masks of objects on frames after the first that shows them",
        )
    if not len(samples):
        raise InputError(
            f"the train part of {dataset.name} has no annotated actor",
            remedy="set data.skip_empty=false to train on frames without actors",
        )
    weights = None
    if recipe.data.balance or recipe.data.empty is not None:
        weights = balanced_weights(
            videos, samples, power=recipe.data.balance, empty=recipe.data.empty
        )
    order = EpochBatches(
        size=len(samples),
        batch=recipe.optim.batch,
        seed=recipe.run.seed,
        rank=group.rank,
        ranks=group.ranks,
        start=start,
        weights=weights,
    )
    clips = ClipDataset(
        videos,
        samples,
        length=recipe.clip.length,
        stride=recipe.augment.stride or recipe.clip.stride,
        transform=training_transform(recipe, dataset),
        mix=MixUp(recipe.augment.mix) if recipe.augment.mix else None,
        seed=recipe.run.seed,
        caches=caches,
        make=clip_maker(recipe),
    )
    return clips, order


def evaluation_batches(
    recipe: Recipe,
    annotations: Sequence[VideoAnnotation],
    samples: NDArray[np.int64],
    *,
    caches: Mapping[str, FrameSource],
    workers: int,
    flows: Mapping[str, FlowSource] | None = None,
) -> Iterator[Batch]:
    """The clips of `samples` (rows of video number and frame) in order, as the model tests them.

    `caches` and `flows` give frames and flow by video name, instead of the video's files.
    """
    clips = ClipDataset(
        annotations,
        samples,
        length=recipe.clip.length,
        stride=recipe.clip.stride,
        transform=test_transform(recipe),
        caches=caches,
        make=clip_maker(recipe, flows),
    )
    size = recipe.eval.batch
    keys = [(0, row) for row in range(len(samples))]
    order = [keys[first : first + size] for first in range(0, len(keys), size)]
    make = _Collated(clips, wanted_proposals(recipe, "test_inputs", annotations))
    return load_batches(make, order, workers=min(workers, len(order)), pinned=False)


def training_transform(recipe: Recipe, dataset: Dataset) -> Transform:
    """The recipe's random changes of a training clip, its size included.

    Raises:
        InputError: A class of `augment.flip_pairs` that the dataset does not know.
    """
    augment, data = recipe.augment, recipe.data
    steps: list[Transform] = [transforms.RepeatKeyframe()] if recipe.clip.repeat_keyframe else []
    if data.size is not None:
        if not _keeps_aspect(data):
            steps.append(transforms.FixedResize(*data.size))
        if augment.scale != (1.0, 1.0) or augment.stretch or _keeps_aspect(data):
            steps.append(
                transforms.RandomScaledCrop(data.size, augment.scale, stretch=augment.stretch)
            )
    elif augment.short_side is not None and augment.crop is not None:
        # The crop's scale counts from the shorter side that just covers it.
        low, high = (side / augment.crop for side in augment.short_side)
        crop = (augment.crop, augment.crop)
        steps.append(transforms.RandomScaledCrop(crop, (low, high), stretch=augment.stretch))
    elif data.short_side is not None:
        steps.append(transforms.ShortSideResize(data.short_side))
    if augment.flip:
        steps.append(transforms.RandomFlip(augment.flip, label_pairs=_pairs(recipe, dataset)))
    if augment.brightness or augment.contrast or augment.saturation or augment.hue:
        steps.append(
            transforms.ColorJitter(
                brightness=augment.brightness,
                contrast=augment.contrast,
                saturation=augment.saturation,
                hue=augment.hue,
            )
        )
    return transforms.Compose(steps)


def test_transform(recipe: Recipe) -> Transform:
    """How a clip is brought to the model's size for a test; nothing random."""
    data = recipe.data
    steps: list[Transform] = [transforms.RepeatKeyframe()] if recipe.clip.repeat_keyframe else []
    if data.size is not None:
        steps.append(transforms.FixedResize(*data.size))
    elif data.short_side is not None:
        steps.append(transforms.ShortSideResize(data.short_side))
    return transforms.Compose(steps)


def normalise(clips: Tensor) -> Tensor:
    """Frames in [0, 255] of any shape as the float32 that every model here was trained on."""
    return clips.float().sub_(255.0 * MEAN).mul_(1.0 / (255.0 * SPREAD))


def model_input(batch: Batch, device: torch.device, *, channels: int = STACKED_CHANNELS) -> Tensor:
    """Clips as a detector takes them: moved as bytes, normalised where it computes.

    `[N, 3, T, H, W]`. Where the batch has flow, it lies below the colours: its two displacements
    for a detector of 5 channels (`early_fusion`), else stacked images of it, 18 channels in all.
    Where it has given masks, the fourth channel is the mask on the first frame, 0 on the others.
    """
    clips = normalise(batch.clips.to(device, non_blocking=True))
    if batch.given is not None:
        masks = torch.zeros_like(clips[:, :1])
        masks[:, 0, 0] = batch.given.to(device, non_blocking=True)
        return torch.cat([clips, masks], dim=1)
    if batch.flow is None:
        return clips
    flow = batch.flow.to(device, non_blocking=True)
    if channels == FUSED_CHANNELS:
        return early_fusion(clips, flow)
    return torch.cat([clips, stacked_flow(normalise(flow_images(flow)))], dim=1)


def to_device(
    batch: Batch, device: torch.device, *, channels: int = STACKED_CHANNELS
) -> tuple[Tensor, Targets]:
    """A batch as a detector of so many input channels takes it."""
    return model_input(batch, device, channels=channels), targets_of(batch).to(device)


def targets_of(batch: Batch) -> Targets:
    """What is known of a batch: boxes at keyframes; tracks, masks, proposals where it has them."""
    tracks = [tracks for tracks in batch.tracks if tracks is not None]
    masks = batch.masks
    if masks is not None and masks.dtype == torch.uint8:
        masks = ((masks > 0) & (masks < UNDECIDED)).float()
    return Targets(
        boxes=tuple(batch.boxes),
        labels=tuple(batch.labels),
        tracks=tuple(_track_targets(each) for each in tracks) if tracks else None,
        masks=masks,
        proposals=None if batch.proposals is None else tuple(batch.proposals),
    )


def _track_targets(tracks: ClipTracks) -> TrackTargets:
    # Some arrays are views that run backwards, which torch does not take.
    return TrackTargets(
        boxes=torch.from_numpy(np.ascontiguousarray(tracks.boxes)),
        present=torch.from_numpy(np.ascontiguousarray(tracks.present)),
        labels=torch.from_numpy(np.ascontiguousarray(tracks.labels, np.float32)),
    )


def _keeps_aspect(data: DataSection) -> bool:
    """Whether frames come from a cache of the same shape: one resize does, and is sharper."""
    if not data.cache or data.size is None or data.cache_size is None:
        return False
    return data.cache_size[0] * data.size[1] == data.cache_size[1] * data.size[0]


def _pairs(recipe: Recipe, dataset: Dataset) -> tuple[tuple[int, int], ...]:
    names = dataset.classes.names
    for name in (name for pair in recipe.augment.flip_pairs for name in pair):
        if name not in names:
            raise InputError(f"augment.flip_pairs: no class {name!r}", remedy=nearest(name, names))
    return tuple((names.index(a), names.index(b)) for a, b in recipe.augment.flip_pairs)


@dataclass(frozen=True, eq=False)
class _Collated:
    """From keys to the batch of their clips; can be sent to a worker."""

    clips: ClipDataset
    proposals: ExternalProposals | None

    def __call__(self, keys: Sequence[Key]) -> Batch:
        batch = collate([self.clips[key] for key in keys])
        if self.proposals is not None:
            batch.proposals = self.proposals.of(batch.clips_info)
        return batch

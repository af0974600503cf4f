"""Clips in two views, labelled and not, for training by consistency.

Which clips a batch holds and how they are changed depends on the seed and the number of the batch
alone. The first view of a labelled clip is the clip of supervised training, to the bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stad_cli.config import Recipe
from stad_cli.engine.batch_loader import load_batches
from stad_cli.engine.batches import training_clips
from stad_cli.engine.clip_changes import training_transform
from stad_cli.engine.clip_forms import followed
from stad_cli.engine.dataset import part_of
from stad_cli.engine.labelled_videos import further_videos, unlabelled_videos
from stad_cli.engine.methods.method import TrainingData
from stad_cli.engine.methods.unlabelled_clips import SEED_APART, strong_transform
from stad_data import VideoAnnotation, transforms
from stad_data.clip_samples import frame_samples
from stad_data.clips import centred
from stad_data.loading import Batch, ClipDataset, Transform, collate
from stad_data.object_clips import object_clip, object_samples
from stad_data.sampling import EpochBatches, Key, keyframe_samples
from stad_data.splits import unannotated
from stad_eval import InputError

CHANCES = 4
"""Uniform numbers that come with every clip, for what a step draws itself."""


UnlabelledSamples = tuple[Sequence[VideoAnnotation], NDArray[np.int64]]
"""Videos without annotation, and the frames [S, 2] (video number, frame) of clips."""


@dataclass(kw_only=True, eq=False)
class PairBatch:
    """N clips in two views.

    Attributes:
        first: The clips after [augment].
        second: The same after [method.strong] as well.
        chances: `[N, CHANCES]` float64, uniform in [0, 1).
    """

    first: Batch
    second: Batch
    chances: Tensor

    def __len__(self) -> int:
        return len(self.first)

    def pin_memory(self) -> "PairBatch":
        """The batch in page-locked memory; a DataLoader with ``pin_memory=True`` calls it."""
        return replace(self, first=self.first.pin_memory(), second=self.second.pin_memory())


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipPairs:
    """From keys to a batch of clips in both views; can be sent to a worker."""

    clips: ClipDataset
    strong: Transform
    seed: int

    def __call__(self, keys: Sequence[Key]) -> PairBatch:
        """The clips of these keys; each one's chance follows from seed and key."""
        first = [self.clips[key] for key in keys]
        rngs = [np.random.default_rng([self.seed, *key, 2]) for key in keys]
        second = [self.strong(clip, rng) for clip, rng in zip(first, rngs, strict=True)]
        return PairBatch(
            first=collate(first),
            second=collate(second),
            chances=torch.from_numpy(np.stack([rng.random(CHANCES) for rng in rngs])),
        )


def labelled_pairs(data: TrainingData, *, start: int) -> Iterator[PairBatch]:
    """This process's endless stream of labelled batches, from backward pass `start` on.

    Raises:
        InputError: No training sample; while iterating, what is wrong with a video.
    """
    recipe, group = data.recipe, data.group
    clips, order = training_clips(recipe, data.dataset, group, start=start, caches=data.caches)
    pairs = ClipPairs(clips=clips, strong=second_view(recipe), seed=recipe.run.seed)
    pinned = group.device.type == "cuda"
    return load_batches(pairs, order, workers=recipe.run.workers, pinned=pinned)


def unlabelled_pairs(
    data: TrainingData, drawn: UnlabelledSamples, *, start: int
) -> Iterator[PairBatch]:
    """This process's endless stream of unlabelled batches, from number `start` on.

    R processes with batch b draw together what one with batch R x b draws.

    Args:
        data: What is trained on.
        drawn: From `unlabelled_samples`.
        start: Number of the first batch.

    Raises:
        InputError: While iterating, what is wrong with a video.
    """
    recipe, group = data.recipe, data.group
    videos, samples = drawn
    seed = recipe.run.seed + SEED_APART
    order = EpochBatches(
        size=len(samples),
        batch=round(recipe.method.ratio * recipe.optim.batch),
        seed=seed,
        rank=group.rank,
        ranks=group.ranks,
        start=start,
    )
    clips = ClipDataset(
        videos,
        samples,
        length=recipe.clip.length,
        stride=recipe.augment.stride or recipe.clip.stride,
        transform=training_transform(recipe, data.dataset),
        seed=seed,
        caches=data.caches,
        make=object_clip if recipe.clip.form == "object" else centred,
    )
    pairs = ClipPairs(clips=clips, strong=second_view(recipe), seed=seed)
    pinned = group.device.type == "cuda"
    return load_batches(pairs, order, workers=recipe.run.workers, pinned=pinned)


def unlabelled_samples(data: TrainingData) -> UnlabelledSamples:
    """The unlabelled videos, without annotation, and the frames [S, 2] that clips are drawn around.

    Every n-th frame (`data.every_nth_frame`), of the dataset's videos perhaps those with actors
    alone; external videos are untrimmed. Of objects (`[clip] form`) the first mask is known, which
    says what is to be followed, and clips begin with a later frame.

    Raises:
        InputError: No unlabelled video, or a folder of external ones that cannot be used.
    """
    recipe = data.recipe
    inner = unlabelled_videos(recipe.data, part_of(data.dataset, "train"))
    outer = further_videos(recipe.data, num_classes=len(data.dataset.classes))
    every = recipe.data.every_nth_frame
    if recipe.clip.form == "object":
        objects = followed(recipe, inner)
        return _some(data, objects, object_samples(objects, every=every))
    if recipe.method.unlabelled_frames == "actors":
        samples = keyframe_samples(inner, every=every, empty=False)
    else:
        samples = frame_samples(inner, every=every)
    further = frame_samples(outer, every=every) + np.array([len(inner), 0])
    videos = (*(unannotated(video) for video in inner), *outer)
    return _some(data, videos, np.concatenate([samples, further]))


def _some(
    data: TrainingData, videos: Sequence[VideoAnnotation], samples: NDArray[np.int64]
) -> UnlabelledSamples:
    """The samples, if there are any."""
    if not len(samples):
        raise InputError(
            f"no unlabelled video is left of the train part of {data.dataset.name}",
            expected="videos that are not labelled, or a folder of others",
            remedy="set data.labelled below 1, or data.external to a folder of videos",
        )
    return videos, samples


def second_view(recipe: Recipe) -> Transform:
    """What the second view has beyond the first: [method.strong], mirrored where it says so."""
    strong = strong_transform(recipe)
    flip = recipe.method.strong.flip
    return transforms.Compose([transforms.RandomFlip(flip), strong]) if flip else strong

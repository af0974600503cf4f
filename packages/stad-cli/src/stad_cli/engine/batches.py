"""From a recipe and annotated videos to batches of clips."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_cli.config import Recipe
from stad_cli.engine.batch_loader import load_batches
from stad_cli.engine.clip_changes import test_transform, training_transform
from stad_cli.engine.clip_forms import clip_maker, trained_on, training_samples
from stad_cli.engine.dataset import part_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.external_proposals import ExternalProposals, wanted_proposals
from stad_cli.engine.labelled_videos import labelled_videos
from stad_data import Dataset, VideoAnnotation
from stad_data.clip_flow import FlowSource
from stad_data.clips import FrameSource
from stad_data.loading import Batch, ClipDataset, collate
from stad_data.mixing import MixUp
from stad_data.sampling import EpochBatches, Key, balanced_weights
from stad_eval import InputError


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

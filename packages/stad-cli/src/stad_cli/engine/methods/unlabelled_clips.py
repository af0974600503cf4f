"""Clips between annotated frames, each in a weak and a strong view, for training without labels.

Which clips a batch holds and how they are changed depends on the seed and the number of the batch
alone, as for annotated clips; the draws of annotated clips do not depend on these.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from stad_cli.config import Recipe
from stad_cli.engine.batch_loader import load_batches
from stad_cli.engine.clip_changes import color_jitter, training_transform
from stad_cli.engine.methods.annotated_frames import annotated_videos, hidden_truth
from stad_cli.engine.methods.method import TrainingData
from stad_data import FrameAnnotation, VideoAnnotation, transforms, windows
from stad_data.clip_samples import between_samples
from stad_data.clip_tracks import NO_FRAME
from stad_data.clips import Clip, FrameSource
from stad_data.loading import Batch, ClipDataset, Transform, collate
from stad_data.sampling import EpochBatches, Key
from stad_data.views import views
from stad_eval import InputError
from stad_ssl import Keyframe, Neighbours

SEED_APART = 1_000_003
"""Added to the run's seed, so that unlabelled clips are drawn by chance of their own."""


@dataclass(kw_only=True, eq=False)
class UnlabelledBatch:
    """N unlabelled clips of one training step.

    Attributes:
        weak: The teacher's view, without actors.
        strong: The student's view of the same clips, without actors.
        neighbours: Per clip what is annotated around it, in pixels of the weak view.
        hidden: Per clip who is there in truth, in pixels of the weak view, or None where no one
            knows. To be counted against, never to be trained on.
    """

    weak: Batch
    strong: Batch
    neighbours: list[Neighbours]
    hidden: list[Keyframe | None]

    def __len__(self) -> int:
        return len(self.weak)

    def pin_memory(self) -> "UnlabelledBatch":
        """The batch in page-locked memory; a DataLoader with ``pin_memory=True`` calls it."""
        return replace(self, weak=self.weak.pin_memory(), strong=self.strong.pin_memory())


def unlabelled_batches(data: TrainingData, *, start: int) -> Iterator[UnlabelledBatch]:
    """This process's endless stream of unlabelled batches, from number `start` on.

    R processes with batch b draw together what one with batch R x b draws.

    Raises:
        InputError: No frame between annotated ones; while iterating, what is wrong with a video.
    """
    recipe, group = data.recipe, data.group
    method = recipe.method
    videos = annotated_videos(data)
    samples = between_samples(videos, per_gap=method.per_gap, widest=method.widest_gap)
    if not len(samples):
        raise InputError(
            f"the train part of {data.dataset.name} has no frame between two annotated ones",
            expected="videos of which not every frame is annotated",
            remedy="set data.every_nth_frame to more than 1, raise method.widest_gap, or train "
            'with method.strategy "ema"',
        )
    seed = recipe.run.seed + SEED_APART
    order = EpochBatches(
        size=len(samples),
        batch=round(method.ratio * recipe.optim.batch),
        seed=seed,
        rank=group.rank,
        ranks=group.ranks,
        start=start,
    )
    hidden = hidden_truth(data, videos)
    clips = ClipDataset(
        videos,
        samples,
        length=recipe.clip.length,
        stride=recipe.augment.stride or recipe.clip.stride,
        seed=seed,
        caches=data.caches,
        make=Between(hidden),
    )
    pairs = ViewPairs(
        clips=clips,
        weak=weak_transform(data),
        strong=strong_transform(recipe),
        hidden=hidden,
        seed=seed,
    )
    pinned = group.device.type == "cuda"
    return load_batches(pairs, order, workers=recipe.run.workers, pinned=pinned)


@dataclass(frozen=True, eq=False)
class Between:
    """Makes unlabelled clips; their keyframe has the actors of the hidden truth, for counting."""

    hidden: Mapping[str, VideoAnnotation]

    def __call__(
        self,
        annotation: VideoAnnotation,
        frame: int,
        *,
        length: int,
        stride: int,
        source: FrameSource | None = None,
    ) -> Clip:
        """The clip around a frame between two keyframes; its tracks are the actors of these."""
        clip = windows.between(annotation, frame, length=length, stride=stride, source=source)
        known = self.hidden.get(annotation.video)
        if known is None:
            return clip
        actors = known.at(frame)
        return replace(
            clip,
            boxes=clip.placement.to_clip(actors.boxes).astype(np.float32),
            labels=actors.labels,
            actors=actors.actors,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPairs:
    """From keys to a batch of unlabelled clips in both views; can be sent to a worker."""

    clips: ClipDataset
    weak: Transform
    strong: Transform
    hidden: Mapping[str, VideoAnnotation]
    seed: int

    def __call__(self, keys: Sequence[Key]) -> UnlabelledBatch:
        """The clips of these keys; each one's chance follows from seed and key."""
        pairs = [
            views(
                self.clips[key], self.weak, self.strong, np.random.default_rng([self.seed, *key, 1])
            )
            for key in keys
        ]
        weak = [pair.weak for pair in pairs]
        return UnlabelledBatch(
            weak=collate([windows.without_actors(clip) for clip in weak]),
            strong=collate([windows.without_actors(pair.strong) for pair in pairs]),
            neighbours=[_neighbours(clip) for clip in weak],
            hidden=[self._hidden(clip) for clip in weak],
        )

    def _hidden(self, clip: Clip) -> Keyframe | None:
        known = self.hidden.get(clip.video)
        if known is None or clip.frame not in known.keyframes:
            return None
        return _keyframe(
            FrameAnnotation(
                boxes=clip.boxes.astype(np.float64), labels=clip.labels > 0, actors=clip.actors
            )
        )


def weak_transform(data: TrainingData) -> Transform:
    """The recipe's geometry of a training clip, without its changes of colour.

    Raises:
        InputError: A class of `augment.flip_pairs` that the dataset does not know.
    """
    plain = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    augment = data.recipe.augment.model_copy(update=plain)
    return training_transform(data.recipe.model_copy(update={"augment": augment}), data.dataset)


def strong_transform(recipe: Recipe) -> Transform:
    """What the student's view has beyond the teacher's."""
    strong = recipe.method.strong
    steps: list[Transform] = []
    crop = recipe.augment.crop
    size = recipe.data.size or (None if crop is None else (crop, crop))
    if size is not None and (strong.scale != (1.0, 1.0) or strong.stretch):
        steps.append(transforms.RandomScaledCrop(size, strong.scale, stretch=strong.stretch))
    steps.extend(color_jitter(strong))
    if strong.cutout:
        steps.append(transforms.Cutout(count=strong.cutout, area=strong.cutout_area))
    return transforms.Compose(steps)


def _neighbours(clip: Clip) -> Neighbours:
    """What the tracks of a clip of `Between` say of the keyframes before and after it."""
    tracks = clip.tracks
    if tracks is None:
        return Neighbours(size=(clip.size[1], clip.size[0]))
    before, after = (
        None if frame == NO_FRAME else _keyframe(tracks.at(column))
        for column, frame in enumerate(tracks.frames.tolist())
    )
    place = tracks.fraction(clip.frame)
    return Neighbours(
        before=before,
        after=after,
        position=None if np.isnan(place) else place,
        size=(clip.size[1], clip.size[0]),
    )


def _keyframe(actors: FrameAnnotation) -> Keyframe:
    return Keyframe(
        boxes=torch.tensor(actors.boxes, dtype=torch.float32),
        labels=torch.tensor(actors.labels),
        persons=torch.tensor(actors.actors),
    )

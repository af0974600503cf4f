"""A detector's score on the keyframes of a dataset's part.

Suffix legend: N = boxes found, C = classes, K = keyframes.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stad_cli.config import Recipe
from stad_cli.engine.data import frame_caches, keyframe_batches, normalise, part_of
from stad_cli.engine.distributed import Processes
from stad_data import ActionClasses, Dataset, VideoAnnotation, truth_table
from stad_data.clips import FrameSource
from stad_data.loading import ClipInfo
from stad_data.sampling import keyframe_samples, shard
from stad_eval import Boxes, FrameResult, actor_ap, concatenate, frame_map
from stad_models.structures import Detections

PERSON = "person"
"""The one class of the table of actors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a detector found in a part of a dataset, and what that is worth.

    Attributes:
        part: "train" or "test".
        protocol: Of the dataset, a name of stad-eval.
        iou: Overlap from which a box counts as found.
        truth: Ground truth, one row per (box, label).
        found: Detections, one row per (box, label) with a score above the action threshold.
        actor_truth: Every annotated box once, those without any label too; one class, "person".
        actors: Every box found, once, with the score of the localisation head.
        clips: How many keyframes were looked at.
        seconds: How long that took.
    """

    part: str
    protocol: str
    iou: float
    truth: Boxes
    found: Boxes
    actor_truth: Boxes
    actors: Boxes
    clips: int
    seconds: float

    @cached_property
    def result(self) -> FrameResult:
        """Frame-mAP under the dataset's protocol."""
        return frame_map(self.truth, self.found, self.protocol, iou=self.iou)

    @cached_property
    def actor_result(self) -> FrameResult:
        """Average precision of the boxes alone, whatever the actors do."""
        return actor_ap(self.actor_truth, self.actors, iou=self.iou)

    def on(self, samples: NDArray[np.int64]) -> "Evaluation":
        """The same on some of the keyframes only: int64 [K, 2] rows (video number, frame)."""
        return replace(
            self,
            truth=replace(_rows_on(self.truth, samples), annotated=samples),
            found=_rows_on(self.found, samples),
            actor_truth=replace(_rows_on(self.actor_truth, samples), annotated=samples),
            actors=_rows_on(self.actors, samples),
            clips=len(samples),
        )

    def metrics(self) -> dict[str, float]:
        """The two numbers of the log, as fractions."""
        return {"frame_mAP": self.result.mean, "actor_AP": self.actor_result.mean}


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    part: str,
    recipe: Recipe,
    group: Processes,
    *,
    every_nth_frame: int = 1,
    caches: Mapping[str, FrameSource] | None = None,
    seen: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Run a detector over the annotated frames of a part and score what it finds.

    Several processes share the frames; each of them gets the whole Evaluation. The model computes
    in float32 and is left in the modes (training or not) that it came in.

    Args:
        model: On the group's device.
        dataset: Its protocol is used.
        part: "train" or "test".
        recipe: Clip form, size, batch and IoU.
        group: This process and its peers.
        every_nth_frame: Look at (and score) every n-th annotated frame of a video only.
        caches: Frames by video name; made here where the recipe says `cache` and None is given.
        seen: Told how many more keyframes are done.

    Raises:
        InputError: A part without annotated frames, or a video that cannot be read.
    """
    start = time.monotonic()
    videos = part_of(dataset, part)
    samples = keyframe_samples(videos, every=every_nth_frame)
    rows = shard(len(samples), rank=group.rank, ranks=group.ranks)
    own = samples[rows.start : rows.stop]
    if caches is None:
        needed = (videos[number] for number in np.unique(own[:, 0]).tolist())
        caches = frame_caches(needed, recipe.data)
    batches = keyframe_batches(recipe, videos, own, caches=caches, workers=recipe.run.workers)
    collector = Collector(videos, dataset.classes)
    with inference(model):
        for batch in batches:
            detections: list[Detections] = model(normalise(batch.clips.to(group.device)))
            for info, one in zip(batch.clips_info, detections, strict=True):
                collector.add(info, one)
            seen(len(batch))
    tables: list[tuple[Boxes, Boxes]] = group.gather(collector.tables())
    whole = Evaluation(
        part=part,
        protocol=dataset.protocol,
        iou=recipe.eval.iou,
        truth=truth_table(videos, dataset.classes),
        found=concatenate(found for found, _ in tables),
        actor_truth=actor_table(videos),
        actors=concatenate(actors for _, actors in tables),
        clips=len(samples),
        seconds=time.monotonic() - start,
    )
    return whole if every_nth_frame == 1 else whole.on(samples)


def actor_table(annotations: Sequence[VideoAnnotation]) -> Boxes:
    """Ground truth of the persons alone: one row per annotated box, whatever its labels."""
    tracks = [(n, track) for n, annotation in enumerate(annotations) for track in annotation.tracks]
    keys = [(n, key) for n, a in enumerate(annotations) for key in a.keyframes.tolist()]
    none = np.zeros(0, np.int64)
    video = np.concatenate([none, *(np.full(len(track), n, np.int64) for n, track in tracks)])
    return Boxes(
        videos=tuple(annotation.video for annotation in annotations),
        classes=(PERSON,),
        video=video,
        frame=np.concatenate([none, *(track.frames for _, track in tracks)]),
        box=np.concatenate([np.zeros((0, 4)), *(track.boxes for _, track in tracks)]),
        label=np.zeros(len(video), np.int64),
        score=np.ones(len(video)),
        annotated=np.array(keys, np.int64).reshape(-1, 2),
    )


class Collector:
    """Gathers detections, clip by clip, into the tables that are scored.

    Args:
        annotations: The videos; their names become the tables' `videos`, in this order.
        classes: The actions; their names become `classes`.
    """

    def __init__(self, annotations: Sequence[VideoAnnotation], classes: ActionClasses) -> None:
        self._videos = tuple(annotation.video for annotation in annotations)
        self._number = {name: number for number, name in enumerate(self._videos)}
        self._classes = classes.names
        self._where: list[tuple[int, int]] = []
        self._boxes: list[NDArray[np.float64]] = []
        self._actor_scores: list[NDArray[np.float64]] = []
        self._scores: list[NDArray[np.float64]] = []

    def add(self, info: ClipInfo, found: Detections) -> None:
        """Add what was found in one clip; boxes beyond the border of the frame are cut there.

        A box that has no area within the frame is left out.
        """
        boxes_N4 = info.placement.to_source(_array(found.boxes), clip=True)
        good = (boxes_N4[:, 2:] > boxes_N4[:, :2]).all(axis=1)
        self._where.append((self._number[info.video], info.frame))
        self._boxes.append(boxes_N4[good])
        self._actor_scores.append(_array(found.actor_scores)[good])
        self._scores.append(_array(found.scores)[good])

    def tables(self) -> tuple[Boxes, Boxes]:
        """Detections (one row per box and label) and actors (one row per box)."""
        counts = [len(boxes) for boxes in self._boxes]
        where_N2 = np.array(self._where, np.int64).reshape(-1, 2).repeat(counts, axis=0)
        box_N4 = np.concatenate([np.zeros((0, 4)), *self._boxes])
        scores_NC = np.concatenate([np.zeros((0, len(self._classes))), *self._scores])
        actor_N = np.concatenate([np.zeros(0), *self._actor_scores])
        rows, labels = np.nonzero(scores_NC > 0)
        found = Boxes(
            videos=self._videos,
            classes=self._classes,
            video=where_N2[rows, 0],
            frame=where_N2[rows, 1],
            box=box_N4[rows],
            label=labels.astype(np.int64),
            score=scores_NC[rows, labels],
        )
        actors = Boxes(
            videos=self._videos,
            classes=(PERSON,),
            video=where_N2[:, 0],
            frame=where_N2[:, 1],
            box=box_N4,
            label=np.zeros(len(box_N4), np.int64),
            score=actor_N,
        )
        return found, actors


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


def _rows_on(table: Boxes, samples: NDArray[np.int64]) -> Boxes:
    """The rows of a table that lie on these (video number, frame) pairs."""
    span = 1 + int(max(table.frame.max(initial=0), samples[:, 1].max(initial=0)))
    wanted = samples[:, 0] * span + samples[:, 1]
    return table.select(np.isin(table.video * span + table.frame, wanted))


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()

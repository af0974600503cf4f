"""What a detector found in a part of a dataset, and what that is worth.

Suffix legend: N = boxes, K = keyframes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stad_data import ActionClasses, VideoAnnotation, action_tubes, truth_table
from stad_eval import (
    Boxes,
    ErrorTypes,
    FrameResult,
    Tubes,
    VideoResult,
    actor_ap,
    frame_map,
    stack_tubes,
    tube_errors,
    video_map,
)

PERSON = "person"
"""The one class of the table of actors."""

TUBE_IOU = (0.2, 0.3, 0.5, 0.75, "0.5:0.95")
"""Overlaps of tubes that video-mAP is worked out at."""


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
        actors: Every box found, once, with the score of the localisation head (for tubelets and
            tubes with the best score of its actions).
        clips: How many clips were looked at.
        seconds: How long that took.
        tube_truth: Ground truth as tubes; None where the detector gives no tubes.
        tubes: Tubes found; None where the detector gives none.
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
    tube_truth: Tubes | None = None
    tubes: Tubes | None = None

    @cached_property
    def result(self) -> FrameResult:
        """Frame-mAP under the dataset's protocol."""
        return frame_map(self.truth, self.found, self.protocol, iou=self.iou)

    @cached_property
    def actor_result(self) -> FrameResult:
        """Average precision of the boxes alone, whatever the actors do."""
        return actor_ap(self.actor_truth, self.actors, iou=self.iou)

    @cached_property
    def video_result(self) -> VideoResult | None:
        """Video-mAP and v-MABO under the dataset's protocol; None without tubes."""
        if self.tube_truth is None or self.tubes is None:
            return None
        return video_map(self.tube_truth, self.tubes, self.protocol, iou=TUBE_IOU)

    @cached_property
    def tube_types(self) -> ErrorTypes | None:
        """How many tubes are right at `iou`, and what the others are; None without tubes."""
        if self.tube_truth is None or self.tubes is None:
            return None
        return tube_errors(self.tube_truth, self.tubes, self.protocol, iou=self.iou).types

    def without_tubes(self) -> "Evaluation":
        """What was found in single frames alone."""
        return replace(self, tube_truth=None, tubes=None)

    def on(self, samples: NDArray[np.int64]) -> "Evaluation":
        """The same on some of the keyframes only: int64 [K, 2] rows (video number, frame).

        Tubes stay where they are on one of these videos, of which all keyframes should be given.
        """
        videos = np.unique(samples[:, 0])
        return replace(
            self,
            truth=replace(_rows_on(self.truth, samples), annotated=samples),
            found=_rows_on(self.found, samples),
            actor_truth=replace(_rows_on(self.actor_truth, samples), annotated=samples),
            actors=_rows_on(self.actors, samples),
            clips=len(samples),
            tube_truth=_tubes_on(self.tube_truth, videos),
            tubes=_tubes_on(self.tubes, videos),
        )

    def metrics(self) -> dict[str, float]:
        """The numbers of the log, as fractions: of frames, and of tubes where there are any."""
        numbers = {"frame_mAP": self.result.mean, "actor_AP": self.actor_result.mean}
        if self.video_result is not None:
            coverage = self.video_result.coverage
            numbers |= {f"video_mAP@{iou}": mean for iou, mean in self.video_result.mean.items()}
            numbers |= {"v_MABO": coverage.class_agnostic, "v_MABO_class": coverage.class_aware}
        return numbers

    @property
    def score(self) -> float:
        """What the best checkpoint is chosen by: video-mAP at 0.5 of tubes, else frame-mAP."""
        numbers = self.metrics()
        return numbers.get("video_mAP@0.5", numbers["frame_mAP"])


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


def tube_table(annotations: Sequence[VideoAnnotation], classes: ActionClasses) -> Tubes:
    """Ground truth as tubes, see `stad_data.action_tubes`; videos without a tube count too."""
    tubes = [tube for annotation in annotations for tube in action_tubes(annotation)]
    names = [annotation.video for annotation in annotations]
    return stack_tubes(tubes, classes=classes.names, videos=names)


def ground_truth(
    annotations: Sequence[VideoAnnotation], classes: ActionClasses
) -> tuple[Boxes, Boxes]:
    """The tables `truth` and `actor_truth` of an Evaluation."""
    return truth_table(annotations, classes), actor_table(annotations)


def _rows_on(table: Boxes, samples: NDArray[np.int64]) -> Boxes:
    """The rows of a table that lie on these (video number, frame) pairs."""
    span = 1 + int(max(table.frame.max(initial=0), samples[:, 1].max(initial=0)))
    wanted = samples[:, 0] * span + samples[:, 1]
    return table.select(np.isin(table.video * span + table.frame, wanted))


def _tubes_on(tubes: Tubes | None, videos: NDArray[np.int64]) -> Tubes | None:
    """The tubes on these videos."""
    return None if tubes is None else tubes.select(np.isin(tubes.video, videos))

"""Tubelets of overlapping clips, linked to tubes video by video.

Suffix legend: N = tubelets of a clip, K = frames of each, M = rows, C = classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stad_cli.engine.collectors.findings import Findings, array
from stad_cli.engine.evaluation import PERSON
from stad_data import ActionClasses, VideoAnnotation
from stad_data.loading import ClipInfo
from stad_eval import (
    Boxes,
    InputError,
    Trimming,
    TubeletLinking,
    concatenate,
    empty_boxes,
    frame_boxes,
    link_tubelets,
    stack_tubes,
)
from stad_eval import Tubelets as TubeletTable
from stad_eval.tubes import Tube
from stad_models.structures import Tubelets

SMALLEST = 1.0
"""Sides of a box, in pixels of the annotated frame, below which it is widened to that."""


class TubeletCollector:
    """Links tubelets as soon as a video is complete, and keeps its tubes and boxes alone.

    Args:
        annotations: The videos; their names become the tables' `videos`, in this order.
        classes: The actions; their names become `classes`.
        linking: How tubelets become tubes; `min_length` is lowered to a video's own length.
        trimming: How tubes are cut in time; None cuts nothing.
    """

    def __init__(
        self,
        annotations: Sequence[VideoAnnotation],
        classes: ActionClasses,
        *,
        linking: TubeletLinking | None = None,
        trimming: Trimming | None = None,
    ) -> None:
        self._annotations = {each.video: each for each in annotations}
        self._classes = classes
        self._linking, self._trimming = linking or TubeletLinking(), trimming
        self._video: str | None = None
        self._starts: list[NDArray[np.int64]] = []
        self._boxes: list[NDArray[np.float64]] = []
        self._scores: list[NDArray[np.float64]] = []
        videos = tuple(self._annotations)
        self._found: list[Boxes] = [empty_boxes(videos=videos, classes=classes.names)]
        self._actors: list[Boxes] = [empty_boxes(videos=videos, classes=(PERSON,))]
        self._tubes: list[Tube] = []

    def add(self, info: ClipInfo, prediction: Tubelets) -> None:
        """Add the tubelets of one clip.

        Raises:
            InputError: a clip whose frames under the tubelets do not follow each other.
        """
        if info.video != self._video:
            self._link()
            self._video = info.video
        count, length = prediction.boxes.shape[:2]
        start = self._start(info, prediction.first, length)
        boxes_M4 = info.placement.to_source(array(prediction.boxes).reshape(-1, 4), clip=True)
        boxes_NK4 = _widened(boxes_M4).reshape(count, length, 4)
        # A video shorter than a tubelet: boxes before its first frame are left out.
        boxes_NK4 = np.concatenate(
            [boxes_NK4[:, max(0, -start) :], boxes_NK4[:, -1:].repeat(max(0, -start), axis=1)],
            axis=1,
        )
        self._starts.append(np.full(count, max(0, start), np.int64))
        self._boxes.append(boxes_NK4)
        self._scores.append(array(prediction.scores))

    def _start(self, info: ClipInfo, first: int, length: int) -> int:
        """The frame of the video that a tubelet's first box lies on; negative before the video."""
        middle = info.frame - length // 2
        frames = info.indices[first : first + length]
        last = self._annotations[info.video].num_frames - 1
        if not np.array_equal(frames, np.arange(middle, middle + length).clip(0, last)):
            raise InputError(
                f"video {info.video!r}: tubelets lie on frames that follow each other",
                expected=f"{length} frames around frame {info.frame}",
                found=str(frames.tolist()),
                remedy="set clip.stride=1",
            )
        return middle

    def findings(self) -> Findings:
        """Boxes on frames, suppressed per class, and tubes."""
        self._link()
        self._video = None
        return Findings(
            found=concatenate(self._found),
            actors=concatenate(self._actors),
            tubes=stack_tubes(
                self._tubes, classes=self._classes.names, videos=tuple(self._annotations)
            ),
        )

    def _link(self) -> None:
        """Turn the collected tubelets of the current video into boxes and tubes."""
        if self._video is None or not self._starts:
            return
        frames = self._annotations[self._video].num_frames
        starts = np.concatenate(self._starts)
        boxes_NK4, scores_NC = np.concatenate(self._boxes), np.concatenate(self._scores)
        self._starts, self._boxes, self._scores = [], [], []
        rows, labels = np.nonzero(scores_NC > 0)
        tubelets = TubeletTable(
            videos=(self._video,),
            classes=self._classes.names,
            video=np.zeros(len(rows), np.int64),
            start=starts[rows],
            label=labels.astype(np.int64),
            score=scores_NC[rows, labels],
            box=boxes_NK4[rows],
        )
        persons = TubeletTable(
            videos=(self._video,),
            classes=(PERSON,),
            video=np.zeros(len(starts), np.int64),
            start=starts,
            label=np.zeros(len(starts), np.int64),
            score=scores_NC.max(axis=1, initial=0.0),
            box=boxes_NK4,
        )
        self._found.append(_within(frame_boxes(tubelets), frames))
        self._actors.append(_within(frame_boxes(persons), frames))
        linking = replace(self._linking, min_length=min(self._linking.min_length, frames))
        for tube in link_tubelets(tubelets, linking, trimming=self._trimming):
            inside = tube.frames < frames
            self._tubes.append(replace(tube, frames=tube.frames[inside], boxes=tube.boxes[inside]))


def _within(boxes: Boxes, frames: int) -> Boxes:
    """Without rows after the last frame, where a tubelet reached over the end of the video."""
    return boxes.select(boxes.frame < frames)


def _widened(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes [M, 4] of at least `SMALLEST` pixels: a tubelet needs a box in each of its frames.

    One that lies outside the frame in some of them is a sliver at the frame's border there.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.maximum(boxes[:, 2:] - boxes[:, :2], SMALLEST) / 2
    return np.concatenate([middle - half, middle + half], axis=1)

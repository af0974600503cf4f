"""Whole tubes of clips that hold a video in a fixed number of frames.

Suffix legend: N = tubes, T = frames of the clip, F = frames of the video under a tube.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stad_cli.engine.collectors.findings import Findings, array, with_area
from stad_cli.engine.evaluation import PERSON
from stad_data import ActionClasses, VideoAnnotation
from stad_data.loading import ClipInfo
from stad_data.windows import TimeMap
from stad_eval import Suppression, frame_nms, stack_tubes, tube_boxes
from stad_eval.tubes import Tube
from stad_models.structures import Tubes

PERSON_NMS = Suppression(iou=0.5, rescoring="remove")
"""One box per person and frame, though several tubes (one per action) run through it."""


class TubeCollector:
    """Brings tubes from the time of the clip to that of the video, a box on every frame.

    Args:
        annotations: The videos; their names become the tables' `videos`, in this order.
        classes: The actions; their names become `classes`.
    """

    def __init__(self, annotations: Sequence[VideoAnnotation], classes: ActionClasses) -> None:
        self._annotations = {each.video: each for each in annotations}
        self._classes = classes
        self._tubes: list[Tube] = []

    def add(self, info: ClipInfo, prediction: Tubes) -> None:
        """Add the tubes of one video."""
        length = prediction.boxes.shape[1]
        stop = self._annotations[info.video].num_frames
        time = TimeMap(start=0, stop=stop, length=max(1, length))
        boxes_NT4, spans_N2 = array(prediction.boxes), array(prediction.spans)
        labels, scores = prediction.labels.tolist(), array(prediction.scores).tolist()
        for boxes, span, label, score in zip(boxes_NT4, spans_N2, labels, scores, strict=True):
            frames, moved = on_video(boxes, span, time)
            moved = info.placement.to_source(moved, clip=True)
            good = with_area(moved)
            if good.any():
                self._tubes.append(
                    Tube(
                        video=info.video,
                        label=label,
                        score=score,
                        frames=frames[good],
                        boxes=moved[good],
                    )
                )

    def findings(self) -> Findings:
        """Tubes, and their boxes on frames."""
        videos = tuple(self._annotations)
        tubes = stack_tubes(self._tubes, classes=self._classes.names, videos=videos)
        persons = [
            Tube(video=t.video, label=0, score=t.score, frames=t.frames, boxes=t.boxes)
            for t in self._tubes
        ]
        actors = tube_boxes(stack_tubes(persons, classes=(PERSON,), videos=videos))
        return Findings(found=tube_boxes(tubes), actors=frame_nms(actors, PERSON_NMS), tubes=tubes)


def on_video(
    boxes: NDArray[np.float64], span: NDArray[np.float64], time: TimeMap
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The frames [F] of the video that a tube of a clip covers, and its boxes there [F, 4].

    A frame is covered if its middle lies in the span; a span between two middles covers the frame
    it begins in. Boxes are interpolated linearly between the middles of the clip's frames.

    Args:
        boxes: [T, 4] in any pixels.
        span: [2], in frames of the clip.
        time: Between the clip and the video.
    """
    start, stop = time.to_video(np.clip(span, 0, time.length)).tolist()
    first, last = int(np.ceil(start - 0.5)), int(np.ceil(stop - 0.5))
    first = min(max(first, time.start), time.stop - 1)
    frames = np.arange(first, max(first + 1, min(last, time.stop)), dtype=np.int64)
    at = time.to_clip(frames + 0.5) - 0.5
    known = np.arange(len(boxes))
    return frames, np.stack([np.interp(at, known, column) for column in boxes.T], axis=1)

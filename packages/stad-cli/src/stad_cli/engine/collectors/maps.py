"""Localisation maps of the clips of a video, as boxes and tubes.

Suffix legend: T, H, W = frames, height, width of a clip.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stad_cli.engine.collectors.findings import Findings, array, table, with_area
from stad_cli.engine.evaluation import PERSON
from stad_data import ActionClasses, VideoAnnotation
from stad_data.loading import ClipInfo
from stad_eval import map_box, stack_tubes, tube_boxes
from stad_eval.tubes import Tube
from stad_models.structures import Maps

THRESHOLD = 0.5
"""Value of a map from which a pixel belongs to the actor."""


class MapCollector:
    """Boxes around the largest region of every frame's map; a tube of them for every action.

    A video's score of an action is the mean over its clips. A frame that several clips show has
    the mean of their maps; one that no clip shows has no box.

    Args:
        annotations: The videos; their names become the tables' `videos`, in this order.
        classes: The actions; their names become `classes`.
        threshold: Value from which a pixel belongs to the actor.

    Attributes:
        masks: bool [T, H, W], the actors' pixels in the clips' own size, on all frames of the video
            that was completed last.
    """

    def __init__(
        self,
        annotations: Sequence[VideoAnnotation],
        classes: ActionClasses,
        *,
        threshold: float = THRESHOLD,
    ) -> None:
        self._annotations = annotations
        self._number = {each.video: number for number, each in enumerate(annotations)}
        self._classes = classes
        self._threshold = threshold
        self._video: str | None = None
        self._info: ClipInfo | None = None
        self._sums: dict[int, NDArray[np.float32]] = {}
        self._counts: dict[int, int] = {}
        self._scores: list[NDArray[np.float64]] = []
        self._tubes: list[Tube] = []
        self.masks: NDArray[np.bool_] | None = None
        self._people: list[tuple[int, NDArray[np.int64], NDArray[np.float64], float]] = []

    def add(self, info: ClipInfo, prediction: Maps) -> None:
        """Add the map of one clip."""
        if info.video != self._video:
            self._close()
            self._video = info.video
        self._info = info
        width, height = info.size
        maps_THW = prediction.localisation.detach().float().cpu().numpy()[:, :height, :width]
        for frame, values in zip(info.indices.tolist(), maps_THW, strict=True):
            if frame in self._sums:
                self._sums[frame] = self._sums[frame] + values
                self._counts[frame] += 1
            else:
                self._sums[frame], self._counts[frame] = values, 1
        self._scores.append(array(prediction.scores))

    def findings(self) -> Findings:
        """Tubes, and their boxes on frames."""
        self._close()
        videos = tuple(self._number)
        tubes = stack_tubes(self._tubes, classes=self._classes.names, videos=videos)
        none = np.zeros(0, np.int64)
        video = [np.full(len(frames), number) for number, frames, _, _ in self._people]
        score = [np.full(len(frames), best) for _, frames, _, best in self._people]
        actors = table(
            self._annotations,
            (PERSON,),
            video=np.concatenate([none, *video]),
            frame=np.concatenate([none, *(frames for _, frames, _, _ in self._people)]),
            box=np.concatenate([np.zeros((0, 4)), *(boxes for _, _, boxes, _ in self._people)]),
            label=np.zeros(sum(len(frames) for _, frames, _, _ in self._people), np.int64),
            score=np.concatenate([np.zeros(0), *score]),
        )
        return Findings(found=tube_boxes(tubes), actors=actors, tubes=tubes)

    def _close(self) -> None:
        """Turn the maps of the current video into tubes."""
        if self._video is None or self._info is None:
            return
        frames: list[int] = []
        boxes: list[NDArray[np.float64]] = []
        means = {frame: self._sums[frame] / self._counts[frame] for frame in sorted(self._sums)}
        self.masks = np.stack([*means.values()]) >= self._threshold
        for frame, values in means.items():
            box = map_box(values, threshold=self._threshold)
            if box is not None:
                frames.append(frame)
                boxes.append(box)
        moved = self._info.placement.to_source(np.array(boxes).reshape(-1, 4), clip=True)
        good = with_area(moved)
        frame_F, box_F4 = np.array(frames, np.int64)[good], moved[good]
        scores = np.mean(self._scores, axis=0)
        if len(frame_F):
            self._people.append((self._number[self._video], frame_F, box_F4, float(scores.max())))
            self._tubes += [
                Tube(video=self._video, label=label, score=score, frames=frame_F, boxes=box_F4)
                for label, score in enumerate(scores.tolist())
                if score > 0
            ]
        self._video, self._info = None, None
        self._sums, self._counts, self._scores = {}, {}, []

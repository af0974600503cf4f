"""Detections at keyframes, as they are or linked. Suffix legend: N = boxes found, C = classes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stad_cli.engine.collectors.findings import Findings, array, table, with_area
from stad_cli.engine.collectors.keyframe_tubes import shared_scores, tube_of_boxes, tubes_of_boxes
from stad_cli.engine.evaluation import PERSON
from stad_data import ActionClasses, VideoAnnotation
from stad_data.loading import ClipInfo
from stad_eval import Boxes, Tubes
from stad_models.structures import Detections


class KeyframeCollector:
    """Gathers the detections of keyframes.

    Args:
        annotations: The videos; their names become the tables' `videos`, in this order.
        classes: The actions; their names become `classes`.
        link: Step between the frames that are looked at, where boxes are to be linked to tubes
            whose mean scores (geometric) all their boxes get; None leaves detections as they are.
        min_tube: Fewest boxes of a tube; lowered to what a video has.
    """

    def __init__(
        self,
        annotations: Sequence[VideoAnnotation],
        classes: ActionClasses,
        *,
        link: int | None = None,
        min_tube: int = 15,
    ) -> None:
        self._annotations = annotations
        self._link, self._min_tube = link, min_tube
        self._number = {each.video: number for number, each in enumerate(annotations)}
        self._classes = classes
        self._where: list[tuple[int, int]] = []
        self._boxes: list[NDArray[np.float64]] = []
        self._actor_scores: list[NDArray[np.float64]] = []
        self._scores: list[NDArray[np.float64]] = []

    def add(self, info: ClipInfo, prediction: Detections) -> None:
        """Add what was found in one clip; boxes beyond the border of the frame are cut there.

        A box that has no area within the frame is left out.
        """
        boxes_N4 = info.placement.to_source(array(prediction.boxes), clip=True)
        good = with_area(boxes_N4)
        self._where.append((self._number[info.video], info.frame))
        self._boxes.append(boxes_N4[good])
        self._actor_scores.append(array(prediction.actor_scores)[good])
        self._scores.append(array(prediction.scores)[good])

    def findings(self) -> Findings:
        """Detections (one row per box and label), actors (one row per box), perhaps tubes."""
        counts = [len(boxes) for boxes in self._boxes]
        where_N2 = np.array(self._where, np.int64).reshape(-1, 2).repeat(counts, axis=0)
        box_N4 = np.concatenate([np.zeros((0, 4)), *self._boxes])
        scores_NC = np.concatenate([np.zeros((0, len(self._classes))), *self._scores])
        actor_N = np.concatenate([np.zeros(0), *self._actor_scores])
        actors = table(
            self._annotations,
            (PERSON,),
            video=where_N2[:, 0],
            frame=where_N2[:, 1],
            box=box_N4,
            label=np.zeros(len(box_N4), np.int64),
            score=actor_N,
        )
        tubes = None
        if self._link is not None:
            tube_N = tube_of_boxes(actors, stride=self._link)
            scores_NC = shared_scores(tube_N, scores_NC)
            actors = replace(actors, score=shared_scores(tube_N, actor_N[:, None])[:, 0])
            tubes = self._tubes(actors, tube_N, scores_NC, self._link)
        rows, labels = np.nonzero(scores_NC > 0)
        return Findings(
            found=table(
                self._annotations,
                self._classes,
                video=where_N2[rows, 0],
                frame=where_N2[rows, 1],
                box=box_N4[rows],
                label=labels.astype(np.int64),
                score=scores_NC[rows, labels],
            ),
            actors=actors,
            tubes=tubes,
        )

    def _tubes(
        self, actors: Boxes, tube: NDArray[np.int64], scores: NDArray[np.float64], stride: int
    ) -> Tubes:
        looked_at = [max(1, len(each.keyframes) // stride) for each in self._annotations]
        least = np.minimum(max(1, self._min_tube // stride), np.array(looked_at, np.int64))
        return tubes_of_boxes(actors, tube, scores, self._classes.names, min_length=least)

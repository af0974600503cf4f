"""The actors of a clip in more than one frame: tubelets, tubes, neighbouring keyframes.

Suffix legend: N = actors, K = frames, C = classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_data.annotation import FrameAnnotation, VideoAnnotation
from stad_data.placement import Placement
from stad_eval import InputError

_Real = TypeVar("_Real", np.float32, np.float64)

NO_FRAME = -1
"""Stands for a frame that there is not: the keyframe before the first of a video."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTracks:
    """Boxes and labels of actors in K frames, which need not be frames of the clip.

    Without actors N is 0. A row has at least one box unless it was made by hand.

    Attributes:
        frames: int64 [K], frames of the video in the clip's order of time; a frame may come twice
            (at the ends of a video), and ``NO_FRAME`` stands for none.
        actors: int64 [N], increasing.
        boxes: float32 [N, K, 4], half-open ``xyxy`` in clip pixels; 0 where the actor is absent.
        present: bool [N, K], where the actor has a box.
        labels: bool [N, K, C]; false where the actor is absent.

    Raises:
        InputError: Shapes that disagree.
    """

    frames: NDArray[np.int64]
    actors: NDArray[np.int64]
    boxes: NDArray[np.float32]
    present: NDArray[np.bool_]
    labels: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = (*self.actors.shape, *self.frames.shape)
        if (
            len(shape) != 2
            or self.present.shape != shape
            or self.boxes.shape != (*shape, 4)
            or self.labels.shape[:2] != shape
            or self.labels.ndim != 3
        ):
            raise InputError(
                "the tracks of a clip disagree with their actors and frames",
                expected="boxes [N, K, 4], present [N, K], labels [N, K, C]",
                found=f"boxes {self.boxes.shape}, present {self.present.shape}, labels "
                f"{self.labels.shape} for actors {self.actors.shape}, frames {self.frames.shape}",
            )

    def __len__(self) -> int:
        """Number of actors."""
        return len(self.actors)

    def at(self, column: int) -> FrameAnnotation:
        """The actors present in one of the K frames, their boxes in clip pixels."""
        here = self.present[:, column]
        return FrameAnnotation(
            boxes=self.boxes[here, column].astype(np.float64),
            labels=self.labels[here, column],
            actors=self.actors[here],
        )

    def fraction(self, frame: int) -> float:
        """Where a frame of the video lies between the first (0) and the last (1) of the K frames.

        NaN where one of them is ``NO_FRAME``, where they are the same frame, or without frames.
        """
        ends = self.frames[[0, -1]].tolist() if len(self.frames) else [NO_FRAME, NO_FRAME]
        if NO_FRAME in ends or ends[0] == ends[1]:
            return float("nan")
        return (frame - ends[0]) / (ends[1] - ends[0])

    def moved(self, move: Callable[[ArrayLike], NDArray[np.float64]]) -> "ClipTracks":
        """After the pixels of the clip went through a map, which ``move`` is for boxes [M, 4]."""
        boxes = move(self.boxes.reshape(-1, 4)).reshape(self.boxes.shape)
        return self._with(boxes, self.present)

    def cut(self, size: tuple[int, int], visible: float) -> "ClipTracks":
        """Boxes cut at the borders of the clip.

        Those of which less than the share ``visible`` is left are gone; so are actors without any
        other box.
        """
        boxes, seen = cut_boxes(self.boxes.reshape(-1, 4), size, visible)
        present = self.present & seen.reshape(self.present.shape)
        return self._with(boxes.reshape(self.boxes.shape), present).chosen(
            np.asarray(present.any(axis=1))
        )

    def reversed(self) -> "ClipTracks":
        """After the order of the clip's frames was reversed."""
        return replace(
            self,
            frames=self.frames[::-1],
            boxes=self.boxes[:, ::-1],
            present=self.present[:, ::-1],
            labels=self.labels[:, ::-1],
        )

    def chosen(self, rows: NDArray[np.bool_]) -> "ClipTracks":
        """Only these actors."""
        return replace(
            self,
            actors=self.actors[rows],
            boxes=self.boxes[rows],
            present=self.present[rows],
            labels=self.labels[rows],
        )

    def _with(self, boxes: NDArray[np.floating], present: NDArray[np.bool_]) -> "ClipTracks":
        return replace(
            self,
            boxes=np.where(present[..., None], boxes, 0).astype(np.float32),
            present=present,
            labels=self.labels & present[..., None],
        )


def tracks_at(annotation: VideoAnnotation, frames: ArrayLike, placement: Placement) -> ClipTracks:
    """The actors of a video in some of its frames, their boxes placed in a clip.

    Args:
        annotation: The video. A frame that is not annotated has no actors.
        frames: int64 [K]; frames may repeat, and ``NO_FRAME`` stands for none.
        placement: From pixels of the annotated frame to pixels of the clip.
    """
    frames_K = np.asarray(frames, dtype=np.int64).reshape(-1)
    found = {frame: annotation.at(frame) for frame in np.unique(frames_K).tolist()}
    nobody = np.zeros(0, np.int64)
    actors = np.unique(np.concatenate([nobody, *(there.actors for there in found.values())]))
    shape = (len(actors), len(frames_K))
    boxes = np.zeros((*shape, 4), np.float32)
    present = np.zeros(shape, np.bool_)
    labels = np.zeros((*shape, annotation.num_classes), np.bool_)
    for column, frame in enumerate(frames_K.tolist()):
        there = found[frame]
        rows = np.searchsorted(actors, there.actors)
        boxes[rows, column] = placement.to_clip(there.boxes)
        present[rows, column] = True
        labels[rows, column] = there.labels
    return ClipTracks(frames=frames_K, actors=actors, boxes=boxes, present=present, labels=labels)


def cut_boxes(
    boxes: NDArray[_Real], size: tuple[int, int], visible: float
) -> tuple[NDArray[_Real], NDArray[np.bool_]]:
    """Boxes [N, 4] cut at the borders of a frame, and which are still seen [N].

    Args:
        boxes: Half-open ``xyxy``.
        size: (width, height) of the frame.
        visible: The share of a box's area that must be left for it to be seen; some always must.
    """
    cut = boxes.copy()
    cut[:, 0::2] = cut[:, 0::2].clip(0, size[0])
    cut[:, 1::2] = cut[:, 1::2].clip(0, size[1])
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left = np.prod(cut[:, 2:] - cut[:, :2], axis=1)
    return cut, (left > 0) & (left >= visible * area)

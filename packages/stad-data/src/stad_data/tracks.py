"""Actors through a video: boxes and labels frame by frame, as objects or as one table.

Suffix legend: T = frames of a track, N = actors in a frame, C = classes, M = boxes of a whole
video, A = actors of a whole video.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval import InputError


def frozen(values: ArrayLike, dtype: type[np.generic]) -> NDArray[Any]:
    """A read-only array of this type; a copy only where the given one could still be written."""
    array = np.asarray(values, dtype=dtype)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One actor through a video: a box and its labels in every frame where it is annotated.

    Frames may have gaps (the actor is hidden, or only every 30th frame is annotated). A row of
    ``labels`` may be all false: the actor is there and does none of the actions.

    Attributes:
        actor: Number of the actor, unique in its video.
        frames: int64 [T], 0-based, strictly increasing, T >= 1.
        boxes: float64 [T, 4], half-open ``xyxy`` pixels of the annotated frame.
        labels: bool [T, C].

    Raises:
        InputError: Shapes that disagree, unordered frames, or a box that is not finite or has
            no area.
    """

    actor: int
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.bool_]

    def __post_init__(self) -> None:
        frames = frozen(self.frames, np.int64)
        boxes = frozen(self.boxes, np.float64)
        labels = frozen(self.labels, np.bool_)
        who = f"track of actor {self.actor}"
        if frames.ndim != 1 or frames.size == 0:
            raise InputError(
                f"{who}: needs a list of frames", expected="[T], T >= 1", found=f"{frames.shape}"
            )
        if boxes.shape != (frames.size, 4) or labels.ndim != 2 or len(labels) != frames.size:
            raise InputError(
                f"{who}: boxes and labels must match its frames",
                expected=f"boxes ({frames.size}, 4), labels ({frames.size}, C)",
                found=f"boxes {boxes.shape}, labels {labels.shape}",
            )
        if frames[0] < 0 or (frames[1:] <= frames[:-1]).any():
            raise InputError(f"{who}: frames must be >= 0 and strictly increasing")
        # A NaN fails the comparison, an infinite corner the second one.
        good = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (np.abs(boxes) < np.inf).all(axis=1)
        if not good.all():
            bad = int(np.argmin(good))
            raise InputError(
                f"{who}: a box without area in frame {frames[bad]}",
                expected="finite x1 < x2 and y1 < y2",
                found=str(boxes[bad].tolist()),
                remedy="boxes are two corners, not x, y, width, height",
            )
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameAnnotation:
    """The actors of one frame; N = 0 for a frame without any.

    Attributes:
        boxes: float64 [N, 4], half-open ``xyxy`` pixels of the annotated frame.
        labels: bool [N, C].
        actors: int64 [N], the tracks' actor numbers.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.bool_]
    actors: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxTable:
    """All boxes of a video, sorted by frame, then by the order of its tracks.

    Attributes:
        frames: int64 [M], increasing, with repeats.
        boxes: float64 [M, 4], as `Track.boxes`.
        labels: bool [M, C].
        actors: int64 [M].
    """

    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.bool_]
    actors: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, frame: int) -> FrameAnnotation:
        """The actors of a frame; views of the table."""
        start, stop = np.searchsorted(self.frames, (frame, frame + 1))
        return FrameAnnotation(
            boxes=self.boxes[start:stop],
            labels=self.labels[start:stop],
            actors=self.actors[start:stop],
        )


def table_of(tracks: Sequence[Track], num_classes: int) -> tuple[BoxTable, NDArray[np.int64]]:
    """The table of some tracks, and its rows int64 [M] in the order of the tracks.

    Args:
        tracks: The tracks; without any, M is 0.
        num_classes: Number of classes C.
    """
    frames = np.concatenate([np.zeros(0, np.int64), *(track.frames for track in tracks)])
    order = np.argsort(frames, kind="stable")
    rows = np.empty(len(order), np.int64)
    rows[order] = np.arange(len(order))
    lengths = np.array([len(track) for track in tracks], np.int64)
    actors = np.repeat(np.array([track.actor for track in tracks], np.int64), lengths)
    boxes = np.concatenate([np.zeros((0, 4)), *(track.boxes for track in tracks)])
    nobody = np.zeros((0, num_classes), np.bool_)
    labels = np.concatenate([nobody, *(track.labels for track in tracks)])
    table = BoxTable(
        frames=frozen(frames[order], np.int64),
        boxes=frozen(boxes[order], np.float64),
        labels=frozen(labels[order], np.bool_),
        actors=frozen(actors[order], np.int64),
    )
    return table, rows


@dataclass(frozen=True, kw_only=True, eq=False)
class TableTracks(Sequence[Track]):
    """Tracks that are made when they are asked for, from a table that may lie on disk.

    Nothing is checked again: the table comes from tracks.

    Attributes:
        table: The boxes of the video.
        rows: int64 [M], rows of the table in the order of the tracks.
        lengths: int64 [A], boxes of each track.
    """

    table: BoxTable
    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @cached_property
    def _stops(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths)

    @property
    def actors(self) -> NDArray[np.int64]:
        """The actor of each track, int64 [A]."""
        return self.table.actors[self.rows[self._stops - 1]]

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Track: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Track, ...]: ...
    def __getitem__(self, index: int | slice) -> Track | tuple[Track, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"track {index} of {len(self)}")
        stop = int(self._stops[index])
        rows = self.rows[stop - int(self.lengths[index]) : stop]
        return Track(
            actor=int(self.table.actors[rows[0]]),
            frames=self.table.frames[rows],
            boxes=self.table.boxes[rows],
            labels=self.table.labels[rows],
        )

    def __iter__(self) -> Iterator[Track]:
        return (self[at] for at in range(len(self)))

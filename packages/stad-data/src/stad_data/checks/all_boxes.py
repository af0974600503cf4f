"""All boxes of a dataset in one table.

Suffix legend: V = videos, M = boxes of all videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import VideoAnnotation
from stad_data.checks.problem import Example, in_video


@dataclass(frozen=True, kw_only=True, eq=False)
class AllBoxes:
    """Boxes float64 [M, 4], their video and frame int64 [M]; frame sizes float64 [V, 2]."""

    videos: tuple[VideoAnnotation, ...]
    box: NDArray[np.float64]
    video: NDArray[np.int64]
    frame: NDArray[np.int64]
    size: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.box)

    def side(self) -> NDArray[np.float64]:
        """(width, height) of the frame of every box, [M, 2]."""
        return self.size[self.video]

    def select(self, rows: NDArray[np.bool_]) -> "AllBoxes":
        """The boxes of a mask [M]."""
        return AllBoxes(
            videos=self.videos,
            box=self.box[rows],
            video=self.video[rows],
            frame=self.frame[rows],
            size=self.size,
        )

    def examples(self, rows: NDArray[np.bool_]) -> list[Example]:
        """The first box of a mask [M] in every video that has one, and how many there are."""
        places = np.flatnonzero(rows)
        videos, first, counts = np.unique(self.video[places], return_index=True, return_counts=True)
        found: list[Example] = []
        for number, at, count in zip(videos.tolist(), places[first].tolist(), counts, strict=True):
            annotation = self.videos[number]
            width, height = annotation.size
            box = ", ".join(f"{side:.6g}" for side in self.box[at])
            more = f" (and {count - 1:,} others)" if count > 1 else ""
            note = f"[{box}] in a frame of {width}x{height}{more}"
            found.append(in_video(annotation, note, f"frame {self.frame[at]}"))
        return found


def all_boxes(annotations: Sequence[VideoAnnotation]) -> AllBoxes:
    """The boxes of some videos, in the order of videos, then frames."""
    tables = [annotation.table for annotation in annotations]
    return AllBoxes(
        videos=tuple(annotations),
        box=np.concatenate([np.zeros((0, 4)), *(table.boxes for table in tables)]),
        video=np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
        frame=np.concatenate([np.zeros(0, np.int64), *(table.frames for table in tables)]),
        size=np.array([a.size for a in annotations], np.float64).reshape(-1, 2),
    )

"""What was found at one keyframe of a video, and the file that it is written to while it is found.

The file is stad-eval's versioned JSON of detections (``stad_eval.detections_json``) with one video
in it, written keyframe by keyframe, so that its writer holds none of it in memory.

Suffix legend: N = actors, C = classes.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stad_cli.whole_file import flush, naming, whole_file


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeDetections:
    """The actors of one keyframe; N = 0 where nobody was found.

    Attributes:
        frame: Index of the keyframe.
        time: When it is shown, in seconds.
        boxes: float64 [N, 4], half-open ``xyxy`` pixels of the video's frame.
        actor_scores: float64 [N], how sure it is that there is a person.
        scores: float64 [N, C] per action; 0 where the model ruled it out.
        tracks: int64 [N], the actors' numbers in the video.
    """

    frame: int
    time: float
    boxes: NDArray[np.float64]
    actor_scores: NDArray[np.float64]
    scores: NDArray[np.float64]
    tracks: NDArray[np.int64]


class DetectionsWriter:
    """Writes the detections of one video, keyframe by keyframe.

    Args:
        path: The JSON file. It appears under this name when `finish` was called and the `with`
            block ends without an error; until then an older file of this name stays whole.
        video: Name of the video.
        size: (width, height) of its frames.
        classes: Names of the actions.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(
        self, path: Path, *, video: str, size: tuple[int, int], classes: Sequence[str]
    ) -> None:
        self._path = path
        self._video = video
        self._size = size
        self._classes = tuple(classes)
        self._first = True
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(whole_file(self._path, "text"))
        head = {"format": "stad-detections", "version": 1, "classes": self._classes}
        about = {"size": self._size}
        self._put(json.dumps(head)[:-1] + ', "videos": {\n')
        self._put(json.dumps(self._video) + ": " + json.dumps(about)[:-1] + ', "frames": {')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, found: KeyframeDetections) -> None:
        """Add one keyframe, in the order of time."""
        actors = [
            {
                "box": [round(value, 2) for value in box],
                "actor": round(actor, 5),
                "scores": {
                    self._classes[label]: round(float(scores[label]), 5)
                    for label in np.flatnonzero(scores).tolist()
                },
            }
            for box, actor, scores in zip(
                found.boxes.tolist(), found.actor_scores.tolist(), found.scores, strict=True
            )
        ]
        self._put(("" if self._first else ",") + f'\n"{found.frame}": ' + json.dumps(actors))
        self._first = False

    def finish(self) -> None:
        """Complete the file and bring it to the disk, still under its temporary name."""
        self._put("\n}}}}\n")
        with naming(self._path):
            flush(self._file)

    def _put(self, text: str) -> None:
        with naming(self._path):
            self._file.write(text)

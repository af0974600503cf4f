"""The overlay video: every frame of the original, with the actors' boxes and actions drawn on it.

Detections exist at keyframes only. Between two keyframes an actor found at both moves on a
straight line; one found at only one of them is shown up to half-way. Actions are those of the
nearer keyframe. So the overlay runs one distance between keyframes behind the detections, and it
decodes the video a second time instead of keeping those frames: full frames are large (6 MB at
1080p), and this way none has to be held.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_cli.clip_stream import TimedFrame
from stad_cli.keyframe_detections import KeyframeDetections

ACTIONS_SHOWN = 3
"""At most this many actions beside a box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownActor:
    """What is drawn for one actor in one frame.

    Attributes:
        track: The actor's number in the video, which picks its colour.
        box: float64 [4], half-open ``xyxy`` pixels.
        actor_score: In [0, 1].
        scores: float64 [C].
    """

    track: int
    box: NDArray[np.float64]
    actor_score: float
    scores: NDArray[np.float64]


def between(
    before: KeyframeDetections, after: KeyframeDetections, fraction: float
) -> list[ShownActor]:
    """The actors at ``fraction`` (0 to 1) of the way from one keyframe to the next."""
    rows_before = {track: row for row, track in enumerate(before.tracks.tolist())}
    rows_after = {track: row for row, track in enumerate(after.tracks.tolist())}
    nearer, rows = (before, rows_before) if fraction < 0.5 else (after, rows_after)
    shown: list[ShownActor] = []
    for track, row in rows.items():
        box = nearer.boxes[row]
        if track in rows_before and track in rows_after:
            start, end = before.boxes[rows_before[track]], after.boxes[rows_after[track]]
            box = start + (end - start) * fraction
        shown.append(
            ShownActor(
                track=track,
                box=box,
                actor_score=float(nearer.actor_scores[row]),
                scores=nearer.scores[row],
            )
        )
    return shown


def caption(actor: ShownActor, classes: Sequence[str], *, least: float, exclusive: bool) -> str:
    """The text beside a box: its best actions, one per line; "person" where none is sure enough."""
    best = np.argsort(-actor.scores, kind="stable")[: 1 if exclusive else ACTIONS_SHOWN].tolist()
    lines = [
        f"{classes[label]} {actor.scores[label]:.2f}"
        for label in best
        if actor.scores[label] >= least
    ]
    return "\n".join(lines) or f"person {actor.actor_score:.2f}"


class Overlay:
    """Draws and writes the frames up to each keyframe as soon as that keyframe is known.

    Args:
        frames: All frames of the video, in order.
        draw: Draws some actors on a frame and gives the drawn frame.
        write: Takes the drawn frame and its time.
    """

    def __init__(
        self,
        frames: Iterator[TimedFrame],
        *,
        draw: Callable[[NDArray[np.uint8], Sequence[ShownActor]], NDArray[np.uint8]],
        write: Callable[[NDArray[np.uint8], float], None],
    ) -> None:
        self._frames = frames
        self._draw = draw
        self._write = write
        self._before: KeyframeDetections | None = None
        self._held: TimedFrame | None = None

    def add(self, after: KeyframeDetections) -> None:
        """Take the next keyframe and write all frames before it."""
        before = self._before or after
        self._before = after
        for frame in self._until(after.frame):
            span = after.time - before.time
            fraction = (frame.time - before.time) / span if span > 0 else 0.0
            self._show(frame, between(before, after, min(1.0, max(0.0, fraction))))

    def finish(self) -> None:
        """Write the rest of the frames, with the actors of the last keyframe."""
        last = self._before
        for frame in self._until(None):
            self._show(frame, between(last, last, 0.0) if last is not None else [])

    def _until(self, stop: int | None) -> Iterator[TimedFrame]:
        while True:
            frame = self._held or next(self._frames, None)
            self._held = None
            if frame is None:
                return
            if stop is not None and frame.index >= stop:
                self._held = frame
                return
            yield frame

    def _show(self, frame: TimedFrame, actors: Sequence[ShownActor]) -> None:
        self._write(self._draw(frame.image, actors), frame.time)

"""This project's own file of detections on frames: JSON, readable by people and by other tools.

    {"format": "stad-detections", "version": 1, "classes": ["walk", "run"],
     "videos": {"street": {"size": [320, 240],
                           "frames": {"17": [{"box": [x1, y1, x2, y2], "actor": 0.9,
                                              "scores": {"walk": 0.8}}]}}}}

`frames` are 0-based indices (seconds in AVA's files), `size` is (width, height) of the frame that
boxes refer to, boxes are half-open pixels, `actor` is the score of there being a person, `scores`
hold the classes that were not left out for a low score.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import replaced
from stad_eval.formats.json_fields import JsonFields
from stad_eval.input_error import InputError
from stad_eval.tables import Boxes

FORMAT = "stad-detections"
VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionFile:
    """What a file of detections holds.

    Attributes:
        found: one row per (box, class with a score).
        actors: one row per box, of the one class "person", scored by the actor score.
        actor: int64 [len(found)], the row of `actors` that each row of `found` belongs to.
        sizes: (width, height) of the annotated frame, by video.
    """

    found: Boxes
    actors: Boxes
    actor: NDArray[np.int64]
    sizes: dict[str, tuple[int, int]]


def write(
    path: str | Path,
    found: Boxes,
    *,
    sizes: Mapping[str, tuple[int, int]],
    actors: Boxes | None = None,
) -> None:
    """Write detections, whole or not at all; numbers keep full precision.

    Rows of `found` of one video, frame and box are one person. `actors` holds one row per person
    with the actor score, persons without any class score included; where it is None, or lacks a
    person, the actor score is the person's best class score. Every video of `sizes` is listed.

    Raises:
        InputError: if a video with detections has no size, or the folder does not exist.
        OSError: if the file cannot be written.
    """
    videos: dict[str, Any] = {
        name: {"size": [int(width), int(height)], "frames": {}}
        for name, (width, height) in sizes.items()
    }
    people: dict[tuple[Any, ...], dict[str, Any]] = {}
    for table, is_actor in ((actors, True), (found, False)):
        if table is not None:
            _collect(table, people, is_actor=is_actor)
    for (video, frame, *_), person in sorted(people.items()):
        if video not in videos:
            raise InputError("detections on a video without a size", path=path, found=video)
        person["scores"] = dict(sorted(person["scores"].items()))
        if person["actor"] is None:
            person["actor"] = max(person["scores"].values())
        videos[video]["frames"].setdefault(str(frame), []).append(person)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "classes": list(found.classes),
        "videos": videos,
    }
    with replaced(path) as stream:
        json.dump(content, stream, allow_nan=False, separators=(",", ":"))


def _collect(
    table: Boxes, people: dict[tuple[Any, ...], dict[str, Any]], *, is_actor: bool
) -> None:
    """Add rows to the persons they belong to; equal rows are persons of equal boxes."""
    seen: dict[tuple[Any, ...], int] = {}
    columns = (table.video, table.frame, table.box, table.label, table.score)
    for video, frame, box, label, score in zip(*(c.tolist() for c in columns), strict=True):
        place = (table.videos[video], frame, *box)
        copy = seen.get((place, label), 0)
        seen[place, label] = copy + 1
        empty: dict[str, Any] = {"box": box, "actor": None, "scores": {}}
        person = people.setdefault((*place, copy), empty)
        if is_actor:
            person["actor"] = score
        else:
            person["scores"][table.classes[label]] = score


def read(path: str | Path) -> DetectionFile:
    """Read a file of detections.

    Raises:
        InputError: naming the place in the file, on anything that the format does not allow.
    """
    fields = JsonFields(path=Path(path))
    classes, videos = fields.header(fields.content(), name=FORMAT, version=VERSION)
    return _Reader(fields, classes).file(videos)


class _Reader:
    """One pass over the content of a file; its errors name the place in the JSON tree."""

    def __init__(self, fields: JsonFields, classes: Mapping[str, int]) -> None:
        self.fields = fields
        self.classes = classes
        self.people: list[tuple[int, int]] = []
        self.boxes: list[list[float]] = []
        self.actor_scores: list[float] = []
        self.rows: list[tuple[int, int]] = []
        self.scores: list[float] = []

    def file(self, videos: Mapping[str, Any]) -> DetectionFile:
        sizes: dict[str, tuple[int, int]] = {}
        for at, (name, video) in enumerate(videos.items()):
            place = f"videos.{name}"
            parts = self.fields.keyed(place, video, {"size", "frames"})
            sizes[name] = self.fields.size(f"{place}.size", parts["size"])
            frames = parts["frames"]
            if not isinstance(frames, dict):
                self.fields.fail(f"{place}.frames", "bad frames", "an object by frame", frames)
            for frame, people in frames.items():
                self.frame(f"{place}.frames.{frame}", at, frame, people)
        return self.tables(sizes)

    def frame(self, place: str, video: int, frame: str, people: object) -> None:
        if not (frame.isascii() and frame.isdigit() and len(frame) <= 12):
            self.fields.fail(place, "bad frame", "a whole number, 0 or more", frame)
        if not isinstance(people, list):
            self.fields.fail(place, "bad detections", "a list", people)
        for at, person in enumerate(people):
            self.person(f"{place}[{at}]", video, int(frame), person)

    def person(self, place: str, video: int, frame: int, value: object) -> None:
        person = self.fields.keyed(place, value, {"box", "actor", "scores"})
        box, scores = person["box"], person["scores"]
        if not isinstance(box, list) or len(box) != 4:
            self.fields.fail(f"{place}.box", "bad box", "[x1, y1, x2, y2]", box)
        box = [self.fields.number(f"{place}.box", side) for side in box]
        if box[2] < box[0] or box[3] < box[1]:
            self.fields.fail(f"{place}.box", "inverted box", "x1 <= x2 and y1 <= y2", box)
        if not isinstance(scores, dict):
            self.fields.fail(f"{place}.scores", "bad scores", "an object by class", scores)
        for name, score in scores.items():
            if name not in self.classes:
                expected = f"one of {', '.join(self.classes)}"
                self.fields.fail(f"{place}.scores", "unknown class", expected, name)
            self.rows.append((len(self.people), self.classes[name]))
            self.scores.append(self.fields.number(f"{place}.scores.{name}", score))
        self.people.append((video, frame))
        self.boxes.append(box)
        self.actor_scores.append(self.fields.number(f"{place}.actor", person["actor"]))

    def tables(self, sizes: dict[str, tuple[int, int]]) -> DetectionFile:
        people = np.array(self.people, dtype=np.int64).reshape(-1, 2)
        boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, 2)
        actor = rows[:, 0]
        found = Boxes(
            videos=tuple(sizes),
            classes=tuple(self.classes),
            video=people[actor, 0],
            frame=people[actor, 1],
            box=boxes[actor],
            label=rows[:, 1],
            score=np.array(self.scores, dtype=np.float64),
        )
        actors = Boxes(
            videos=tuple(sizes),
            classes=("person",),
            video=people[:, 0],
            frame=people[:, 1],
            box=boxes,
            label=np.zeros(len(people), dtype=np.int64),
            score=np.array(self.actor_scores, dtype=np.float64),
        )
        return DetectionFile(found=found, actors=actors, actor=actor, sizes=sizes)

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import read_text, replaced
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
    try:
        content = json.loads(read_text(path), object_pairs_hook=_distinct(path))
    except (json.JSONDecodeError, RecursionError) as error:
        row = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise InputError(f"not JSON ({error})", path=path, row=row) from None
    return _Reader(Path(path)).file(content)


def _distinct(path: str | Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise InputError("a key stands twice in one object", path=path, found=repeated)
        return result

    return hook


class _Reader:
    """One pass over the content of a file; `row` of its errors is the place in the JSON tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.classes: tuple[str, ...] = ()
        self.class_index: dict[str, int] = {}
        self.people: list[tuple[int, int]] = []
        self.boxes: list[list[float]] = []
        self.actor_scores: list[float] = []
        self.rows: list[tuple[int, int]] = []
        self.scores: list[float] = []

    def fail(self, place: str, problem: str, expected: str, found: object) -> NoReturn:
        raise InputError(
            f"at {place}: {problem}" if place else problem,
            path=self.path,
            expected=expected,
            found=json.dumps(found)[:120],
        )

    def file(self, content: object) -> DetectionFile:
        whole = self.keyed("", content, {"format", "version", "classes", "videos"})
        if whole["format"] != FORMAT:
            self.fail("format", "another format", f'"{FORMAT}"', whole["format"])
        if type(whole["version"]) is not int or whole["version"] != VERSION:
            self.fail("version", "another version", f"{VERSION}", whole["version"])
        names = whole["classes"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fail("classes", "bad classes", "a list of names", names)
        self.classes = tuple(names)
        self.class_index = {name: at for at, name in enumerate(names)}
        if len(self.class_index) != len(names):
            self.fail("classes", "a class stands twice", "distinct names", names)
        if not isinstance(whole["videos"], dict):
            self.fail("videos", "bad videos", "an object by video name", whole["videos"])
        sizes: dict[str, tuple[int, int]] = {}
        for at, (name, video) in enumerate(whole["videos"].items()):
            place = f"videos.{name}"
            parts = self.keyed(place, video, {"size", "frames"})
            sizes[name] = self.size(f"{place}.size", parts["size"])
            if not isinstance(parts["frames"], dict):
                self.fail(f"{place}.frames", "bad frames", "an object by frame", parts["frames"])
            for frame, people in parts["frames"].items():
                self.frame(f"{place}.frames.{frame}", at, frame, people)
        return self.tables(sizes)

    def keyed(self, place: str, value: object, keys: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(place, "not an object", f"an object with {', '.join(sorted(keys))}", value)
        if set(value) != keys:
            found = ", ".join(sorted(value))
            self.fail(place, "wrong keys", ", ".join(sorted(keys)), found)
        return value

    def size(self, place: str, value: object) -> tuple[int, int]:
        pair: list[Any] = value if isinstance(value, list) else []
        if len(pair) != 2 or not all(type(each) is int and each > 0 for each in pair):
            self.fail(place, "bad size", "[width, height], whole and positive", value)
        return pair[0], pair[1]

    def number(self, place: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            self.fail(place, "bad number", "a finite number", value)
        return float(value)

    def frame(self, place: str, video: int, frame: str, people: object) -> None:
        if not (frame.isascii() and frame.isdigit() and len(frame) <= 12):
            self.fail(place, "bad frame", "a whole number, 0 or more", frame)
        if not isinstance(people, list):
            self.fail(place, "bad detections", "a list", people)
        for at, person in enumerate(people):
            self.person(f"{place}[{at}]", video, int(frame), person)

    def person(self, place: str, video: int, frame: int, value: object) -> None:
        person = self.keyed(place, value, {"box", "actor", "scores"})
        box, scores = person["box"], person["scores"]
        if not isinstance(box, list) or len(box) != 4:
            self.fail(f"{place}.box", "bad box", "[x1, y1, x2, y2]", box)
        box = [self.number(f"{place}.box", side) for side in box]
        if box[2] < box[0] or box[3] < box[1]:
            self.fail(f"{place}.box", "inverted box", "x1 <= x2 and y1 <= y2", box)
        if not isinstance(scores, dict):
            self.fail(f"{place}.scores", "bad scores", "an object by class", scores)
        for name, score in scores.items():
            if name not in self.class_index:
                expected = f"one of {', '.join(self.classes)}"
                self.fail(f"{place}.scores", "unknown class", expected, name)
            self.rows.append((len(self.people), self.class_index[name]))
            self.scores.append(self.number(f"{place}.scores.{name}", score))
        self.people.append((video, frame))
        self.boxes.append(box)
        self.actor_scores.append(self.number(f"{place}.actor", person["actor"]))

    def tables(self, sizes: dict[str, tuple[int, int]]) -> DetectionFile:
        people = np.array(self.people, dtype=np.int64).reshape(-1, 2)
        boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        rows = np.array(self.rows, dtype=np.int64).reshape(-1, 2)
        actor = rows[:, 0]
        found = Boxes(
            videos=tuple(sizes),
            classes=self.classes,
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

"""This project's own file of tubes: JSON, readable by people and by other tools.

    {"format": "stad-tubes", "version": 1, "classes": ["walk", "run"],
     "videos": {"street": {"size": [320, 240], "frames": 120,
                           "tubes": [{"label": "walk", "score": 0.9, "start": 17,
                                      "boxes": [[x1, y1, x2, y2], ...]}]}}}

A tube without gaps has the frame of its first box as `start`, any tube may list all its `frames`
instead. Frames are 0-based indices, boxes half-open pixels of a frame of `size` (width, height).
`size`, `frames` (how many the video has) and, in a tube, `scores` (one per box) may be left out; a
score that is left out is 1, as in ground truth.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import read_text, replaced
from stad_eval.formats.tube_arrays import number_array
from stad_eval.input_error import InputError
from stad_eval.tube_tables import FRAME_LIMIT, TubeFile, Tubes

FORMAT = "stad-tubes"
VERSION = 1


def write_tubes_json(path: str | Path, content: TubeFile | Tubes) -> None:
    """Write tubes, whole or not at all; numbers keep full precision.

    Reading gives the same tubes, ordered by video.

    Raises:
        InputError: if the folder does not exist.
        OSError: if it cannot be written.
    """
    file = content if isinstance(content, TubeFile) else TubeFile(tubes=content)
    tubes = file.tubes
    videos: dict[str, dict[str, Any]] = {}
    for name in tubes.videos:
        videos[name] = {}
        if name in file.sizes:
            videos[name]["size"] = [int(side) for side in file.sizes[name]]
        if name in file.frame_counts:
            videos[name]["frames"] = int(file.frame_counts[name])
        videos[name]["tubes"] = []
    for at in range(len(tubes)):
        videos[tubes.videos[tubes.video[at]]]["tubes"].append(_entry(tubes, at))
    whole = {
        "format": FORMAT,
        "version": VERSION,
        "classes": list(tubes.classes),
        "videos": videos,
    }
    with replaced(path) as stream:
        json.dump(whole, stream, allow_nan=False, separators=(",", ":"))


def _entry(tubes: Tubes, at: int) -> dict[str, Any]:
    rows = slice(int(tubes.start[at]), int(tubes.start[at + 1]))
    frames = tubes.frame[rows]
    result: dict[str, Any] = {
        "label": tubes.classes[tubes.label[at]],
        "score": float(tubes.score[at]),
    }
    if frames[-1] - frames[0] + 1 == frames.size:
        result["start"] = int(frames[0])
    else:
        result["frames"] = frames.tolist()
    result["boxes"] = tubes.box[rows].tolist()
    if tubes.row_score is not None:
        result["scores"] = tubes.row_score[rows].tolist()
    return result


def read_tubes_json(path: str | Path) -> TubeFile:
    """Read a file of tubes.

    Raises:
        InputError: naming the place in the file, on anything that the format does not allow.
    """
    path = Path(path)
    try:
        content = json.loads(read_text(path), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        row = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise InputError(f"not JSON ({error})"[:300], path=path, row=row) from None
    return _Reader(path).file(content)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{repeated}' stands twice in one object")
    return result


class _Reader:
    """One pass over the content of a file; its errors name the place in the JSON tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.class_index: dict[str, int] = {}
        self.video: list[int] = []
        self.label: list[int] = []
        self.score: list[float] = []
        self.frames: list[NDArray[np.int64]] = []
        self.boxes: list[NDArray[np.float64]] = []
        self.row_scores: list[NDArray[np.float64] | None] = []

    def fail(self, place: str, problem: str, expected: str, found: object) -> NoReturn:
        raise InputError(
            f"at {place}: {problem}" if place else problem,
            path=self.path,
            expected=expected,
            found=json.dumps(found)[:120],
        )

    def file(self, content: object) -> TubeFile:
        whole = self.keyed("", content, {"format", "version", "classes", "videos"})
        if whole["format"] != FORMAT:
            self.fail("format", "another format", f'"{FORMAT}"', whole["format"])
        if type(whole["version"]) is not int or whole["version"] != VERSION:
            self.fail("version", "another version", f"{VERSION}", whole["version"])
        names = whole["classes"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fail("classes", "bad classes", "a list of names", names)
        self.class_index = {name: at for at, name in enumerate(names)}
        if len(self.class_index) != len(names):
            self.fail("classes", "a class stands twice", "distinct names", names)
        return self.videos(whole["videos"])

    def videos(self, value: object) -> TubeFile:
        if not isinstance(value, dict):
            self.fail("videos", "bad videos", "an object by video name", value)
        sizes: dict[str, tuple[int, int]] = {}
        counts: dict[str, int] = {}
        for at, (name, video) in enumerate(value.items()):
            place = f"videos.{name}"
            parts = self.keyed(place, video, {"tubes"}, {"size", "frames"})
            if "size" in parts:
                sizes[name] = self.size(f"{place}.size", parts["size"])
            if "frames" in parts:
                counts[name] = self.whole(f"{place}.frames", parts["frames"])
            if not isinstance(parts["tubes"], list):
                self.fail(f"{place}.tubes", "bad tubes", "a list", parts["tubes"])
            for place_in, tube in enumerate(parts["tubes"]):
                self.tube(f"{place}.tubes[{place_in}]", at, tube)
        tubes = self.table(tuple(value), tuple(self.class_index))
        return TubeFile(tubes=tubes, frame_counts=counts, sizes=sizes)

    def keyed(
        self, place: str, value: object, needed: set[str], allowed: set[str] | None = None
    ) -> Mapping[str, Any]:
        expected = f"an object with {', '.join(sorted(needed))}"
        if allowed:
            expected = f"{expected}, perhaps {', '.join(sorted(allowed))}"
        if not isinstance(value, dict):
            self.fail(place, "not an object", expected, value)
        if not needed <= set(value) or not set(value) <= needed | (allowed or set()):
            self.fail(place, "wrong keys", expected, ", ".join(sorted(value)))
        return value

    def size(self, place: str, value: object) -> tuple[int, int]:
        pair: list[Any] = value if isinstance(value, list) else []
        if len(pair) != 2 or not all(type(each) is int and each > 0 for each in pair):
            self.fail(place, "bad size", "[width, height], whole and positive", value)
        return pair[0], pair[1]

    def whole(self, place: str, value: object) -> int:
        if type(value) is not int or not 0 <= value < FRAME_LIMIT:
            self.fail(place, "bad number", "a whole number, 0 or more", value)
        return value

    def number(self, place: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            self.fail(place, "bad number", "a finite number", value)
        return float(value)

    def tube(self, place: str, video: int, value: object) -> None:
        tube = self.keyed(place, value, {"label", "boxes"}, {"score", "start", "frames", "scores"})
        if not isinstance(tube["label"], str) or tube["label"] not in self.class_index:
            expected = f"one of {', '.join(self.class_index)}"
            self.fail(f"{place}.label", "unknown class", expected, tube["label"])
        boxes = self.numbers(f"{place}.boxes", tube["boxes"], None)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
            self.fail(f"{place}.boxes", "bad boxes", "[[x1, y1, x2, y2], ...]", tube["boxes"])
        if ("start" in tube) == ("frames" in tube):
            self.fail(place, "wrong keys", "either 'start' or 'frames'", ", ".join(sorted(tube)))
        scores = None
        if "scores" in tube:
            scores = self.numbers(f"{place}.scores", tube["scores"], (len(boxes),))
        self.video.append(video)
        self.label.append(self.class_index[tube["label"]])
        self.score.append(self.number(f"{place}.score", tube.get("score", 1.0)))
        self.frames.append(self.frame_numbers(place, tube, len(boxes)))
        self.boxes.append(boxes)
        self.row_scores.append(scores)

    def frame_numbers(self, place: str, tube: Mapping[str, Any], length: int) -> NDArray[np.int64]:
        if "start" in tube:
            start = self.whole(f"{place}.start", tube["start"])
            return np.arange(start, start + length, dtype=np.int64)
        frames = self.numbers(f"{place}.frames", tube["frames"], (length,))
        odd = (frames != np.round(frames)) | (frames < 0) | (frames >= FRAME_LIMIT)
        if odd.any() or (np.diff(frames) <= 0).any():
            expected = "increasing whole numbers, 0 or more"
            self.fail(f"{place}.frames", "bad frames", expected, tube["frames"])
        return frames.astype(np.int64)

    def numbers(
        self, place: str, value: object, shape: tuple[int, ...] | None
    ) -> NDArray[np.float64]:
        array = number_array(value)
        if array is None or not np.isfinite(array).all() or shape not in (None, array.shape):
            expected = "finite numbers" if shape is None else f"{shape[0]} finite numbers"
            self.fail(place, "bad numbers", expected, value)
        return array

    def table(self, videos: tuple[str, ...], classes: tuple[str, ...]) -> Tubes:
        lengths = np.array([frames.size for frames in self.frames], dtype=np.int64)
        scores = [each for each in self.row_scores if each is not None]
        return Tubes(
            videos=videos,
            classes=classes,
            video=np.array(self.video, dtype=np.int64),
            label=np.array(self.label, dtype=np.int64),
            score=np.array(self.score, dtype=np.float64),
            start=np.concatenate(([0], np.cumsum(lengths))),
            frame=np.concatenate(self.frames or [lengths]),
            box=np.concatenate(self.boxes or [np.empty((0, 4))]),
            row_score=np.concatenate(scores) if scores and len(scores) == len(lengths) else None,
        )

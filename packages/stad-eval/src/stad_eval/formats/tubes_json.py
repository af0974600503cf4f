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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import replaced
from stad_eval.formats.json_fields import JsonFields
from stad_eval.formats.tube_arrays import number_array
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
    fields = JsonFields(path=Path(path))
    classes, videos = fields.header(fields.content(), name=FORMAT, version=VERSION)
    return _Reader(fields, classes).file(videos)


class _Reader:
    """One pass over the content of a file; its errors name the place in the JSON tree."""

    def __init__(self, fields: JsonFields, classes: Mapping[str, int]) -> None:
        self.fields = fields
        self.classes = classes
        self.video: list[int] = []
        self.label: list[int] = []
        self.score: list[float] = []
        self.frames: list[NDArray[np.int64]] = []
        self.boxes: list[NDArray[np.float64]] = []
        self.row_scores: list[NDArray[np.float64] | None] = []

    def file(self, videos: Mapping[str, Any]) -> TubeFile:
        sizes: dict[str, tuple[int, int]] = {}
        counts: dict[str, int] = {}
        for at, (name, video) in enumerate(videos.items()):
            place = f"videos.{name}"
            parts = self.fields.keyed(place, video, {"tubes"}, ("size", "frames"))
            if "size" in parts:
                sizes[name] = self.fields.size(f"{place}.size", parts["size"])
            if "frames" in parts:
                counts[name] = self.whole(f"{place}.frames", parts["frames"])
            if not isinstance(parts["tubes"], list):
                self.fields.fail(f"{place}.tubes", "bad tubes", "a list", parts["tubes"])
            for place_in, tube in enumerate(parts["tubes"]):
                self.tube(f"{place}.tubes[{place_in}]", at, tube)
        tubes = self.table(tuple(videos), tuple(self.classes))
        return TubeFile(tubes=tubes, frame_counts=counts, sizes=sizes)

    def whole(self, place: str, value: object) -> int:
        if type(value) is not int or not 0 <= value < FRAME_LIMIT:
            self.fields.fail(place, "bad number", "a whole number, 0 or more", value)
        return value

    def tube(self, place: str, video: int, value: object) -> None:
        optional = ("score", "start", "frames", "scores")
        tube = self.fields.keyed(place, value, {"label", "boxes"}, optional)
        if not isinstance(tube["label"], str) or tube["label"] not in self.classes:
            expected = f"one of {', '.join(self.classes)}"
            self.fields.fail(f"{place}.label", "unknown class", expected, tube["label"])
        boxes = self.numbers(f"{place}.boxes", tube["boxes"], None)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
            self.fields.fail(
                f"{place}.boxes", "bad boxes", "[[x1, y1, x2, y2], ...]", tube["boxes"]
            )
        if ("start" in tube) == ("frames" in tube):
            self.fields.fail(
                place, "wrong keys", "either 'start' or 'frames'", ", ".join(sorted(tube))
            )
        scores = None
        if "scores" in tube:
            scores = self.numbers(f"{place}.scores", tube["scores"], (len(boxes),))
        self.video.append(video)
        self.label.append(self.classes[tube["label"]])
        self.score.append(self.fields.number(f"{place}.score", tube.get("score", 1.0)))
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
            self.fields.fail(f"{place}.frames", "bad frames", expected, tube["frames"])
        return frames.astype(np.int64)

    def numbers(
        self, place: str, value: object, shape: tuple[int, ...] | None
    ) -> NDArray[np.float64]:
        array = number_array(value)
        if array is None or not np.isfinite(array).all() or shape not in (None, array.shape):
            expected = "finite numbers" if shape is None else f"{shape[0]} finite numbers"
            self.fields.fail(place, "bad numbers", expected, value)
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

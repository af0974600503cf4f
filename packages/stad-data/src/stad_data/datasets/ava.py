"""AVA, and any set in its layout: keyframes at whole seconds, several actions per person.

``<root>/videos/<id>.mp4`` (or ``.mkv``, ``.webm``, ``.avi``) and ``<root>/annotations/`` with
``train.csv``, ``val.csv``, ``label_map.pbtxt`` and, where some seconds are to be left out,
``train_excluded_timestamps.csv``, ``val_excluded_timestamps.csv``. The names of the published files
(``ava_train_v2.2.csv``, ``ava_action_list_v2.2*.pbtxt``, ``ava_val_excluded_timestamps_v2.2.csv``
...) are taken as well.

Rows of a CSV have no header: ``video,second,x1,y1,x2,y2,action_id,person_id``, normalised to the
frame's width and height, one row per action; without person ids 7 columns; ``video,second`` alone
is an annotated frame without persons. The boxes become half-open pixels of the video's frame.

Suffix legend: R = rows of a file that hold a box, G = actors in keyframes (merged rows),
C = classes, K = keyframes of a video.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.video import VideoReader
from stad_eval import InputError, read_ava_frames, read_label_map
from stad_eval.formats.ava_csv import AvaRows, read_ava_rows
from stad_eval.protocols import frame_protocol

_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
# Published boxes have three decimals; what leaves the frame by rounding is cut off.
_TOLERANCE = 0.002
_AVA = frame_protocol("ava-v2.2")
# Ids of AVA's 80 actions; its short label map names the 60 that are evaluated.
_AVA_IDS = frozenset(range(1, 81))


def read(
    root: Path | str,
    *,
    first_second: float = 900.0,
    label_map: Path | str | None = None,
    missing: Literal["refuse", "skip"] = "refuse",
) -> Dataset:
    """The dataset; ``test`` is the validation part.

    The frame of a second is the one shown at ``second - first_second`` by its presentation time,
    so every video is opened and its packets are counted. Excluded seconds are no keyframes. Rows
    of one video, second and person merge to one actor with several labels; without person ids,
    rows with the same box do, and every box is a track of its own. With AVA's label map of 60
    actions, rows of its other 20 keep their actor and lose the label.

    Args:
        root: Folder that holds ``annotations`` and ``videos``.
        first_second: The second at which the video files begin: 900 for AVA's published cuts of
            15 minutes, 0 for whole films.
        label_map: The label map, where ``annotations`` holds more than one.
        missing: What to do about annotated videos without a file: refuse the dataset, or leave
            them out.

    Raises:
        InputError: Files that are missing or of which there are several, a bad row, an unknown
            action, a box outside its frame or without area, one person with two boxes at a time,
            a second outside its video, or absent videos with ``missing="refuse"``.
    """
    root = Path(root)
    folder = root / "annotations"
    if label_map is None:
        label_map = _one_of(folder, ("label_map.pbtxt", "ava_action_list_v*.pbtxt"))
    classes, known_ids = _classes(Path(label_map))
    files = {part: _one_of(folder, (f"{part}.csv", f"ava_{part}_v*.csv")) for part in _PARTS}

    def annotations(part: str) -> tuple[VideoAnnotation, ...]:
        path = files[part]
        rows = read_ava_rows(path)
        excluded = _excluded(folder, part)
        actors = _merge(rows, path, classes, known_ids)
        return tuple(
            _annotation(
                actors.of_video(number),
                seconds=_seconds(rows, number, excluded),
                video=video,
                path=video_path,
                source=path,
                first_second=first_second,
            )
            for number, video, video_path in _video_files(root, rows, path, missing)
        )

    return Dataset(
        name="ava",
        classes=classes,
        train=annotations("train"),
        test=annotations("val"),
        protocol=_protocol(classes, files["val"]),
    )


_PARTS = ("train", "val")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Actors:
    """Merged rows: one per actor in a keyframe, sorted by video, then second."""

    row: NDArray[np.int64]  # [G] a row of the file
    video: NDArray[np.int64]  # [G]
    second: NDArray[np.int64]  # [G]
    person: NDArray[np.int64]  # [G]
    box: NDArray[np.float64]  # [G, 4] normalised
    labels: NDArray[np.bool_]  # [G, C]

    def of_video(self, video: int) -> "_Actors":
        """The rows of one video."""
        start, stop = np.searchsorted(self.video, (video, video + 1))
        return self.select(slice(start, stop))

    def select(self, rows: slice | NDArray[np.bool_]) -> "_Actors":
        """The given rows."""
        return _Actors(
            row=self.row[rows],
            video=self.video[rows],
            second=self.second[rows],
            person=self.person[rows],
            box=self.box[rows],
            labels=self.labels[rows],
        )


def _one_of(folder: Path, patterns: Iterable[str]) -> Path:
    """The one file that matches a pattern; none or several are the user's to mend."""
    patterns = tuple(patterns)
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if len(found) == 1:
        return found[0]
    raise InputError(
        "no such annotation file" if not found else "more than one annotation file for one purpose",
        path=folder,
        expected="one file named " + " or ".join(patterns),
        found=", ".join(path.name for path in found) or "none",
        remedy="move the others away, or name the label map" if found else None,
    )


def _classes(path: Path) -> tuple[ActionClasses, frozenset[int]]:
    """The classes, and the ids that rows may have: AVA's short map leaves 20 of its 80 out."""
    names = read_label_map(path)
    classes = ActionClasses(names=tuple(names), ids=names.ids, exclusive=False)
    short_map = set(names) == set(_AVA.classes or ())
    return classes, _AVA_IDS if short_map else frozenset(names.ids)


def _protocol(classes: ActionClasses, val: Path) -> str:
    """AVA's own protocol for AVA's own label maps; otherwise all classes are scored."""
    evaluated = set(_AVA.classes or ())
    if not evaluated <= set(classes.names) <= evaluated | set(_AVA.ignored_classes):
        return "keyframes"
    return "ava-v2.1" if "v2.1" in val.name else "ava-v2.2"


def _excluded(folder: Path, part: str) -> frozenset[tuple[str, int]]:
    """(video, second) pairs that are no keyframes; without a file there are none."""
    patterns = (f"{part}_excluded_timestamps.csv", f"ava_{part}_excluded_timestamps_v*.csv")
    if not any(path for pattern in patterns for path in folder.glob(pattern)):
        return frozenset()
    return read_ava_frames(_one_of(folder, patterns))


def _seconds(rows: AvaRows, video: int, excluded: frozenset[tuple[str, int]]) -> NDArray[np.int64]:
    """[K] the annotated seconds of a video, those without persons included, sorted."""
    named = rows.timestamp[rows.video == video]
    empty = rows.empty[rows.empty[:, 0] == video, 1]
    seconds = np.unique(np.concatenate([named, empty]))
    left_out = [second for name, second in excluded if name == rows.videos[video]]
    return np.setdiff1d(seconds, np.array(left_out, np.int64))


def _merge(rows: AvaRows, path: Path, classes: ActionClasses, known_ids: frozenset[int]) -> _Actors:
    """One row per actor and keyframe, with all labels that its rows give it."""
    box = _checked_boxes(rows, path)
    unknown = ~np.isin(rows.action, list(known_ids))
    if unknown.any():
        raise _refused(
            rows,
            path,
            unknown,
            "an unknown action_id",
            expected=f"one of the {len(classes)} ids of the label map",
            found=int(rows.action[np.argmax(unknown)]),
        )
    person = _persons(rows, path)
    who = [*box.T[::-1]] if person is None else [*box.T[::-1], person]
    order = np.lexsort((*who, rows.timestamp, rows.video))
    new_frame = _changes([rows.video, rows.timestamp], order)
    new_box = new_frame | _changes(list(box.T), order)
    new_actor = new_box if person is None else new_frame | _changes([person], order)
    if person is not None and (new_box & ~new_actor).any():
        place = int(np.argmax(new_box & ~new_actor))
        a, b = sorted(order[place - 1 : place + 1].tolist(), key=lambda at: rows.row[at])
        raise InputError(
            f"person {person[b]} has two boxes in second {rows.timestamp[b]}",
            path=path,
            row=int(rows.row[b]),
            expected=f"{rows.box[a].tolist()}, as in row {rows.row[a]}",
            found=rows.box[b].tolist(),
            remedy="give the persons different ids, or take one of the rows out",
        )
    group = np.cumsum(new_actor) - 1
    first = order[new_actor]
    labels = np.zeros((len(first), len(classes)), np.bool_)
    ids = np.array(classes.ids)  # a label map is in the order of its ids
    action = rows.action[order]
    label = np.searchsorted(ids, action).clip(max=len(ids) - 1)
    listed = ids[label] == action
    labels[group[listed], label[listed]] = True
    return _Actors(
        row=rows.row[first],
        video=rows.video[first],
        second=rows.timestamp[first],
        person=np.arange(len(first)) if person is None else person[first],
        box=box[first],
        labels=labels,
    )


def _refused(
    rows: AvaRows,
    path: Path,
    bad: NDArray[np.bool_],
    problem: str,
    *,
    expected: str,
    found: object,
    remedy: str | None = None,
) -> InputError:
    first = int(np.argmax(bad))
    count = int(bad.sum())
    return InputError(
        problem + (f" (the first of {count} such rows)" if count > 1 else ""),
        path=path,
        row=int(rows.row[first]),
        expected=expected,
        found=found,
        remedy=remedy,
    )


def _checked_boxes(rows: AvaRows, path: Path) -> NDArray[np.float64]:
    """Boxes [R, 4], normalised and cut to the frame where rounding made them leave it."""
    box = rows.box
    outside = np.logical_or.reduce((box < -_TOLERANCE) | (box > 1 + _TOLERANCE), axis=1)
    if outside.any():
        raise _refused(
            rows,
            path,
            outside,
            "a box outside the frame",
            expected=f"x1,y1,x2,y2 in [0, 1], at most {_TOLERANCE} beyond",
            found=box[np.argmax(outside)].tolist(),
            remedy="boxes are normalised by the frame's width and height, not in pixels",
        )
    box = box.clip(0, 1)
    flat = np.logical_or.reduce(box[:, 2:] <= box[:, :2], axis=1)
    if flat.any():
        raise _refused(
            rows,
            path,
            flat,
            "a box of no area",
            expected="x1 < x2 and y1 < y2",
            found=rows.box[np.argmax(flat)].tolist(),
        )
    return box


def _persons(rows: AvaRows, path: Path) -> NDArray[np.int64] | None:
    """Person ids [R], or None for a file without them."""
    absent = np.isnan(rows.eighth)
    if absent.all():
        return None
    if absent.any():
        raise _refused(
            rows,
            path,
            absent,
            "a row without a person id",
            expected="8 columns, as in the other rows",
            found="7",
        )
    bad = (rows.eighth != np.floor(rows.eighth)) | (np.abs(rows.eighth) > 2**53)
    if bad.any():
        raise _refused(
            rows,
            path,
            bad,
            "bad person id",
            expected="a whole number",
            found=float(rows.eighth[np.argmax(bad)]),
            remedy="in annotations the eighth column is a person, in detections a score",
        )
    return rows.eighth.astype(np.int64)


def _changes(
    columns: Sequence[NDArray[np.int64] | NDArray[np.float64]], order: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """[R] in the given order: whether a row differs from the one before in any of the columns."""
    changed = np.zeros(len(order), np.bool_)
    changed[:1] = True
    for column in columns:
        values = column[order]
        changed[1:] |= values[1:] != values[:-1]
    return changed


def _first_row(rows: AvaRows, video: int, second: int | None = None) -> int | None:
    """The first row with a box of a video (and second); None where only empty frames are named."""
    named = rows.video == video
    if second is not None:
        named &= rows.timestamp == second
    return int(rows.row[named].min()) if named.any() else None


def _video_files(
    root: Path, rows: AvaRows, source: Path, missing: Literal["refuse", "skip"]
) -> list[tuple[int, str, Path]]:
    found: list[tuple[int, str, Path]] = []
    absent: list[int] = []
    for number, video in enumerate(rows.videos):
        path = next(
            (p for s in _SUFFIXES if (p := root / "videos" / f"{video}{s}").is_file()), None
        )
        if path is None:
            absent.append(number)
        else:
            found.append((number, video, path))
    if absent and missing == "refuse":
        names = [rows.videos[number] for number in absent]
        raise InputError(
            f"{len(absent)} of {len(rows.videos)} annotated videos have no file",
            path=source,
            row=_first_row(rows, absent[0]),
            expected=f"{root / 'videos' / names[0]}.mp4",
            found="no file for " + ", ".join(names[:3]) + (" ..." if len(names) > 3 else ""),
            remedy='put them there, or read with missing="skip" to go on without them',
        )
    return found


def _annotation(
    actors: _Actors,
    *,
    seconds: NDArray[np.int64],
    video: str,
    path: Path,
    source: Path,
    first_second: float,
) -> VideoAnnotation:
    """One video: seconds become frames by presentation time, normalised boxes become pixels."""
    with VideoReader(path) as reader:
        size, num_frames, fps = reader.size, reader.num_frames, reader.fps
        frames = np.array([reader.frame_at(s - first_second) for s in seconds.tolist()], np.int64)
        end = first_second + float(reader.times[-1]) + 1 / fps
    wrong = (seconds < first_second) | (seconds >= end)
    wrong[1:] |= frames[1:] == frames[:-1]
    if wrong.any():
        bad = int(seconds[np.argmax(wrong)])
        rows = actors.row[actors.second == bad]
        raise InputError(
            f"second {bad} has no frame of its own in video {video!r}",
            path=source,
            row=int(rows.min()) if rows.size else None,
            expected=f"a second of at least {first_second:g} and below {end:.2f}",
            found=f"{path} with {num_frames} frames at {fps:g}/s",
            remedy="first_second tells at which second the files begin (0 for whole films)",
        )
    actors = actors.select(np.isin(actors.second, seconds))
    frame_of_actor = frames[np.searchsorted(seconds, actors.second)]
    boxes = actors.box * np.array([*size, *size])
    tracks = [
        Track(
            actor=int(actors.person[rows[0]]),
            frames=frame_of_actor[rows],
            boxes=boxes[rows],
            labels=actors.labels[rows],
        )
        for rows in _grouped(actors.person)
    ]
    return VideoAnnotation(
        video=video,
        path=path,
        num_frames=num_frames,
        size=size,
        fps=fps,
        tracks=tuple(tracks),
        keyframes=frames,
        timestamps=seconds,
        num_classes=actors.labels.shape[1],
    )


def _grouped(values: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """The rows of every distinct value, each group in order."""
    if not len(values):
        return []
    order = np.argsort(values, kind="stable")
    _, starts = np.unique(values[order], return_index=True)
    return np.split(order, starts[1:])

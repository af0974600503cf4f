"""Preflight of a dataset: what would make training fail, or silently learn the wrong thing.

A dataset's reader already refuses files that contradict themselves. What is looked for here needs
the videos (are they there, do they decode, do their frame counts and shapes agree with the
annotation), or the dataset as a whole (boxes, classes, duplicates, leaks between its parts).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_data import clips
from stad_data.annotation import Dataset, VideoAnnotation
from stad_data.drawing import contact_sheet, draw_box, draw_label, palette_color
from stad_data.video import VideoReader
from stad_eval import InputError

# Boxes may leave the frame by rounding, and files may be stored at a slightly other shape.
_OUTSIDE = 1.0
_ASPECT = 0.02
_TINY = 2.0
_DIGESTED = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a dataset.

    Attributes:
        severity: "error": training would fail or learn from wrong data. "warning": worth a look.
        path: The file concerned.
        row: The place in the file, such as a line number or a frame.
        message: What is wrong, what was expected, what to do.
    """

    severity: Literal["error", "warning"]
    path: Path | None
    row: int | str | None
    message: str

    def __str__(self) -> str:
        place = [] if self.path is None else [str(self.path)]
        place += [] if self.row is None else [str(self.row)]
        return f"{self.severity}: {', '.join(place)}: {self.message}".replace(": : ", ": ")


def check(
    dataset: Dataset | Callable[[], Dataset],
    *,
    decode: Literal["nothing", "ends", "everything"] = "ends",
    seen: Callable[[int], None] = lambda _: None,
) -> list[Problem]:
    """Everything that is found wrong with a dataset, errors first.

    Args:
        dataset: The dataset, or a call that reads it; an InputError of that call becomes the one
            error of the list, its file and row in the message.
        decode: How far videos are tried: not opened at all, opened and counted with their first
            and last frame decoded, or decoded from beginning to end.
        seen: Told 1 after every video.
    """
    if not isinstance(dataset, Dataset):
        try:
            dataset = dataset()
        except InputError as error:
            return [Problem(severity="error", path=None, row=None, message=str(error))]
    problems = [*_duplicates(dataset), *_classes(dataset)]
    for annotation in (*dataset.train, *dataset.test):
        problems += _boxes(annotation)
        problems += _video(annotation, decode)
        seen(1)
    return sorted(problems, key=lambda problem: problem.severity != "error")


def _error(annotation: VideoAnnotation, message: str, row: str | None = None) -> Problem:
    text = f"video {annotation.video!r}: {message}"
    return Problem(severity="error", path=annotation.path, row=row, message=text)


def _warning(annotation: VideoAnnotation, message: str, row: str | None = None) -> Problem:
    text = f"video {annotation.video!r}: {message}"
    return Problem(severity="warning", path=annotation.path, row=row, message=text)


def _boxes(annotation: VideoAnnotation) -> Iterator[Problem]:
    """Boxes outside the frame, tiny ones, actors counted twice; the first of each per video."""
    width, height = annotation.size
    limit = np.array([width, height]) + _OUTSIDE
    outside, tiny = 0, 0
    places: dict[str, str] = {}
    for track in annotation.tracks:
        out = ((track.boxes[:, :2] < -_OUTSIDE) | (track.boxes[:, 2:] > limit)).any(axis=1)
        small = ((track.boxes[:, 2:] - track.boxes[:, :2]) < _TINY).any(axis=1)
        for kind, rows in (("outside", out), ("tiny", small)):
            if rows.any():
                first = int(np.argmax(rows))
                box = np.round(track.boxes[first], 2).tolist()
                places.setdefault(kind, f"frame {track.frames[first]}, box {box}")
        outside += int(out.sum())
        tiny += int(small.sum())
    if outside:
        yield _error(
            annotation,
            f"{outside} of {annotation.num_boxes} boxes leave the frame of {width}x{height} by more"
            f" than {_OUTSIDE:g} pixel: wrong scale or convention?",
            places["outside"],
        )
    if tiny:
        yield _warning(
            annotation,
            f"{tiny} of {annotation.num_boxes} boxes are narrower or lower than {_TINY:g} pixels:"
            " normalised coordinates?",
            places["tiny"],
        )
    if (twice := _same_boxes(annotation)) is not None:
        yield _warning(annotation, "two actors with the same box", f"frame {twice}")


def _same_boxes(annotation: VideoAnnotation) -> int | None:
    """A frame where two actors have the very same box, or None."""
    if len(annotation.tracks) < 2:
        return None
    rows = np.concatenate(
        [np.column_stack([track.frames, track.boxes]) for track in annotation.tracks]
    )
    rows = rows[np.lexsort(rows.T[::-1])]
    same = (rows[1:] == rows[:-1]).all(axis=1)
    return int(rows[int(np.argmax(same)), 0]) if same.any() else None


def _video(annotation: VideoAnnotation, decode: str) -> Iterator[Problem]:
    """What the file says: absent, unreadable, another length, another shape."""
    if not annotation.path.exists():
        yield _error(annotation, "the file is not there")
        return
    if decode == "nothing":
        return
    try:
        yield from _decoded(annotation, whole=decode == "everything")
    except InputError as error:
        yield _error(annotation, f"cannot be read: {error}")
    except OSError as error:
        yield _error(annotation, f"cannot be opened: {error}")


def _decoded(annotation: VideoAnnotation, *, whole: bool) -> Iterator[Problem]:
    with VideoReader(annotation.path) as reader:
        if whole:
            count = sum(1 for _ in reader)
        else:
            count = reader.num_frames
            reader.read([0, count - 1])
        if reader.damage is not None:
            yield _error(annotation, f"the file is damaged: {reader.damage}")
        if count != annotation.num_frames:
            yield _error(
                annotation,
                f"frame counts differ: the annotation has {annotation.num_frames} frames, the file"
                f" {count}; boxes would lie on other frames than they were drawn on",
            )
        (width, height), (expected_width, expected_height) = reader.size, annotation.size
        ratio = (width / height) / (expected_width / expected_height)
        if not 1 / (1 + _ASPECT) <= ratio <= 1 + _ASPECT:
            yield _warning(
                annotation,
                f"the file's frames of {width}x{height} have another shape than the annotated"
                f" {expected_width}x{expected_height}: rotated or cropped?",
            )


def _classes(dataset: Dataset) -> Iterator[Problem]:
    """Parts without videos, and classes that a part never shows."""
    rows = coverage(dataset)
    for part, videos in (("train", dataset.train), ("test", dataset.test)):
        if not videos:
            message = f"the {part} part has no video"
            yield Problem(severity="error", path=None, row=None, message=message)
            continue
        for row in rows:
            if not (row.train if part == "train" else row.test).boxes:
                message = f"class {row.name!r} has no box in the {part} part"
                yield Problem(severity="warning", path=None, row=None, message=message)


def _duplicates(dataset: Dataset) -> Iterator[Problem]:
    """Two videos with one file or one content; across the parts that is a leak."""
    parts = [("train", a) for a in dataset.train] + [("test", a) for a in dataset.test]
    first: dict[bytes, tuple[str, VideoAnnotation]] = {}
    for part, annotation in parts:
        digest = _digest(annotation.path)
        if digest is None:
            continue
        other_part, other = first.setdefault(digest, (part, annotation))
        if other is annotation:
            continue
        if part != other_part:
            yield _error(annotation, f"has the same content as training video {other.video!r}")
        else:
            yield _warning(annotation, f"has the same content as {other.video!r}")


def _digest(path: Path) -> bytes | None:
    """What tells one video file from another: its length, its first and last 64 KiB."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(_DIGESTED)
            file.seek(max(0, size - _DIGESTED))
            tail = file.read(_DIGESTED)
    except OSError:
        return None
    return blake2b(head + tail + str(size).encode(), digest_size=16).digest() if size else None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much of one class a part of a dataset holds.

    Attributes:
        videos: Videos in which the class occurs.
        tracks: Actors that do it at some time.
        boxes: Boxes that carry it.
    """

    videos: int
    tracks: int
    boxes: int


@dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """One class of a dataset and how much of it there is in either part."""

    name: str
    train: Counts
    test: Counts


def coverage(dataset: Dataset) -> list[ClassCoverage]:
    """How much of each class there is, in the order of the classes."""
    train, test = (_count(part, len(dataset.classes)) for part in (dataset.train, dataset.test))
    return [
        ClassCoverage(name=name, train=a, test=b)
        for name, a, b in zip(dataset.classes.names, train, test, strict=True)
    ]


def _count(annotations: Iterable[VideoAnnotation], classes: int) -> list[Counts]:
    videos, tracks, boxes = (np.zeros(classes, np.int64) for _ in range(3))
    for annotation in annotations:
        if annotation.tracks:
            per_track = np.stack([track.labels.sum(axis=0) for track in annotation.tracks])
            boxes += per_track.sum(axis=0)
            tracks += (per_track > 0).sum(axis=0)
            videos += per_track.any(axis=0)
    return [
        Counts(videos=int(v), tracks=int(t), boxes=int(b))
        for v, t, b in zip(videos, tracks, boxes, strict=True)
    ]


def coverage_table(dataset: Dataset) -> str:
    """The coverage as lines of text, one per class, with the totals of each part."""
    rows = coverage(dataset)
    wide = max(len("class"), *(len(row.name) for row in rows))
    head = f"{'class':<{wide}}  " + "  ".join(
        f"{part + ' ' + what:>12}" for part in ("train", "test") for what in _COUNTED
    )
    lines = [head] + [
        f"{row.name:<{wide}}  "
        + "  ".join(f"{getattr(c, what):>12,}" for c in (row.train, row.test) for what in _COUNTED)
        for row in rows
    ]
    for part, videos in (("train", dataset.train), ("test", dataset.test)):
        tracks = sum(len(annotation.tracks) for annotation in videos)
        boxes = sum(annotation.num_boxes for annotation in videos)
        frames = sum(len(annotation.keyframes) for annotation in videos)
        lines.append(
            f"{part}: {len(videos):,} videos, {frames:,} annotated frames, {tracks:,} tracks,"
            f" {boxes:,} boxes"
        )
    return "\n".join(lines)


_COUNTED = ("videos", "tracks", "boxes")


def show(
    dataset: Dataset,
    count: int = 24,
    seed: int = 0,
    *,
    part: Literal["train", "test"] = "train",
    columns: int = 6,
) -> NDArray[np.uint8]:
    """A contact sheet uint8 [H, W, 3] of annotated frames with their boxes and actions.

    Frames with actors are drawn from as many different videos as there are, in the order of the
    dataset, so that a wrong convention, scale or frame offset meets the eye. A part with fewer
    such frames than asked for shows them all.

    Args:
        dataset: What to look at.
        count: How many frames to show.
        seed: Another seed shows other frames.
        part: Which videos.
        columns: Frames side by side.

    Raises:
        InputError: No frame with an actor, a count below 1, or a video that cannot be read.
    """
    annotations = dataset.train if part == "train" else dataset.test
    chosen = _drawn(annotations, count, np.random.default_rng(seed))
    if not chosen:
        raise InputError(
            f"nothing to show in the {part} part of {dataset.name}",
            expected="a frame with an actor, and a count of at least 1",
            found=f"{len(annotations)} videos, a count of {count}",
        )
    images = [_drawing(annotations[video], frame, dataset) for video, frame in chosen]
    captions = [f"#{frame} {annotations[video].video}" for video, frame in chosen]
    return contact_sheet(images, columns, captions)


def _drawn(
    annotations: Sequence[VideoAnnotation], count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Sorted (video, frame) pairs: one frame per video in random order, then a second, ..."""
    frames = {
        number: rng.permutation(np.unique(np.concatenate([t.frames for t in a.tracks])))
        for number, a in enumerate(annotations)
        if a.tracks
    }
    order = rng.permutation(list(frames)).tolist()
    rounds = max((len(each) for each in frames.values()), default=0)
    pairs = (
        (number, int(frames[number][turn]))
        for turn in range(rounds)
        for number in order
        if turn < len(frames[number])
    )
    return sorted(islice(pairs, max(0, count)))


def _drawing(annotation: VideoAnnotation, frame: int, dataset: Dataset) -> NDArray[np.uint8]:
    clip = clips.centred(annotation, frame, length=1, stride=1)
    image = clip.frames[0].copy()
    for box, labels in zip(clip.boxes, clip.labels, strict=True):
        numbers = np.flatnonzero(labels)
        color = palette_color(int(numbers[0]) if numbers.size else len(labels))
        draw_box(image, box, color)
        text = ", ".join(dataset.classes.names[number] for number in numbers)
        draw_label(image, text, (float(box[0]), float(box[1])), color)
    return image

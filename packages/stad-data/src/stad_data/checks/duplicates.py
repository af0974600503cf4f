"""Twice the same: rows of CSV files, tubes, boxes, video files."""

import filecmp
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import Dataset, VideoAnnotation
from stad_data.checks.problem import Example, Problem, in_video, problems
from stad_data.tracks import BoxTable

_DIGESTED = 1 << 16
# Share of the longer tube's boxes that another tube has as well.
_MOST = 0.9


def repeated_rows(paths: Iterable[Path]) -> list[Problem]:
    """Rows of annotation tables (CSV) that stand there twice, letter by letter."""
    found: list[Example] = []
    count = 0
    for path in paths:
        seen: dict[bytes, int] = {}
        first: Example | None = None
        for row, line in enumerate(_lines(path), start=1):
            before = seen.setdefault(line, row)
            if before != row and line.strip():
                text = line.decode("utf-8", "replace").strip()[:100]
                first = first or Example(
                    found=f"as row {before}: {text}", path=path, place=f"row {row}"
                )
                count += 1
        found += [] if first is None else [first]
    return problems(
        "repeated-row",
        "warning",
        "rows of annotation files stand there twice",
        found,
        "was a file appended to itself? Readers merge such rows",
        count=count,
    )


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def repeated_tubes(annotations: Sequence[VideoAnnotation]) -> list[Problem]:
    """Tubes that are there twice with one label; and boxes that two actors share."""
    tubes: list[Example] = []
    boxes: list[Example] = []
    for annotation in annotations:
        shared = _shared(annotation.table)
        if not len(shared):
            continue
        actors, lengths = np.unique(annotation.table.actors, return_counts=True)
        length = dict(zip(actors.tolist(), lengths.tolist(), strict=True))
        pairs, counts = np.unique(shared[shared[:, 3] == 1, :2], axis=0, return_counts=True)
        twice: set[tuple[int, int]] = set()
        for (one, other), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            if count >= _MOST * max(length[one], length[other]):
                twice.add((one, other))
                note = f"actors {one} and {other} have the same {count} boxes"
                tubes.append(in_video(annotation, note))
        single = [row for row in shared.tolist() if (row[0], row[1]) not in twice]
        if single:
            one, other, frame, _ = single[0]
            more = f" (and {len(single) - 1:,} others)" if len(single) > 1 else ""
            note = f"actors {one} and {other} have the same box{more}"
            boxes.append(in_video(annotation, note, f"frame {frame}"))
    return [
        *problems(
            "repeated-tube",
            "warning",
            "tubes are there twice",
            tubes,
            "take one of the two out: both count in training and in scores",
        ),
        *problems(
            "same-box",
            "warning",
            "videos have two actors with the very same box in a frame",
            boxes,
            "is it one actor with two actions, or a box that was copied?",
        ),
    ]


def _shared(table: BoxTable) -> NDArray[np.int64]:
    """Boxes that two actors have in one frame: rows (actor, other actor, frame, same labels)."""
    order = np.lexsort((table.actors, *table.boxes.T, table.frames))
    frames, boxes, labels = table.frames[order], table.boxes[order], table.labels[order]
    actors = table.actors[order]
    same = (frames[1:] == frames[:-1]) & (boxes[1:] == boxes[:-1]).all(axis=1)
    at = np.flatnonzero(same)
    alike = (labels[at] == labels[at + 1]).all(axis=1)
    return np.column_stack([actors[at], actors[at + 1], frames[at], alike.astype(np.int64)])


def repeated_files(dataset: Dataset) -> list[Problem]:
    """Two videos with one file or one content; across the parts that is a leak."""
    first: dict[bytes, list[tuple[str, VideoAnnotation]]] = {}
    copies: list[Example] = []
    leaks: list[Example] = []
    for part, videos in (("train", dataset.train), ("test", dataset.test)):
        for annotation in videos:
            alike = first.setdefault(_digest(annotation.path) or annotation.video.encode(), [])
            for other_part, other in alike:
                if filecmp.cmp(annotation.path, other.path, shallow=False):
                    note = f"the same content as {other.video} of the {other_part} part"
                    (copies if part == other_part else leaks).append(in_video(annotation, note))
                    break
            alike.append((part, annotation))
    return [
        *problems(
            "leaked-file",
            "error",
            "test videos have the content of a training video",
            leaks,
            "take them out of one part: a score on videos that were trained on means nothing",
        ),
        *problems(
            "repeated-file",
            "warning",
            "videos have the content of another one of their part",
            copies,
            "was a file copied under a second name, in place of the right one?",
        ),
    ]


def _digest(path: Path) -> bytes | None:
    """What tells most video files apart: their length, their first and last 64 KiB."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(_DIGESTED)
            file.seek(max(0, size - _DIGESTED))
            tail = file.read(_DIGESTED)
    except OSError:
        return None
    return blake2b(head + tail + str(size).encode(), digest_size=16).digest() if size else None

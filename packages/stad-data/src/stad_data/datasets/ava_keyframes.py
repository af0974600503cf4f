"""Merged rows of AVA's form to a `VideoAnnotation`: moments to frames, shares to pixels.

Suffix legend: G = actors in keyframes, K = keyframes of a video.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import Track, VideoAnnotation
from stad_data.datasets.ava_actors import Actors
from stad_data.video import VideoReader
from stad_eval import InputError
from stad_eval.formats import files

SIZES = ("video", "width", "height", "num_frames", "fps", "first_second", "time")


@dataclass(frozen=True, kw_only=True)
class Film:
    """What rows do not say about a video: how its moments become frames and its shares pixels.

    Attributes:
        size: (width, height) in pixels.
        num_frames: Number of frames; None if no one knows (then up to the last annotated one).
        fps: Frames per second.
        first_second: The second at which the video begins.
        time: What the rows count: "second", "frame" (from 0), or "millisecond".
    """

    size: tuple[int, int]
    num_frames: int | None
    fps: float
    first_second: float = 0.0
    time: str = "second"


def read_sizes(path: Path) -> dict[str, Film]:
    """The films of a table that `stad data convert --to ava` writes beside the rows.

    A CSV with the header ``video,width,height,num_frames,fps,first_second,time``.

    Raises:
        InputError: Another header, or a bad row.
    """
    lines = files.read_text(path).splitlines()
    found: dict[str, Film] = {}
    try:
        table = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise InputError(f"not a CSV file ({error})", path=path) from None
    if not table or tuple(table[0]) != SIZES:
        raise InputError(
            "a table of sizes of another form",
            path=path,
            row=1,
            expected=",".join(SIZES),
            found=",".join(table[0])[:80] if table else "an empty file",
        )
    for row, fields in enumerate(table[1:], start=2):
        if not fields:
            continue
        try:
            video, width, height, count, fps, first, time = fields
            film = Film(
                size=(int(width), int(height)),
                num_frames=int(count),
                fps=float(fps),
                first_second=float(first),
                time=time,
            )
            good = min(*film.size, int(count)) >= 1 and 0 < film.fps < 1e6
            if not good or not abs(film.first_second) < 1e9 or time not in ("second", "frame"):
                raise ValueError("a number out of range")
        except ValueError as error:
            raise InputError(
                f"a bad row ({error})",
                path=path,
                row=row,
                expected=",".join(SIZES),
                found=",".join(fields)[:80],
            ) from None
        found[video] = film
    return found


def annotate(
    actors: Actors,
    moments: NDArray[np.int64],
    *,
    video: str,
    path: Path,
    source: Path,
    film: Film,
    given: bool,
) -> VideoAnnotation:
    """One video with the actors of the given moments; `actors` of other moments are left out.

    Args:
        actors: The video's merged rows.
        moments: [K] annotated seconds (or frames, or milliseconds, see ``film.time``), sorted.
        video: Name of the video.
        path: Its file.
        source: The file of the rows.
        film: Size, rate and length to go by.
        given: Whether to go by ``film`` alone; otherwise the file is opened, and of ``film`` only
            its beginning and what moments count are used.

    Raises:
        InputError: A moment without a frame of its own, or a file that cannot be read.
    """
    if given:
        frames = _frames_by_rate(moments, film)
        size, fps, end = film.size, film.fps, float("inf")
        num_frames = film.num_frames or (int(frames[-1]) + 1 if len(frames) else 1)
    else:
        frames, size, fps, num_frames, end = _frames_of_file(path, moments, film)
    wrong = (frames < 0) | (frames >= num_frames) | (_seconds(moments, film) >= end)
    wrong[1:] |= frames[1:] == frames[:-1]
    if wrong.any():
        bad = int(moments[np.argmax(wrong)])
        rows = actors.row[actors.second == bad]
        last = film.first_second + num_frames / fps
        raise InputError(
            f"{film.time} {bad} has no frame of its own in video {video!r}",
            path=source,
            row=int(rows.min()) if rows.size else None,
            expected=f"a frame below {num_frames}"
            if film.time == "frame"
            else f"a second of at least {film.first_second:g} and below {min(end, last):.2f}",
            found=f"{path} with {num_frames} frames at {fps:g}/s",
            remedy="first_second tells at which second the files begin (0 for whole films)",
        )
    actors = actors.select(np.isin(actors.second, moments))
    frame_G = frames[np.searchsorted(moments, actors.second)]
    box_G = actors.box * np.array([*size, *size])
    tracks = [
        Track(
            actor=int(actors.person[rows[0]]),
            frames=frame_G[rows],
            boxes=box_G[rows],
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
        timestamps=moments if film.time == "second" else None,
        num_classes=actors.labels.shape[1],
    )


def _seconds(moments: NDArray[np.int64], film: Film) -> NDArray[np.float64]:
    """Moments as seconds on the rows' clock; frames count as 0, before any end."""
    if film.time == "frame":
        return np.zeros(len(moments))
    return moments / (1000 if film.time == "millisecond" else 1)


def _frames_by_rate(moments: NDArray[np.int64], film: Film) -> NDArray[np.int64]:
    if film.time == "frame":
        return moments
    return np.round((_seconds(moments, film) - film.first_second) * film.fps).astype(np.int64)


def _frames_of_file(
    path: Path, moments: NDArray[np.int64], film: Film
) -> tuple[NDArray[np.int64], tuple[int, int], float, int, float]:
    """Frames shown at the moments, -1 for one before the beginning; size, rate, length, end."""
    with VideoReader(path) as reader:
        size, num_frames, fps = reader.size, reader.num_frames, reader.fps
        end = film.first_second + float(reader.times[-1]) + 1 / fps
        if film.time == "frame":
            return moments, size, fps, num_frames, end
        times = _seconds(moments, film) - film.first_second
        frames = np.array([reader.frame_at(each) for each in times.tolist()], np.int64)
    frames[times < 0] = -1
    return frames, size, fps, num_frames, end


def _grouped(values: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """The rows of every distinct value, each group in order."""
    if not len(values):
        return []
    order = np.argsort(values, kind="stable")
    _, starts = np.unique(values[order], return_index=True)
    return np.split(order, starts[1:])

"""AVA, and any set in its layout: keyframes at whole seconds, several actions per person.

``<root>/videos/<id>.mp4`` (or ``.mkv``, ``.webm``, ``.avi``) and ``<root>/annotations/`` with
``train.csv``, ``val.csv`` (or one of the two), ``label_map.pbtxt`` and, where some seconds are to
be left out, ``train_excluded_timestamps.csv``, ``val_excluded_timestamps.csv``. The names of the
published files (``ava_train_v2.2.csv``, ``ava_action_list_v2.2*.pbtxt``,
``ava_val_excluded_timestamps_v2.2.csv`` ...) are taken as well, files that lie in the root itself,
and a single CSV file in place of the folder. AVA itself needs no label map: without one, its ids
have the names of its published list of 80.

Rows of a CSV have no header: ``video,second,x1,y1,x2,y2,action_id,person_id``, normalised to the
frame's width and height, one row per action; without person ids 7 columns; ``video,second`` alone
is an annotated frame without persons. The boxes become half-open pixels of the video's frame.
Label maps are read in all dialects of `class_lists`, proposals by `read_proposals`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stad_data import annotation_index
from stad_data.annotation import ActionClasses, Dataset, VideoAnnotation
from stad_data.annotation_index import Source
from stad_data.datasets import video_files
from stad_data.datasets.ava_actors import merge
from stad_data.datasets.ava_keyframes import Film, annotate, read_sizes
from stad_data.datasets.ava_layout import AvaFiles, find_files, read_classes
from stad_data.datasets.proposals import read_proposals
from stad_data.datasets.video_files import Missing
from stad_eval import InputError, read_ava_frames
from stad_eval.formats import files as text_files
from stad_eval.formats.ava_csv import AvaRows, read_ava_rows
from stad_eval.protocols import frame_protocol

__all__ = ["read", "read_file_names", "read_proposals"]

_AVA = frame_protocol("ava-v2.2")
_NAMES = {part: (f"{part}.csv", f"ava_{part}_v*.csv") for part in ("train", "val")}


def read(
    root: Path | str,
    *,
    first_second: float = 900.0,
    label_map: Path | str | None = None,
    missing: Missing = "refuse",
    time: Literal["second", "frame"] = "second",
    size: tuple[int, int] | None = None,
    fps: float = 30.0,
    index: Path | str | None = None,
) -> Dataset:
    """The dataset; ``test`` is the validation part.

    The frame of a second is the one shown at ``second - first_second`` by its presentation time,
    so every video is opened and its packets are counted. Excluded seconds are no keyframes. Rows
    of one video, second and person merge to one actor with several labels; without person ids,
    rows with the same box do, and every box is a track of its own. With AVA's label map of 60
    actions, rows of its other 20 keep their actor and lose the label.

    With ``missing="keep"`` a video without a file takes its size from ``size``, or from the table
    ``video_sizes.csv`` that `stad data convert --to ava` writes, and the frame of a second is
    ``(second - first_second) * fps``, rounded.

    Args:
        root: Folder that holds ``annotations`` (or their files) and ``videos``, or one CSV file:
            its videos are for training if it is named ``*train*``, else for test, and are looked
            for in ``videos`` beside it.
        first_second: The second at which the video files begin: 900 for AVA's published cuts of
            15 minutes, 0 for whole films.
        label_map: The label map, where neither ``annotations`` nor the folder above it holds one,
            or where there are several.
        missing: What to do about annotated videos without a file.
        time: What the second column counts: seconds, or frames from 0.
        size: (width, height) of videos that are not there.
        fps: Frame rate of videos that are not there.
        index: File that keeps the result: made by the first call, and from then on mapped into
            memory as long as the annotation files, the folder of videos and the arguments are the
            same (`annotation_index`). None reads the files and writes nothing.

    Raises:
        InputError: Files that are missing or of which there are several, a bad row, an unknown
            action, a box outside its frame or without area, one person with two boxes at a time,
            a second outside its video, or absent videos with ``missing="refuse"``.
    """
    root = Path(root)
    files = find_files(root, names=_NAMES, label_map=label_map)
    if index is not None:
        options: dict[str, Any] = {
            "first_second": first_second,
            "missing": missing,
            "time": time,
            "size": size,
            "fps": fps,
        }
        return annotation_index.indexed(
            index, _source(files, options), lambda: read(root, label_map=label_map, **options)
        )
    tables = {part: read_ava_rows(path) for part, path in files.rows.items()}
    videos = {video for rows in tables.values() for video in rows.videos}
    classes, known_ids = read_classes(files, videos)
    films = {} if files.sizes is None else read_sizes(files.sizes)
    default = None
    if size is not None:
        default = Film(size=size, num_frames=None, fps=fps, first_second=first_second, time=time)
    opened = Film(size=(1, 1), num_frames=None, fps=1, first_second=first_second, time=time)

    def annotations(part: str) -> tuple[VideoAnnotation, ...]:
        if part not in tables:
            return ()
        path, rows = files.rows[part], tables[part]
        excluded: frozenset[tuple[str, int]] = frozenset()
        if part in files.exclusions:
            excluded = frozenset(read_ava_frames(files.exclusions[part]))
        actors = merge(rows, path, classes, known_ids)
        paths = _paths(files.base, rows, path, missing)
        numbers = {name: number for number, name in enumerate(rows.videos)}
        return tuple(
            annotate(
                actors.of_video(numbers[video]),
                _seconds(rows, numbers[video], excluded),
                video=video,
                path=video_path,
                source=path,
                film=films.get(video, opened)
                if video_path.is_file()
                else _film(video, films, default, path),
                given=not video_path.is_file(),
            )
            for video, video_path in paths.items()
        )

    return Dataset(
        name="ava",
        classes=classes,
        train=annotations("train"),
        test=annotations("val"),
        protocol=_protocol(classes, files.rows.get("val", root)),
        left_out=_unnamed(tables.values(), classes),
    )


def read_file_names(path: Path | str) -> dict[str, str]:
    """The videos of a list of file names, one per line: from the id to the name with its suffix.

    Raises:
        InputError: A line that is no file name, or a video listed twice.
    """
    found: dict[str, str] = {}
    for row, line in enumerate(text_files.read_text(path).splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        video, dot, suffix = name.rpartition(".")
        if not video or not dot or not suffix.isalnum() or "," in name or video in found:
            raise InputError(
                "no name of a video file" if video not in found else "a video listed twice",
                path=path,
                row=row,
                expected="one file name per line, such as -5KQ66BBWC4.mkv",
                found=name[:80],
            )
        found[video] = name
    return found


def _film(video: str, films: Mapping[str, Film], default: Film | None, source: Path) -> Film:
    film = films.get(video, default)
    if film is None:
        raise InputError(
            f"the frame size of video {video!r} is not known, and AVA's boxes are shares of it",
            path=source,
            expected="the video's file, or a size",
            found="neither",
            remedy="put the videos there, or give size=(width, height) (--size WxH)",
        )
    return film


def _protocol(classes: ActionClasses, val: Path) -> str:
    """AVA's own protocol for AVA's own label maps; otherwise all classes are scored."""
    evaluated = set(_AVA.classes or ())
    if not evaluated <= set(classes.names) <= evaluated | set(_AVA.ignored_classes):
        return "keyframes"
    return "ava-v2.1" if "v2.1" in val.name else "ava-v2.2"


def _unnamed(tables: Iterable[AvaRows], classes: ActionClasses) -> tuple[str, ...]:
    """In words, the rows whose actions a short label map does not name."""
    actions = np.concatenate([rows.action for rows in tables])
    lost = actions[~np.isin(actions, np.array(classes.ids))]
    if not len(lost):
        return ()
    ids = ", ".join(str(number) for number in np.unique(lost).tolist())
    return (f"{len(lost):,} rows of actions that the label map does not name: {ids}",)


def _source(files: AvaFiles, options: dict[str, Any]) -> Source:
    """All that `read` looks at."""
    named = {part: path for part, path in files.rows.items()}
    named |= {f"{part} exclusions": path for part, path in files.exclusions.items()}
    for name, path in (("label map", files.label_map), ("sizes", files.sizes)):
        if path is not None:
            named[name] = path
    folders = {"videos": files.base / "videos"}
    return Source(root=files.base, files=named, folders=folders, options=options)


def _seconds(rows: AvaRows, video: int, excluded: frozenset[tuple[str, int]]) -> NDArray[np.int64]:
    """[K] the annotated seconds of a video, those without persons included, sorted."""
    named = rows.timestamp[rows.video == video]
    empty = rows.empty[rows.empty[:, 0] == video, 1]
    seconds = np.unique(np.concatenate([named, empty]))
    left_out = [second for name, second in excluded if name == rows.videos[video]]
    return np.setdiff1d(seconds, np.array(left_out, np.int64))


def _paths(root: Path, rows: AvaRows, source: Path, missing: Missing) -> dict[str, Path]:
    places = root / "videos"

    def row(video: str) -> int | None:
        """The first row with a box of a video; None where only empty frames are named."""
        named = rows.video == rows.videos.index(video)
        return int(rows.row[named].min()) if named.any() else None

    return video_files.present(
        {video: video_files.find([places / video]) for video in rows.videos},
        expected=lambda video: places / f"{video}.mp4",
        missing=missing,
        listed_in=source,
        row=row,
    )

"""The Kinetics part of AVA-Kinetics: one keyframe per clip, several actions per person.

``<root>/annotations/kinetics_train_v1.0.csv`` and ``kinetics_val_v1.0.csv`` (or
``kinetics_train.csv``, ``kinetics_val.csv``), a label map as for AVA, and ``<root>/videos/`` with
``<id>_<first second>_<last second>.mp4``, as Kinetics names its cuts, or ``<id>.mp4``.

Rows are AVA's, with three differences: seconds may have decimals and count from the beginning of
the YouTube video, there are no person ids (7 columns), and an image without persons is a row of two
columns or of empty ones. The AVA part of AVA-Kinetics is read by `ava`.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stad_data.annotation import Dataset, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.ava_actors import merge
from stad_data.datasets.ava_keyframes import Film, annotate
from stad_data.datasets.ava_layout import AVA_IDS, find_files, read_classes
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.formats import files
from stad_eval.formats.ava_csv import AvaRows
from stad_eval.formats.ava_rows import finite_number

_CUT = re.compile(r"(.+)_(\d{6})_(\d{6})\.\w+")
_NAMES = {
    part: (f"kinetics_{part}.csv", f"kinetics_{part}_v*.csv", f"ava_kinetics_{part}*.csv")
    for part in ("train", "val")
}


def read(
    root: Path | str,
    *,
    label_map: Path | str | None = None,
    missing: Missing = "refuse",
    size: tuple[int, int] | None = None,
    fps: float = 30.0,
) -> Dataset:
    """The dataset; ``test`` is the validation part. Actors are single boxes without identity.

    A keyframe is the frame shown at its second by presentation time, counted from the first second
    that the file's name gives, or from 0. ``timestamps`` are None: the seconds have decimals.

    Args:
        root: Folder that holds ``annotations`` and ``videos``, or one CSV file, as for `ava.read`.
        label_map: The label map, as for `ava.read`.
        missing: What to do about annotated videos without a file. With "keep" their cuts are
            taken to begin 5 seconds before their first annotated second.
        size: (width, height) of videos that are not there.
        fps: Frame rate of videos that are not there.

    Raises:
        InputError: As `ava.read`.
    """
    files = find_files(Path(root), names=_NAMES, label_map=label_map)
    tables = {part: read_rows(path) for part, path in files.rows.items()}
    videos = {video for rows in tables.values() for video in rows.videos}
    classes, known_ids = read_classes(files, videos)
    folder = files.base / "videos"
    cuts = _cuts(folder)

    def annotations(part: str) -> Iterator[VideoAnnotation]:
        if part not in tables:
            return
        source, rows = files.rows[part], tables[part]
        # Rows may have any of AVA's 80 actions, whatever the label map names.
        actors = merge(rows, source, classes, known_ids | AVA_IDS)
        paths = video_files.present(
            {video: cuts.get(video, (None, 0.0))[0] for video in rows.videos},
            expected=lambda video: folder / f"{video}.mp4",
            missing=missing,
            listed_in=source,
        )
        for number, video in enumerate(rows.videos):
            if video not in paths:
                continue
            moments = np.unique(
                np.concatenate(
                    [
                        rows.timestamp[rows.video == number],
                        rows.empty[rows.empty[:, 0] == number, 1],
                    ]
                )
            )
            there = video in cuts
            if not there and size is None:
                raise InputError(
                    f"the frame size of video {video!r} is not known",
                    path=source,
                    remedy="put the videos there, or give size=(width, height) (--size WxH)",
                )
            first = cuts[video][1] if there else max(0.0, int(moments[0]) / 1000 - 5)
            yield annotate(
                actors.of_video(number),
                moments,
                video=video,
                path=paths[video],
                source=source,
                film=Film(
                    size=size or (1, 1),
                    num_frames=None,
                    fps=fps,
                    first_second=first,
                    time="millisecond",
                ),
                given=not there,
            )

    return Dataset(
        name="ava-kinetics",
        classes=classes,
        train=tuple(annotations("train")),
        test=tuple(annotations("val")),
        protocol="keyframes",
    )


def read_rows(path: Path | str) -> AvaRows:
    """The rows of a Kinetics CSV, ``timestamp`` in milliseconds and no person ids.

    Raises:
        InputError: With the row, on another number of columns, or a field that is no number.
    """
    path = Path(path)
    names: dict[str, int] = {}
    boxed: list[tuple[int, int, int, int]] = []  # video, millisecond, action, row
    boxes: list[list[float]] = []
    empty: list[tuple[int, int]] = []
    lines = csv.reader(files.read_text(path).splitlines(), strict=True)
    while True:
        row = lines.line_num + 1
        try:
            fields = next(lines, None)
        except csv.Error as error:
            raise InputError(f"not a CSV file ({error})", path=path, row=row) from None
        if fields is None:
            break
        if not fields:
            continue
        values = _values(fields, path, row)
        video = names.setdefault(fields[0], len(names))
        moment = round(1000 * values[0])
        if len(values) == 1:
            empty.append((video, moment))
        else:
            boxed.append((video, moment, int(values[5]), row))
            boxes.append(values[1:5])
    table = np.array(boxed, np.int64).reshape(-1, 4)
    return AvaRows(
        videos=tuple(names),
        video=table[:, 0],
        timestamp=table[:, 1],
        box=np.array(boxes, np.float64).reshape(-1, 4),
        action=table[:, 2],
        eighth=np.full(len(table), np.nan),
        row=table[:, 3],
        empty=np.array(empty, np.int64).reshape(-1, 2),
    )


def _values(fields: list[str], path: Path, row: int) -> list[float]:
    """Second, and box and action where there are some."""
    while len(fields) > 2 and not fields[-1].strip():
        fields = fields[:-1]
    problem = "wrong number of columns" if len(fields) not in (2, 7) else None
    values: list[float] = []
    if problem is None:
        try:
            values = [finite_number(text) for text in fields[1:]]
            good = all(abs(value) < 1e9 for value in values) and values[0] >= 0
            good &= len(values) == 1 or values[5] == int(values[5])
            problem = None if good and fields[0] else "a number out of range, or no video"
        except ValueError:
            problem = "a field that is no number"
    if problem:
        raise InputError(
            problem,
            path=path,
            row=row,
            expected="video,second[,x1,y1,x2,y2,action_id]",
            found=",".join(fields)[:120],
        )
    return values


def _cuts(folder: Path) -> dict[str, tuple[Path, float]]:
    """From the YouTube id to the file and the second at which it begins."""
    found: dict[str, tuple[Path, float]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in video_files.SUFFIXES and path.is_file():
            cut = _CUT.fullmatch(path.name)
            found[cut[1] if cut else path.stem] = (path, float(cut[2]) if cut else 0.0)
    return found

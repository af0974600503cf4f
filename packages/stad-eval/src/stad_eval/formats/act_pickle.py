"""Pickles of ACT and MOC; MultiSports' ground truth has the same form.

Ground truth is a dict: `labels` (class names), `train_videos` and `test_videos` (a list of video
names per split), `nframes` (by video), `resolution` (height, width by video), `gttubes` (by video,
then by 0-based class, a list of float32 [n, 5] rows: frame, x1, y1, x2, y2). Detected tubes of a
video lie in `<folder>/<video>_tubes.pkl`: by class, a list of (rows [n, 6], score).

How frames and boxes count: see `stad_eval.formats.tube_arrays`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from stad_eval.formats import safe_pickle
from stad_eval.formats.tube_arrays import (
    Corners,
    TubeArray,
    entry,
    label_of,
    names_of,
    number,
    read_rows,
    rows_of,
    table_of,
    whole_number,
    write_pickle,
)
from stad_eval.input_error import InputError
from stad_eval.tube_tables import TubeFile, Tubes


def read_act_truth(
    path: str | Path,
    *,
    split: int = 1,
    part: Literal["test", "train"] = "test",
    corners: Corners = "half-open",
) -> TubeFile:
    """Ground truth of one split, from a pickle of ACT, MOC or MultiSports.

    Args:
        path: the file.
        split: 1-based split.
        part: which of its two lists of videos.
        corners: what the corners of the file's boxes are, see `tube_arrays.Corners`.

    Raises:
        InputError: naming the place in the file, if it has another form or lacks the split.
    """
    return act_truth(safe_pickle.load(path), path, split=split, part=part, corners=corners)


def act_truth(
    content: object,
    path: str | Path,
    *,
    split: int = 1,
    part: Literal["test", "train"] = "test",
    corners: Corners = "half-open",
) -> TubeFile:
    """As `read_act_truth`, from the content of a pickle; `path` is for error messages only.

    Raises:
        InputError: as `read_act_truth`.
    """
    classes = names_of(entry(content, "labels", list, path), path, "labels")
    splits = entry(content, f"{part}_videos", list, path)
    if not 1 <= split <= len(splits):
        raise InputError(
            "no such split",
            path=path,
            expected=f"1 to {len(splits)}",
            found=split,
            remedy="Splits count from 1 in the order of the file, whatever they are called "
            "elsewhere: say --split 1 (in code split=1) if it holds one.",
        )
    videos = names_of(splits[split - 1], path, f"{part}_videos[{split - 1}]")
    everything = entry(content, "gttubes", dict, path)
    counts = entry(content, "nframes", dict, path)
    sizes = entry(content, "resolution", dict, path)
    items: list[TubeArray] = []
    for video in videos:
        by_class = entry(everything, video, dict, path, "gttubes")
        for key, arrays in by_class.items():
            place = f"gttubes['{video}'][{key!r}]"
            label = label_of(key, classes, path, place)
            for at, rows in enumerate(_list(arrays, path, place)):
                checked = read_rows(rows, path, f"{place}[{at}]")[:, :5]
                items.append(TubeArray(video=video, label=label, score=1.0, rows=checked))
    return TubeFile(
        tubes=table_of(items, videos=videos, classes=classes, corners=corners),
        frame_counts={
            video: whole_number(counts.get(video), path, f"nframes['{video}']") for video in videos
        },
        sizes={video: _size(sizes.get(video), path, f"resolution['{video}']") for video in videos},
    )


def write_act_truth(path: str | Path, truth: TubeFile, *, corners: Corners = "half-open") -> None:
    """Write ground truth with one split, whose test videos are those of `truth`.

    Reading it gives the same tubes again, ordered by video and class.

    Raises:
        InputError: if a video lacks its number of frames or its size, or the folder does not exist.
        OSError: if it cannot be written.
    """
    tubes = truth.tubes
    for name, known in (("number of frames", truth.frame_counts), ("size", truth.sizes)):
        lacking = [video for video in tubes.videos if video not in known]
        if lacking:
            raise InputError(f"videos without a {name}", path=path, found=", ".join(lacking))
    by_video: dict[str, dict[int, list[Any]]] = {video: {} for video in tubes.videos}
    for at in range(len(tubes)):
        by_class = by_video[tubes.videos[tubes.video[at]]]
        rows = rows_of(tubes, at, corners)[:, :5]
        by_class.setdefault(int(tubes.label[at]), []).append(rows)
    content = {
        "labels": list(tubes.classes),
        "train_videos": [[]],
        "test_videos": [list(tubes.videos)],
        "nframes": {video: int(truth.frame_counts[video]) for video in tubes.videos},
        "resolution": {video: truth.sizes[video][::-1] for video in tubes.videos},
        "gttubes": by_video,
    }
    write_pickle(path, content)


def read_act_tubes(
    folder: str | Path,
    *,
    videos: Sequence[str],
    classes: Sequence[str],
    corners: Corners = "half-open",
) -> Tubes:
    """Detected tubes of ACT or MOC, one file per video.

    Raises:
        InputError: naming file and place, if a file is missing or has another form.
    """
    items: list[TubeArray] = []
    for video in videos:
        path = Path(folder) / f"{video}_tubes.pkl"
        content = safe_pickle.load(path)
        if not isinstance(content, dict):
            raise InputError(
                "not the tubes of a video",
                path=path,
                expected="a dict: class -> list of (rows, score)",
                found=type(content).__name__,
            )
        for key, tubes in content.items():
            label = label_of(key, classes, path, f"[{key!r}]")
            for at, pair in enumerate(_list(tubes, path, f"[{key!r}]")):
                place = f"[{key!r}][{at}]"
                rows, score = _pair(pair, path, place)
                items.append(
                    TubeArray(
                        video=video,
                        label=label,
                        score=number(score, path, f"{place}[1]"),
                        rows=read_rows(rows, path, f"{place}[0]"),
                    )
                )
    return table_of(items, videos=videos, classes=classes, corners=corners)


def write_act_tubes(folder: str | Path, tubes: Tubes, *, corners: Corners = "half-open") -> None:
    """Write detected tubes as ACT and MOC do, one file per video; folders are made.

    Raises:
        OSError: if they cannot be written.
    """
    by_video: list[dict[int, list[tuple[Any, float]]]] = [
        {label: [] for label in range(len(tubes.classes))} for _ in tubes.videos
    ]
    for at in range(len(tubes)):
        pair = rows_of(tubes, at, corners), float(tubes.score[at])
        by_video[tubes.video[at]][int(tubes.label[at])].append(pair)
    for video, content in zip(tubes.videos, by_video, strict=True):
        path = Path(folder) / f"{video}_tubes.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pickle(path, content)


def _list(value: object, path: str | Path, place: str) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        found = type(value).__name__
        raise InputError("not a list of tubes", path=path, row=place, expected="list", found=found)
    return value


def _pair(value: object, path: str | Path, place: str) -> tuple[object, object]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        found = type(value).__name__
        raise InputError("not a tube", path=path, row=place, expected="(rows, score)", found=found)
    return value[0], value[1]


def _size(value: object, path: str | Path, place: str) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        found = repr(value)[:60]
        raise InputError("bad size", path=path, row=place, expected="(height, width)", found=found)
    height, width = (whole_number(each, path, place) for each in value)
    return width, height

"""Where the files of AVA's form lie, whichever of the usual layouts they come in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stad_data.annotation import ActionClasses
from stad_data.datasets.class_lists import read_class_list
from stad_eval import InputError
from stad_eval.class_lists import AVA, AVA_EVALUATED

_LABEL_MAPS = ("label_map.pbtxt", "ava_action_list_v*.pbtxt")
_OTHER_LABEL_MAPS = ("label_map*.txt", "action_list.txt", "ava_action_list_v*.csv")
_ANY_LABEL_MAP = ("*.pbtxt",)
_NO_ROWS = re.compile(r"video_sizes\.csv|.*excluded_timestamps.*\.csv|ava_action_list_.*\.csv")
_AVA_VIDEO = re.compile(r"[\w-]{11}")

AVA_IDS = frozenset(range(1, 81))
"""Ids of AVA's 80 actions; its short label map names the 60 that are evaluated."""


@dataclass(frozen=True, kw_only=True)
class AvaFiles:
    """The files of one dataset.

    Attributes:
        base: The folder that holds ``videos``.
        folder: The folder of the annotation files.
        rows: The CSV file of each part, "train" and "val"; at least one of them.
        label_map: The label map; None where there is none.
        exclusions: The seconds of each part that are no keyframes, where there is such a file.
        sizes: The table of sizes of absent videos, where there is one.
    """

    base: Path
    folder: Path
    rows: Mapping[str, Path]
    label_map: Path | None
    exclusions: Mapping[str, Path]
    sizes: Path | None


def find_files(
    root: Path, *, names: Mapping[str, tuple[str, ...]], label_map: Path | str | None
) -> AvaFiles:
    """The files below ``root``: its ``annotations`` where it has that folder, else its own.

    Args:
        root: Folder, or one CSV file, whose rows are for training if it is named ``*train*``, else
            for validation. So is the only CSV of a folder, whatever its name.
        names: Patterns of the CSV files of each part, "train" and "val".
        label_map: The label map, where the folder (or the one above it) holds none or several.

    Raises:
        InputError: No CSV file of a known name, or several files for one purpose.
    """
    folder = root.parent if root.is_file() else root / "annotations"
    if not folder.is_dir():
        folder = root
    rows = _given(root) if root.is_file() else _rows(folder, names)
    above = folder.name == "annotations" and not (folder / "videos").is_dir()
    exclusions = {} if root.is_file() else {part: _exclusions(folder, part) for part in rows}
    return AvaFiles(
        base=folder.parent if above else folder,
        folder=folder,
        rows=rows,
        label_map=_label_map(folder) if label_map is None else Path(label_map),
        exclusions={part: path for part, path in exclusions.items() if path is not None},
        sizes=table if (table := folder / "video_sizes.csv").is_file() else None,
    )


def read_classes(files: AvaFiles, videos: Iterable[str]) -> tuple[ActionClasses, frozenset[int]]:
    """The classes, and the ids that rows may have: AVA's short map leaves 20 of its 80 out.

    Without a label map they are AVA's own 80, where all videos have names as AVA's.

    Raises:
        InputError: No label map and other videos, or what `read_class_list` refuses.
    """
    if files.label_map is None:
        if not all(_AVA_VIDEO.fullmatch(video) for video in videos):
            raise InputError(
                "no such annotation file",
                path=files.folder,
                expected="a label map named " + " or ".join(_LABEL_MAPS),
                found="none, and the videos are not AVA's",
                remedy="put it there, or name it by label_map (--labels)",
            )
        ids = tuple(range(1, len(AVA) + 1))
        return ActionClasses(names=AVA, ids=ids, exclusive=False), AVA_IDS
    names = read_class_list(files.label_map)
    classes = ActionClasses(names=tuple(names), ids=names.ids, exclusive=False)
    short_map = set(names) == set(AVA_EVALUATED)
    return classes, AVA_IDS if short_map else frozenset(names.ids)


def _given(path: Path) -> dict[str, Path]:
    return {"train" if "train" in path.name else "val": path}


def _rows(folder: Path, names: Mapping[str, tuple[str, ...]]) -> dict[str, Path]:
    found = {part: _one_of(folder, patterns) for part, patterns in names.items()}
    rows = {part: path for part, path in found.items() if path is not None}
    if rows:
        return rows
    others = [path for path in sorted(folder.glob("*.csv")) if not _NO_ROWS.fullmatch(path.name)]
    if len(others) == 1:
        return _given(others[0])
    raise InputError(
        "no such annotation file",
        path=folder,
        expected="one file named " + " or ".join(each for part in names.values() for each in part),
        found=", ".join(path.name for path in others) or "no CSV file",
        remedy="name the CSV file itself" if others else None,
    )


def _one_of(folder: Path, patterns: Iterable[str]) -> Path | None:
    """The one file that matches a pattern; several are the user's to mend."""
    patterns = tuple(patterns)
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if len(found) > 1:
        raise InputError(
            "more than one annotation file for one purpose",
            path=folder,
            expected="one file named " + " or ".join(patterns),
            found=", ".join(path.name for path in found),
            remedy="move the others away, or name the label map (--labels)",
        )
    return found[0] if found else None


def _label_map(folder: Path) -> Path | None:
    """The label map here or one folder up: AVA's own form, else any other dialect."""
    for place in (folder, folder.parent):
        for patterns in (_LABEL_MAPS, _OTHER_LABEL_MAPS, _ANY_LABEL_MAP):
            if (found := _one_of(place, patterns)) is not None:
                return found
    return None


def _exclusions(folder: Path, part: str) -> Path | None:
    """The file of (video, second) pairs that are no keyframes, where there is one."""
    return _one_of(
        folder, (f"{part}_excluded_timestamps.csv", f"ava_{part}_excluded_timestamps_v*.csv")
    )

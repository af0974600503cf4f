"""UCF101-24 with its corrected annotations, from any of the three files that they come in.

- ``<root>/pyannot.pkl`` is a dict ``Class/v_X_gNN_cNN`` -> ``{annotations: [{label, sf, ef,
  boxes}], numf, label}``: one entry of ``annotations`` per action tube, ``sf`` its first frame
  (0-based), ``ef`` the frame after its last, ``boxes`` [ef - sf, 4] as ``x, y, w, h``, ``label``
  0-based.
- ``<root>/pyannot_with_class_names.pkl`` holds that dict as ``db``, beside ``trainvideos`` and
  ``classes``.
- ``<root>/finalAnnots.mat`` holds ``annot``, a struct array {num_imgs, name, tubes{ef, sf, class,
  boxes}}: here ``sf`` and ``class`` count from 1 and ``ef`` is the last frame, also from 1.

Beside them, or in ``splitfiles``, ``testlist01.txt`` names the test videos of split 1; all other
annotated videos are for training unless a ``trainlist01.txt`` names them. Without a list, all but
``trainvideos`` are for test; where the file has none either, the groups g01 to g07 are (split 2:
g08 to g14, split 3: g15 to g21), which is what the published lists of UCF101 hold.

The boxes' corners ``x, y, x + w, y + h`` run over 1 to 320 and 1 to 240 in the published files, and
boxes that touch both borders have ``w = 319``: the corners are 1-based inclusive pixels. As 0-based
half-open boxes they are ``[x - 1, y - 1, x + w, y + h]``. The arrays are uint8 or uint16, too small
for that sum, and are cast first. Boxes refer to frames of 320x240, whatever size the files have.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stad_data.annotation import ActionClasses, Dataset
from stad_data.datasets import tube_file, video_files
from stad_data.datasets.mat_file import read_values
from stad_data.datasets.tree import blaming
from stad_data.datasets.video_files import Missing
from stad_eval import InputError, TubeFile, Tubes
from stad_eval.formats import safe_pickle
from stad_eval.formats.pyannot import pyannot_truth
from stad_eval.formats.tube_arrays import entry, names_of, whole_number
from stad_eval.protocols import frame_protocol

_SIZE = (320, 240)
_GROUP = re.compile(r"/v_\w+_g(\d\d)_c\d\d$")
_SUFFIXES = (".mp4", ".avi")
ANNOTATION_FILES = ("pyannot.pkl", "pyannot_with_class_names.pkl", "finalAnnots.mat")
"""The files with the same tubes, in the order in which they are looked for."""


def read(
    root: Path | str,
    *,
    split: int = 1,
    missing: Missing = "refuse",
    annotations: Path | str | None = None,
) -> Dataset:
    """The dataset with one of its splits.

    Videos are looked for at ``videos/<name>``, ``videos/<class>/<name>`` and ``<class>/<name>``
    with ``.mp4`` or ``.avi``. No video is opened. Every frame is a keyframe.

    Args:
        root: Folder that holds an annotation file, the lists and ``videos``, or the annotation
            file in it.
        split: Number of the split; the lists are ``testlist<nn>.txt`` and ``trainlist<nn>.txt``.
        missing: What to do about annotated videos without a file. ``absent_videos`` tells which
            those are.
        annotations: The annotation file; by default the first of `ANNOTATION_FILES` that is there.

    Raises:
        InputError: An unreadable or inconsistent annotation file, a list that names unknown
            videos, or absent videos with ``missing="refuse"``.
    """
    root, content = _opened(Path(root), annotations)
    names = content.truth.tubes.classes
    train_names, test_names = _split(root, split, content)
    paths = video_files.present(
        {video: _find_video(root, video) for video in (*train_names, *test_names)},
        expected=lambda video: root / "videos" / f"{video.rpartition('/')[2]}.mp4",
        missing=missing,
        listed_in=content.path,
    )

    found = tube_file.annotations(
        content.truth, paths, source=content.path, place="{video}.annotations[{actor}]"
    )
    return Dataset(
        name=f"ucf{len(names)}",
        classes=ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=True),
        train=tuple(found[video] for video in train_names if video in found),
        test=tuple(found[video] for video in test_names if video in found),
        protocol="ucf24" if names == frame_protocol("ucf24").classes else "dense",
    )


def absent_videos(
    root: Path | str, *, split: int = 1, annotations: Path | str | None = None
) -> list[str]:
    """Names of the videos of a split that are annotated but have no file.

    Raises:
        InputError: As ``read``.
    """
    root, content = _opened(Path(root), annotations)
    train_names, test_names = _split(root, split, content)
    return [video for video in (*train_names, *test_names) if _find_video(root, video) is None]


def _opened(root: Path, given: Path | str | None) -> "tuple[Path, _Content]":
    """The folder, and what its annotation file holds."""
    if root.is_file():
        root, given = root.parent, given or root
    return root, _read_annotations(_annotation_file(root) if given is None else Path(given))


def _annotation_file(root: Path) -> Path:
    found = next((root / name for name in ANNOTATION_FILES if (root / name).is_file()), None)
    if found is None:
        raise InputError(
            "no such annotation file",
            path=root,
            expected=" or ".join(ANNOTATION_FILES),
            found="none of them",
        )
    return found


@dataclass(frozen=True, kw_only=True)
class _Content:
    """An annotation file: its tubes, and its own training list."""

    path: Path
    truth: TubeFile
    train: tuple[str, ...] | None = None


def _read_annotations(path: Path) -> _Content:
    train = classes = None
    if path.suffix.lower() == ".mat":
        videos: object = dict(_matlab_videos(path))
    else:
        videos = safe_pickle.load(path)
        if isinstance(videos, dict) and "db" in videos:
            classes = names_of(entry(videos, "classes", list, path), path, "classes")
            train = names_of(entry(videos, "trainvideos", list, path), path, "trainvideos")
            videos = videos["db"]
    if not isinstance(videos, dict) or not videos:
        raise InputError(
            "an annotation file of another form",
            path=path,
            expected="a dict Class/video -> annotations",
            found=type(videos).__name__,
        )
    videos = {str(key): value for key, value in videos.items()}
    names = _class_names(videos, path)
    if classes is not None and classes != names:
        raise InputError(
            "the class names do not fit the labels of the videos",
            path=path,
            row="classes",
            expected=", ".join(names),
            found=", ".join(classes),
        )
    with blaming(path):
        truth = pyannot_truth(videos, path, videos=tuple(videos), classes=names, corners="pixels")
    _check_boxes(truth.tubes, path)
    return _Content(path=path, truth=truth, train=train)


def _class_names(videos: Mapping[str, object], path: Path) -> tuple[str, ...]:
    """The classes by label, as the folders in the videos' names have them."""
    names: dict[int, str] = {}
    for video in videos:
        record = entry(videos, video, dict, path)
        label = whole_number(record.get("label"), path, f"{video}.label")
        folder, _, _ = video.partition("/")
        if names.setdefault(label, folder) != folder:
            raise InputError(
                f"video {video!r}: its label does not fit its class folder",
                path=path,
                row=f"{video}.label",
                expected=f"{names[label]} for label {label}",
                found=folder,
            )
    in_order = tuple(names[label] for label in sorted(names))
    if sorted(names) != list(range(len(names))) or len(set(in_order)) != len(names):
        raise InputError(
            "labels that do not number the classes from 0",
            path=path,
            expected=f"one class folder for each of 0 to {len(names) - 1}",
            found=", ".join(f"{label} {names[label]}" for label in sorted(names)),
        )
    return in_order


def _check_boxes(tubes: Tubes, path: Path) -> None:
    low, high = tubes.box[:, :2], tubes.box[:, 2:]
    # A width of 0 in the file is a box of one pixel's width here.
    good = ((low >= 0) & (high <= _SIZE) & (high - low > 1)).all(axis=1)
    if good.all():
        return
    bad = int(np.argmin(good))
    tube = int(np.searchsorted(tubes.start, bad, side="right")) - 1
    x, y, right, bottom = tubes.box[bad].tolist()
    raise InputError(
        "a box outside the frame or of no area",
        path=path,
        row=f"{tubes.videos[tubes.video[tube]]}, frame {tubes.frame[bad]}",
        expected="x, y, w, h >= 1, x + w <= 320, y + h <= 240",
        found=f"x, y, w, h = {x + 1:g}, {y + 1:g}, {right - x - 1:g}, {bottom - y - 1:g}",
    )


def _matlab_videos(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The videos of ``annot`` in the form of the pickle: frames from 0, ends exclusive."""
    content = read_values(path).get("annot")
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise InputError(
            "an annotation file of another form",
            path=path,
            expected="a struct array annot {num_imgs, name, tubes}",
            found=type(content).__name__,
        )
    for row, video in enumerate(content):
        try:
            name = video["name"]
            tubes = [
                {
                    "label": _scalar(tube["class"]) - 1,
                    "sf": _scalar(tube["sf"]) - 1,
                    "ef": _scalar(tube["ef"]),
                    "boxes": tube["boxes"],
                }
                for tube in video["tubes"]
            ]
            if not isinstance(name, str) or not tubes:
                raise ValueError(f"a video {name!r} of {len(tubes)} tubes")
            length = _scalar(video["num_imgs"])
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise InputError(
                f"annot({row + 1}): an entry of another form",
                path=path,
                expected="{num_imgs, name, tubes{ef, sf, class, boxes}}",
                found=f"{type(error).__name__}: {error}",
            ) from error
        yield name, {"annotations": tubes, "numf": length, "label": tubes[0]["label"]}


def _scalar(value: object) -> int:
    """A MATLAB number; int before any sum, since it is stored as uint8."""
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise ValueError(f"{value!r} where a number should be")
    return int(value.item())


def _split(root: Path, split: int, content: _Content) -> tuple[list[str], list[str]]:
    entries, names = content.truth.frame_counts, content.truth.tubes.classes
    folder = root / "splitfiles" if (root / "splitfiles").is_dir() else root
    test_list = folder / f"testlist{split:02d}.txt"
    if not test_list.is_file() and not any(folder.glob("testlist*.txt")):
        if content.train is not None and split == 1:
            own = set(content.train)
            # The published list names a few videos whose annotation the correction dropped.
            train = [video for video in content.train if video in entries]
            return train, [video for video in sorted(entries) if video not in own]
        if (parts := _parts_by_group(entries, split)) is not None:
            return parts
    test = _read_list(test_list, entries, names, must_know=True)
    train_list = folder / f"trainlist{split:02d}.txt"
    if not train_list.is_file():
        held_out = set(test)
        return sorted(video for video in entries if video not in held_out), test
    train = _read_list(train_list, entries, names, must_know=False)
    if both := sorted(set(train) & set(test)):
        raise InputError(
            f"{len(both)} videos are both for training and for test",
            path=train_list,
            expected="lists of one family that share no video",
            found=", ".join(both[:3]),
        )
    return train, test


def _parts_by_group(entries: Mapping[str, int], split: int) -> tuple[list[str], list[str]] | None:
    """UCF101's parts by the recording in the names; None for others, or none for test."""
    groups = {video: _GROUP.search(video) for video in sorted(entries)}
    held_out = range(7 * split - 6, 7 * split + 1)
    test = [video for video, group in groups.items() if group and int(group[1]) in held_out]
    if split > 3 or not test or not all(groups.values()):
        return None
    return [video for video in groups if video not in set(test)], test


def _read_list(
    path: Path, entries: Mapping[str, int], names: tuple[str, ...], *, must_know: bool
) -> list[str]:
    """Annotated videos of a list file, in its order; lines may end in ``.avi`` and a number.

    Lines of classes that the annotations do not have are left out: UCF101's own lists name 101.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(
            "no list of this split", path=path, expected="one Class/video per line"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError("a list that is not text", path=path, found=str(error)) from error
    videos: dict[str, int] = {}
    for row, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        video = words[0]
        for suffix in _SUFFIXES:
            video = video.removesuffix(suffix)
        if video in videos:
            raise InputError(
                f"video {video} is listed twice",
                path=path,
                row=row,
                expected="each video once",
                found=f"also in row {videos[video]}",
            )
        if video in entries:
            videos[video] = row
        elif "/" not in video or (must_know and video.partition("/")[0] in names):
            raise InputError(
                "a listed video that is not annotated",
                path=path,
                row=row,
                expected="Class/video, as in pyannot.pkl",
                found=line,
                remedy="two families of lists exist: take the one that belongs to this file",
            )
    return list(videos)


def _find_video(root: Path, video: str) -> Path | None:
    folder, _, name = video.rpartition("/")
    places = (root / "videos" / name, root / "videos" / folder / name, root / folder / name)
    return video_files.find(places, _SUFFIXES)

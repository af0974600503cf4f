"""UCF101-24 with its corrected annotations.

``<root>/pyannot.pkl`` is a dict ``Class/v_X_gNN_cNN`` -> ``{annotations: [{label, sf, ef, boxes}],
numf, label}``: one entry of ``annotations`` per action tube, ``sf`` its first frame (0-based),
``ef`` the frame after its last, ``boxes`` [ef - sf, 4] as ``x, y, w, h``. Beside it
``testlist01.txt`` names the test videos of split 1; all other annotated videos are for training
unless a ``trainlist01.txt`` names them.

The boxes' corners ``x, y, x + w, y + h`` run over 1 to 320 and 1 to 240 in the published file, and
boxes that touch both borders have ``w = 319``: the corners are 1-based inclusive pixels. As 0-based
half-open boxes they are ``[x - 1, y - 1, x + w, y + h]``. The arrays are uint8 or uint16, too small
for that sum, and are cast first. Boxes refer to frames of 320x240, whatever size the files have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_eval import InputError
from stad_eval.formats import safe_pickle
from stad_eval.protocols import frame_protocol

_SIZE = (320, 240)
_SUFFIXES = (".mp4", ".avi")


def read(
    root: Path | str, *, split: int = 1, missing: Literal["refuse", "skip"] = "refuse"
) -> Dataset:
    """The dataset with one of its splits.

    Videos are looked for at ``videos/<name>``, ``videos/<class>/<name>`` and ``<class>/<name>``
    with ``.mp4`` or ``.avi``. No video is opened. Every frame is a keyframe.

    Args:
        root: Folder that holds ``pyannot.pkl``, the lists and ``videos``.
        split: Number of the split; the lists are ``testlist<nn>.txt`` and ``trainlist<nn>.txt``.
        missing: What to do about annotated videos without a file: refuse the dataset, or leave
            them out. ``absent_videos`` tells which those are.

    Raises:
        InputError: An unreadable or inconsistent annotation file, a list that names unknown
            videos, or absent videos with ``missing="refuse"``.
    """
    root = Path(root)
    entries, names = _read_annotations(root / "pyannot.pkl")
    train_names, test_names = _split(root, split, entries, names)
    paths = {video: _find_video(root, video) for video in (*train_names, *test_names)}
    absent = [video for video, path in paths.items() if path is None]
    if absent and missing == "refuse":
        raise _absent(root, absent, len(paths))

    def build(videos: list[str]) -> tuple[VideoAnnotation, ...]:
        return tuple(
            _annotation(video, path, entries[video], len(names), root / "pyannot.pkl")
            for video in videos
            if (path := paths[video]) is not None
        )

    return Dataset(
        name=f"ucf{len(names)}",
        classes=ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=True),
        train=build(train_names),
        test=build(test_names),
        protocol="ucf24" if names == frame_protocol("ucf24").classes else "dense",
    )


def absent_videos(root: Path | str, *, split: int = 1) -> list[str]:
    """Names of the videos of a split that are annotated but have no file.

    Raises:
        InputError: As ``read``.
    """
    root = Path(root)
    entries, names = _read_annotations(root / "pyannot.pkl")
    train_names, test_names = _split(root, split, entries, names)
    return [video for video in (*train_names, *test_names) if _find_video(root, video) is None]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One video of the pickle, with builtin numbers; box rows still ``x, y, w, h``."""

    label: int
    num_frames: int
    tubes: tuple[tuple[int, int, NDArray[np.float64]], ...]  # label, first frame, boxes [T, 4]


def _absent(root: Path, absent: list[str], count: int) -> InputError:
    return InputError(
        f"{len(absent)} of {count} annotated videos have no file",
        path=root / "videos",
        expected=f"videos/{absent[0].rpartition('/')[2]}.mp4",
        found="no file for " + ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else ""),
        remedy='put them there, or read with missing="skip" to go on without them',
    )


def _read_annotations(path: Path) -> tuple[dict[str, _Entry], tuple[str, ...]]:
    content = safe_pickle.load(path)
    if not isinstance(content, dict) or not content:
        raise InputError(
            "an annotation file of another form",
            path=path,
            expected="a dict Class/video -> annotations",
            found=type(content).__name__,
        )
    entries: dict[str, _Entry] = {}
    names: dict[int, str] = {}
    for key, value in content.items():
        video = str(key)
        try:
            entry = _entry(value)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise InputError(
                f"video {video!r}: an entry of another form",
                path=path,
                expected="{annotations: [{label, sf, ef, boxes}], numf, label}",
                found=f"{type(error).__name__}: {error}",
            ) from error
        folder, _, _ = video.partition("/")
        if names.setdefault(entry.label, folder) != folder or entry.label < 0:
            raise InputError(
                f"video {video!r}: its label does not fit its class folder",
                path=path,
                expected=f"{names[entry.label]} for label {entry.label}",
                found=folder,
            )
        entries[video] = entry
    if sorted(names) != list(range(len(names))) or len(set(names.values())) != len(names):
        raise InputError(
            "labels that do not number the classes from 0",
            path=path,
            expected=f"one class folder for each of 0 to {len(names) - 1}",
            found=", ".join(f"{label} {names[label]}" for label in sorted(names)),
        )
    return entries, tuple(names[label] for label in sorted(names))


def _entry(value: Mapping[str, Any]) -> _Entry:
    tubes: list[tuple[int, int, NDArray[np.float64]]] = []
    num_frames = int(value["numf"])
    for tube in value["annotations"]:
        first, last = int(tube["sf"]), int(tube["ef"])
        # uint8 + uint8 would wrap around: float64 before any sum.
        boxes = np.asarray(tube["boxes"]).astype(np.float64)
        if boxes.shape != (last - first, 4) or not 0 <= first < last <= num_frames:
            raise ValueError(f"frames {first} to {last} of {num_frames} with boxes {boxes.shape}")
        tubes.append((int(tube["label"]), first, boxes))
    return _Entry(label=int(value["label"]), num_frames=num_frames, tubes=tuple(tubes))


def _annotation(
    video: str, path: Path, entry: _Entry, count: int, listed_in: Path
) -> VideoAnnotation:
    tracks: list[Track] = []
    for actor, (label, first, boxes_xywh) in enumerate(entry.tubes):
        if not 0 <= label < count:
            raise InputError(
                f"video {video!r}: tube {actor} has an unknown label",
                path=listed_in,
                expected=f"0 to {count - 1}",
                found=str(label),
            )
        corners = np.concatenate(
            [boxes_xywh[:, :2] - 1, boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1
        )
        good = (corners[:, :2] >= 0) & (corners[:, 2:] <= _SIZE) & (boxes_xywh[:, 2:] > 0)
        if not good.all():
            bad = int(np.argmin(good.all(axis=1)))
            raise InputError(
                f"video {video!r}: tube {actor} has a box outside the frame or of no area",
                path=listed_in,
                row=bad,
                expected="x, y >= 1, w, h >= 1, x + w <= 320, y + h <= 240",
                found=f"x, y, w, h = {boxes_xywh[bad].astype(int).tolist()} in frame {first + bad}",
            )
        labels = np.zeros((len(corners), count), np.bool_)
        labels[:, label] = True
        frames = np.arange(first, first + len(corners))
        tracks.append(Track(actor=actor, frames=frames, boxes=corners, labels=labels))
    return VideoAnnotation(
        video=video,
        path=path,
        num_frames=entry.num_frames,
        size=_SIZE,
        fps=None,
        tracks=tuple(tracks),
        keyframes=np.arange(entry.num_frames),
        num_classes=count,
    )


def _split(
    root: Path, split: int, entries: Mapping[str, _Entry], names: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    test = _read_list(root / f"testlist{split:02d}.txt", entries, names, must_know=True)
    train_list = root / f"trainlist{split:02d}.txt"
    if not train_list.is_file():
        held_out = set(test)
        return sorted(video for video in entries if video not in held_out), test
    # Published training lists name a few videos whose annotation was dropped in the correction.
    train = _read_list(train_list, entries, names, must_know=False)
    if both := sorted(set(train) & set(test)):
        raise InputError(
            f"{len(both)} videos are both for training and for test",
            path=train_list,
            expected="lists of one family that share no video",
            found=", ".join(both[:3]),
        )
    return train, test


def _read_list(
    path: Path, entries: Mapping[str, _Entry], names: tuple[str, ...], *, must_know: bool
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
    for place in (root / "videos", root / "videos" / folder, root / folder):
        for suffix in _SUFFIXES:
            if (path := place / f"{name}{suffix}").is_file():
                return path
    return None

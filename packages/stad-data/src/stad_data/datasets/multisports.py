"""MultiSports, from its ground-truth pickle or from the CSV form of it.

The pickle (``<root>/trainval/multisports_GT.pkl``, or any ``*gt*.pkl`` in the root) holds
``labels``, ``train_videos`` and ``test_videos`` (a list of lists, one per split), ``nframes`` and
``resolution`` (height, width) by video, and ``gttubes[video][label]``: a list of tubes [T, 5] of
``frame, x1, y1, x2, y2``, frames from 1 and the last one inclusive, labels from 0. Videos are named
``<sport>/<name>``; their files lie at ``<root>/trainval/<sport>/<name>.mp4``, or in ``videos``.

Boxes are taken as half-open pixels as they are: the pickle says nothing else, and its evaluator
adds nothing to widths. Each tube is an actor of its own.

The CSV (``read_csv``) has rows ``<sport>/<name>.mp4,frame,x1,y1,x2,y2,label,number`` and no header:
frames from 1, boxes normalised, labels from 0, ``number`` counting the tubes of one label.
"""

from pathlib import Path

import numpy as np

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import tree, video_files
from stad_data.datasets.class_lists import read_class_list
from stad_data.datasets.tree import Node, blaming
from stad_data.datasets.video_files import Missing
from stad_data.video import VideoReader
from stad_eval import InputError
from stad_eval.class_lists import MULTISPORTS
from stad_eval.formats.ava_csv import AvaRows, read_ava_rows

_FPS = 25.0


def read(root: Path | str, *, split: int = 1, missing: Missing = "refuse") -> Dataset:
    """The dataset with one of its splits; every frame is a keyframe.

    Args:
        root: Folder that holds the pickle, or the pickle itself.
        split: Number of the split, published: 1.
        missing: What to do about annotated videos without a file. No file is opened.

    Raises:
        InputError: No pickle or several, one of another form, a tube outside its video or frame,
            or absent videos with ``missing="refuse"``.
    """
    source = _pickle(Path(root))
    base = source.parent
    places = (base, base / "videos", base / "trainval", base / "test")
    return read_tubes(
        source,
        name="multisports",
        split=split,
        missing=missing,
        places=places,
        shift=(0, 0, 0, 0),
        fps=_FPS,
        protocols=(("multisports", MULTISPORTS),),
    )


def read_tubes(
    source: Path,
    *,
    name: str,
    split: int,
    missing: Missing,
    places: tuple[Path, ...],
    shift: tuple[int, int, int, int],
    fps: float | None,
    protocols: tuple[tuple[str, tuple[str, ...]], ...] = (),
) -> Dataset:
    """The dataset in a ground-truth pickle of ACT's form, which is MultiSports' too.

    Args:
        source: The pickle.
        name: Name of the dataset.
        split: Number of the split, from 1.
        missing: What to do about videos without a file.
        places: Folders in which ``<video>.mp4`` (...) may lie.
        shift: What to add to a box of the file to make it half-open and 0-based.
        fps: Frame rate, where the dataset has one.
        protocols: The protocols of datasets whose classes are known.

    Raises:
        InputError: As `read`.
    """
    content = tree.read_pickle(source)
    names = tuple(label.text() for label in content.get("labels").items())
    with blaming(source, "labels"):
        classes = ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=True)
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for part in parts:
        # Excerpts may have one of the two.
        if content.has(f"{part}_videos") or part == "test":
            parts[part] = _part(content.get(f"{part}_videos"), split)
    if both := sorted(set(parts["train"]) & set(parts["test"])):
        raise InputError(
            f"{len(both)} videos are both for training and for test",
            path=source,
            row=f"test_videos[{split - 1}]",
            found=", ".join(both[:3]),
        )
    listed = [*parts["train"], *parts["test"]]
    paths = video_files.present(
        {video: video_files.find([place / video for place in places]) for video in listed},
        expected=lambda video: places[0] / f"{video}.mp4",
        missing=missing,
        listed_in=source,
    )
    tables = [content.get(key) for key in ("gttubes", "nframes", "resolution")]
    videos = {
        video: _annotation(video, path, tables, len(names), shift=shift, fps=fps)
        for video, path in paths.items()
    }
    return Dataset(
        name=name,
        classes=classes,
        train=tuple(videos[video] for video in parts["train"] if video in videos),
        test=tuple(videos[video] for video in parts["test"] if video in videos),
        protocol=next((each for each, wanted in protocols if wanted == names), "dense"),
    )


def _pickle(root: Path) -> Path:
    if root.is_file():
        return root
    folders = [folder for folder in (root, root / "trainval") if folder.is_dir()]
    found = [
        path
        for folder in folders
        for path in sorted(folder.glob("*.pkl"))
        if "gt" in path.stem.lower().split("_")
    ]
    if len(found) == 1:
        return found[0]
    raise InputError(
        "no ground-truth pickle" if not found else "more than one ground-truth pickle",
        path=root,
        expected="one file named like multisports_GT.pkl",
        found=", ".join(path.name for path in found) or "none",
        remedy="name the file itself",
    )


def _part(lists: Node, split: int) -> list[str]:
    splits = list(lists.items())
    if not 1 <= split <= len(splits):
        raise InputError(
            f"no split {split}",
            path=lists.path,
            row=lists.place,
            expected=f"1 to {len(splits)}",
            found=str(split),
        )
    found: dict[str, None] = {}
    for node in splits[split - 1].items():
        if node.text() in found:
            raise node.refuse("a video listed twice", expected="each video once")
        found[node.text()] = None
    return list(found)


def _annotation(
    video: str,
    path: Path,
    tables: list[Node],
    count: int,
    *,
    shift: tuple[int, int, int, int],
    fps: float | None,
) -> VideoAnnotation:
    tubes, lengths, resolutions = (table.get(video) for table in tables)
    num_frames = lengths.whole(1)
    height, width = (int(side) for side in resolutions.wholes(2))
    tracks: list[Track] = []
    for label, group in tubes.pairs():
        if not isinstance(label, (int, np.integer)) or not 0 <= label < count:
            raise InputError(
                f"video {video!r}: an unknown label",
                path=group.path,
                row=group.place,
                expected=f"0 to {count - 1}",
                found=repr(label)[:40],
            )
        tracks += [
            _track(node, len(tracks) + at, int(label), count, num_frames, shift=shift)
            for at, node in enumerate(group.items())
        ]
    with blaming(tubes.path, tubes.place):
        return VideoAnnotation(
            video=video,
            path=path,
            num_frames=num_frames,
            size=(width, height),
            fps=fps,
            tracks=tuple(tracks),
            keyframes=np.arange(num_frames),
            num_classes=count,
        )


def _track(
    node: Node,
    actor: int,
    label: int,
    count: int,
    num_frames: int,
    *,
    shift: tuple[int, int, int, int],
) -> Track:
    table = node.array(None, 5)
    frames = table[:, 0]
    if (frames != np.floor(frames)).any() or (frames < 1).any() or (frames > num_frames).any():
        raise InputError(
            "a tube outside its video",
            path=node.path,
            row=node.place,
            expected=f"whole frames from 1 to {num_frames}",
            found=f"{frames.min():g} to {frames.max():g}",
        )
    boxes = table[:, 1:] + shift
    labels = np.zeros((len(table), count), np.bool_)
    labels[:, label] = True
    with blaming(node.path, node.place):
        return Track(actor=actor, frames=frames.astype(np.int64) - 1, boxes=boxes, labels=labels)


def read_csv(
    path: Path | str,
    *,
    labels: Path | str | tuple[str, ...] = MULTISPORTS,
    videos: Path | str | None = None,
    missing: Missing = "refuse",
    size: tuple[int, int] | None = None,
) -> Dataset:
    """The dataset in one CSV file: its videos are for training if it is named so, else for test.

    Args:
        path: The CSV file.
        labels: A label map that counts from 0, or the class names in order.
        videos: Folder of the videos; by default the one of the CSV.
        missing: What to do about annotated videos without a file.
        size: (width, height) of videos that are not there.

    Raises:
        InputError: A bad row, an unknown label, a video of unknown size, or absent videos with
            ``missing="refuse"``.
    """
    path = Path(path)
    names = labels if isinstance(labels, tuple) else read_class_list(labels)
    ids = getattr(names, "ids", tuple(range(len(names))))
    classes = ActionClasses(names=tuple(names), ids=ids, exclusive=True)
    rows = read_ava_rows(path)
    if rows.empty.size or np.isnan(rows.eighth).any():
        raise InputError(
            "a row without a box or a number",
            path=path,
            expected="8 columns: video.mp4,frame,x1,y1,x2,y2,label,number",
            found="fewer",
        )
    known = np.isin(rows.action, np.array(ids))
    bad = ~known | (rows.timestamp < 1) | (rows.box[:, 2:] <= rows.box[:, :2]).any(axis=1)
    bad |= (rows.box < -0.01).any(axis=1) | (rows.box > 1.01).any(axis=1)
    if bad.any():
        at = int(np.argmax(bad))
        raise InputError(
            f"a bad row ({int(bad.sum())} in all)",
            path=path,
            row=int(rows.row[at]),
            expected="frame >= 1, x1 < x2 and y1 < y2 in [0, 1], a label of the label map",
            found=f"frame {rows.timestamp[at]}, box {rows.box[at].tolist()},"
            f" label {rows.action[at]}",
        )
    stems = [video.removesuffix(".mp4") for video in rows.videos]
    folder = path.parent if videos is None else Path(videos)
    paths = video_files.present(
        {stem: video_files.find([folder / stem]) for stem in stems},
        expected=lambda stem: folder / f"{stem}.mp4",
        missing=missing,
        listed_in=path,
    )
    found = tuple(
        _csv_annotation(stem, paths[stem], rows, number, classes, path, size)
        for number, stem in enumerate(stems)
        if stem in paths
    )
    training = "train" in path.stem
    return Dataset(
        name="multisports",
        classes=classes,
        train=found if training else (),
        test=() if training else found,
        protocol="multisports" if classes.names == MULTISPORTS else "dense",
    )


def _csv_annotation(
    video: str,
    path: Path,
    rows: AvaRows,
    number: int,
    classes: ActionClasses,
    source: Path,
    size: tuple[int, int] | None,
) -> VideoAnnotation:
    mine = np.flatnonzero(rows.video == number)
    frames = rows.timestamp[mine] - 1
    num_frames = int(frames.max()) + 1
    if path.is_file():
        with VideoReader(path) as reader:
            size, num_frames = reader.size, reader.num_frames
    if size is None:
        raise InputError(
            f"the frame size of video {video!r} is not known, and the boxes are shares of it",
            path=source,
            row=int(rows.row[mine[0]]),
            remedy="put the videos there, or give size=(width, height) (--size WxH)",
        )
    boxes = rows.box[mine].clip(0, 1) * np.array([*size, *size])
    keys = np.stack([rows.action[mine], rows.eighth[mine].astype(np.int64)], axis=1)
    tracks: list[Track] = []
    for actor, key in enumerate(np.unique(keys, axis=0)):
        own = np.flatnonzero((keys == key).all(axis=1))
        own = own[np.argsort(frames[own], kind="stable")]
        labels = np.zeros((len(own), len(classes)), np.bool_)
        labels[:, classes.index_of_id[int(key[0])]] = True
        with blaming(source, int(rows.row[mine[own[0]]])):
            tracks.append(Track(actor=actor, frames=frames[own], boxes=boxes[own], labels=labels))
    with blaming(source):
        return VideoAnnotation(
            video=video,
            path=path,
            num_frames=num_frames,
            size=size,
            fps=_FPS,
            tracks=tuple(tracks),
            keyframes=np.arange(num_frames),
            num_classes=len(classes),
        )

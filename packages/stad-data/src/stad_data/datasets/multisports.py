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
from stad_data.datasets import video_files
from stad_data.datasets.class_lists import read_class_list
from stad_data.datasets.tree import blaming
from stad_data.datasets.tube_file import read_act_form
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
    return read_act_form(
        source,
        name="multisports",
        split=split,
        missing=missing,
        places=places,
        protocols=(("multisports", MULTISPORTS),),
        fps=_FPS,
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

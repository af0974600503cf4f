"""Own data from Label Studio: JSON exports of video object tracking.

``<root>/annotations/*.json`` (or ``<root>/*.json``, or one file): a list of tasks, each with
``data`` that names the video and one of ``annotations``, whose ``result`` holds an element of type
``videorectangle`` per actor. The videos lie in ``<root>/videos/`` or ``<root>`` under the name at
the end of the address in ``data``, with or without the eight digits and dash that an upload puts in
front. Optional lists ``train.txt`` and ``test.txt`` in the root name the videos of the parts
(without suffix); without them all videos are for training.

``value.sequence`` lists drawn boxes: ``frame`` from 1, ``x``, ``y``, ``width``, ``height`` in per
cent of the frame, ``enabled`` whether the actor stays visible after it. Frames between are filled
in by straight lines; after the last drawn box, if it is enabled, he stays to the end of the video
(``value.framesCount``). His actions are ``labels`` of the element, or of others with the same id
(``labels`` or ``choices``). All frames of a video are annotated.
"""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.keyframe_boxes import interpolate
from stad_data.datasets.own_files import annotation_files, parts_of
from stad_data.datasets.tree import Node, blaming, read_json
from stad_data.datasets.video_files import Missing
from stad_data.video import VideoReader
from stad_eval import InputError

_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")
_LABELS = ("labels", "choices", "rectanglelabels", "videorectanglelabels")


def read(
    root: Path | str,
    *,
    missing: Missing = "refuse",
    size: tuple[int, int] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """The dataset. Videos that are there are opened for their size, length and frame rate.

    Args:
        root: Folder of the exports and videos, or one export.
        missing: What to do about videos without a file.
        size: (width, height) of videos that are not there: the boxes are shares of it.
        classes: The actions in order; by default those that occur, in alphabetical order.

    Raises:
        InputError: No export, one that is no JSON or of another form, several annotations of one
            task, a rotated box, an unknown action, a video of unknown size, or absent videos with
            ``missing="refuse"``.
    """
    root = Path(root)
    folder = root.parent if root.is_file() else root
    tasks: dict[str, tuple[Node, Path | None]] = {}
    for path in annotation_files(root, ".json"):
        for task in read_json(path).items():
            video, found = _video(task, folder)
            if video in tasks:
                raise task.refuse(f"video {video!r} has two tasks", expected="one task per video")
            tasks[video] = (task, found)
    regions = {video: _regions(task) for video, (task, _) in tasks.items()}
    names = classes or tuple(
        sorted({name for each in regions.values() for region in each for name in region[1]})
    )
    if not names:
        raise InputError("no actor has a label", path=root, expected="labels of the boxes")
    paths = video_files.present(
        {video: found for video, (_, found) in tasks.items()},
        expected=lambda video: folder / "videos" / f"{video}.mp4",
        missing=missing,
        listed_in=root,
    )
    several = any(len(region[1]) > 1 for each in regions.values() for region in each)
    table = ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=not several)
    videos = {
        video: _annotation(video, path, tasks[video][0], regions[video], table, size)
        for video, path in paths.items()
    }
    train, test = parts_of(folder, list(tasks))
    return Dataset(
        name="label-studio",
        classes=table,
        train=tuple(videos[video] for video in train if video in videos),
        test=tuple(videos[video] for video in test if video in videos),
        protocol="dense",
    )


def _video(task: Node, folder: Path) -> tuple[str, Path | None]:
    """The name of a task's video, and its file."""
    addresses = [node for _, node in task.get("data").pairs() if isinstance(node.value, str)]
    named = [node for node in addresses if node.place.endswith(".video")] or addresses
    if not named:
        raise task.get("data").refuse("no address of a video", expected='{"video": "..."}')
    parts = urlsplit(named[0].text())
    inner = parse_qs(parts.query).get("d", [""])[0]
    path = PurePosixPath(unquote(inner or parts.path).replace("\\", "/"))
    if not path.stem:
        raise named[0].refuse("no address of a video", expected="an address with a file name")
    plain = _UPLOAD.fullmatch(path.stem)
    for stem in (path.stem, plain[1] if plain else path.stem):
        found = video_files.find([folder / "videos" / stem, folder / stem])
        if found is not None:
            return stem, found
    return path.stem, None


def _regions(task: Node) -> list[tuple[Node, tuple[str, ...]]]:
    """The tracked boxes of a task, each with its actions in order."""
    made = task.get("annotations").items()
    kept = [a for a in made if not (a.has("was_cancelled") and a.get("was_cancelled").flag())]
    if len(kept) > 1:
        raise task.get("annotations").refuse(
            f"{len(kept)} annotations of one task",
            expected="one",
            remedy="export one annotator's work, or delete the others",
        )
    boxes: dict[str, Node] = {}
    labels: dict[str, dict[str, None]] = {}
    for result in (result for each in kept for result in each.get("result").items()):
        kind, value = result.get("type").text(), result.get("value")
        if kind.lower() in ("relation", "textarea"):
            continue
        number = result.get("id").text()
        for key in _LABELS:
            if value.has(key):
                names = [name.text() for name in value.get(key).items()]
                labels.setdefault(number, {}).update(dict.fromkeys(names))
        if kind.lower() == "videorectangle":
            if number in boxes:
                raise result.refuse("two boxes of one id", expected="an id of its own")
            boxes[number] = value
        elif kind.lower() not in _LABELS:
            raise result.refuse("only tracked boxes can be read", expected="type videorectangle")
    lost = next((number for number in labels if number not in boxes), None)
    if lost is not None:
        raise task.refuse(f"labels of {lost!r}, which is no box", expected="a videorectangle")
    return [(value, tuple(labels.get(number, ()))) for number, value in boxes.items()]


def _annotation(
    video: str,
    path: Path,
    task: Node,
    regions: list[tuple[Node, tuple[str, ...]]],
    classes: ActionClasses,
    size: tuple[int, int] | None,
) -> VideoAnnotation:
    fps = None
    counts = [region.get("framesCount").whole(1, 10**8) for region, _ in regions]
    num_frames = max(counts, default=1)
    if path.is_file():
        with VideoReader(path) as reader:
            size, num_frames, fps = reader.size, reader.num_frames, reader.fps
    if size is None:
        raise InputError(
            f"the frame size of video {video!r} is not known, and the boxes are shares of it",
            path=task.path,
            row=task.place,
            remedy="put the videos there, or give size=(width, height) (--size WxH)",
        )
    tracks = [
        _track(region, actor, names, classes, size, num_frames)
        for actor, (region, names) in enumerate(regions)
    ]
    with blaming(task.path, task.place):
        return VideoAnnotation(
            video=video,
            path=path,
            num_frames=num_frames,
            size=size,
            fps=fps,
            tracks=tuple(tracks),
            keyframes=np.arange(num_frames),
            num_classes=len(classes),
        )


def _track(
    region: Node,
    actor: int,
    names: tuple[str, ...],
    classes: ActionClasses,
    size: tuple[int, int],
    num_frames: int,
) -> Track:
    drawn = sorted(
        region.get("sequence").items(), key=lambda node: node.get("frame").whole(1, num_frames)
    )
    frames = np.array([node.get("frame").whole(1) - 1 for node in drawn], np.int64)
    if not drawn or (frames[1:] == frames[:-1]).any():
        raise region.refuse("no drawn box, or two in a frame", expected="one box per frame")
    sides = ("x", "y", "width", "height")
    shares = np.array([[node.get(side).number() for side in sides] for node in drawn])
    for node in drawn:
        if node.has("rotation") and node.get("rotation").number() != 0:
            raise node.refuse("a rotated box", expected="rotation 0", remedy="draw it upright")
    boxes = np.concatenate([shares[:, :2], shares[:, :2] + shares[:, 2:]], axis=1)
    unknown = [name for name in names if name not in classes.index_of_name]
    if unknown:
        raise region.refuse(f"unknown action {unknown[0]!r}", expected=", ".join(classes.names))
    frame_T, box_T, _ = interpolate(
        frames,
        boxes * (np.array([*size, *size]) / 100),
        shown=np.ones(len(drawn), np.bool_),
        goes_on=np.array([node.get("enabled").flag() for node in drawn]),
        stop=num_frames,
    )
    labels = np.zeros((len(frame_T), len(classes)), np.bool_)
    labels[:, [classes.index_of_name[name] for name in names]] = True
    with blaming(region.path, region.place):
        return Track(actor=actor, frames=frame_T, boxes=box_T, labels=labels)

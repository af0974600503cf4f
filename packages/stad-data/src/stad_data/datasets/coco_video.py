"""COCO's JSON for videos, in its two forms.

- By image (CocoVID, TAO): ``videos`` {id, name, width, height}, ``images`` {id, video_id,
  frame_id}, ``annotations`` {image_id, category_id, bbox, instance_id}, ``categories`` {id, name}.
  ``frame_index`` and ``track_id`` stand for ``frame_id`` and ``instance_id`` in TAO.
- By track (YouTube-VIS): no ``images``; ``videos`` {id, length, width, height, file_names},
  ``annotations`` {id, video_id, category_id, bboxes} with one box per frame, or null.

Boxes are ``x, y, width, height`` in pixels, half-open; frames count from 0. Annotations of one
instance in one image merge to an actor with several labels; without instance numbers every
annotation is an actor of its own. `stad data convert --to coco-video` adds the keys ``split``,
``fps`` and ``length`` to videos, ``timestamp`` to images and ``exclusive`` and ``protocol`` to
``info``, which are read back where they are there; without ``split`` all videos are for training.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.own_files import the_json
from stad_data.datasets.tree import Node, blaming, read_json
from stad_data.datasets.video_files import Missing
from stad_eval import InputError

_Rows = dict[int, list[tuple[int, list[float], int]]]  # actor -> (frame, box, label)


def read(root: Path | str, *, missing: Missing = "refuse") -> Dataset:
    """The dataset. No video is opened; images of a video are its annotated frames.

    Args:
        root: The JSON file, or the folder that holds one. Videos are looked for beside it and in
            ``videos``, as files or as folders of images.
        missing: What to do about videos without a file or images.

    Raises:
        InputError: No JSON, one of another form, an id that leads nowhere or stands twice, a box
            of no area, or absent videos with ``missing="refuse"``.
    """
    path = the_json(Path(root))
    content = read_json(path)
    categories = _by_id(content.get("categories"))
    pairs = sorted((number, node.get("name").text()) for number, node in categories.items())
    videos = _by_id(content.get("videos"))
    names = {number: _name(node) for number, node in videos.items()}
    images = _images(content, videos)
    labels = {number: label for label, (number, _) in enumerate(pairs)}
    rows, several = _rows(content, videos, images, labels)
    info = content.get("info") if content.has("info") else Node(value={}, path=path)
    exclusive = info.get("exclusive").flag() if info.has("exclusive") else not several
    with blaming(path, "categories"):
        classes = ActionClasses(
            names=tuple(name for _, name in pairs),
            ids=tuple(number for number, _ in pairs),
            exclusive=exclusive,
        )
    found = {names[number]: _find(path.parent, node) for number, node in videos.items()}
    paths = video_files.present(
        found,
        expected=lambda name: path.parent / "videos" / name,
        missing=missing,
        listed_in=path,
    )
    parts: dict[str, list[VideoAnnotation]] = {"train": [], "test": []}
    for number, node in videos.items():
        part = node.get("split").text() if node.has("split") else "train"
        if part not in parts:
            raise node.get("split").refuse("an unknown part", expected='"train" or "test"')
        name = names[number]
        if name in paths:
            seen = images.get(number)
            made = _annotation(node, name, paths[name], rows.get(number, {}), seen, len(classes))
            parts[part].append(made)
    protocol = "keyframes" if any(i.has("timestamp") for i in _all(images)) else "dense"
    return Dataset(
        name=info.get("name").text() if info.has("name") else path.stem,
        classes=classes,
        train=tuple(parts["train"]),
        test=tuple(parts["test"]),
        protocol=info.get("protocol").text() if info.has("protocol") else protocol,
    )


def _by_id(nodes: Node) -> dict[int, Node]:
    found: dict[int, Node] = {}
    for node in nodes.items():
        if found.setdefault(node.get("id").whole(), node) is not node:
            raise node.get("id").refuse("an id that stands twice", expected="an id of its own")
    return found


def _name(video: Node) -> str:
    for key in ("name", "file_name"):
        if video.has(key):
            return video.get(key).text()
    names = video.get("file_names")
    folder, slash, _ = next(names.items(), names).text().rpartition("/")
    if not slash:
        raise names.refuse("a video without a name", expected="<video>/<image>")
    return folder


def _images(content: Node, videos: dict[int, Node]) -> dict[int, dict[int, Node]]:
    """The images of every video by their frame; nothing in a file that has none."""
    found: dict[int, dict[int, Node]] = {}
    for node in content.get("images").items() if content.has("images") else ():
        video = node.get("video_id")
        if video.whole() not in videos:
            raise video.refuse("an image of an unknown video", expected="the id of a video")
        number = node.get("frame_id" if node.has("frame_id") else "frame_index")
        frames = found.setdefault(video.whole(), {})
        if frames.setdefault(number.whole(0, 10**8), node) is not node:
            raise number.refuse("a frame that has two images", expected="one image per frame")
    return found


def _all(images: dict[int, dict[int, Node]]) -> Iterator[Node]:
    return (node for frames in images.values() for node in frames.values())


def _rows(
    content: Node,
    videos: dict[int, Node],
    images: dict[int, dict[int, Node]],
    labels: dict[int, int],
) -> tuple[dict[int, _Rows], bool]:
    """The boxes of every video by actor, and whether an actor does several actions at a time."""
    place = {
        node.get("id").whole(): (video, frame)
        for video, frames in images.items()
        for frame, node in frames.items()
    }
    found: dict[int, _Rows] = {}
    seen: set[tuple[int, int, int]] = set()
    several = False
    for number, node in enumerate(content.get("annotations").items()):
        category = node.get("category_id")
        if category.whole() not in labels:
            raise category.refuse("an unknown category", expected=f"one of {sorted(labels)}"[:200])
        key = next((key for key in ("instance_id", "track_id") if node.has(key)), None)
        actor = number if key is None else node.get(key).whole()
        for video, frame, box in _boxes(node, videos, place):
            several |= (video, actor, frame) in seen
            seen.add((video, actor, frame))
            rows = found.setdefault(video, {}).setdefault(actor, [])
            rows.append((frame, box, labels[category.whole()]))
    return found, several


def _boxes(
    node: Node, videos: dict[int, Node], place: dict[int, tuple[int, int]]
) -> Iterator[tuple[int, int, list[float]]]:
    """(video, frame, box) of an annotation of either form."""
    if node.has("bboxes"):
        video = node.get("video_id")
        if video.whole() not in videos:
            raise video.refuse("an unknown video", expected="the id of a video")
        for frame, box in enumerate(node.get("bboxes").items()):
            if box.value is not None:
                yield video.whole(), frame, _corners(box)
        return
    image = node.get("image_id")
    if image.whole() not in place:
        raise image.refuse("an unknown image", expected="the id of an image")
    yield *place[image.whole()], _corners(node.get("bbox"))


def _corners(node: Node) -> list[float]:
    x, y, width, height = node.array(4).tolist()
    if width <= 0 or height <= 0:
        raise node.refuse("a box of no area", expected="x, y, width > 0, height > 0")
    return [x, y, x + width, y + height]


def _find(folder: Path, video: Node) -> Path | None:
    names = [video.get(key).text() for key in ("file_name", "name") if video.has(key)] or [
        _name(video)
    ]
    for place in (base / name for base in (folder, folder / "videos") for name in names):
        if place.is_file() or video_files.images(place):
            return place
        if place.name and (found := video_files.find([place])):
            return found
    return None


def _annotation(
    node: Node,
    name: str,
    path: Path,
    rows: _Rows,
    images: dict[int, Node] | None,
    num_classes: int,
) -> VideoAnnotation:
    frames = sorted(images) if images else []
    last = max([frame for actor in rows.values() for frame, _, _ in actor] + frames, default=0)
    num_frames = node.get("length").whole(1, 10**8) if node.has("length") else last + 1
    timestamps = None
    if images and all(image.has("timestamp") for image in images.values()):
        timestamps = np.array([images[frame].get("timestamp").whole() for frame in frames])
    with blaming(node.path, node.place):
        return VideoAnnotation(
            video=name,
            path=path,
            num_frames=num_frames,
            size=(node.get("width").whole(1), node.get("height").whole(1)),
            fps=node.get("fps").number() if node.has("fps") else None,
            tracks=tuple(_track(actor, rows[actor], num_classes) for actor in sorted(rows)),
            keyframes=np.array(frames, np.int64) if images is not None else np.arange(num_frames),
            timestamps=timestamps,
            num_classes=num_classes,
        )


def _track(actor: int, rows: list[tuple[int, list[float], int]], num_classes: int) -> Track:
    """One actor: rows of one frame must agree on the box, and add up their labels."""
    boxes: dict[int, list[float]] = {}
    labels: dict[int, NDArray[np.bool_]] = {}
    for frame, box, label in rows:
        if boxes.setdefault(frame, box) != box:
            raise InputError(
                f"instance {actor} has two boxes in frame {frame}",
                expected=str(boxes[frame]),
                found=str(box),
            )
        labels.setdefault(frame, np.zeros(num_classes, np.bool_))[label] = True
    frames = sorted(boxes)
    return Track(
        actor=actor,
        frames=np.array(frames),
        boxes=np.array([boxes[frame] for frame in frames]),
        labels=np.stack([labels[frame] for frame in frames]),
    )

"""The project's own JSON: one file that holds all that a `Dataset` holds, but for pixel masks.

::

    {"format": "stad-dataset", "version": 1,
     "name": "street", "protocol": "dense",
     "classes": {"names": ["walk", "wave"], "ids": [0, 1], "exclusive": true},
     "videos": [
       {"video": "a", "part": "train", "file": "videos/a.mp4",
        "num_frames": 40, "size": [320, 240], "fps": 30.0,
        "keyframes": "all", "timestamps": null,
        "tracks": [
          {"actor": 0, "frames": [3, 4], "boxes": [[10, 20, 60, 120], [11, 20, 61, 120]],
           "labels": ["walk"]}]}]}

Boxes are ``x1, y1, x2, y2``, half-open, in pixels of a frame of ``size`` (width, height); frames
count from 0. ``labels`` are class names: one list for the whole track, or one list per frame.
``keyframes`` are the annotated frames, or ``"all"``; ``timestamps`` their whole seconds. A relative
``file`` starts at the JSON file's folder.

``name``, ``protocol``, ``ids``, ``exclusive``, ``file``, ``fps``, ``keyframes`` and ``timestamps``
may be left out; then they are the file's name, ``"dense"`` (``"keyframes"`` with timestamps), 0, 1,
2, ..., true, ``videos/<video>.mp4``, null, ``"all"`` and null. Other keys are refused, so that a
misspelt one is not passed over.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.own_files import the_json
from stad_data.datasets.tree import Node, blaming, read_json
from stad_data.datasets.video_files import Missing
from stad_eval import InputError

FORMAT, VERSION = "stad-dataset", 1
_TOP = ("format", "version", "name", "protocol", "classes", "videos")
_CLASSES = ("names", "ids", "exclusive")
_VIDEO = (
    *("video", "part", "file", "num_frames", "size", "fps", "keyframes", "timestamps", "tracks"),
)
_TRACK = ("actor", "frames", "boxes", "labels")
_MOST_FRAMES = 10**8


def read(root: Path | str, *, missing: Missing = "refuse") -> Dataset:
    """The dataset of a file, or of the one ``.json`` file in a folder. No video is opened.

    Args:
        root: The file, or its folder.
        missing: What to do about videos without a file (or without a folder of images).

    Raises:
        InputError: No file or several, one of another form or version, a key that is not known, a
            value that contradicts another, or absent videos with ``missing="refuse"``.
    """
    path = the_json(Path(root))
    content = read_json(path)
    _only(content, _TOP)
    kind, version = content.get("format"), content.get("version")
    if kind.value != FORMAT or version.value != VERSION:
        raise InputError(
            "not a dataset of this project, or of a newer version",
            path=path,
            expected=f'"format": "{FORMAT}", "version": {VERSION}',
            found=f"{kind.value!r}, {version.value!r}"[:80],
        )
    classes = _classes(content.get("classes"))
    nodes: dict[str, Node] = {}
    for node in content.get("videos").items():
        _only(node, _VIDEO)
        video = node.get("video")
        if nodes.setdefault(video.text(), node) is not node:
            raise video.refuse("a video listed twice", expected="each video once")
    files = {video: _video_file(node, path.parent, video) for video, node in nodes.items()}
    paths = video_files.present(
        {
            video: file if file.is_file() or video_files.images(file) else None
            for video, file in files.items()
        },
        expected=lambda video: files[video],
        missing=missing,
        listed_in=path,
        row=lambda video: nodes[video].place,
    )
    parts: dict[str, list[VideoAnnotation]] = {"train": [], "test": []}
    for video, node in nodes.items():
        part = node.get("part")
        if part.value not in ("train", "test"):
            raise part.refuse("an unknown part", expected='"train" or "test"')
        if video in paths:
            parts[str(part.value)].append(_annotation(video, paths[video], node, classes))
    timed = any(node.has("timestamps") for node in nodes.values())
    protocol = "keyframes" if timed else "dense"
    return Dataset(
        name=content.get("name").text() if content.has("name") else path.stem,
        classes=classes,
        train=tuple(parts["train"]),
        test=tuple(parts["test"]),
        protocol=content.get("protocol").text() if content.has("protocol") else protocol,
    )


def _only(node: Node, known: tuple[str, ...]) -> None:
    """Refuse keys that mean nothing here."""
    for key, value in node.pairs():
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            raise value.refuse(
                f"unknown key {key!r}",
                expected=", ".join(known),
                remedy=f"did you mean {near[0]!r}?" if near else None,
            )


def _classes(node: Node) -> ActionClasses:
    _only(node, _CLASSES)
    names = tuple(name.text() for name in node.get("names").items())
    ids = tuple(range(len(names)))
    if node.has("ids"):
        ids = tuple(int(number) for number in node.get("ids").wholes(None))
    exclusive = node.get("exclusive").flag() if node.has("exclusive") else True
    with blaming(node.path, node.place):
        return ActionClasses(names=names, ids=ids, exclusive=exclusive)


def _video_file(node: Node, folder: Path, video: str) -> Path:
    return folder / (node.get("file").text() if node.has("file") else f"videos/{video}.mp4")


def _annotation(video: str, path: Path, node: Node, classes: ActionClasses) -> VideoAnnotation:
    num_frames = node.get("num_frames").whole(1, _MOST_FRAMES)
    width, height = (int(side) for side in node.get("size").wholes(2))
    keyframes = np.arange(num_frames)
    if node.has("keyframes") and node.get("keyframes").value != "all":
        keyframes = node.get("keyframes").wholes(None)
    timestamps = node.get("timestamps").wholes(None) if node.has("timestamps") else None
    tracks = [_track(track, classes.index_of_name) for track in node.get("tracks").items()]
    with blaming(node.path, node.place):
        return VideoAnnotation(
            video=video,
            path=path,
            num_frames=num_frames,
            size=(width, height),
            fps=node.get("fps").number() if node.has("fps") else None,
            tracks=tuple(tracks),
            keyframes=keyframes,
            timestamps=timestamps,
            num_classes=len(classes),
        )


def _track(node: Node, index_of_name: Mapping[str, int]) -> Track:
    _only(node, _TRACK)
    frames = node.get("frames").wholes(None)
    labels = _labels(node.get("labels"), len(frames), index_of_name)
    with blaming(node.path, node.place):
        return Track(
            actor=node.get("actor").whole(),
            frames=frames,
            boxes=node.get("boxes").array(None, 4),
            labels=labels,
        )


def _labels(node: Node, count: int, index_of_name: Mapping[str, int]) -> NDArray[np.bool_]:
    table = np.zeros((count, len(index_of_name)), np.bool_)
    per_frame = list(node.items())
    if not any(isinstance(each.value, list) for each in per_frame):
        table[:, _columns(node, index_of_name)] = True
        return table
    if len(per_frame) != count:
        raise node.refuse(
            "labels must match the frames", expected=f"{count} lists, or one for all frames"
        )
    for row, each in enumerate(per_frame):
        table[row, _columns(each, index_of_name)] = True
    return table


def _columns(node: Node, index_of_name: Mapping[str, int]) -> list[int]:
    columns: list[int] = []
    for name in node.items():
        if not isinstance(name.value, str) or name.value not in index_of_name:
            raise name.refuse("an unknown class", expected=", ".join(index_of_name)[:200])
        columns.append(index_of_name[name.value])
    return columns

"""Own data from CVAT: exports of the form "CVAT for video 1.1" (XML).

``<root>/annotations/*.xml`` (or ``<root>/*.xml``, or one file), one per task, and the videos in
``<root>/videos/`` or ``<root>``, under the name in ``<source>``. Optional lists ``train.txt`` and
``test.txt`` in the root name the videos of the parts (file names without suffix); without them
all videos are for training.

``<track label=...>`` is an actor, its ``<box frame outside keyframe xtl ytl xbr ybr>`` elements his
boxes: frames from 0, float pixels of ``<original_size>``, half-open. ``outside="1"`` hides him from
there on. Frames between two listed boxes are filled in by straight lines, as the tool itself does;
after the last listed box nothing is. All frames of the task are annotated, or every so manieth
where it has a ``<frame_filter>step=N``.

An action is the track's label, or, where actors are labelled "person", an attribute.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.keyframe_boxes import interpolate
from stad_data.datasets.own_files import annotation_files, parts_of
from stad_data.datasets.tree import blaming
from stad_data.datasets.video_files import Missing
from stad_data.datasets.xml_file import Element, read_xml, whole
from stad_data.video import VideoReader
from stad_eval import InputError

_NO_ACTION = ("", "__undefined__")


def read(root: Path | str, *, missing: Missing = "refuse", actions: str = "label") -> Dataset:
    """The dataset. Videos that are there are opened for their length and frame rate.

    Args:
        root: Folder of the exports and videos, or one export.
        missing: What to do about videos without a file.
        actions: Where the actions stand: "label" (the tracks' labels), "attribute:<name>" (one
            attribute of the boxes whose values are the actions; an empty value is none), or
            "checkboxes" (every checkbox attribute is an action, several at a time).

    Raises:
        InputError: No export, one that is no well-formed XML, holds another form or anything but
            boxes, a box outside the task's frames, or absent videos with ``missing="refuse"``.
    """
    root = Path(root)
    if actions not in ("label", "checkboxes") and not actions.startswith("attribute:"):
        raise InputError(
            "unknown place of the actions",
            expected='"label", "attribute:<name>" or "checkboxes"',
            found=actions,
        )
    tasks = [_task(path) for path in annotation_files(root, ".xml")]
    names = _action_names(tasks, actions)
    if not names:
        raise InputError("the exports name no action", path=root, expected=actions, found="none")
    classes = ActionClasses(
        names=names, ids=tuple(range(len(names))), exclusive=actions != "checkboxes"
    )
    folder = root.parent if root.is_file() else root
    sources = {task.video: task for task in tasks}
    if len(sources) != len(tasks):
        twice = next(t for t in tasks if sources[t.video] is not t)
        raise InputError(
            f"two exports of video {twice.video!r}",
            path=twice.xml.path,
            expected="one export per video",
            found=f"also {sources[twice.video].xml.path}",
        )
    paths = video_files.present(
        {task.video: _find(folder, task.source) for task in tasks},
        expected=lambda video: folder / "videos" / sources[video].source,
        missing=missing,
        listed_in=root,
    )
    videos = {
        video: _annotation(sources[video], path, classes, actions) for video, path in paths.items()
    }
    train, test = parts_of(folder, list(sources))
    return Dataset(
        name="cvat",
        classes=classes,
        train=tuple(videos[video] for video in train if video in videos),
        test=tuple(videos[video] for video in test if video in videos),
        protocol="dense",
    )


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One export: its elements, the video's file name, frame size and annotated frames."""

    xml: Element
    meta: Element
    source: str
    size: tuple[int, int]
    frames: NDArray[np.int64]

    @property
    def video(self) -> str:
        return PurePosixPath(self.source).stem


def _task(path: Path) -> _Task:
    xml = read_xml(path)
    meta = next((m for n in ("task", "job") if (m := xml.first("meta", n)) is not None), None)
    if xml.tag != "annotations" or meta is None or xml.first("image") is not None:
        raise InputError(
            "not an export of one video task",
            path=path,
            row=xml.row,
            expected="<annotations> with <meta><task> (or <job>) and <track> elements",
            found=f"<{xml.tag}> with {', '.join(sorted({c.tag for c in xml.children})) or 'none'}",
            remedy="export the task as CVAT for video 1.1",
        )

    def text(*tags: str) -> str | None:
        found = meta.first(*tags)
        return found.text.strip() or None if found is not None else None

    def number(*tags: str) -> int | None:
        value = text(*tags)
        return None if value is None else whole(value, meta, "/".join(tags))

    size = number("original_size", "width"), number("original_size", "height")
    if size[0] is None or size[1] is None:
        raise meta.refuse("no frame size", expected="<original_size><width><height>", found="none")
    start, stop, count = number("start_frame") or 0, number("stop_frame"), number("size")
    step = (text("frame_filter") or "step=1").removeprefix("step=")
    every = whole(step, meta, "frame_filter")
    if stop is None:
        stop = None if count is None else start + (count - 1) * every
    if stop is None or stop < start or stop > 10**8 or every < 1:
        raise meta.refuse(
            "no annotated frames",
            expected="<size>, or <start_frame> and <stop_frame>, of at least one frame",
            found=f"size {count}, frames {start} to {stop}, step {every}",
        )
    source = text("source") or (
        found.text.strip() if (found := xml.first("meta", "source")) is not None else ""
    )
    return _Task(
        xml=xml,
        meta=meta,
        source=PurePosixPath(source.replace("\\", "/")).name or f"{path.stem}.mp4",
        size=(size[0], size[1]),
        frames=np.arange(start, stop + 1, every, dtype=np.int64),
    )


def _find(folder: Path, source: str) -> Path | None:
    stem = PurePosixPath(source).stem
    for base in (folder / "videos", folder, folder.parent / "videos"):
        if (base / source).is_file():
            return base / source
        if found := video_files.find([base / stem]):
            return found
    return None


def _action_names(tasks: Iterable[_Task], actions: str) -> tuple[str, ...]:
    """The actions in the order of the tasks' lists, then those that only tracks show."""
    names: dict[str, None] = {}
    wanted = actions.removeprefix("attribute:")
    for task in tasks:
        declared = task.meta.first("labels")
        for label in declared.all("label") if declared is not None else ():
            name = label.first("name")
            if actions == "label":
                names.update({name.text.strip(): None} if name is not None else {})
                continue
            attributes = label.first("attributes")
            for each in attributes.all("attribute") if attributes is not None else ():
                names.update(dict.fromkeys(_declared(each, actions, wanted)))
        if actions != "checkboxes":
            for track in task.xml.all("track"):
                names.update(dict.fromkeys(_used(track, actions, wanted)))
    return tuple(name for name in names if name not in _NO_ACTION)


def _declared(attribute: Element, actions: str, wanted: str) -> list[str]:
    """The actions that an attribute of a label declares."""
    fields = {child.tag: child.text.strip() for child in attribute.children}
    if actions == "checkboxes":
        return [fields.get("name", "")] if fields.get("input_type") == "checkbox" else []
    return fields.get("values", "").splitlines() if fields.get("name") == wanted else []


def _used(track: Element, actions: str, wanted: str) -> list[str]:
    if actions == "label":
        return [track.get("label")]
    values = (a for box in track.all("box") for a in box.all("attribute"))
    return [a.text.strip() for a in values if a.attributes.get("name") == wanted]


def _annotation(task: _Task, path: Path, classes: ActionClasses, actions: str) -> VideoAnnotation:
    num_frames, fps = int(task.frames[-1]) + 1, None
    if path.is_file():
        with VideoReader(path) as reader:
            fps, num_frames = reader.fps, max(num_frames, reader.num_frames)
    tracks: list[Track] = []
    for number, element in enumerate(task.xml.all("track")):
        other = next((c for c in element.children if c.tag not in ("box", "attribute")), None)
        if other is not None:
            raise other.refuse("only boxes can be read", expected="<box>", found=f"<{other.tag}>")
        track = _track(element, number, task, classes, actions)
        tracks += [] if track is None else [track]
    with blaming(task.xml.path):
        return VideoAnnotation(
            video=task.video,
            path=path,
            num_frames=num_frames,
            size=task.size,
            fps=fps,
            tracks=tuple(tracks),
            keyframes=task.frames,
            num_classes=len(classes),
        )


def _track(
    element: Element, number: int, task: _Task, classes: ActionClasses, actions: str
) -> Track | None:
    """One track's boxes, gaps filled in; None for a track that is never visible."""
    drawn = sorted(element.all("box"), key=lambda box: box.whole("frame"))
    if not drawn:
        return None
    frames = np.array([box.whole("frame") for box in drawn])
    known = np.isin(frames, task.frames)
    known[1:] &= frames[1:] != frames[:-1]
    if not known.all():
        bad = drawn[int(np.argmin(known))]
        raise bad.refuse(
            "a box outside the task's frames, or a second one in a frame",
            expected=f"one box per frame of {task.frames[0]} to {task.frames[-1]}",
            found=f"frame {bad.get('frame')}",
        )
    boxes = np.array([[box.number(side) for side in ("xtl", "ytl", "xbr", "ybr")] for box in drawn])
    outside = np.array([box.attributes.get("outside", "0") == "1" for box in drawn])
    flat = ~outside & (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if flat.any():
        bad = drawn[int(np.argmax(flat))]
        found = str(boxes[int(np.argmax(flat))].tolist())
        raise bad.refuse("a box of no area", expected="xtl < xbr and ytl < ybr", found=found)
    step = int(task.frames[1] - task.frames[0]) if len(task.frames) > 1 else 1
    frame_T, box_T, origin_T = interpolate(
        frames, boxes, shown=~outside, goes_on=~outside, step=step
    )
    if not len(frame_T):
        return None
    labels = np.stack([_labels(element, box, classes, actions) for box in drawn])
    with blaming(element.path, element.row):
        return Track(actor=number, frames=frame_T, boxes=box_T, labels=labels[origin_T])


def _labels(
    track: Element, box: Element, classes: ActionClasses, actions: str
) -> NDArray[np.bool_]:
    row = np.zeros(len(classes), np.bool_)
    if actions == "label":
        row[classes.index_of_name[track.get("label")]] = True
        return row
    wanted = actions.removeprefix("attribute:")
    for attribute in (*track.all("attribute"), *box.all("attribute")):
        name, value = attribute.attributes.get("name", ""), attribute.text.strip()
        if actions == "checkboxes":
            if name in classes.index_of_name:
                row[classes.index_of_name[name]] = value.lower() == "true"
        elif name == wanted and value not in _NO_ACTION:
            row[:] = False
            row[classes.index_of_name[value]] = True
    return row

"""A dataset's annotation in one file that is mapped into memory: at once there, shared by workers.

Reading AVA's 837,000 rows takes seconds and makes as many objects in every process. An index is an
`array_file` of kind "annotations" with the boxes of all videos as columns, made once from what a
reader gave. Annotations from it are views of the file: tracks come into being when they are asked
for, and a worker gets the path alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stad_data import array_file
from stad_data.annotation import ActionClasses, Dataset, VideoAnnotation
from stad_data.array_file import ArrayFile
from stad_data.fingerprint import Fingerprint
from stad_data.tracks import BoxTable, TableTracks, table_of
from stad_eval import InputError

KIND = "annotations"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a dataset was read from; an index of it is good as long as all of this is the same.

    Attributes:
        root: The dataset's folder. It may be moved: paths below it are kept as such.
        files: The annotation files, by what they are for; their content counts.
        folders: Folders of videos: names, sizes and times of the files in them count.
        options: The reader's arguments, for JSON.
    """

    root: Path
    files: Mapping[str, Path]
    folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """The state of all of it now, for `unchanged`."""
        return {
            "version": version("stad-data"),
            "files": {name: Fingerprint.of(path).to_json() for name, path in self.files.items()},
            "folders": {name: _listing(path) for name, path in self.folders.items()},
            "options": self._plain_options(),
        }

    def unchanged(self, known: Mapping[str, Any]) -> bool:
        """Whether it is as it was when `to_json` gave this."""
        files = known["files"]
        return (
            known["version"] == version("stad-data")
            and known["options"] == self._plain_options()
            and files.keys() == self.files.keys()
            and known["folders"] == {name: _listing(path) for name, path in self.folders.items()}
            and all(Fingerprint.from_json(files[n]).fits(path) for n, path in self.files.items())
        )

    def _plain_options(self) -> dict[str, Any]:
        """The options as JSON gives them back."""
        return json.loads(json.dumps(dict(self.options)))


def _listing(folder: Path) -> list[list[Any]]:
    """Name, bytes and time of change of the files of a folder; nothing without the folder."""
    found: list[list[Any]] = []
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            state = each.stat()
        except OSError:  # a link to nowhere
            found.append([each.name, None, None])
        else:
            found.append([each.name, state.st_size, state.st_mtime_ns])
    return found


def indexed(path: Path | str, source: Source, read: Callable[[], Dataset]) -> Dataset:
    """The dataset from its index, which is made first where it is missing, stale or damaged.

    Several processes may do so at once; the last one's file stays.

    Args:
        path: The index.
        source: What the dataset is read from.
        read: Reads it.

    Raises:
        InputError: Another file stands at ``path``, the dataset has pixel masks, or what ``read``
            raises.
    """
    path = Path(path)
    if path.exists() and not array_file.is_array_file(path):
        raise InputError(
            "another file stands where the index should be",
            path=path,
            expected="an index that was made before, or no file",
            remedy="name another file",
        )
    try:
        return load(path, source)
    except InputError:
        # The state comes first: what changes during the reading makes the index stale.
        state = source.to_json()
        save(path, read(), source, state)
    return load(path, source)


def load(path: Path, source: Source) -> Dataset:
    """The dataset of an index.

    Raises:
        InputError: There is no index, or it is damaged or stale.
    """
    index = AnnotationIndex(file=array_file.opened(path, KIND), root=source.root)
    if not source.unchanged(index.file.about["source"]):
        raise InputError(
            "this index is of other files, or of files that changed since, or of another version",
            path=path,
            remedy="delete it and have it made again",
        )
    return index.dataset()


def save(path: Path, dataset: Dataset, source: Source, state: dict[str, Any]) -> None:
    """Write the index of a dataset, whole or not at all.

    Raises:
        InputError: The dataset has pixel masks, which an index cannot hold.
    """
    videos = (*dataset.train, *dataset.test)
    if any(video.masks is not None for video in videos):
        raise InputError(f"{dataset.name}: an index cannot hold pixel masks", path=path)
    tables = [table_of(video.tracks, len(dataset.classes)) for video in videos]
    lengths = [np.array([len(t) for t in video.tracks], np.int64) for video in videos]
    seconds = [v.keyframes * 0 - 1 if v.timestamps is None else v.timestamps for v in videos]
    about = {
        "source": state,
        "name": dataset.name,
        "protocol": dataset.protocol,
        "left_out": dataset.left_out,
        "classes": {
            "names": dataset.classes.names,
            "ids": dataset.classes.ids,
            "exclusive": dataset.classes.exclusive,
        },
        "train": len(dataset.train),
        "videos": [_about(video, source.root) for video in videos],
    }
    with array_file.written(path, KIND, about) as file:
        for name, counts in (
            ("keyframe_stops", [len(video.keyframes) for video in videos]),
            ("box_stops", [len(table) for table, _ in tables]),
            ("track_stops", [len(each) for each in lengths]),
        ):
            file.write(name, np.cumsum([0, *counts], dtype=np.int64))
        file.write("keyframes", _joined([video.keyframes for video in videos]))
        file.write("timestamps", _joined(seconds))
        file.write("frames", _joined([table.frames for table, _ in tables]))
        file.write("actors", _joined([table.actors for table, _ in tables]))
        file.write("rows", _joined([rows for _, rows in tables]))
        file.write("lengths", _joined(lengths))
        file.write("boxes", np.concatenate([np.zeros((0, 4)), *(t.boxes for t, _ in tables)]))
        nobody = np.zeros((0, len(dataset.classes)), np.bool_)
        file.write("labels", np.concatenate([nobody, *(table.labels for table, _ in tables)]))


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _about(video: VideoAnnotation, root: Path) -> dict[str, Any]:
    """What JSON holds of a video; its path counts from the root where it lies below."""
    below = video.path.is_relative_to(root)
    return {
        "video": video.video,
        "path": str(video.path.relative_to(root) if below else video.path.absolute()),
        "num_frames": video.num_frames,
        "size": list(video.size),
        "fps": video.fps,
        "timestamps": video.timestamps is not None,
        "gaps": video.gaps,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationIndex:
    """An open index; can be sent to a worker, which maps the same file.

    Attributes:
        file: The file.
        root: What paths of videos below the dataset's folder count from.
    """

    file: ArrayFile
    root: Path

    def dataset(self) -> Dataset:
        """The dataset."""
        about = self.file.about
        videos = [self.video(number) for number in range(len(about["videos"]))]
        return Dataset(
            name=about["name"],
            classes=ActionClasses(**about["classes"]),
            train=tuple(videos[: about["train"]]),
            test=tuple(videos[about["train"] :]),
            protocol=about["protocol"],
            left_out=tuple(about.get("left_out", ())),
        )

    def video(self, number: int) -> VideoAnnotation:
        """One video, training videos first; its arrays are views of the file."""
        about, arrays = self.file.about["videos"][number], self.file.arrays
        keys, boxes, tracks = (
            slice(*arrays[name][number : number + 2].tolist())
            for name in ("keyframe_stops", "box_stops", "track_stops")
        )
        table = BoxTable(
            frames=arrays["frames"][boxes],
            boxes=arrays["boxes"][boxes],
            labels=arrays["labels"][boxes],
            actors=arrays["actors"][boxes],
        )
        annotation = VideoAnnotation(
            video=about["video"],
            path=self.root / about["path"],
            num_frames=about["num_frames"],
            size=tuple(about["size"]),
            fps=about["fps"],
            tracks=TableTracks(
                table=table, rows=arrays["rows"][boxes], lengths=arrays["lengths"][tracks]
            ),
            keyframes=arrays["keyframes"][keys],
            timestamps=arrays["timestamps"][keys] if about["timestamps"] else None,
            num_classes=len(self.file.about["classes"]["names"]),
            gaps=about["gaps"],
        )
        object.__setattr__(annotation, "origin", (self.video, (number,)))
        return annotation

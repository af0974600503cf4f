"""UCF-Sports, from its text files, packed or unpacked.

``<root>/annotations.tar.gz`` holds ``Annotations/<folder>/<number>/gt/<image>.txt``; unpacked, the
files lie at ``<root>/Annotations/...`` or, as in the original archive, at
``<root>/<folder>/<number>/gt/...`` beside the clip's images or its ``.avi``. One file per image
holds one line ``x y w h name`` of integer pixels, parted by tabs or blanks, with no final newline.

- Boxes are ``[x, y, x + w, y + h]``. The published numbers start at 2 and 1 and never touch a
  border, so they do not tell whether they count from 0 or from 1; they are taken as they are. Four
  boxes have no area: such a frame has no box, and stays annotated.
- The action is the folder's, since the names in the lines are not reliable (``Running`` for riding
  horses, ``Kicking`` or ``kicking``); the 13 published folders make 10 classes, any other folder is
  a class of its own name.
- Frames are the clip's images in the order of the numbers in their names, whose gaps are no gaps in
  time. Parts are those of Lan et al., "Discriminative figure-centric models", ICCV 2011: the first
  4 to 7 clips of each class, in the order of folder and number, are for test. Lists ``train.txt``
  and ``test.txt`` of ``<folder>/<number>`` in the root come first.
"""

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath

import numpy as np

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.part_lists import read_parts
from stad_data.datasets.tree import blaming
from stad_data.datasets.video_files import Missing
from stad_data.video import VideoReader
from stad_eval import InputError
from stad_eval.class_lists import UCF_SPORTS
from stad_eval.formats.mask_png import natural_order
from stad_eval.protocols import FRAME_PROTOCOLS

_CLASS_OF_FOLDER = {
    "Diving-Side": "Diving",
    "Golf-Swing-Back": "Golf",
    "Golf-Swing-Front": "Golf",
    "Golf-Swing-Side": "Golf",
    "Kicking-Front": "Kicking",
    "Kicking-Side": "Kicking",
    "Lifting": "Lifting",
    "Riding-Horse": "Riding",
    "Run-Side": "Run",
    "SkateBoarding-Front": "SkateBoarding",
    "Swing-Bench": "Swing1",
    "Swing-SideAngle": "Swing2",
    "Walk-Front": "Walk",
}
_TEST_CLIPS: dict[str, int] = dict(zip(UCF_SPORTS, (4, 6, 6, 2, 4, 4, 4, 6, 4, 7), strict=True))
_LINE = re.compile(r"(\d{1,6})[ \t]+(\d{1,6})[ \t]+(\d{1,6})[ \t]+(\d{1,6})[ \t]+(\S.*?)\s*")
_MOST_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class TextLine:
    """The line of one image: its file, the box as written, and the name as written."""

    path: str
    image: str
    box: tuple[int, int, int, int]
    name: str


def read(
    root: Path | str,
    *,
    missing: Missing = "refuse",
    size: tuple[int, int] | None = None,
) -> Dataset:
    """The dataset with its published parts. One actor per clip does the clip's action.

    Args:
        root: Folder that holds ``annotations.tar.gz`` or the unpacked files, or the archive.
        missing: What to do about clips without images or ``.avi``.
        size: (width, height) of clips whose video is not there, with ``missing="keep"``; by
            default the smallest frame that holds all boxes of the clip.

    Raises:
        InputError: No annotation, a line of another form, a box outside its frame, or absent
            clips with ``missing="refuse"``.
    """
    root = Path(root)
    clips = read_lines(root)
    folder = root.parent if root.is_file() else root
    classes, label_of = _classes(clips)
    paths = video_files.present(
        {clip: _video(folder, clip) for clip in clips},
        expected=lambda clip: folder / clip,
        missing=missing,
        listed_in=root,
    )
    count = len(classes)
    videos = {
        clip: _annotation(clip, path, clips[clip], label_of[clip], count, size)
        for clip, path in paths.items()
    }
    train, test = read_parts(folder, list(clips)) or _published_parts(clips, classes, label_of)
    protocol = next((each.name for each in FRAME_PROTOCOLS if each.classes == classes), "dense")
    return Dataset(
        name="ucf-sports",
        classes=ActionClasses(names=classes, ids=tuple(range(count)), exclusive=True),
        train=tuple(videos[clip] for clip in train if clip in videos),
        test=tuple(videos[clip] for clip in test if clip in videos),
        protocol=protocol,
    )


def read_lines(root: Path | str) -> dict[str, list[TextLine]]:
    """The lines of every clip ``<folder>/<number>``, sorted; lines in the order of the images.

    Raises:
        InputError: No annotation file, a damaged archive, or a line of another form.
    """
    root = Path(root)
    archive = root if root.is_file() else root / "annotations.tar.gz"
    source = _packed(archive) if archive.is_file() else _unpacked(root)
    found: dict[str, list[TextLine]] = {}
    for path, content in source:
        parts = PurePosixPath(path).parts
        if len(parts) < 4 or parts[-2] != "gt" or not path.endswith(".txt"):
            continue
        found.setdefault(f"{parts[-4]}/{parts[-3]}", []).append(_line(path, content, archive))
    if not found:
        raise InputError(
            "no UCF-Sports annotation",
            path=root,
            expected="annotations.tar.gz, or <folder>/<number>/gt/<image>.txt",
            found="none",
        )
    return {
        clip: sorted(found[clip], key=lambda line: natural_order(line.image))
        for clip in sorted(found)
    }


def _packed(archive: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(archive, "r:*") as packed:
            for member in packed:
                if member.isfile() and member.name.endswith(".txt"):
                    # Read in place, never unpacked: names in the archive lead nowhere.
                    if member.size > _MOST_BYTES or (file := packed.extractfile(member)) is None:
                        raise InputError(
                            "a text file that is too large", path=archive, row=member.name
                        )
                    yield member.name, file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("a damaged archive", path=archive, found=str(error)) from error


def _unpacked(root: Path) -> Iterator[tuple[str, bytes]]:
    for base in (root / "Annotations", root / "ucf action", root):
        paths = sorted(base.glob("*/*/gt/*.txt"))
        if paths:
            yield from ((path.as_posix(), path.read_bytes()) for path in paths)
            return


def _line(path: str, content: bytes, archive: Path) -> TextLine:
    found = _LINE.fullmatch(content.decode("latin-1").strip(" \t\r\n"))
    if found is None:
        inside = archive.is_file()
        raise InputError(
            "a line of another form",
            path=archive if inside else path,
            row=path if inside else 1,
            expected="x y w h name, one line of integer pixels",
            found=repr(content[:60]),
        )
    x, y, width, height = (int(found[column]) for column in (1, 2, 3, 4))
    image = PurePosixPath(path).name.removesuffix(".txt")
    return TextLine(path=path, image=image, box=(x, y, width, height), name=found[5])


def _classes(clips: Mapping[str, object]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes, alphabetical, and the label of every clip."""
    class_of = {}
    for clip in clips:
        folder = clip.partition("/")[0]
        class_of[clip] = _CLASS_OF_FOLDER.get(folder, folder)
    names = tuple(sorted(set(class_of.values())))
    return names, {clip: names.index(name) for clip, name in class_of.items()}


def _published_parts(
    clips: Mapping[str, object], classes: tuple[str, ...], label_of: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    left = [_TEST_CLIPS.get(name, 0) for name in classes]
    train: list[str] = []
    test: list[str] = []
    for clip in sorted(clips):
        held_out = left[label_of[clip]] > 0
        left[label_of[clip]] -= held_out
        (test if held_out else train).append(clip)
    return train, test


def _video(root: Path, clip: str) -> Path | None:
    """The clip's ``.avi``, else the folder of its images."""
    for base in (root, root / "ucf action", root / "videos"):
        if found := video_files.find([base / clip], (".avi", ".mp4")):
            return found
        folder = base / clip
        videos = sorted(folder.glob("*.avi"))
        if videos:
            return videos[0]
        if video_files.images(folder):
            return folder
    return None


def _annotation(
    clip: str,
    path: Path,
    lines: list[TextLine],
    label: int,
    count: int,
    size: tuple[int, int] | None,
) -> VideoAnnotation:
    table = np.array([line.box for line in lines], np.float64)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)
    frames = np.flatnonzero((table[:, 2:] > 0).all(axis=1))
    num_frames, fps = len(lines), None
    if images := video_files.images(path):
        num_frames = len(images)
        with VideoReader(images[0]) as reader:
            size = reader.size
    elif path.is_file():
        with VideoReader(path) as reader:
            size, num_frames, fps = reader.size, reader.num_frames, reader.fps
    elif size is None:
        size = (ceil(boxes[:, 2].max()), ceil(boxes[:, 3].max()))
    outside = (boxes[frames, 2:] > np.array(size)).any(axis=1)
    if outside.any():
        bad = lines[int(frames[int(np.argmax(outside))])]
        raise InputError(
            f"clip {clip!r}: a box outside the frame",
            path=path,
            row=bad.path,
            expected=f"x + w <= {size[0]}, y + h <= {size[1]}",
            found=f"x, y, w, h = {bad.box}",
        )
    tracks: tuple[Track, ...] = ()
    with blaming(path):
        if frames.size:
            labels = np.zeros((frames.size, count), np.bool_)
            labels[:, label] = True
            tracks = (Track(actor=0, frames=frames, boxes=boxes[frames], labels=labels),)
        return VideoAnnotation(
            video=clip,
            path=path,
            num_frames=num_frames,
            size=size,
            fps=fps,
            tracks=tracks,
            keyframes=np.arange(len(lines)),
            num_classes=count,
        )

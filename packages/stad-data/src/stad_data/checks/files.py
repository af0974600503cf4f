"""Video files: absent, damaged, of another length or shape than annotated, or not annotated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stad_data.annotation import Dataset, VideoAnnotation
from stad_data.checks.problem import Example, Problem, in_video, problems
from stad_data.datasets import video_files
from stad_data.video import VideoReader
from stad_eval import InputError

# Files may be stored at a slightly other shape than they were annotated at (UCF101-24).
_ASPECT = 0.02

_DAMAGED = "video files cannot be read to their end"
_MEND = (
    "copy or download them again; --missing skip leaves out absent files only, so take these away"
    " to go on without them"
)

Decode = Literal["nothing", "ends", "everything"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at the file of a video gave.

    Attributes:
        annotation: The video.
        absent: Whether there is no file.
        damage: Why it cannot be read to its end; None for a sound file, and one not opened.
        num_frames: Frames that decode; None where it was not opened or not readable at all.
        size: (width, height) of the file's frames, likewise.
    """

    annotation: VideoAnnotation
    absent: bool = False
    damage: str | None = None
    num_frames: int | None = None
    size: tuple[int, int] | None = None


def look(annotation: VideoAnnotation, decode: Decode) -> Look:
    """Look at the file of a video, as far as `stad_data.check.check` says."""
    if not annotation.path.exists():
        return Look(annotation=annotation, absent=True)
    if decode == "nothing":
        return Look(annotation=annotation)
    damage, num_frames, size = _tried(annotation.path, decode)
    return Look(annotation=annotation, damage=damage, num_frames=num_frames, size=size)


def _tried(path: Path, decode: Decode) -> tuple[str | None, int | None, tuple[int, int] | None]:
    """What is wrong with a file, its frames and its size; None for what is not known."""
    try:
        with VideoReader(path) as reader:
            if decode == "everything":
                count = sum(1 for _ in reader)
            else:
                count = reader.num_frames
                reader.read([0, count - 1])
            return reader.damage, count, reader.size
    except InputError as error:
        reason = error.problem if error.found is None else f"{error.problem}: {error.found}"
        return reason, None, None
    except OSError as error:
        return str(error), None, None


def absent(looks: Iterable[Look], strays: Sequence[Path], *, skipped: bool) -> list[Problem]:
    """Annotated videos without a file; with a file that is not annotated but named alike.

    Args:
        looks: Looks at all videos.
        strays: Video files without annotation, see `stray_files`.
        skipped: Whether training is to go on without them: then they are no error.
    """
    named = {_plain(path.stem): path for path in strays}

    def example(look: Look) -> Example:
        like = named.get(_plain(look.annotation.path.stem))
        hint = "" if like is None else f"; is it {like.name}?"
        return in_video(look.annotation, f"no file {look.annotation.path}{hint}")

    return problems(
        "absent-video",
        "warning" if skipped else "error",
        "annotated videos have no file",
        [example(each) for each in looks if each.absent],
        "they are left out of training, as was asked for"
        if skipped
        else "put the files there or name them as the annotation does; or go on without them by"
        ' --missing skip (data.missing="skip" in a recipe)',
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def stray_files(dataset: Dataset) -> list[Path]:
    """Video files (or folders of images) beside the annotated ones that nothing annotates."""
    known = {a.path.absolute() for a in (*dataset.train, *dataset.test)}
    as_images = any(path.is_dir() for path in known)
    found: list[Path] = []
    for folder in sorted({path.parent for path in known}):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() in video_files.SUFFIXES and path.is_file():
                video = True
            else:
                video = as_images and path.is_dir() and bool(video_files.images(path))
            if video and path not in known:
                found.append(path)
    return found


def unannotated(strays: Sequence[Path]) -> list[Problem]:
    """Files without annotation."""
    return problems(
        "file-without-annotation",
        "warning",
        "video files are not annotated in this split",
        [Example(found="no annotation names it", path=path) for path in strays],
        "compare the names: only annotated videos are used",
    )


def damaged(looks: Iterable[Look]) -> list[Problem]:
    """Files that are there and cannot be read, or not to their end."""
    found = [in_video(each.annotation, each.damage) for each in looks if each.damage is not None]
    return problems("damaged-video", "error", _DAMAGED, found, _MEND)


def damaged_beside(path: Path) -> list[Problem]:
    """All damaged video files in the folder of one that is no longer readable, if it is a video."""
    if path.suffix.lower() not in video_files.SUFFIXES or not path.is_file():
        return []
    found = [
        Example(found=damage, path=other)
        for other in sorted(path.parent.iterdir())
        if other.suffix.lower() in video_files.SUFFIXES
        and other.is_file()
        and (damage := _tried(other, "ends")[0]) is not None
    ]
    return problems("damaged-video", "error", _DAMAGED, found, _MEND)


def frame_counts(looks: Iterable[Look]) -> list[Problem]:
    """Sound files with another number of frames than annotated."""
    differing = [
        (each, each.num_frames)
        for each in looks
        if each.damage is None
        and each.num_frames is not None
        and each.num_frames != each.annotation.num_frames
    ]
    off_by_one = {each.annotation.num_frames - count for each, count in differing} == {1}
    return problems(
        "frame-count",
        "error",
        "videos have another number of frames than annotated: boxes may lie on other frames than"
        " they were drawn on",
        [
            in_video(
                each.annotation, f"{each.annotation.num_frames} annotated, {count} in the file"
            )
            for each, count in differing
        ],
        "the annotation has one frame too many everywhere: give the number of frames, not the"
        " number of the last one counted from 1"
        if off_by_one
        else "use the files that were annotated, not cut or at another rate; count decoded frames,"
        " since a container's own number can be wrong",
    )


def shapes(looks: Iterable[Look]) -> list[Problem]:
    """Files whose frames have another shape than the annotated ones."""
    found: list[Example] = []
    for each in looks:
        if each.size is None:
            continue
        (width, height), (wide, high) = each.size, each.annotation.size
        ratio = (width / height) / (wide / high)
        if not 1 / (1 + _ASPECT) <= ratio <= 1 + _ASPECT:
            note = f"frames of {width}x{height} in the file, annotated at {wide}x{high}"
            found.append(in_video(each.annotation, note))
    return problems(
        "frame-shape",
        "warning",
        "videos have frames of another shape than annotated",
        found,
        "was the file rotated, cropped or stretched? Boxes are scaled to its frames",
    )


def past_end(looks: Iterable[Look]) -> list[Problem]:
    """Tracks that go on after the last frame of a sound file."""
    found: list[Example] = []
    count = 0
    for each in looks:
        if each.num_frames is None or each.damage is not None:
            continue
        late = [t for t in each.annotation.tracks if t.frames[-1] >= each.num_frames]
        count += len(late)
        if late:
            last = int(max(track.frames[-1] for track in late))
            note = f"boxes up to frame {last}, but the file's frames are 0 to {each.num_frames - 1}"
            found.append(in_video(each.annotation, note, f"actor {late[0].actor}"))
    return problems(
        "past-the-end",
        "error",
        "tracks go on after the last frame of their video",
        found,
        "frames count from 0, and the last one is one less than their number",
        count=count,
    )

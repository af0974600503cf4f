"""From files of tubes, as stad-eval parses them, to the annotation of videos."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stad_data.annotation import ActionClasses, Dataset, Track, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.tree import blaming
from stad_data.datasets.video_files import Missing
from stad_eval import InputError, TubeFile, safe_pickle
from stad_eval.formats.act_pickle import act_truth
from stad_eval.formats.tube_arrays import Corners

_PLACE = "gttubes['{video}'][{label}][{nth}]"


def read_act_form(
    source: Path,
    *,
    name: str,
    split: int,
    missing: Missing,
    places: tuple[Path, ...],
    protocols: tuple[tuple[str, tuple[str, ...]], ...],
    corners: Corners = "half-open",
    fps: float | None = None,
) -> Dataset:
    """The dataset in a ground-truth pickle of ACT's form, which is MultiSports' too.

    Args:
        source: The pickle; excerpts may lack ``train_videos``.
        name: Name of the dataset.
        split: Number of the split, from 1.
        missing: What to do about videos without a file. No file is opened.
        places: Folders in which ``<video>.mp4`` (...) may lie.
        protocols: The protocols of datasets whose classes are known.
        corners: What the corners of the boxes are.
        fps: Frame rate, where the dataset has one.

    Raises:
        InputError: Another form, a split that is not there, a video in both parts, a tube outside
            its video, a box of no area, or absent videos with ``missing="refuse"``.
    """
    content = safe_pickle.load(source)
    both = isinstance(content, dict) and content.get("train_videos") is not None
    with blaming(source):
        files = {
            part: act_truth(content, source, split=split, part=part, corners=corners)
            for part in (("train", "test") if both else ("test",))
        }
    listed = {part: file.tubes.videos for part, file in files.items()}
    if twice := sorted(set(listed.get("train", ())) & set(listed["test"])):
        raise InputError(
            f"{len(twice)} videos are both for training and for test",
            path=source,
            row=f"test_videos[{split - 1}]",
            found=", ".join(twice[:3]),
        )
    paths = video_files.present(
        {
            video: video_files.find([place / video for place in places])
            for videos in listed.values()
            for video in videos
        },
        expected=lambda video: places[0] / f"{video}.mp4",
        missing=missing,
        listed_in=source,
    )
    parts = {
        part: tuple(
            annotations(
                file,
                {video: paths[video] for video in listed[part] if video in paths},
                source=source,
                place=_PLACE,
                fps=fps,
            ).values()
        )
        for part, file in files.items()
    }
    names = files["test"].tubes.classes
    with blaming(source, "labels"):
        classes = ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=True)
    return Dataset(
        name=name,
        classes=classes,
        train=parts.get("train", ()),
        test=parts["test"],
        protocol=next((each for each, wanted in protocols if wanted == names), "dense"),
    )


def annotations(
    file: TubeFile,
    paths: Mapping[str, Path],
    *,
    source: Path,
    place: str,
    fps: float | None = None,
) -> dict[str, VideoAnnotation]:
    """The videos of `paths`: each tube is an actor of its own, and all frames are annotated.

    Args:
        file: Tubes, with the length and size of every video.
        paths: The videos to give, and where their files are.
        source: The file that the tubes come from.
        place: Where it holds a tube: names ``video``, ``label``, the tube's number ``nth`` among
            those of its label, and ``actor`` among all of its video, in braces.
        fps: Frames per second, where they are known.

    Raises:
        InputError: A tube outside its video, or a box of no area; with the place.
    """
    tubes_of: dict[str, list[int]] = {video: [] for video in paths}
    for at, number in enumerate(file.tubes.video.tolist()):
        tubes_of.get(file.tubes.videos[number], []).append(at)
    found: dict[str, VideoAnnotation] = {}
    for video, path in paths.items():
        tracks = _tracks(file, video, tubes_of[video], source, place)
        with blaming(source, video):
            found[video] = VideoAnnotation(
                video=video,
                path=path,
                num_frames=file.frame_counts[video],
                size=file.sizes[video],
                fps=fps,
                tracks=tracks,
                keyframes=np.arange(file.frame_counts[video]),
                num_classes=len(file.tubes.classes),
            )
    return found


def _tracks(
    file: TubeFile, video: str, tubes: list[int], source: Path, place: str
) -> tuple[Track, ...]:
    tracks: list[Track] = []
    num_frames, of_label = file.frame_counts[video], dict.fromkeys(file.tubes.label.tolist(), 0)
    for actor, at in enumerate(tubes):
        tube = file.tubes.tube(at)
        where = place.format(video=video, label=tube.label, nth=of_label[tube.label], actor=actor)
        of_label[tube.label] += 1
        if tube.frames[-1] >= num_frames:
            raise InputError(
                "a tube outside its video",
                path=source,
                row=where,
                expected=f"the video's frames, 0 to {num_frames - 1}",
                found=f"{tube.frames[0]} to {tube.frames[-1]}, counted from 0",
                remedy="does the file count frames from another number than its form does?",
            )
        labels = np.zeros((len(tube), len(file.tubes.classes)), np.bool_)
        labels[:, tube.label] = True
        with blaming(source, where):
            tracks.append(Track(actor=actor, frames=tube.frames, boxes=tube.boxes, labels=labels))
    return tuple(tracks)

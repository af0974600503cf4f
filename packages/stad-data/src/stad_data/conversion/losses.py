"""What a file format cannot hold of a dataset, in words."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stad_data.annotation import Dataset, VideoAnnotation


def videos_of(dataset: Dataset) -> Iterator[tuple[str, VideoAnnotation]]:
    """All videos with the part that they are in: training first."""
    for part, videos in (("train", dataset.train), ("test", dataset.test)):
        yield from ((part, annotation) for annotation in videos)


def unlabelled(dataset: Dataset) -> list[str]:
    """For formats whose rows need a class: boxes of actors that do nothing."""
    rows = [
        int((~track.labels.any(axis=1)).sum())
        for _, annotation in videos_of(dataset)
        for track in annotation.tracks
    ]
    return [f"{sum(rows):,} boxes without an action"] if sum(rows) else []


def masks(dataset: Dataset) -> list[str]:
    """For formats without pixel masks."""
    count = sum(annotation.masks is not None for _, annotation in videos_of(dataset))
    return [f"the pixel masks of {count:,} videos"] if count else []


def timestamps(dataset: Dataset) -> list[str]:
    """For formats that count frames only."""
    count = sum(annotation.timestamps is not None for _, annotation in videos_of(dataset))
    return [f"the seconds of the keyframes of {count:,} videos"] if count else []


def rates(dataset: Dataset) -> list[str]:
    """For formats without frame rates."""
    count = sum(annotation.fps is not None for _, annotation in videos_of(dataset))
    return [f"the frame rates of {count:,} videos"] if count else []


def empty_keyframes(dataset: Dataset) -> list[str]:
    """For formats that know boxes only: annotated frames without one, and which ones are not."""
    bare = 0
    for _, annotation in videos_of(dataset):
        boxed = {frame for track in annotation.tracks for frame in track.frames.tolist()}
        bare += len(annotation.keyframes) - len(boxed)
    return [f"{bare:,} annotated frames without a box"] if bare else []


def sparse_keyframes(dataset: Dataset) -> list[str]:
    """For formats that take every frame for annotated."""
    count = sum(
        len(annotation.keyframes) < annotation.num_frames for _, annotation in videos_of(dataset)
    )
    return [f"which frames of {count:,} videos are annotated"] if count else []


def identities(dataset: Dataset) -> list[str]:
    """For formats with one class per tube: actors that do several things."""
    several = sum(
        int((track.labels.any(axis=0)).sum() > 1)
        for _, annotation in videos_of(dataset)
        for track in annotation.tracks
    )
    return [f"that the tubes of {several:,} actors with several actions are one actor's"] * bool(
        several
    )


def actor_numbers(dataset: Dataset) -> list[str]:
    """For formats that number tubes as they come."""
    count = sum(
        [track.actor for track in annotation.tracks] != list(range(len(annotation.tracks)))
        for _, annotation in videos_of(dataset)
    )
    return [f"the numbers of the actors of {count:,} videos"] if count else []


def class_ids(dataset: Dataset) -> list[str]:
    """For formats whose classes are numbered 0, 1, 2, ...."""
    ids = dataset.classes.ids
    return [] if ids == tuple(range(len(ids))) else ["the class numbers of the dataset's own files"]


def places(dataset: Dataset, out: Path) -> list[str]:
    """For formats that leave the videos' folder to the reader."""
    folders = {annotation.path.parent.absolute() for _, annotation in videos_of(dataset)}
    return [f"where the videos lie (not in {out})"] if folders else []


def frame_gaps(dataset: Dataset) -> int:
    """Number of tracks with frames left out between their first and last one."""
    return sum(
        bool((np.diff(track.frames) != 1).any())
        for _, annotation in videos_of(dataset)
        for track in annotation.tracks
    )

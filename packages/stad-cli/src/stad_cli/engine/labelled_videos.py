"""Which of the training videos are labelled, and which others are used without labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stad_cli.config import DataSection
from stad_data import VideoAnnotation
from stad_data.external import external_videos
from stad_data.splits import labelled_split, read_split


def labelled_videos(
    data: DataSection, videos: Sequence[VideoAnnotation]
) -> tuple[VideoAnnotation, ...]:
    """The training videos that the recipe counts as labelled, in the order of the dataset.

    Raises:
        InputError: A list of labelled videos that does not fit the dataset.
    """
    if data.labelled == 1.0 and data.labelled_list is None:
        return tuple(videos)
    wanted = _labelled_names(data, videos)
    return tuple(video for video in videos if video.video in wanted)


def unlabelled_videos(
    data: DataSection, videos: Sequence[VideoAnnotation]
) -> tuple[VideoAnnotation, ...]:
    """The training videos that the recipe uses without labels, still with their annotation.

    Where it takes a share of them, classes keep their proportion: which videos those are is a
    question of a study's design, not of training.

    Raises:
        InputError: A list of labelled videos that does not fit the dataset.
    """
    labelled = _labelled_names(data, videos)
    others = tuple(video for video in videos if video.video not in labelled)
    if data.unlabelled is None or not others:
        return others
    count = round(data.unlabelled * len(videos))
    if count >= len(others):
        return others
    if count == 0:
        return ()
    chosen = labelled_split(others, share=count / len(others), seed=data.labelled_seed).labelled
    return tuple(video for video in others if video.video in set(chosen))


def further_videos(data: DataSection, *, num_classes: int) -> tuple[VideoAnnotation, ...]:
    """The videos of `data.external`, named "external/..."; none where it is not given.

    Raises:
        InputError: No such folder, no video in it, or a damaged one.
    """
    if data.external is None:
        return ()
    found = external_videos(Path(data.external), num_classes=num_classes)
    return tuple(replace(video, video=f"external/{video.video}") for video in found)


def _labelled_names(data: DataSection, videos: Sequence[VideoAnnotation]) -> set[str]:
    if data.labelled_list is not None:
        return set(read_split(data.labelled_list, videos).labelled)
    if data.labelled == 1.0:
        return {video.video for video in videos}
    return set(labelled_split(videos, share=data.labelled, seed=data.labelled_seed).labelled)

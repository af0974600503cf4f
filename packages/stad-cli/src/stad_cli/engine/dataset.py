"""From a recipe and a folder to annotated videos and their frames."""

import os
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path

from stad_cli import dataset_forms
from stad_cli.config import DataSection, Recipe, nearest
from stad_data import Dataset, VideoAnnotation
from stad_data.clips import FrameSource
from stad_data.datasets.video_files import Missing
from stad_data.frame_cache import cache_videos
from stad_data.shard_frames import open_shards
from stad_data.synthetic.dense_truth import read_dense_truth
from stad_eval import InputError


def open_dataset(
    name: str,
    root: Path,
    *,
    split: int = 1,
    missing: Missing = "refuse",
    index: Path | None = None,
) -> Dataset:
    """Read a dataset's annotations from its folder.

    Args:
        name: One of `dataset_names.DATASET_NAMES`: "ava", "jhmdb", "ucf24", ...
        root: The folder, or the one file of datasets that have one.
        split: Where the dataset has several.
        missing: What to do about annotated videos without a file.
        index: File that keeps AVA's annotation.

    Raises:
        InputError: Unknown name, no such folder, or files that are not of this layout.
    """
    form = dataset_forms.canonical(name)
    if not root.exists():
        raise InputError(
            "no such data folder", path=root, remedy="name the dataset's folder by --data"
        )
    reading = dataset_forms.Reading(split=split, missing=missing, index=index)
    return dataset_forms.read(form, root, reading)


def dataset_of(recipe: Recipe, root: Path) -> Dataset:
    """The recipe's dataset, cut to `data.videos` where that names some.

    Raises:
        InputError: See `open_dataset`; videos that are neither files nor in `data.shards`; a video
            of `data.videos` that is not there; `data.dense` for a set without dense truth.
    """
    data = recipe.data
    dataset = open_dataset(
        data.dataset,
        root,
        split=data.split,
        missing="keep" if data.shards else data.missing,
        index=Path(data.index) if data.index else None,
    )
    if data.shards:
        dataset = _with_frames(dataset, open_shards(data.shards), data)
    if recipe.data.dense:
        dense = read_dense_truth(root, dataset.train, part="train")
        dataset = replace(dataset, train=dense)
    wanted = recipe.data.videos
    if not wanted:
        return dataset
    known = [annotation.video for annotation in (*dataset.train, *dataset.test)]
    for video in wanted:
        if video not in known:
            raise InputError(
                f"data.videos names {video!r}, which is not in the dataset",
                path=root,
                remedy=nearest(video, known[:1000]),
            )
    return replace(
        dataset,
        train=tuple(annotation for annotation in dataset.train if annotation.video in wanted),
        test=tuple(annotation for annotation in dataset.test if annotation.video in wanted),
    )


def _with_frames(dataset: Dataset, shards: Container[str], data: DataSection) -> Dataset:
    """The dataset without the videos that are nowhere, where the recipe lets them be skipped.

    Raises:
        InputError: There are such videos, and the recipe refuses them.
    """
    absent = {
        annotation.video: annotation
        for annotation in (*dataset.train, *dataset.test)
        if annotation.video not in shards and not annotation.path.exists()
    }
    if absent and data.missing == "refuse":
        video, annotation = next(iter(absent.items()))
        raise InputError(
            f"{len(absent)} annotated videos are neither in data.shards nor files",
            path=data.shards,
            expected=f"{video}, or {annotation.path}",
            found="neither",
            remedy="write their shards too (`stad data shard`), or go on without them by"
            ' data.missing="skip"',
        )
    return replace(
        dataset,
        train=tuple(each for each in dataset.train if each.video not in absent),
        test=tuple(each for each in dataset.test if each.video not in absent),
    )


def part_of(dataset: Dataset, part: str) -> tuple[VideoAnnotation, ...]:
    """The training or the test videos.

    Raises:
        InputError: Another word, or a part without a single annotated frame.
    """
    if part not in ("train", "test"):
        raise InputError(f"unknown part {part!r}", expected="train or test")
    videos = dataset.train if part == "train" else dataset.test
    if not any(len(annotation.keyframes) for annotation in videos):
        raise InputError(f"the {part} part of {dataset.name} has no annotated frame")
    return videos


def frame_caches(
    annotations: Iterable[VideoAnnotation],
    data: DataSection,
    *,
    seen: Callable[[int], None] = lambda _: None,
) -> dict[str, FrameSource]:
    """Frames by video: decoded into memory where the recipe says `cache`, else out of its shards.

    Nothing where it says neither. `seen` is told 1 after every decoded video.

    Raises:
        InputError: A video that cannot be read, more frames than `cache_gib` has room for, or no
            shards where the recipe says.
    """
    if data.shards:
        return dict(open_shards(data.shards))
    if not data.cache:
        return {}
    videos = tuple(annotations)
    made = cache_videos(
        [annotation.path for annotation in videos],
        size=data.cache_size or data.size,
        workers=min(4, os.cpu_count() or 1),
        max_bytes=int(data.cache_gib * 2**30),
        progress=lambda _done, _total: seen(1),
        gaps="close" if any(annotation.gaps == "close" for annotation in videos) else "step",
    )
    return {annotation.video: made[annotation.path] for annotation in videos}

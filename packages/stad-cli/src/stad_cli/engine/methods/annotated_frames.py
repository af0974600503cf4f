"""Which frames of the training videos count as annotated, and what is known of the others.

A dataset may know more than a recipe trains on: frames between every n-th annotated one, or the
truth of every frame beside a synthetic set. It is used to count how good pseudo labels are, and for
nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stad_cli.engine.dataset import part_of
from stad_cli.engine.methods.method import TrainingData
from stad_data import VideoAnnotation
from stad_data.sampling import keyframe_samples
from stad_data.synthetic.dense_truth import has_dense_truth, read_dense_truth


def annotated_videos(data: TrainingData) -> tuple[VideoAnnotation, ...]:
    """The training videos with the annotated frames alone that the recipe trains on.

    Frames without actors are among them, whatever `data.skip_empty` says: they tell that nobody is
    there.
    """
    videos, every = part_of(data.dataset, "train"), data.recipe.data.every_nth_frame
    if every == 1:
        return videos
    samples = keyframe_samples(videos, every=every)
    return tuple(
        with_keyframes(video, samples[samples[:, 0] == number, 1])
        for number, video in enumerate(videos)
    )


def with_keyframes(video: VideoAnnotation, frames: NDArray[np.int64]) -> VideoAnnotation:
    """The video as if of its keyframes only these were annotated: int64 [K], increasing."""
    tracks = [(track, np.isin(track.frames, frames)) for track in video.tracks]
    seconds = video.timestamps
    return replace(
        video,
        tracks=tuple(
            replace(
                track, frames=track.frames[kept], boxes=track.boxes[kept], labels=track.labels[kept]
            )
            for track, kept in tracks
            if kept.any()
        ),
        keyframes=frames,
        timestamps=None if seconds is None else seconds[np.isin(video.keyframes, frames)],
    )


def hidden_truth(
    data: TrainingData, videos: Sequence[VideoAnnotation]
) -> Mapping[str, VideoAnnotation]:
    """By name, the videos of which more frames are known than those annotated; often none.

    Args:
        data: What is trained on.
        videos: From `annotated_videos`.

    Raises:
        InputError: The truth beside a synthetic set cannot be read.
    """
    whole: Sequence[VideoAnnotation] = part_of(data.dataset, "train")
    if data.recipe.data.dataset == "synthetic" and has_dense_truth(data.root):
        whole = read_dense_truth(data.root, whole, part="train")
    return {
        known.video: known
        for known, video in zip(whole, videos, strict=True)
        if len(known.keyframes) > len(video.keyframes)
    }

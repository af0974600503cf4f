"""A detector's predictions on samples: clip by clip, or in one streaming pass over each video.

Suffix legend: F = frames of a chunk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine.data import evaluation_batches, normalise, test_transform
from stad_data import VideoAnnotation, VideoReader
from stad_data.clips import FrameSource, gathered, window
from stad_data.loading import ClipInfo, collate
from stad_models.streaming import TubeletDetector, video_tubelets
from stad_models.structures import Prediction, Tubelets

CHUNK = 32
"""Frames of a video that are read at a time."""


def predictions(
    model: nn.Module,
    recipe: Recipe,
    annotations: Sequence[VideoAnnotation],
    samples: NDArray[np.int64],
    *,
    caches: Mapping[str, FrameSource],
    device: torch.device,
) -> Iterator[tuple[ClipInfo, Prediction]]:
    """What the model finds at each sample, in order, and where that is.

    A tubelet detector in two stages (`stad_models.streaming`) passes once over every video, so
    that each frame's features are worked out once; the tubelets are the same.

    Args:
        model: In evaluation mode, on its device.
        recipe: Clip form, size and batch.
        annotations: The videos.
        samples: int64 [S, 2], rows (video number, frame); those of a video in a row.
        caches: Frames by video name, for the videos it names.
        device: Where the model is.

    Raises:
        InputError: A video that cannot be read.
    """
    if recipe.clip.form == "tubelet" and is_streamable(model):
        for number in np.unique(samples[:, 0]).tolist():
            annotation = annotations[number]
            source = caches.get(annotation.video)
            opened = nullcontext(source) if source is not None else _open(annotation)
            wanted = {*samples[samples[:, 0] == number, 1].tolist()}
            with opened as frames:
                found = streamed(model, recipe, annotation, frames, device=device)
                yield from ((info, one) for info, one in found if info.frame in wanted)
        return
    batches = evaluation_batches(
        recipe, annotations, samples, caches=caches, workers=recipe.run.workers
    )
    detect: Callable[..., list[Prediction]] = model
    for batch in batches:
        clips = normalise(batch.clips.to(device))
        if batch.proposals is None:
            found = detect(clips)
        else:
            found = detect(clips, proposals=[rows.to(device) for rows in batch.proposals])
        yield from zip(batch.clips_info, found, strict=True)


def _open(annotation: VideoAnnotation) -> VideoReader:
    return VideoReader(annotation.path, gaps=annotation.gaps)


def is_streamable(model: nn.Module) -> bool:
    """Whether a tubelet detector works on frames alone before it joins them."""
    return all(hasattr(model, part) for part in ("frame_maps", "clip_maps", "tubelets"))


def streamed(
    model: nn.Module,
    recipe: Recipe,
    annotation: VideoAnnotation,
    source: FrameSource,
    *,
    device: torch.device,
) -> Iterator[tuple[ClipInfo, Tubelets]]:
    """Tubelets around every frame of a video, in one pass."""
    transform, rng = test_transform(recipe), np.random.default_rng(0)
    infos: list[ClipInfo] = []

    def chunks() -> Iterator[torch.Tensor]:
        for start in range(0, annotation.num_frames, CHUNK):
            indices = np.arange(start, min(start + CHUNK, annotation.num_frames))
            clip = gathered(annotation, start, indices, source=source)
            batch = collate([transform(clip, rng)])
            infos[:] = batch.clips_info
            yield normalise(batch.clips[0].transpose(0, 1).to(device))

    detector: TubeletDetector = model  # pyright: ignore[reportAssignmentType] - is_streamable
    for frame, tubelets in video_tubelets(detector, chunks(), batch=recipe.eval.batch):
        indices = window(
            frame,
            length=detector.clip_length,
            stride=detector.clip_stride,
            num_frames=annotation.num_frames,
        )
        here = ClipInfo(
            video=annotation.video,
            frame=frame,
            indices=indices,
            placement=infos[0].placement,
            size=infos[0].size,
        )
        yield here, tubelets

"""A detector's predictions on samples: clip by clip, or in one streaming pass over each video.

Suffix legend: F = frames of a chunk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stad_cli.config import FLOW_AHEAD, Recipe
from stad_cli.engine.batches import evaluation_batches
from stad_cli.engine.clip_changes import test_transform
from stad_cli.engine.detector import channels_of
from stad_cli.engine.model_input import model_input
from stad_data import VideoAnnotation, VideoReader
from stad_data.clip_flow import FlowSource, with_flow
from stad_data.clips import FrameSource, gathered, window
from stad_data.flow_cache import open_flow
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
    flows: Mapping[str, FlowSource] | None = None,
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
        flows: Optical flow by video name, where the recipe says `flow`; None reads its folder.

    Raises:
        InputError: A video that cannot be read, or its flow.
    """
    if recipe.clip.form == "tubelet" and is_streamable(model):
        for number in np.unique(samples[:, 0]).tolist():
            annotation = annotations[number]
            source = caches.get(annotation.video)
            opened = nullcontext(source) if source is not None else _open(annotation)
            wanted = {*samples[samples[:, 0] == number, 1].tolist()}
            flow = _flow(recipe, annotation, flows)
            with opened as frames:
                found = streamed(model, recipe, annotation, frames, flow=flow, device=device)
                yield from ((info, one) for info, one in found if info.frame in wanted)
        return
    batches = evaluation_batches(
        recipe, annotations, samples, caches=caches, workers=recipe.run.workers, flows=flows
    )
    detect: Callable[..., list[Prediction]] = model
    for batch in batches:
        clips = model_input(batch, device, channels=channels_of(model))
        if batch.proposals is None:
            found = detect(clips)
        else:
            found = detect(clips, proposals=[rows.to(device) for rows in batch.proposals])
        yield from zip(batch.clips_info, found, strict=True)


def _open(annotation: VideoAnnotation) -> VideoReader:
    return VideoReader(annotation.path, gaps=annotation.gaps)


def _flow(
    recipe: Recipe, annotation: VideoAnnotation, flows: Mapping[str, FlowSource] | None
) -> FlowSource | None:
    if recipe.data.flow is None:
        return None
    return open_flow(recipe.data.flow, annotation) if flows is None else flows[annotation.video]


def is_streamable(model: nn.Module) -> bool:
    """Whether a tubelet detector works on frames alone before it joins them."""
    return all(hasattr(model, part) for part in ("frame_maps", "clip_maps", "tubelets"))


def streamed(
    model: nn.Module,
    recipe: Recipe,
    annotation: VideoAnnotation,
    source: FrameSource,
    *,
    flow: FlowSource | None,
    device: torch.device,
) -> Iterator[tuple[ClipInfo, Tubelets]]:
    """Tubelets around every frame of a video, in one pass."""
    transform, rng = test_transform(recipe), np.random.default_rng(0)
    infos: list[ClipInfo] = []
    end = annotation.num_frames

    def chunks() -> Iterator[torch.Tensor]:
        for start in range(0, end, CHUNK):
            stop = min(start + CHUNK, end)
            # The stack of flow of a chunk's last frames reaches over its end.
            reach = stop if flow is None else stop + FLOW_AHEAD
            clip = gathered(
                annotation, start, np.arange(start, reach).clip(max=end - 1), source=source
            )
            batch = collate([transform(clip if flow is None else with_flow(clip, flow), rng)])
            infos[:] = batch.clips_info
            clips = model_input(batch, device, channels=channels_of(model))
            yield clips[0, :, : stop - start].transpose(0, 1)

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

"""One video through a detector: frames in, overlay and detections out, in bounded memory.

Suffix legend: B = clips of a batch, N = actors of a keyframe.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stad_cli.clip_stream import KeyframeClip, clips, sampling_for
from stad_cli.detection_settings import DetectionSettings, VideoSummary
from stad_cli.drawing import draw_boxes
from stad_cli.engine.model_input import normalise
from stad_cli.keyframe_detections import DetectionsWriter, KeyframeDetections
from stad_cli.overlay import Overlay, ShownActor, caption
from stad_cli.trained_detector import Detector, FrameResize, bare_clip
from stad_cli.tube_detection import detect_tubes
from stad_data import Placement, VideoReader, VideoWriter
from stad_data.drawing import palette_color
from stad_data.loading import collate
from stad_eval import GreedyLinker, InputError
from stad_models.structures import Detections

LINK_IOU = 0.3
"""Overlap from which boxes of two keyframes are one actor."""
KEYFRAMES_HIDDEN = 3
"""For so many keyframes an actor may be hidden and still be the same."""


def detect_video(
    path: Path,
    detector: Detector,
    settings: DetectionSettings,
    *,
    detections: Path,
    overlay: Path | None,
    advance: Callable[[int], None] = lambda _: None,
) -> VideoSummary:
    """Detect actors and actions in one video and write what was found.

    Files that exist under the output names are replaced only once the new ones are complete.

    Args:
        path: The video.
        detector: The model.
        settings: How densely to look, and what to draw.
        detections: Where the JSON goes.
        overlay: Where the overlay video goes; None for none.
        advance: Told how many more frames were looked at.

    Raises:
        InputError: The video cannot be read, or an output cannot be written.
        OSError: The disk is full or fails.
    """
    if detector.recipe.clip.form != "keyframe":
        return detect_tubes(
            path, detector, settings, detections=detections, overlay=overlay, advance=advance
        )
    start = time.perf_counter()
    summary = VideoSummary(video=path, detections=detections, overlay=overlay)
    with ExitStack() as stack:
        reader = stack.enter_context(
            VideoReader(path, resize=detector.decoded, on_damage=settings.on_damage)
        )
        summary.size, summary.fps = reader.source_size, reader.fps
        out = stack.enter_context(
            DetectionsWriter(
                detections,
                video=path.stem,
                size=reader.source_size,
                classes=detector.classes.names,
            )
        )
        drawn = _open_overlay(stack, path, reader, detector, settings, overlay)

        def seen(count: int) -> None:
            summary.frames += count
            advance(count)

        for found in keyframes(reader, detector, settings, seen=seen):
            _count(summary, found, detector, settings.least)
            out.write(found)
            if drawn is not None:
                drawn.add(found)
        if drawn is not None:
            drawn.finish()
        if not summary.frames:
            raise InputError("no frame of this video can be decoded", path=path)
        # Written out before the overlay gets its name, so that a full disk spares both old files.
        out.finish()
    summary.actions = dict(sorted(summary.actions.items(), key=lambda item: (-item[1], item[0])))
    summary.seconds = time.perf_counter() - start
    return summary


def keyframes(
    reader: VideoReader,
    detector: Detector,
    settings: DetectionSettings,
    *,
    seen: Callable[[int], None] = lambda _: None,
) -> Iterator[KeyframeDetections]:
    """The detections at each keyframe of a video, in order, as soon as they are known.

    Actors are linked from keyframe to keyframe, whatever they do; one that was not found at
    ``KEYFRAMES_HIDDEN`` keyframes in a row and comes back is a new actor.
    """
    linker = GreedyLinker(min_iou=LINK_IOU, max_gap=KEYFRAMES_HIDDEN, max_boxes=None)
    clip = detector.recipe.clip
    resize = FrameResize(detector.recipe, reader)
    sampling = sampling_for(
        length=1 if clip.repeat_keyframe else clip.length,
        stride=clip.stride,
        trained_fps=detector.trained_fps,
        fps=reader.fps,
        every=settings.every,
    )
    stream = clips(reader, sampling, resize=resize, seen=seen)
    number = -1
    for batch in _batches(stream, settings.batch):
        for one, found in zip(batch, _run(detector, batch), strict=True):
            number += 1
            boxes = resize.placement.to_source(found.boxes.double().cpu().numpy(), clip=True)
            # What lies outside the frame has no area left after the cut at its border.
            kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            actor_scores = found.actor_scores.double().cpu().numpy()[kept]
            yield KeyframeDetections(
                frame=one.frame,
                time=one.time,
                boxes=boxes[kept],
                actor_scores=actor_scores,
                scores=found.scores.double().cpu().numpy()[kept],
                tracks=linker.step(number, boxes[kept], actor_scores),
            )


def _batches(stream: Iterable[KeyframeClip], size: int) -> Iterator[list[KeyframeClip]]:
    iterator = iter(stream)
    while batch := list(islice(iterator, size)):
        yield batch


@torch.inference_mode()
def _run(detector: Detector, batch: Sequence[KeyframeClip]) -> list[Detections]:
    height, width = batch[0].images.shape[1:3]
    form = detector.recipe.clip
    repeats = form.length if form.repeat_keyframe else 1
    stacked = collate(
        [
            bare_clip(clip.images.repeat(repeats, axis=0), Placement(size=(width, height)))
            for clip in batch
        ]
    )
    return detector.model(normalise(stacked.clips.to(detector.device)))


def _open_overlay(
    stack: ExitStack,
    path: Path,
    reader: VideoReader,
    detector: Detector,
    settings: DetectionSettings,
    target: Path | None,
) -> Overlay | None:
    if target is None:
        return None
    classes = detector.classes
    again = stack.enter_context(VideoReader(path, on_damage=settings.on_damage))
    writer = stack.enter_context(
        VideoWriter(target, size=reader.source_size, fps=reader.fps, threads=0)
    )

    def draw(image: NDArray[np.uint8], actors: Sequence[ShownActor]) -> NDArray[np.uint8]:
        texts = [
            caption(actor, classes.names, least=settings.least, exclusive=classes.exclusive)
            for actor in actors
        ]
        boxes = [actor.box for actor in actors]
        return draw_boxes(image, boxes, texts, [palette_color(actor.track) for actor in actors])

    return Overlay(iter(again), draw=draw, write=writer.write)


def _count(
    summary: VideoSummary, found: KeyframeDetections, detector: Detector, least: float
) -> None:
    summary.keyframes += 1
    summary.actors = max(summary.actors, 1 + int(found.tracks.max(initial=-1)))
    for scores in found.scores:
        labels = [int(scores.argmax())] if detector.classes.exclusive else range(len(scores))
        for label in labels:
            if scores[label] >= least:
                name = detector.classes.names[label]
                summary.actions[name] = summary.actions.get(name, 0) + 1

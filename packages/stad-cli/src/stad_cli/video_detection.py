"""One video through a detector: frames in, overlay and detections out, in bounded memory.

Suffix legend: B = clips of a batch, N = actors of a keyframe.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stad_cli.clip_stream import KeyframeClip, clips, sampling_for
from stad_cli.drawing import draw_boxes
from stad_cli.engine import checkpoint
from stad_cli.engine.data import normalise, test_transform
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Device, processes
from stad_cli.keyframe_detections import DetectionsWriter, KeyframeDetections
from stad_cli.overlay import Overlay, ShownActor, caption
from stad_data import Clip, Placement, VideoReader, VideoWriter
from stad_data.drawing import palette_color
from stad_data.loading import Transform, collate
from stad_eval import GreedyLinker, InputError
from stad_models.structures import Detections

LINK_IOU = 0.3
"""Overlap from which boxes of two keyframes are one actor."""
KEYFRAMES_HIDDEN = 3
"""For so many keyframes an actor may be hidden and still be the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A trained model with all that is needed to run it on a video.

    Attributes:
        model: In evaluation mode, on its device; gives one ``Detections`` per clip.
        classes: Names of the actions.
        exclusive: Whether an actor does one action at a time.
        length: Frames per clip.
        stride: Frames of a training video per frame of a clip.
        trained_fps: Frame rate of the training videos, where it is known.
        decoded: (width, height) that frames are decoded at, where training cached them at a size.
        resize: From a decoded clip to one at the model's size, as in evaluation.
        repeat_keyframe: Whether the model looks at the keyframe alone, repeated.
        device: Where the model runs.
    """

    model: nn.Module
    classes: tuple[str, ...]
    exclusive: bool
    length: int
    stride: int
    trained_fps: float | None
    decoded: tuple[int, int] | None
    resize: Transform
    repeat_keyframe: bool
    device: torch.device


def load_detector(path: Path, device: Device = "auto") -> Detector:
    """The detector of a checkpoint.

    Raises:
        InputError: No checkpoint, a damaged one or one of another kind, or a device that is not
            there.
    """
    state = checkpoint.load(path)
    recipe, classes = checkpoint.recipe_of(state, path=path), checkpoint.classes_of(state)
    model = build_detector(recipe.model, recipe.clip, classes)
    checkpoint.fill(model, state["model"], path=path)
    with processes(device) as group:
        place = group.device
    data = recipe.data
    return Detector(
        model=model.eval().to(place),
        classes=classes.names,
        exclusive=classes.exclusive,
        length=recipe.clip.length,
        stride=recipe.clip.stride,
        trained_fps=state.get("fps"),
        decoded=(data.cache_size or data.size) if data.cache else None,
        resize=test_transform(recipe),
        repeat_keyframe=recipe.clip.repeat_keyframe,
        device=place,
    )


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """What the user chooses.

    Attributes:
        every: Frames between keyframes; None for about four a second.
        batch: Clips per pass through the model.
        least: Lowest score of an action that is drawn or counted in the summary.
        on_damage: What to do about a damaged file: refuse it, or stop before the damage.
    """

    every: int | None = None
    batch: int = 4
    least: float = 0.25
    on_damage: Literal["raise", "stop"] = "raise"


@dataclass(kw_only=True)
class VideoSummary:
    """What was found in one video.

    Attributes:
        video: The file.
        frames: Decoded frames.
        fps: Mean frame rate.
        size: (width, height).
        keyframes: Keyframes looked at.
        actors: Different actors.
        actions: Per action in how many (keyframe, actor) pairs it was seen, most frequent first.
        detections: The JSON file.
        overlay: The overlay video; None where none was asked for.
        seconds: Time taken.
    """

    video: Path
    frames: int = 0
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    keyframes: int = 0
    actors: int = 0
    actions: dict[str, int] = field(default_factory=dict[str, int])
    detections: Path
    overlay: Path | None
    seconds: float = 0.0


class _Resize:
    """Brings single frames to the model's size by the same transform as whole clips."""

    def __init__(self, resize: Transform, reader: VideoReader) -> None:
        self._resize = resize
        (width, height), (full_width, full_height) = reader.size, reader.source_size
        self._decoded = Placement(
            size=reader.source_size, scale_x=width / full_width, scale_y=height / full_height
        )
        # The transforms of a test are not random; their signature asks for a generator.
        self._rng = np.random.default_rng(0)
        self.placement = self._decoded

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        clip = self._resize(_clip(image[None], self._decoded), self._rng)
        self.placement = clip.placement
        return clip.frames[0]


def _clip(frames: NDArray[np.uint8], placement: Placement) -> Clip:
    """A clip without annotations, which is what the transforms and the collation work on."""
    return Clip(
        frames=frames,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros((0, 0), np.bool_),
        actors=np.zeros(0, np.int64),
        video="",
        frame=0,
        indices=np.arange(len(frames), dtype=np.int64),
        placement=placement,
    )


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
                classes=detector.classes,
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
    resize = _Resize(detector.resize, reader)
    sampling = sampling_for(
        length=1 if detector.repeat_keyframe else detector.length,
        stride=detector.stride,
        trained_fps=detector.trained_fps,
        fps=reader.fps,
        every=settings.every,
    )
    stream = clips(reader, sampling, resize=resize, seen=seen)
    number = -1
    for batch in _batches(stream, settings.batch):
        for clip, found in zip(batch, _run(detector, batch), strict=True):
            number += 1
            boxes = resize.placement.to_source(found.boxes.double().cpu().numpy(), clip=True)
            # What lies outside the frame has no area left after the cut at its border.
            kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            actor_scores = found.actor_scores.double().cpu().numpy()[kept]
            yield KeyframeDetections(
                frame=clip.frame,
                time=clip.time,
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
    repeats = detector.length if detector.repeat_keyframe else 1
    stacked = collate(
        [
            _clip(clip.images.repeat(repeats, axis=0), Placement(size=(width, height)))
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
    again = stack.enter_context(VideoReader(path, on_damage=settings.on_damage))
    writer = stack.enter_context(
        VideoWriter(target, size=reader.source_size, fps=reader.fps, threads=0)
    )

    def draw(image: NDArray[np.uint8], actors: Sequence[ShownActor]) -> NDArray[np.uint8]:
        texts = [
            caption(actor, detector.classes, least=settings.least, exclusive=detector.exclusive)
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
        labels = [int(scores.argmax())] if detector.exclusive else range(len(scores))
        for label in labels:
            if scores[label] >= least:
                name = detector.classes[label]
                summary.actions[name] = summary.actions.get(name, 0) + 1

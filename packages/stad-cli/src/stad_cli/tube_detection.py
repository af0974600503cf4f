"""One video through a detector of tubes: an overlay and a file of tubes, in bounded memory.

The video is looked at window by window (`tube_windows`). Frames are taken at the rate of the
training videos: of a faster video some are left out, and the boxes of those lie on straight lines
between their neighbours'. Memory holds the frames of one window, and of tubes their boxes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_cli.clip_stream import TimedFrame
from stad_cli.config import Recipe
from stad_cli.detection_settings import DetectionSettings, VideoSummary
from stad_cli.drawing import draw_boxes
from stad_cli.trained_detector import Detector, FrameResize
from stad_cli.tube_windows import NumberedTube, TubeFinder, Window, WindowTubes, joined_tubes
from stad_data import VideoReader, VideoWriter
from stad_data.drawing import palette_color
from stad_eval import InputError, TubeFile, stack_tubes, write_tubes_json
from stad_eval.tubes import Tube

RATE_SLACK = 0.6
"""Part of a training frame's duration after which the next frame is taken; rounded time stamps
never cost a frame."""
MASK_OPACITY = 0.4
_SMALLEST = 0.01
"""Lowest score of a tube that is written."""


def detect_tubes(
    path: Path,
    detector: Detector,
    settings: DetectionSettings,
    *,
    detections: Path,
    overlay: Path | None,
    advance: Callable[[int], None],
) -> VideoSummary:
    """Detect action tubes in one video and write what was found; see `detect_video`."""
    start = time.perf_counter()
    summary = VideoSummary(video=path, detections=detections, overlay=overlay)
    parts: list[NumberedTube] = []
    with ExitStack() as stack:
        reader = stack.enter_context(
            VideoReader(path, resize=detector.decoded, on_damage=settings.on_damage)
        )
        summary.size, summary.fps = reader.source_size, reader.fps
        drawn = _open_overlay(stack, path, reader, detector, settings, overlay)

        def seen(count: int) -> None:
            summary.frames += count
            advance(count)

        finder = TubeFinder(
            model=detector.model,
            recipe=_with_batch(detector, settings.batch),
            classes=detector.classes,
            device=detector.device,
            size=reader.source_size,
            least=_SMALLEST,
        )
        for window in windows(reader, detector, settings.window, seen=seen):
            found = finder.find(window)
            summary.keyframes += len(window)
            parts += found.tubes
            if drawn is not None:
                drawn.add(found)
        if drawn is not None:
            drawn.finish()
        if not summary.frames:
            raise InputError("no frame of this video can be decoded", path=path)
        tubes = [_filled(tube) for tube in joined_tubes(parts, path.stem)]
        _write(detections, tubes, detector, summary)
    shown = [tube for tube in tubes if tube.score >= settings.least]
    summary.actors = len(shown)
    for tube in shown:
        name = detector.classes.names[tube.label]
        summary.actions[name] = summary.actions.get(name, 0) + 1
    summary.actions = dict(sorted(summary.actions.items(), key=lambda item: (-item[1], item[0])))
    summary.seconds = time.perf_counter() - start
    return summary


def windows(
    reader: VideoReader,
    detector: Detector,
    seconds: float,
    *,
    seen: Callable[[int], None] = lambda _: None,
) -> Iterator[Window]:
    """The windows of a video, one after the other: frames at the rate of the training videos.

    The last window may be shorter than the others. No frames give no window.
    """
    resize = FrameResize(detector.recipe, reader)
    rate = detector.trained_fps or reader.fps
    size = max(1, round(seconds * rate))
    kept: list[tuple[int, float, NDArray[np.uint8]]] = []
    last = -np.inf
    for frame in reader:
        if frame.time - last >= RATE_SLACK / rate:
            kept.append((frame.index, frame.time, resize(frame.image)))
            last = frame.time
        seen(1)
        if len(kept) == size:
            yield _window(kept)
            kept = []
    if kept:
        yield _window(kept)


def _window(kept: Sequence[tuple[int, float, NDArray[np.uint8]]]) -> Window:
    indices, times, images = zip(*kept, strict=True)
    return Window(
        frames=np.array(indices, np.int64), times=np.array(times), images=np.stack(images)
    )


def _with_batch(detector: Detector, batch: int) -> Recipe:
    recipe = detector.recipe
    return recipe.model_copy(
        update={
            "eval": recipe.eval.model_copy(update={"batch": batch, "min_tube": 1}),
            "run": recipe.run.model_copy(update={"workers": 0}),
        }
    )


def _filled(tube: Tube) -> Tube:
    """The tube with boxes on the frames that were left out between its own."""
    frames = np.arange(tube.frames[0], tube.frames[-1] + 1)
    if len(frames) == len(tube):
        return tube
    boxes = [np.interp(frames, tube.frames, column) for column in tube.boxes.T]
    return replace(tube, frames=frames, boxes=np.stack(boxes, axis=1))


def _write(target: Path, tubes: Iterable[Tube], detector: Detector, summary: VideoSummary) -> None:
    name = summary.video.stem
    table = stack_tubes(tubes, classes=detector.classes.names, videos=[name])
    content = TubeFile(tubes=table, frame_counts={name: summary.frames}, sizes={name: summary.size})
    write_tubes_json(target, content)


class _Overlay:
    """Draws what was found in a window on its frames, one window behind the detection."""

    def __init__(
        self,
        frames: Iterator[TimedFrame],
        writer: VideoWriter,
        detector: Detector,
        least: float,
    ) -> None:
        self._frames, self._writer = frames, writer
        self._classes, self._least = detector.classes.names, least
        self._before: WindowTubes | None = None
        self._held: TimedFrame | None = None

    def add(self, found: WindowTubes) -> None:
        """Write the frames before this window with what was found in the one before."""
        self._draw_until(int(found.window.frames[0]))
        self._before = found

    def finish(self) -> None:
        """Write the rest of the frames."""
        self._draw_until(None)

    def _draw_until(self, stop: int | None) -> None:
        while (frame := self._held or next(self._frames, None)) is not None:
            self._held = None
            if stop is not None and frame.index >= stop:
                self._held = frame
                return
            self._writer.write(self._drawn(frame), frame.time)

    def _drawn(self, frame: TimedFrame) -> NDArray[np.uint8]:
        found = self._before
        if found is None:
            return frame.image
        image = frame.image
        if found.masks is not None:
            row = min(
                int(np.searchsorted(found.window.frames, frame.index, side="right")) - 1,
                len(found.masks) - 1,
            )
            image = shaded(image, found.masks[max(0, row)])
        boxes: list[NDArray[np.float64]] = []
        texts: list[str] = []
        numbers: list[int] = []
        for each in found.tubes:
            tube = each.tube
            inside = tube.frames[0] <= frame.index <= tube.frames[-1]
            if inside and tube.score >= self._least:
                box = [np.interp(frame.index, tube.frames, column) for column in tube.boxes.T]
                boxes.append(np.array(box))
                texts.append(f"{self._classes[tube.label]} {tube.score:.2f}")
                numbers.append(each.number)
        return draw_boxes(image, boxes, texts, [palette_color(number) for number in numbers])


def shaded(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image [H, W, 3] with the pixels of a mask [h, w], stretched to it, in colour."""
    rows = np.arange(image.shape[0]) * mask.shape[0] // image.shape[0]
    columns = np.arange(image.shape[1]) * mask.shape[1] // image.shape[1]
    inside = mask[rows[:, None], columns]
    result = image.copy()
    colour = np.array(palette_color(0), np.float64)
    mixed = image[inside] * (1 - MASK_OPACITY) + colour * MASK_OPACITY
    result[inside] = mixed.round().astype(np.uint8)
    return result


def _open_overlay(
    stack: ExitStack,
    path: Path,
    reader: VideoReader,
    detector: Detector,
    settings: DetectionSettings,
    target: Path | None,
) -> _Overlay | None:
    if target is None:
        return None
    again = stack.enter_context(VideoReader(path, on_damage=settings.on_damage))
    writer = stack.enter_context(
        VideoWriter(target, size=reader.source_size, fps=reader.fps, threads=0)
    )
    return _Overlay(iter(again), writer, detector, settings.least)

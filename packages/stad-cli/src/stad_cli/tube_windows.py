"""Tubes of a video of any length: window by window, joined where one window meets the next.

A window is a stretch of the video in memory, at the model's size. In it the detector is run as in
an evaluation, on a video of that length. A tube that reaches the last frame of a window goes on in
one of the next window that begins at its first frame, has the same action and fits in space.

Suffix legend: T = frames of a window, H, W = their height and width at the model's size.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine.clip_forms import collector, evaluation_samples
from stad_cli.engine.collectors.maps import MapCollector
from stad_cli.engine.predictions import predictions
from stad_data import ActionClasses, VideoAnnotation
from stad_data.flow import optical_flow
from stad_eval import paired_iou
from stad_eval.tubes import Tube

JOIN_IOU = 0.5
"""Overlap of the last box of one window with the first of the next from which tubes are one."""
_NAME = "window"


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A stretch of a video.

    Attributes:
        frames: int64 [T], indices of the frames in the video.
        times: float64 [T], when they are shown, in seconds.
        images: uint8 [T, H, W, 3].
    """

    frames: NDArray[np.int64]
    times: NDArray[np.float64]
    images: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames by their place in the window, as a `FrameSource`."""
        return self.images[np.asarray(indices, np.int64)]


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowFlow:
    """The optical flow of a window, by DIS at the model's size, as a `FlowSource`.

    Attributes:
        window: The window; its last frame has none, as the last one of a video.
    """

    window: Window

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Flow float32 [T, H, W, 2] of frames by their place in the window.

        Raises:
            InputError: OpenCV is not installed.
        """
        return self._flow[np.asarray(indices, np.int64)]

    @cached_property
    def _flow(self) -> NDArray[np.float32]:
        return optical_flow(self.window.images)


@dataclass(frozen=True, kw_only=True, eq=False)
class NumberedTube:
    """A tube in one window.

    Attributes:
        number: The same for all parts of one tube.
        tube: In frames and pixels of the video; frames between those of the window are left out.
    """

    number: int
    tube: Tube


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowTubes:
    """What was found in one window.

    Attributes:
        window: The window.
        tubes: With the numbers that they have in the whole video.
        masks: bool [T, H, W], the pixels of actors; None from detectors that tell boxes alone.
    """

    window: Window
    tubes: tuple[NumberedTube, ...]
    masks: NDArray[np.bool_] | None


@dataclass(kw_only=True, eq=False)
class TubeFinder:
    """Runs a detector of tubes, tubelets or maps on the windows of one video, in their order.

    Attributes:
        model: In evaluation mode, on its device.
        recipe: What it was trained by.
        classes: Its actions.
        device: Where it is.
        size: (width, height) of the video's frames.
        least: Tubes of a lower score are left out.
    """

    model: nn.Module
    recipe: Recipe
    classes: ActionClasses
    device: torch.device
    size: tuple[int, int]
    least: float
    _numbers: Iterator[int] = field(default_factory=count, init=False, repr=False)
    _before: WindowTubes | None = field(default=None, init=False, repr=False)

    @torch.inference_mode()
    def find(self, window: Window) -> WindowTubes:
        """The tubes of the next window."""
        annotation = VideoAnnotation(
            video=_NAME,
            path=Path(_NAME),
            num_frames=len(window),
            size=self.size,
            fps=None,
            tracks=(),
            keyframes=np.arange(len(window)),
            num_classes=len(self.classes),
        )
        gathered = collector(self.recipe, [annotation], self.classes)
        found = predictions(
            self.model,
            self.recipe,
            [annotation],
            evaluation_samples(self.recipe, [annotation]),
            caches={_NAME: window},
            device=self.device,
            flows=None if self.recipe.data.flow is None else {_NAME: WindowFlow(window=window)},
        )
        for info, one in found:
            gathered.add(info, one)
        tubes = gathered.findings().tubes
        kept = [tube for tube in tubes or () if tube.score >= self.least]
        numbered = self._numbered([_moved(tube, window) for tube in kept], window.frames[0])
        masks = gathered.masks if isinstance(gathered, MapCollector) else None
        result = WindowTubes(window=window, tubes=numbered, masks=masks)
        self._before = result
        return result

    def _numbered(self, tubes: Iterable[Tube], first: int) -> tuple[NumberedTube, ...]:
        """Tubes with the number of the one that they go on from, best first, or with a new one.

        Only those that begin with the `first` frame of the window can go on from another.
        """
        ended = self._ended()
        result: list[NumberedTube] = []
        for tube in sorted(tubes, key=lambda each: -each.score):
            before = _continued(tube, ended) if tube.frames[0] == first else None
            if before is not None:
                ended.remove(before)
            number = next(self._numbers) if before is None else before.number
            result.append(NumberedTube(number=number, tube=tube))
        return tuple(result)

    def _ended(self) -> list[NumberedTube]:
        """The tubes that reach the last frame of the window before."""
        if self._before is None:
            return []
        last = self._before.window.frames[-1]
        return [each for each in self._before.tubes if each.tube.frames[-1] == last]


def _continued(tube: Tube, ended: Sequence[NumberedTube]) -> NumberedTube | None:
    """The tube of the window before that this one goes on from."""
    alike = [each for each in ended if each.tube.label == tube.label]
    if not alike:
        return None
    last_N4 = np.stack([each.tube.boxes[-1] for each in alike])
    overlap_N = paired_iou(last_N4, np.broadcast_to(tube.boxes[0], last_N4.shape))
    best = int(overlap_N.argmax())
    return alike[best] if overlap_N[best] >= JOIN_IOU else None


def _moved(tube: Tube, window: Window) -> Tube:
    """A tube from places in the window to frames of the video."""
    return Tube(
        video=tube.video,
        label=tube.label,
        score=tube.score,
        frames=window.frames[tube.frames],
        boxes=tube.boxes,
    )


def joined_tubes(parts: Iterable[NumberedTube], video: str) -> list[Tube]:
    """Whole tubes from their parts, with the mean of the parts' scores by frames."""
    by_number: dict[int, list[Tube]] = {}
    for part in parts:
        by_number.setdefault(part.number, []).append(part.tube)
    return [
        Tube(
            video=video,
            label=pieces[0].label,
            score=float(np.average([p.score for p in pieces], weights=[len(p) for p in pieces])),
            frames=np.concatenate([piece.frames for piece in pieces]),
            boxes=np.concatenate([piece.boxes for piece in pieces]),
        )
        for pieces in by_number.values()
    ]

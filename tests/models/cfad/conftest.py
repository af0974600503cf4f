"""Tracks of whole clips, by hand, and clips of squares that move."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stad_models.structures import Targets, TrackTargets


def tracks_of(*actors, frames: int, classes: int) -> TrackTargets:
    """Each actor is (first box, last box, ((label, start, stop), ...)); boxes move on lines."""
    shares = torch.linspace(0, 1, frames)[:, None]
    boxes = torch.zeros(len(actors), frames, 4)
    labels = torch.zeros(len(actors), frames, classes)
    for row, (first, last, acts) in enumerate(actors):
        ends = torch.tensor([first, last], dtype=torch.float32)
        boxes[row] = ends[0] + shares * (ends[1] - ends[0])
        for label, start, stop in acts:
            labels[row, start:stop, label] = 1
    present = labels.any(dim=2)
    return TrackTargets(boxes=boxes * present[..., None], present=present, labels=labels)


def targets_of(*tracks: TrackTargets) -> Targets:
    nothing = tuple(torch.zeros(0, 4) for _ in tracks)
    labels = tuple(torch.zeros(0, one.labels.shape[2]) for one in tracks)
    return Targets(boxes=nothing, labels=labels, tracks=tracks)


@pytest.fixture
def make_tracks() -> Callable[..., TrackTargets]:
    return tracks_of


@pytest.fixture
def make_targets() -> Callable[..., Targets]:
    return targets_of


@pytest.fixture
def moving_squares() -> Callable[..., tuple[Tensor, Targets]]:
    """Clips of two actions one after the other: a square goes right, another then goes down."""

    def make(count: int, *, frames: int, size=(64, 48), seed=0) -> tuple[Tensor, Targets]:
        generator = torch.Generator().manual_seed(seed)
        width, height = size
        clips = torch.rand((count, 3, frames, height, width), generator=generator) * 0.3 - 0.15
        tracks = []
        for clip in clips:
            low, high = torch.rand(2, generator=generator).tolist()
            half = frames // 2
            right = ((4, 6 + 8 * low, 22, 28 + 8 * low), (40, 6 + 8 * low, 58, 28 + 8 * low))
            down = ((20 + 9 * high, 2, 40 + 9 * high, 20), (20 + 9 * high, 26, 40 + 9 * high, 44))
            one = tracks_of(
                (*right, ((0, 0, half),)), (*down, ((1, half, frames),)), frames=frames, classes=2
            )
            for actor, (boxes, present) in enumerate(zip(one.boxes, one.present, strict=True)):
                for frame in present.nonzero()[:, 0].tolist():
                    x1, y1, x2, y2 = boxes[frame].round().int().tolist()
                    clip[actor, frame, y1:y2, x1:x2] += 1.5
            tracks.append(one)
        return clips, targets_of(*tracks)

    return make

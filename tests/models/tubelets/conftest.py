"""Scenes for tubelet detectors: tracks by hand, and squares that move over noise."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stad_models.structures import Targets, TrackTargets


def tracked(boxes_MK4, *, labels=None, present=None, classes=3) -> TrackTargets:
    """Tracks of one clip; row m does action m unless told otherwise."""
    boxes = torch.as_tensor(boxes_MK4, dtype=torch.float32).reshape(len(boxes_MK4), -1, 4)
    actors, length = boxes.shape[:2]
    actions = torch.arange(actors) % classes if labels is None else torch.as_tensor(labels)
    there = torch.ones((actors, length), dtype=torch.bool) if present is None else present
    hot = torch.nn.functional.one_hot(actions, classes).float()[:, None].expand(-1, length, -1)
    there = torch.as_tensor(there)
    return TrackTargets(boxes=boxes, present=there, labels=hot * there[..., None])


def as_targets(*tracks: TrackTargets) -> Targets:
    """Targets whose keyframe boxes are those of the tracks' middle."""
    boxes, labels = [], []
    for track in tracks:
        key = track.boxes.shape[1] // 2
        here = track.present[:, key]
        boxes.append(track.boxes[here, key])
        labels.append(track.labels[here, key])
    return Targets(boxes=tuple(boxes), labels=tuple(labels), tracks=tracks)


@pytest.fixture
def make_tracks() -> Callable[..., TrackTargets]:
    return tracked


@pytest.fixture
def make_track_targets() -> Callable[..., Targets]:
    """Tracks of clips to targets."""
    return as_targets


@pytest.fixture
def random_targets() -> Callable[..., Targets]:
    """Random actors that drift through K frames, at most `counts` per clip."""

    def make(counts, *, length=5, size=(64, 48), classes=3, seed=0) -> Targets:
        generator = torch.Generator().manual_seed(seed)
        width, height = size
        scale = torch.tensor((width, height, width, height))
        clips = []
        for count in counts:
            low = torch.rand((count, 1, 2), generator=generator) * 0.4 + 0.1
            sides = torch.rand((count, 1, 2), generator=generator) * 0.2 + 0.2
            drift = (torch.rand((count, 1, 2), generator=generator) - 0.5) * 0.02
            low = low + drift * torch.arange(length)[:, None]
            boxes = torch.cat((low, low + sides), dim=2) * scale
            clips.append(
                tracked(boxes, classes=classes)
                if count
                else TrackTargets(
                    boxes=torch.zeros(0, length, 4),
                    present=torch.zeros((0, length), dtype=torch.bool),
                    labels=torch.zeros(0, length, classes),
                )
            )
        return as_targets(*clips)

    return make


@pytest.fixture
def moving_squares() -> Callable[..., tuple[Tensor, Targets]]:
    """Clips of one box each that moves right (action 0) or left (action 1) over noise."""

    def make(count, *, frames, length, size, seed=0) -> tuple[Tensor, Targets]:
        generator = torch.Generator().manual_seed(seed)
        width, height = size
        clips = torch.rand((count, 3, frames, height, width), generator=generator) * 0.3 - 0.15
        tracks = []
        for clip in clips:
            draw = torch.rand(10, generator=generator)
            action = int(draw[0] < 0.5)
            speed = (1 + 2 * float(draw[1])) * (1 - 2 * action)
            wide, high = 14 + 10 * float(draw[2]), 14 + 10 * float(draw[3])
            x = width / 2 + 16 * (float(draw[4]) - 0.5)
            y = height / 2 + 20 * (float(draw[5]) - 0.5)
            boxes = []
            for frame in range(frames):
                middle = x + speed * (frame - frames // 2)
                box = (middle - wide / 2, y - high / 2, middle + wide / 2, y + high / 2)
                left, top, right, bottom = (round(side) for side in box)
                clip[:, frame, top:bottom, max(left, 0) : right] = 0.5 + draw[6:9, None, None] / 2
                boxes.append(box)
            first = frames // 2 - length // 2
            track = torch.tensor(boxes)[None, first : first + length]
            tracks.append(tracked(track, labels=[action], classes=2))
        return clips, as_targets(*tracks)

    return make

"""A VideoCapsule small enough for a test, and clips for it."""

from collections.abc import Callable

import pytest
import torch

from stad_models import zoo
from stad_models.backbones.i3d import I3dShape
from stad_models.detectors.video_capsule import VideoCapsule
from stad_models.structures import Targets

SMALL = I3dShape(width=0.07, last="mixed_4b", pool_strides=((1, 2), (1, 2), (2, 1), (1, 1)))


@pytest.fixture
def small() -> Callable[..., VideoCapsule]:
    """`small(classes, ...)`: a network with fresh weights of seed 0."""

    def make(num_classes: int = 3, **options) -> VideoCapsule:
        torch.manual_seed(0)
        return zoo.video_capsule_tiny(num_classes, trunk=SMALL, types=4, width=4, **options)

    return make


@pytest.fixture
def targets() -> Callable[..., Targets]:
    """`targets([0, None, 2], classes=3, size=(32, 48))`: a labelled or an empty clip each."""

    def make(labels, *, classes=3, size=(32, 48), frames=8) -> Targets:
        masks = torch.zeros(len(labels), frames, *size)
        boxes, rows = [], []
        for clip, label in enumerate(labels):
            if label is None:
                boxes.append(torch.zeros(0, 4))
                rows.append(torch.zeros(0, classes))
                continue
            masks[clip, :, 8:24, 8:32] = 1.0
            boxes.append(torch.tensor([[8.0, 8.0, 32.0, 24.0]]))
            rows.append(torch.eye(classes)[label][None])
        return Targets(boxes=tuple(boxes), labels=tuple(rows), masks=masks)

    return make

"""Random batches that every strategy understands."""

from collections.abc import Callable

import pytest
import torch

from stad_ssl import Keyframe, Neighbours, Proposals


@pytest.fixture
def make_proposals() -> Callable[..., Proposals]:
    def make(count: int, *, classes: int = 5, size=(1.0, 1.0)) -> Proposals:
        scale = torch.tensor([size[1], size[0]] * 2)
        return Proposals(
            boxes=_random_boxes(count) * scale, scores=torch.rand(count, classes) * 0.98 + 0.01
        )

    return make


@pytest.fixture
def make_keyframe() -> Callable[..., Keyframe]:
    def make(count: int, *, classes: int = 5, size=(1.0, 1.0)) -> Keyframe:
        scale = torch.tensor([size[1], size[0]] * 2)
        return Keyframe(
            boxes=_random_boxes(count) * scale,
            labels=(torch.rand(count, classes) < 0.4).float(),
            persons=torch.randperm(count),
        )

    return make


@pytest.fixture
def make_neighbours(make_keyframe) -> Callable[..., Neighbours]:
    def make(before: int | None, after: int | None, *, classes: int = 5, size=(1.0, 1.0)):
        frames = [
            None if count is None else make_keyframe(count, classes=classes, size=size)
            for count in (before, after)
        ]
        return Neighbours(before=frames[0], after=frames[1], position=0.3, size=size)

    return make


def _random_boxes(count: int) -> torch.Tensor:
    corners = torch.rand(count, 2, 2).sort(dim=1).values
    return torch.cat([corners[:, 0] * 0.9, corners[:, 1] * 0.9 + 0.05], dim=1)

"""Fixtures of the model tests: few threads, a fixed seed, small batches with targets."""

from collections.abc import Callable, Iterator

import pytest
import torch

from stad_models import Targets


@pytest.fixture(autouse=True)
def _few_threads_and_a_seed() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_targets() -> Callable[..., Targets]:
    """Random boxes of actor-like size and exactly one label each."""

    def make(counts: tuple[int, ...], *, size=(128, 96), num_classes=5, seed=0) -> Targets:
        generator = torch.Generator().manual_seed(seed)
        scale = torch.tensor(size, dtype=torch.float32)
        boxes, labels = [], []
        for count in counts:
            low = torch.rand((count, 2), generator=generator) * scale * 0.5
            sides = (0.2 + 0.3 * torch.rand((count, 2), generator=generator)) * scale
            boxes.append(torch.cat((low, low + sides), dim=1))
            chosen = torch.randint(num_classes, (count,), generator=generator)
            labels.append(torch.nn.functional.one_hot(chosen, num_classes).float())
        return Targets(boxes=tuple(boxes), labels=tuple(labels))

    return make

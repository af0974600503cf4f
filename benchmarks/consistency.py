"""What the consistency losses cost beside the training step that they serve.

The step: the small VideoCapsule (8 x 96 x 128) on labelled and unlabelled clips in two views,
forward and backward, and an update. Beside it, from the maps and features of such a step: undoing
the second view, the divergence of features, the squared difference, and each attention, forward and
backward down to the maps. The greater the model, the smaller the share. Prints machine and
versions; times are CPU seconds of one thread, median and spread.

    python benchmarks/consistency.py [--clips 8] [--repeats 10] [--steps 3]
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from stad_cli.engine.methods.map_views import carried_maps
from stad_data.loading import ClipInfo
from stad_data.placement import Placement
from stad_models import zoo
from stad_models.structures import Targets
from stad_ssl import (
    attended,
    cyclic_variance_attention,
    gradient_attention,
    jensen_shannon,
    seen_mean,
    squared_difference,
)

CLASSES, FRAMES, WIDTH, HEIGHT = 21, 8, 128, 96


def info(placement: Placement) -> ClipInfo:
    return ClipInfo(
        video="a",
        frame=FRAMES // 2,
        indices=np.arange(FRAMES),
        placement=placement,
        size=(WIDTH, HEIGHT),
    )


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """CPU seconds, after one run to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return times[1:]


def in_words(times: list[float]) -> str:
    middle = statistics.median(times)
    return f"{1e3 * middle:8.1f} ms ({1e3 * min(times):.1f} to {1e3 * max(times):.1f})"


def losses_of(clips: int) -> dict[str, Callable[[], None]]:
    """Each way of consistency, forward and backward, on leaves of the shapes of a step."""
    first = torch.rand(clips, FRAMES, HEIGHT, WIDTH, requires_grad=True)
    second = torch.rand(clips, FRAMES, HEIGHT, WIDTH, requires_grad=True)
    features = [torch.randn(clips, CLASSES * 16, requires_grad=True) for _ in range(2)]
    plain = Placement(size=(320, 240)).scaled(WIDTH / 320, HEIGHT / 240)
    moved = plain.scaled(1.1, 1.1).shifted(-5, -4).flipped(WIDTH)
    infos, others = [info(plain)] * clips, [info(moved)] * clips

    def run(attend: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        undone, seen = carried_maps(second, others, infos)
        difference = squared_difference(first, undone)
        if attend is not None:
            difference = attended(difference, attend(first, undone), 0.5)
        (jensen_shannon(*features) + seen_mean(difference, seen)).backward()

    return {
        "plain": lambda: run(None),
        "variance over both views": lambda: run(cyclic_variance_attention),
        "second gradient": lambda: run(lambda a, _: gradient_attention(a)),
    }


def training_step(clips: int) -> Callable[[], None]:
    """A step on `clips` clips in two views, half of them labelled."""
    model = zoo.video_capsule_tiny(CLASSES).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    inputs = torch.randn(2 * clips, 3, FRAMES, HEIGHT, WIDTH)
    known = clips // 2
    labels = torch.zeros(2 * clips, CLASSES)
    labels[:known, 0] = 1.0
    box = torch.tensor([[10.0, 10.0, 60.0, 80.0]])
    masks = torch.zeros(known, FRAMES, HEIGHT, WIDTH)
    masks[:, :, 10:80, 10:60] = 1.0
    targets = Targets(
        boxes=(box,) * known, labels=tuple(row[None] for row in labels[:known]), masks=masks
    )

    def step() -> None:
        outputs = model.outputs(inputs, labels)
        losses = model.losses(outputs[:known], targets)
        views = outputs.localisation.mean() + outputs.features.mean()
        (torch.stack([*losses.values()]).sum() + views).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{platform.machine()}, python {platform.python_version()}, torch {version('torch')}")
    step = timed(training_step(options.clips), options.steps)
    print(f"step on {options.clips} clips in two views: {in_words(step)}")
    whole = statistics.median(step)
    for name, work in losses_of(options.clips).items():
        taken = timed(work, options.repeats)
        share = statistics.median(taken) / whole
        print(f"{name:28}{in_words(taken)}, {100 * share:.1f} % of a step")


if __name__ == "__main__":
    main()

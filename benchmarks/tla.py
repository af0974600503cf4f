"""What temporal label assignment costs beside the training step that it serves.

32 clips, each with 100 proposals, 80 classes and 20 annotations in the two keyframes around it:
the whole of `assign_temporal_labels`, and of it the solver alone. Beside it one training step of
the smallest detector here (se_stad_tiny, 8 x 96 x 128): 32 annotated and 32 unlabelled clips
through the student and back, 32 through the teacher, one update. The greater the model, the smaller
the share. Prints machine and versions; times are CPU seconds of one thread, median and spread.

    python benchmarks/tla.py [--repeats 20] [--steps 3] [--clips 32] [--proposals 100]
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from scipy.optimize import linear_sum_assignment

from stad_models import zoo
from stad_models.structures import Targets
from stad_ssl import (
    Keyframe,
    MeanTeacher,
    Neighbours,
    Proposals,
    assign_temporal_labels,
    assignment_cost,
    background_cost,
)

CLASSES, SIZE = 80, (96, 128)


def boxes(count: int) -> torch.Tensor:
    """Boxes of people at random places, in pixels."""
    height, width = SIZE
    sides = torch.rand(count, 2) * torch.tensor([0.2, 0.5]) + torch.tensor([0.1, 0.3])
    corner = torch.rand(count, 2) * (1.0 - sides)
    return torch.cat([corner, corner + sides], dim=1) * torch.tensor([width, height] * 2)


def keyframe(count: int) -> Keyframe:
    return Keyframe(boxes=boxes(count), labels=(torch.rand(count, CLASSES) < 0.03).float())


def problems(
    clips: int, proposals: int, annotations: int
) -> tuple[list[Proposals], list[Neighbours]]:
    found = [
        Proposals(boxes=boxes(proposals), scores=torch.rand(proposals, CLASSES) ** 4)
        for _ in range(clips)
    ]
    near = [
        Neighbours(
            before=keyframe(annotations // 2),
            after=keyframe(annotations - annotations // 2),
            size=SIZE,
        )
        for _ in range(clips)
    ]
    return found, near


def solver_alone(found: list[Proposals], near: list[Neighbours]) -> Callable[[], None]:
    """The Hungarian method on the costs that these problems have."""
    gains = []
    scale = torch.tensor([SIZE[1], SIZE[0]] * 2)
    for one, around in zip(found, near, strict=True):
        annotated = torch.cat([frame.boxes for frame in around.keyframes]) / scale
        labels = torch.cat([frame.labels for frame in around.keyframes])
        cost = assignment_cost(one.boxes / scale, one.scores, annotated, labels)
        gains.append((cost - background_cost(one.scores)[:, None]).double().numpy())

    def solve() -> None:
        for gain in gains:
            linear_sum_assignment(gain)

    return solve


def training_step(clips: int, proposals: int) -> Callable[[], None]:
    """A step of SE-STAD with a teacher, but for the assignment itself."""
    model = zoo.se_stad_tiny(CLASSES)
    teacher = MeanTeacher(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    frames = torch.randn(clips, 3, 8, *SIZE)
    targets = Targets(
        boxes=tuple(boxes(3) for _ in range(clips)),
        labels=tuple((torch.rand(3, CLASSES) < 0.03).float() for _ in range(clips)),
    )

    def step() -> None:
        with torch.no_grad():
            teacher.model.propose(frames, threshold=0.0, limit=proposals)
        losses = (*model(frames, targets).values(), *model(frames, targets).values())
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
        teacher.update(model)

    return step


def measured(action: Callable[[], object], repeats: int) -> list[float]:
    """CPU milliseconds of each repetition, after one that does not count."""
    action()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        spent.append(1000 * (time.process_time() - start))
    return spent


def told(name: str, spent: list[float]) -> None:
    print(f"{name:46s} {statistics.median(spent):10.2f} ms ({min(spent):.2f} to {max(spent):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--proposals", type=int, default=100)
    parser.add_argument("--annotations", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ",
        end="",
    )
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "scipy", "numpy")))
    found, near = problems(options.clips, options.proposals, options.annotations)
    print(
        f"{options.clips} clips of {options.proposals} proposals against {options.annotations} "
        f"annotations, {CLASSES} classes"
    )
    whole = measured(lambda: assign_temporal_labels(found, near), options.repeats)
    solver = measured(solver_alone(found, near), options.repeats)
    step = measured(training_step(options.clips, options.proposals), options.steps)
    told("temporal label assignment", whole)
    told("  of which the solver", solver)
    told("training step of se_stad_tiny without it", step)
    share = statistics.median(whole) / (statistics.median(whole) + statistics.median(step))
    print(f"share of the step: {100 * share:.2f} %")


if __name__ == "__main__":
    main()

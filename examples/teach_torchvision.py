"""Mean Teacher and temporal label assignment for torchvision's detectors, one frame in N annotated.

`frames` are [T, 3, H, W] in [0, 1]; `annotated` maps some frame numbers, first and last among them,
to torchvision's targets {"boxes": [M, 4] in pixels, "labels": [M]}.
"""

import random

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from stad_ssl import Keyframe, MeanTeacher, Neighbours, Proposals, assign_temporal_labels

Targets = dict[str, Tensor]


def keyframe(target: Targets, classes: int) -> Keyframe:
    """An annotated frame as stad-ssl takes it: labels [M, classes] in {0, 1}."""
    return Keyframe(boxes=target["boxes"], labels=one_hot(target["labels"], classes))


def pseudo_targets(
    found: list[Targets],
    numbers: list[int],
    annotated: dict[int, Targets],
    size: tuple,
    classes: int,
) -> list[Targets]:
    """Targets of frames between annotated ones: found boxes, with labels of the neighbours."""
    proposals, near = [], []
    for one, number in zip(found, numbers, strict=True):
        sure = one["scores"] > 0.5
        scores = one["scores"][sure, None] * one_hot(one["labels"][sure], classes)
        proposals.append(Proposals(boxes=one["boxes"][sure], scores=scores))
        before = annotated[max(key for key in annotated if key < number)]
        after = annotated[min(key for key in annotated if key > number)]
        ends = (keyframe(before, classes), keyframe(after, classes))
        near.append(Neighbours(before=ends[0], after=ends[1], size=size))
    pseudo = assign_temporal_labels(proposals, near)
    return [{"boxes": one.boxes, "labels": one.labels.argmax(dim=1)} for one in pseudo]


def train(
    detector: nn.Module,
    frames: Tensor,
    annotated: dict[int, Targets],
    *,
    classes: int,
    steps: int,
    burn_in: int,
    batch: int = 4,
) -> MeanTeacher:
    """Train a detector (of `classes`, the background as one where it counts); give its teacher."""
    teacher = MeanTeacher(detector, momentum=0.9)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    between = [n for n in range(len(frames)) if n not in annotated]
    for step in range(steps):
        detector.train()
        drawn = random.choices(list(annotated), k=batch)
        loss = sum(detector([frames[n] for n in drawn], [annotated[n] for n in drawn]).values())
        if step >= burn_in:  # as many frames without labels, at half the weight
            drawn = random.choices(between, k=batch)
            found = teacher([frames[n] for n in drawn])
            targets = pseudo_targets(found, drawn, annotated, tuple(frames.shape[2:]), classes)
            changed = [frames[n] * random.uniform(0.7, 1.3) for n in drawn]
            loss = loss + 0.5 * sum(detector(changed, targets).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        teacher.update(detector) if step >= burn_in else teacher.restart(detector)
    return teacher

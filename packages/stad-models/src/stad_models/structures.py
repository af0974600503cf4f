"""What goes into a detector and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """The annotated actors of a batch of clips, at the clips' keyframes.

    Attributes:
        boxes: per clip `[Ni, 4]` float xyxy, half-open, in pixels of the clip tensor; `[0, 4]`
            where nobody is annotated.
        labels: per clip `[Ni, C]` float in [0, 1], one row per box.

    Raises:
        ValueError: numbers of clips or rows disagree, a shape is wrong, or a box (checked in CPU
            memory only) has no area or is not finite.
    """

    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if len(self.boxes) != len(self.labels):
            raise ValueError(
                f"Targets: boxes of {len(self.boxes)} clips but labels of {len(self.labels)}; "
                "give one tensor of each per clip (empty ones too)"
            )
        for clip, (boxes, labels) in enumerate(zip(self.boxes, self.labels, strict=True)):
            _check_clip(clip, boxes, labels)

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device | str) -> Self:
        """The same targets on another device."""
        return type(self)(
            boxes=tuple(boxes.to(device) for boxes in self.boxes),
            labels=tuple(labels.to(device) for labels in self.labels),
        )


def _check_clip(clip: int, boxes: Tensor, labels: Tensor) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"Targets: boxes of clip {clip} must be [N, 4], found {list(boxes.shape)}")
    if labels.ndim != 2 or labels.shape[0] != boxes.shape[0]:
        raise ValueError(
            f"Targets: labels of clip {clip} must be [{boxes.shape[0]}, C] (one row per box), "
            f"found {list(labels.shape)}"
        )
    if boxes.device.type != "cpu" or boxes.shape[0] == 0:
        return
    good = (boxes[:, 2:] > boxes[:, :2]).all(dim=1) & boxes.isfinite().all(dim=1)
    if not bool(good.all()):
        row = int((~good).nonzero()[0, 0])
        raise ValueError(
            f"Targets: box {row} of clip {clip} must be finite with x2 > x1 and y2 > y1, "
            f"found {boxes[row].tolist()}; drop boxes that a crop left without area"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """The actors found at one clip's keyframe, best first.

    Attributes:
        boxes: `[N, 4]` float xyxy, half-open, in pixels of the clip tensor.
        actor_scores: `[N]` in [0, 1], how sure the localisation head is of each actor.
        scores: `[N, C]` in [0, 1], the actions of each actor; below the action threshold exactly 0.
    """

    boxes: Tensor
    actor_scores: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def to(self, device: torch.device | str) -> Self:
        """The same detections on another device."""
        return type(self)(
            boxes=self.boxes.to(device),
            actor_scores=self.actor_scores.to(device),
            scores=self.scores.to(device),
        )

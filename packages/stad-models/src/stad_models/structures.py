"""What goes into a detector and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackTargets:
    """The annotated actors of one clip over K of its frames.

    Attributes:
        boxes: `[M, K, 4]` float xyxy, half-open, in pixels of the clip tensor; 0 where absent.
        present: `[M, K]` bool, where the actor has a box.
        labels: `[M, K, C]` float in [0, 1]; 0 where absent.

    Raises:
        ValueError: shapes that disagree.
    """

    boxes: Tensor
    present: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        shape = self.present.shape
        good = len(shape) == 2 and self.boxes.shape == (*shape, 4)
        if not good or self.labels.ndim != 3 or self.labels.shape[:2] != shape:
            raise ValueError(
                "TrackTargets: boxes [M, K, 4], present [M, K] and labels [M, K, C] must agree, "
                f"found {list(self.boxes.shape)}, {list(shape)} and {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def to(self, device: torch.device | str) -> Self:
        """The same tracks on another device."""
        return type(self)(
            boxes=self.boxes.to(device),
            present=self.present.to(device),
            labels=self.labels.to(device),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is annotated in a batch of clips; every detector reads what it needs.

    Attributes:
        boxes: at the clip's keyframe, per clip `[Ni, 4]` float xyxy, half-open, in pixels of the
            clip tensor; `[0, 4]` where nobody is annotated.
        labels: per clip `[Ni, C]` float in [0, 1], one row per box.
        tracks: per clip the actors over several frames: the K of a tubelet, or all T; None where
            the clips were made without.
        masks: `[N, T, H, W]` float in [0, 1], the pixels of actors; None where the clips have none.
        proposals: boxes that another detector found at the keyframe, per clip `[Pi, 5]`: xyxy in
            pixels of the clip tensor and a score in [0, 1]; None where there are none.

    Raises:
        ValueError: numbers of clips or rows disagree, a shape is wrong, or a box (checked in CPU
            memory only) has no area or is not finite.
    """

    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    tracks: tuple[TrackTargets, ...] | None = None
    masks: Tensor | None = None
    proposals: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        if self.proposals is not None and len(self.proposals) != len(self.boxes):
            raise ValueError(
                f"Targets: boxes of {len(self.boxes)} clips but proposals of {len(self.proposals)}"
            )
        if self.tracks is not None and len(self.tracks) != len(self.boxes):
            raise ValueError(
                f"Targets: boxes of {len(self.boxes)} clips but tracks of {len(self.tracks)}"
            )
        if self.masks is not None and len(self.masks) != len(self.boxes):
            raise ValueError(
                f"Targets: boxes of {len(self.boxes)} clips but masks of {len(self.masks)}"
            )
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
            tracks=(
                None if self.tracks is None else tuple(tracks.to(device) for tracks in self.tracks)
            ),
            masks=None if self.masks is None else self.masks.to(device),
            proposals=(
                None
                if self.proposals is None
                else tuple(rows.to(device) for rows in self.proposals)
            ),
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Tubelets:
    """Actors found over K successive frames of one clip, best first.

    Attributes:
        boxes: `[N, K, 4]` float xyxy, half-open, in pixels of the clip tensor.
        scores: `[N, C]` in [0, 1], the actions of each tubelet.
        first: index in the clip of the first of the K frames.
    """

    boxes: Tensor
    scores: Tensor
    first: int

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def to(self, device: torch.device | str) -> Self:
        """The same tubelets on another device."""
        return type(self)(
            boxes=self.boxes.to(device), scores=self.scores.to(device), first=self.first
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tubes:
    """Whole action tubes found in one clip, best first.

    Attributes:
        boxes: `[N, T, 4]` float xyxy, half-open, in pixels of the clip tensor, one box per frame
            of the clip; meaningless outside the span.
        spans: `[N, 2]` float, start and end of the action in frames of the clip: frame t lasts from
            t to t + 1, so a tube over the whole clip has the span (0, T).
        labels: `[N]` int64, the action.
        scores: `[N]` in [0, 1].
    """

    boxes: Tensor
    spans: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def to(self, device: torch.device | str) -> Self:
        """The same tubes on another device."""
        return type(self)(
            boxes=self.boxes.to(device),
            spans=self.spans.to(device),
            labels=self.labels.to(device),
            scores=self.scores.to(device),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Where the actors of one clip are, pixel by pixel, and what the clip shows.

    Attributes:
        localisation: `[T, H, W]` in [0, 1], how likely each pixel of the clip belongs to an actor.
        scores: `[C]` in [0, 1], the actions of the clip.
    """

    localisation: Tensor
    scores: Tensor

    def to(self, device: torch.device | str) -> Self:
        """The same maps on another device."""
        return type(self)(localisation=self.localisation.to(device), scores=self.scores.to(device))


Prediction = Detections | Tubelets | Tubes | Maps
"""What a detector gives in evaluation, one per clip."""

"""What pseudo labels are made from, and what is made: plain values of tensors, one per clip.

A clip's boxes, the teacher's and those of its neighbour keyframes alike, are xyxy, half-open, in
one unit: pixels of a frame whose `size` is given, or fractions of it ([0, 1]) where it is not.

Suffix legend: N = proposals, M = annotated boxes of a keyframe, K = pseudo boxes, C = classes.
Constructors check shapes only, so that nothing waits for a device; the functions that use the
values check what is inside.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """What the teacher found in the middle frame of one unlabelled clip.

    Attributes:
        boxes: `[N, 4]` floating; N may be 0. A box without area is left out before anything else.
        scores: `[N, C]` floating in [0, 1], one probability per action and box; C is at least 1.

    Raises:
        ValueError: a wrong shape, or tensors that are not floating.
    """

    boxes: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        _check_shapes("proposals", self.boxes, self.scores, "scores")
        if not self.scores.is_floating_point():
            raise ValueError(
                f"proposals: scores must be floating, found {self.scores.dtype}; "
                "give probabilities, not labels"
            )

    def __len__(self) -> int:
        return self.boxes.shape[0]

    @classmethod
    def none(cls, classes: int, *, device: torch.device | str = "cpu") -> Self:
        """No proposals: nobody was found, or the strategy asks for none."""
        return cls(
            boxes=torch.zeros(0, 4, device=device), scores=torch.zeros(0, classes, device=device)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Keyframe:
    """The annotation of one frame.

    Attributes:
        boxes: `[M, 4]` floating, each with an area; M is 0 where nobody is there.
        labels: `[M, C]`, bool or numbers, all 0 or 1.
        persons: `[M]` integers: who it is, unique within the keyframe; -1 where nobody knows. Only
            interpolation asks.

    Raises:
        ValueError: a wrong shape or type.
    """

    boxes: Tensor
    labels: Tensor
    persons: Tensor | None = None

    def __post_init__(self) -> None:
        _check_shapes("keyframe", self.boxes, self.labels, "labels")
        if self.persons is None:
            return
        if self.persons.shape != self.boxes.shape[:1]:
            raise ValueError(
                f"keyframe: persons must be [{len(self)}], one per box, "
                f"found {list(self.persons.shape)}"
            )
        if self.persons.is_floating_point() or self.persons.dtype == torch.bool:
            raise ValueError(f"keyframe: persons must be integers, found {self.persons.dtype}")

    def __len__(self) -> int:
        return self.boxes.shape[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """The annotated frames nearest to an unlabelled one.

    Attributes:
        before: the nearest former keyframe; None where there is none. A keyframe without boxes
            says that nobody is there, a missing keyframe says nothing.
        after: the nearest later keyframe, likewise.
        position: where the unlabelled frame lies between them, in (0, 1): 0.25 is three times as
            near to `before` as to `after`. Only interpolation asks.
        size: (height, width) of the frame in the boxes' unit; (1, 1) for boxes in [0, 1].

    Raises:
        ValueError: a position outside (0, 1), or a size that is not positive and finite.
    """

    before: Keyframe | None = None
    after: Keyframe | None = None
    position: float | None = None
    size: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if self.position is not None and not 0.0 < self.position < 1.0:
            raise ValueError(
                f"neighbours: position must lie between the keyframes, in (0, 1); "
                f"found {self.position}"
            )
        if len(self.size) != 2 or not all(math.isfinite(s) and s > 0 for s in self.size):
            raise ValueError(
                f"neighbours: size must be (height, width), both positive; found {self.size}"
            )

    @property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """Those that there are, the former one first."""
        return tuple(frame for frame in (self.before, self.after) if frame is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabels:
    """What one unlabelled clip is trained on, on the device of the teacher's boxes.

    No tensor requires a gradient.

    Attributes:
        boxes: `[K, 4]`, in the unit of what came in; each has an area. A teacher's box is kept to
            the bit.
        labels: `[K, C]` floating, all 0 or 1; a row of zeros is an actor without actions.
        proposal: `[K]` int64, the row of `Proposals` that the box is; -1 where it was interpolated.
        annotation: `[K]` int64, the row that gave the labels, counted over the boxes of the former
            keyframe and then those of the later one; -1 where none did.
        known: false where the clip says nothing (no keyframe to go by). Then there are no boxes,
            and the clip belongs in no loss; with `known` and no boxes, nobody is there.
    """

    boxes: Tensor
    labels: Tensor
    proposal: Tensor
    annotation: Tensor
    known: bool

    def __len__(self) -> int:
        return self.boxes.shape[0]


def _check_shapes(what: str, boxes: Tensor, classes: Tensor, name: str) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{what}: boxes must be [N, 4], found {list(boxes.shape)}")
    if not boxes.is_floating_point():
        raise ValueError(f"{what}: boxes must be floating, found {boxes.dtype}")
    if classes.ndim != 2 or classes.shape[0] != boxes.shape[0] or classes.shape[1] == 0:
        raise ValueError(
            f"{what}: {name} must be [{boxes.shape[0]}, C] with at least one class, one row per "
            f"box, found {list(classes.shape)}"
        )

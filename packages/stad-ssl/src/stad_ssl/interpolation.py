"""Pseudo labels without a teacher: the straight line between two annotated frames.

Suffix legend: M = annotated boxes of a keyframe, P = persons who are in both.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from stad_ssl.frames import Keyframe, Neighbours, Proposals, PseudoLabels
from stad_ssl.gathering import Gathered, gather

Rows = tuple[Tensor, Tensor, Tensor]
"""Boxes, labels and annotation rows of one clip's pseudo boxes."""


def interpolate_labels(
    proposals: Sequence[Proposals],
    neighbours: Sequence[Neighbours],
    *,
    unmatched: Literal["nearest", "drop"] = "nearest",
) -> list[PseudoLabels]:
    """Move each person from keyframe to keyframe in a straight line, with the nearer one's labels.

    A person is who has the same number in both keyframes. The labels are those of the nearer
    keyframe, of the former one in the very middle. A clip that lacks one of the neighbours is not
    `known`: there is nothing to draw a line to. Two keyframes without boxes say that nobody is
    there.

    Args:
        proposals: not used except for their device and number of classes: `Proposals.none` will do.
        neighbours: the keyframes around each clip, with persons and position.
        unmatched: what becomes of somebody who is in one keyframe only (or whose number is -1):
            "nearest" keeps the annotated box while that keyframe is the nearer one (who leaves,
            leaves half-way); "drop" leaves it out.

    Returns:
        One per clip: persons of both keyframes in the order of the former one, then the unmatched.

    Raises:
        ValueError: as `assign_temporal_labels`; no persons or no position where both keyframes are
            there; a person twice in a keyframe; an unknown rule for the unmatched.

    Source: SE-STAD, Table 6, row Interpolation; the paper gives no details.
    """
    if unmatched not in ("nearest", "drop"):
        raise ValueError(f'unmatched must be "nearest" or "drop"; got {unmatched!r}')
    batch = gather(proposals, neighbours)
    rows = [_between(batch, clip, near, unmatched) for clip, near in enumerate(neighbours)]
    boxes, labels, annotation = (torch.cat(part) for part in zip(*rows, strict=True))
    counts = torch.tensor([len(part[0]) for part in rows])
    return batch.release(
        boxes,
        labels,
        torch.arange(len(rows)).repeat_interleave(counts),
        torch.full_like(annotation, -1),
        annotation,
        known=[len(near.keyframes) == 2 for near in neighbours],
    )


def _between(batch: Gathered, clip: int, near: Neighbours, unmatched: str) -> Rows:
    """Pseudo boxes of one clip, in CPU memory."""
    mine = batch.annotated_clip == clip
    boxes, labels = batch.annotated[mine].double(), batch.labels[mine]
    if near.before is None or near.after is None:
        return boxes[:0], labels[:0], torch.zeros(0, dtype=torch.int64)
    if near.position is None:
        raise ValueError(
            f"neighbours of clip {clip}: interpolation needs the position between the keyframes"
        )
    before = _persons(near.before, clip, "before")
    after = _persons(near.after, clip, "after")
    count = len(before)
    same = (before[:, None] == after[None, :]) & (before[:, None] >= 0)
    row_P, column_P = same.nonzero(as_tuple=True)
    column_P = column_P + count
    moved = torch.lerp(boxes[row_P], boxes[column_P], near.position)
    former = near.position <= 0.5
    annotation = row_P if former else column_P
    if unmatched == "nearest":
        alone = (~same.any(dim=1 if former else 0)).nonzero()[:, 0]
        alone = alone if former else alone + count
        moved = torch.cat([moved, boxes[alone]])
        annotation = torch.cat([annotation, alone])
    return moved, labels[annotation], annotation


def _persons(frame: Keyframe, clip: int, side: str) -> Tensor:
    if frame.persons is None:
        raise ValueError(
            f"keyframe {side} clip {clip}: interpolation needs to know who is who; give persons"
        )
    persons = frame.persons.detach().cpu()
    numbers = persons[persons >= 0]
    if len(numbers.unique()) != len(numbers):
        raise ValueError(
            f"keyframe {side} clip {clip}: a person may appear once; found {persons.tolist()}"
        )
    return persons

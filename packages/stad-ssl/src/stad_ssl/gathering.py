"""A batch of unlabelled frames in CPU memory, checked: where every strategy starts and ends.

The solver runs on the CPU, and a batch is small (32 clips of 100 proposals and 80 classes: 1 MB),
so everything is moved there at once and all values are looked at there, which costs the device a
wait or two. Rows of all clips lie one after another.

Suffix legend: B = clips, N = proposals of all clips, M = annotated boxes of all clips, C = classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from stad_ssl.frames import Keyframe, Neighbours, Proposals, PseudoLabels

_REACH = 1.0
"""How far, in frames, a box may reach beyond its frame: unclipped detectors and cropped views do;
pixels given as fractions reach much further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """Proposals with an area and the annotations around them, of all clips, in CPU memory.

    Attributes:
        boxes: `[N, 4]`, in the unit of what came in, at least float32.
        scores: `[N, C]` in [0, 1], at least float32.
        clip: `[N]` int64, the clip of each proposal, ascending.
        row: `[N]` int64, its row among the clip's proposals.
        annotated: `[M, 4]`, per clip the boxes before and then those after.
        labels: `[M, C]` in {0, 1}, of the scores' type.
        annotated_clip: `[M]` int64, ascending.
        frames: `[B, 4]`, (width, height, width, height) of each clip's frame.
        device: where the teacher's boxes were.
    """

    boxes: Tensor
    scores: Tensor
    clip: Tensor
    row: Tensor
    annotated: Tensor
    labels: Tensor
    annotated_clip: Tensor
    frames: Tensor
    device: torch.device

    def normalised(self) -> tuple[Tensor, Tensor]:
        """Boxes of proposals and annotations as fractions of their frames, of the scores' type."""
        return (
            (self.boxes / self.frames[self.clip]).to(self.scores.dtype),
            (self.annotated / self.frames[self.annotated_clip]).to(self.scores.dtype),
        )

    def release(
        self,
        boxes: Tensor,
        labels: Tensor,
        clip: Tensor,
        proposal: Tensor,
        annotation: Tensor,
        *,
        known: Sequence[bool],
    ) -> list[PseudoLabels]:
        """Rows of all clips (`clip` ascending) as one value per clip, back on the device."""
        counts = torch.bincount(clip, minlength=len(known)).tolist()
        parts = [
            tensor.to(self.device).split(counts)
            for tensor in (
                boxes.to(self.boxes.dtype),
                labels.to(self.scores.dtype),
                proposal,
                annotation,
            )
        ]
        return [
            PseudoLabels(boxes=box, labels=label, proposal=mine, annotation=theirs, known=says)
            for box, label, mine, theirs, says in zip(*parts, known, strict=True)
        ]

    def kept(
        self, keep: Tensor, labels: Tensor, annotation: Tensor, *, known: Sequence[bool]
    ) -> list[PseudoLabels]:
        """Those proposals of known clips that are to be kept, with their labels.

        Args:
            keep: `[N]` bool.
            labels: `[N, C]` in {0, 1}.
            annotation: `[N]` int64, see `PseudoLabels`.
            known: one per clip.
        """
        keep = keep & torch.tensor(known, dtype=torch.bool)[self.clip]
        return self.release(
            self.boxes[keep],
            labels[keep],
            self.clip[keep],
            self.row[keep],
            annotation[keep],
            known=known,
        )


@torch.no_grad()
def gather(proposals: Sequence[Proposals], neighbours: Sequence[Neighbours]) -> Gathered:
    """Move a batch to CPU memory and check every value of it.

    Raises:
        ValueError: numbers of clips or classes disagree, an empty batch, or a value that is not
            what `Proposals` and `Keyframe` ask for; the message names clip, row and value.
    """
    _check_clips(proposals, neighbours)
    keyframes = [(c, frame) for c, near in enumerate(neighbours) for frame in near.keyframes]
    _check_classes(proposals, keyframes)
    boxes = _joined([found.boxes for found in proposals])
    scores = _joined([found.scores for found in proposals])
    annotated, labels = boxes.new_zeros(0, 4), scores.new_zeros(0, scores.shape[1])
    if keyframes:
        annotated = _joined([frame.boxes for _, frame in keyframes])
        labels = _joined([frame.labels for _, frame in keyframes])
    found = _Rows.counted("proposal", enumerate(len(found) for found in proposals))
    given = _Rows.counted("annotated box", ((c, len(frame)) for c, frame in keyframes))
    sizes = [(near.size[1], near.size[0]) * 2 for near in neighbours]
    frames = torch.tensor(sizes, dtype=torch.float64)
    found.check_boxes(boxes, frames)
    found.check_scores(scores)
    given.check_boxes(annotated, frames)
    given.check_annotation(annotated, labels)
    solid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return Gathered(
        boxes=boxes[solid],
        scores=scores[solid],
        clip=found.clip[solid],
        row=found.row[solid],
        annotated=annotated,
        labels=labels.to(scores.dtype),
        annotated_clip=given.clip,
        frames=frames,
        device=proposals[0].boxes.device,
    )


def _check_clips(proposals: Sequence[Proposals], neighbours: Sequence[Neighbours]) -> None:
    if len(proposals) != len(neighbours):
        raise ValueError(
            f"proposals of {len(proposals)} clips but neighbours of {len(neighbours)}; give one of "
            "each per clip (empty ones too)"
        )
    if not proposals:
        raise ValueError("a batch needs at least one clip; found none")


def _check_classes(
    proposals: Sequence[Proposals], keyframes: Sequence[tuple[int, Keyframe]]
) -> None:
    wanted = proposals[0].scores.shape[1]
    found = [(c, "scores", p.scores.shape[1]) for c, p in enumerate(proposals)]
    found += [(c, "labels", frame.labels.shape[1]) for c, frame in keyframes]
    for clip, what, classes in found:
        if classes != wanted:
            raise ValueError(
                f"all scores and labels must have one number of classes; scores of clip 0 have "
                f"{wanted}, {what} of clip {clip} have {classes}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Where the rows of one joined tensor came from, to say so where one is wrong."""

    what: str
    clip: Tensor
    row: Tensor

    @classmethod
    def counted(cls, what: str, parts: Iterable[tuple[int, int]]) -> Self:
        """From (clip, rows) of each part, clips ascending; parts of one clip are counted on."""
        numbers = torch.tensor([*parts], dtype=torch.int64).view(-1, 2)
        clip = numbers[:, 0].repeat_interleave(numbers[:, 1])
        row = torch.arange(len(clip)) - torch.searchsorted(clip, clip)
        return cls(what=what, clip=clip, row=row)

    def check_boxes(self, boxes: Tensor, frames: Tensor) -> None:
        """Boxes that are finite, in order, and in or near their frame."""
        frame = frames[self.clip]
        self._refuse(~boxes.isfinite(), boxes, "must be finite")
        self._refuse(
            boxes[:, 2:] < boxes[:, :2], boxes, "must have x2 >= x1 and y2 >= y1 (is it xywh?)"
        )
        self._refuse(
            (boxes < -_REACH * frame) | (boxes > (1 + _REACH) * frame),
            boxes,
            "must lie in its frame or near it, at most the frame's own length beyond; boxes in "
            "pixels need the frame's size: Neighbours(size=(height, width))",
        )

    def check_scores(self, scores: Tensor) -> None:
        """Probabilities."""
        self._refuse(
            ~((scores >= 0) & (scores <= 1)),
            scores,
            "must have scores in [0, 1]: a logit needs a sigmoid, NaN comes from a teacher that "
            "diverged",
        )

    def check_annotation(self, boxes: Tensor, labels: Tensor) -> None:
        """Boxes with an area, labels of 0 and 1."""
        self._refuse(
            boxes[:, 2:] <= boxes[:, :2],
            boxes,
            "must have an area; leave out what a crop left without one",
        )
        self._refuse(~((labels == 0) | (labels == 1)), labels, "must have labels of 0 and 1")

    def _refuse(self, bad: Tensor, values: Tensor, rule: str) -> None:
        """Raise for the first bad row; wide rows are told by their first bad value."""
        if not bool(bad.any()):
            return
        at, column = bad.nonzero()[0].tolist()
        found = values[at].tolist()
        told = found if len(found) <= 4 else f"{found[column]} (class {column})"
        raise ValueError(
            f"{self.what} {int(self.row[at])} of clip {int(self.clip[at])} {rule}; found {told}"
        )


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """All rows in CPU memory, moved at once where they share a device, at least float32."""
    if len({tensor.device for tensor in tensors}) > 1:
        tensors = [tensor.cpu() for tensor in tensors]
    joined = torch.cat(list(tensors)).cpu()
    return joined if joined.dtype == torch.float64 else joined.float()

"""What some videos add to a frame-mAP, in a form that is small, can be saved and put together."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stad_eval.partial_files import options_of, partial_content, write_partial
from stad_eval.protocols import FrameProtocol

FORMAT = "stad-frame-partial-1"
_ABOUT = ("ious", "classes", "videos", "counts")
_ARRAYS = ("truths", "start", "score", "correct")

# What parts must have in common to be combined.
ALIKE = ("protocol", "ious", "classes")


@dataclass(frozen=True, kw_only=True, eq=False)
class FramePartial:
    """What the detections of some videos add to a frame-mAP, for T thresholds and C classes.

    Attributes:
        protocol: the protocol.
        ious: the thresholds [T].
        classes: names of the evaluated classes [C].
        videos: names of the videos that the part covers.
        truths: int64 [C], ground-truth boxes of every class.
        start: int64 [C + 1]; the rows of class c are those from start[c] to start[c + 1].
        score: float64 or float32 [N].
        correct: bool [T, N], whether a detection is a true positive.
        counts: see `FrameResult.counts`.
    """

    protocol: FrameProtocol
    ious: tuple[float, ...]
    classes: tuple[str, ...]
    videos: tuple[str, ...]
    truths: NDArray[np.int64]
    start: NDArray[np.int64]
    score: NDArray[np.floating]
    correct: NDArray[np.bool_]
    counts: dict[str, int]

    def save(self, path: str | Path) -> None:
        """Write an npz file, whole or not at all.

        Raises:
            InputError: if the folder does not exist.
            OSError: if it cannot be written.
        """
        about = {name: getattr(self, name) for name in _ABOUT}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_partial(path, FORMAT, self.protocol, about, arrays)

    @staticmethod
    def load(path: str | Path) -> "FramePartial":
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            InputError: if the file is none of them.
        """
        with partial_content(path, FORMAT) as (about, arrays):
            part = FramePartial(
                protocol=options_of(FrameProtocol, about["protocol"]),
                ious=tuple(float(each) for each in about["ious"]),
                classes=tuple(str(each) for each in about["classes"]),
                videos=tuple(str(each) for each in about["videos"]),
                counts={str(name): int(each) for name, each in about["counts"].items()},
                **{name: arrays[name] for name in _ARRAYS},
            )
            _check(part)
        return part

    def without_rows(self) -> "FramePartial":
        """The part without its detections; `counts` and `truths` stay."""
        return replace(
            self,
            start=np.zeros_like(self.start),
            score=self.score[:0].copy(),
            correct=self.correct[:, :0].copy(),
        )


def _check(part: FramePartial) -> None:
    rows, classes = part.score.size, len(part.classes)
    shapes = {
        "truths": (part.truths.shape, (classes,)),
        "start": (part.start.shape, (classes + 1,)),
        "score": (part.score.shape, (rows,)),
        "correct": (part.correct.shape, (len(part.ious), rows)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise ValueError(f"'{name}' of shape {found} for {expected}")
    kinds = {"truths": "i", "start": "i", "score": "f", "correct": "b"}
    for name, kind in kinds.items():
        if getattr(part, name).dtype.kind != kind:
            raise ValueError(f"'{name}' of type {getattr(part, name).dtype}")
    edges = part.start.tolist()
    whole = edges[0] == 0 and edges[-1] == rows and edges == sorted(edges)
    if not whole or not np.isfinite(part.score).all():
        raise ValueError("rows of classes do not add up, or scores are not finite")

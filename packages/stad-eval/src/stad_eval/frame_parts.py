"""What some videos add to a frame-mAP, in a form that is small, can be saved and put together."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import replaced_bytes
from stad_eval.formats.npz import read_npz
from stad_eval.input_error import InputError
from stad_eval.protocols import FrameProtocol

FORMAT = "stad-frame-partial-1"


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
        with replaced_bytes(path) as stream:
            self.write(stream)

    def write(self, stream: IO[bytes]) -> None:
        """Write the same to an open file."""
        names = ("ious", "classes", "videos", "counts")
        about = {name: getattr(self, name) for name in names}
        about |= {"format": FORMAT, "protocol": asdict(self.protocol)}
        np.savez(
            stream,
            about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
            truths=self.truths,
            start=self.start,
            score=self.score,
            correct=self.correct,
        )

    @staticmethod
    def load(path: str | Path) -> "FramePartial":
        """Read what `save` wrote; nothing in the file is run.

        Raises:
            InputError: if the file is none of them.
        """
        arrays = read_npz(path)
        try:
            about = json.loads(arrays.pop("about").tobytes())
            if about["format"] != FORMAT:
                raise ValueError(about["format"])
            options: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in about["protocol"].items()
            }
            part = FramePartial(
                protocol=FrameProtocol(**options),
                ious=tuple(float(each) for each in about["ious"]),
                classes=tuple(str(each) for each in about["classes"]),
                videos=tuple(str(each) for each in about["videos"]),
                counts={str(name): int(each) for name, each in about["counts"].items()},
                **arrays,
            )
            _check(part)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                "not a partial result", path=path, expected=f"npz of {FORMAT}", found=repr(error)
            ) from None
        return part

    def without_rows(self) -> "FramePartial":
        """The part without its detections; `counts` and `truths` stay."""
        return replace(
            self,
            start=np.zeros_like(self.start),
            score=self.score[:0],
            correct=self.correct[:, :0],
        )


def check_alike(parts: Sequence[FramePartial]) -> None:
    """Refuse parts that do not belong together.

    Raises:
        InputError: if there is none, or they differ in protocol, thresholds or classes, or have a
            video in common.
    """
    if not parts:
        raise InputError("no partial results to combine", expected="at least one", found="none")
    first = parts[0]
    seen: set[str] = set()
    for part in parts:
        for name in ("protocol", "ious", "classes"):
            if getattr(part, name) != getattr(first, name):
                raise InputError(
                    f"partial results differ in '{name}'",
                    expected=getattr(first, name),
                    found=getattr(part, name),
                )
        twice = seen.intersection(part.videos)
        if twice:
            raise InputError(
                f"{len(twice)} video(s) stand in two partial results",
                expected="every video in one part",
                found=sorted(twice)[0],
            )
        seen.update(part.videos)


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

"""Problems of a dataset: what is wrong, how often, where, and how to mend it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stad_data.annotation import VideoAnnotation


@dataclass(frozen=True, kw_only=True)
class Example:
    """One place where a problem was found.

    Attributes:
        found: What is there.
        video: Name of the video, where it is about one.
        path: The file.
        place: Where in it: a frame, a row.
    """

    found: str
    video: str | None = None
    path: Path | None = None
    place: str | None = None

    def __str__(self) -> str:
        name = self.video if self.video is not None else self.path
        where = ", ".join(str(part) for part in (name, self.place) if part is not None)
        return f"{where}: {self.found}" if where else self.found


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a dataset.

    Attributes:
        kind: Its name, such as "absent-video".
        severity: "error": training would fail or learn from wrong data. "warning": worth a look.
        count: How many videos, boxes, ... are concerned.
        message: What is wrong with them; reads on after the count.
        examples: Where; at least one, at most one per video or class.
        remedy: How to mend it.
    """

    kind: str
    severity: Literal["error", "warning"]
    count: int
    message: str
    examples: tuple[Example, ...]
    remedy: str

    def text(self, limit: int | None = 3) -> str:
        """The problem in lines, with at most so many examples; None for all."""
        left = 0 if limit is None else len(self.examples) - limit
        return "\n".join(
            [
                f"{self.severity}: {self.count:,} {self.message} [{self.kind}]",
                *(f"  {example}" for example in self.examples[:limit]),
                *([f"  ... and {left:,} more"] if left > 0 else []),
                f"  to mend: {self.remedy}",
            ]
        )

    def __str__(self) -> str:
        return self.text()


def problems(
    kind: str,
    severity: Literal["error", "warning"],
    message: str,
    examples: Sequence[Example],
    remedy: str,
    *,
    count: int | None = None,
) -> list[Problem]:
    """The one problem with these examples; none without any. The count is theirs unless given."""
    if not examples:
        return []
    number = len(examples) if count is None else count
    return [
        Problem(
            kind=kind,
            severity=severity,
            count=number,
            message=message,
            examples=tuple(examples),
            remedy=remedy,
        )
    ]


def in_video(annotation: VideoAnnotation, found: str, place: str | None = None) -> Example:
    """An example in a video of the dataset."""
    return Example(found=found, video=annotation.video, path=annotation.path, place=place)

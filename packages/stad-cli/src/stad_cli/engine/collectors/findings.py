"""What collectors have in common: the tables that they end with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stad_data import ActionClasses, VideoAnnotation
from stad_data.loading import ClipInfo
from stad_eval import Boxes, Tubes, concatenate, concatenate_tubes


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was found, in pixels and frames of the annotated videos.

    Attributes:
        found: One row per (box, label).
        actors: One row per box, of the one class "person".
        tubes: Action tubes; None from detectors that look at keyframes alone.
    """

    found: Boxes
    actors: Boxes
    tubes: Tubes | None = None


class Collector(Protocol):
    """Takes the predictions of clips in their order, and links what has to be linked."""

    def add(self, info: ClipInfo, prediction: Any) -> None:  # noqa: ANN401 - its own kind
        """Add what was found in one clip; all clips of a video come in a row."""
        ...

    def findings(self) -> Findings:
        """Everything added so far."""
        ...


def joined(parts: Iterable[Findings]) -> Findings:
    """The findings of several processes, which looked at different clips or videos, in one."""
    all_parts = list(parts)
    tubes = [part.tubes for part in all_parts if part.tubes is not None]
    return Findings(
        found=concatenate(part.found for part in all_parts),
        actors=concatenate(part.actors for part in all_parts),
        tubes=concatenate_tubes(tubes) if tubes else None,
    )


def table(
    annotations: Iterable[VideoAnnotation],
    classes: ActionClasses | tuple[str, ...],
    *,
    video: NDArray[np.int64],
    frame: NDArray[np.int64],
    box: NDArray[np.float64],
    label: NDArray[np.int64],
    score: NDArray[np.float64],
) -> Boxes:
    """Columns as a table over these videos and classes."""
    return Boxes(
        videos=tuple(annotation.video for annotation in annotations),
        classes=classes if isinstance(classes, tuple) else classes.names,
        video=video,
        frame=frame,
        box=box,
        label=label,
        score=score,
    )


def with_area(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes [N, 4] have an area: what lies outside the frame has none after the cut."""
    return np.all(boxes[:, 2:] > boxes[:, :2], axis=1)


def array(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor of any device as float64."""
    return tensor.detach().double().cpu().numpy()

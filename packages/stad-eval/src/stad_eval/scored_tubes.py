"""Which tubes of ground truth and detections a protocol scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.tables import indices_of
from stad_eval.tube_protocols import TubeProtocol
from stad_eval.tube_tables import Tubes, stack_tubes
from stad_eval.tubes import Tube


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredTubes:
    """The tubes of both sides that count, before any suppression.

    Attributes:
        classes: names of the evaluated classes; labels of both tables point into it.
        truth: ground truth.
        found: detections in the order that the protocol sees them in; videos are numbered as in
            `truth`, those that it does not name after them.
        counts: detections that were left out and why.
    """

    classes: tuple[str, ...]
    truth: Tubes
    found: Tubes
    counts: dict[str, int]


def tube_tables(
    truth: Tubes | Iterable[Tube],
    found: Tubes | Iterable[Tube],
    protocol: TubeProtocol,
    classes: Sequence[str] | None,
) -> tuple[Tubes, Tubes]:
    """Both sides as tables.

    Labels of single tubes point into `classes`; None: the other side's table's, or the protocol's.

    Raises:
        InputError: if there are no names for labels of single tubes.
    """
    names = classes
    for side in (truth, found):
        names = side.classes if names is None and isinstance(side, Tubes) else names
    names = protocol.classes if names is None else names
    return _table(truth, names), _table(found, names)


def scored_tubes(truth: Tubes, found: Tubes, protocol: TubeProtocol) -> ScoredTubes:
    """The tubes that a protocol scores; videos and classes are aligned by name.

    Raises:
        InputError: on a class that the protocol does not know, ground truth without area, or an
            inverted box where the protocol refuses it.
    """
    classes = _evaluated(truth, protocol)
    counts: dict[str, int] = {}
    _check_truth(truth, protocol)
    aligned = _aligned(truth, truth.videos, classes, protocol, side="ground truth")
    kept = _aligned(found, truth.videos, classes, protocol, side="detections")
    counts["detections_of_other_classes"] = len(found) - len(kept)
    on = kept.video < len(truth.videos)
    if protocol.other_videos == "left-out":
        counts["detections_on_other_videos"] = int((~on).sum())
        kept = kept if on.all() else kept.select(on)
    if protocol.arrangement == "video":
        kept = kept.select(np.argsort(kept.video, kind="stable"))
    _check_found(kept, protocol)
    return ScoredTubes(classes=classes, truth=aligned, found=kept, counts=counts)


def _evaluated(truth: Tubes, protocol: TubeProtocol) -> tuple[str, ...]:
    if protocol.classes is not None:
        return protocol.classes
    return tuple(name for name in truth.classes if name not in protocol.ignored_classes)


def _aligned(
    tubes: Tubes,
    videos: tuple[str, ...],
    classes: tuple[str, ...],
    protocol: TubeProtocol,
    *,
    side: str,
) -> Tubes:
    """Tubes of evaluated classes, in terms of `videos` (others after them) and `classes`."""
    to_label = indices_of(tubes.classes, {name: at for at, name in enumerate(classes)})
    label = to_label[tubes.label] if len(tubes) else tubes.label
    names = {tubes.classes[each] for each in np.unique(tubes.label[label < 0])}
    unknown = sorted(names - set(protocol.ignored_classes))
    if unknown:
        raise InputError(
            f"{side}: classes that protocol '{protocol.name}' does not know",
            expected=f"{len(classes)} classes: {', '.join(classes)}",
            found=", ".join(unknown),
            remedy="'dense' takes the classes of any ground truth.",
        )
    keep = np.flatnonzero(label >= 0)
    whole = tuple(dict.fromkeys((*videos, *tubes.videos)))
    to_video = indices_of(tubes.videos, {name: at for at, name in enumerate(whole)})
    part = tubes if keep.size == len(tubes) else tubes.select(keep)
    return Tubes(
        videos=whole,
        classes=classes,
        video=to_video[part.video] if len(part) else part.video,
        label=label[keep],
        score=part.score,
        start=part.start,
        frame=part.frame,
        box=part.box,
        row_score=part.row_score,
    )


def _check_truth(truth: Tubes, protocol: TubeProtocol) -> None:
    if protocol.no_union == "undefined":
        return
    extra = 1.0 if protocol.convention == "inclusive" else 0.0
    x1, y1, x2, y2 = truth.box.T
    flat = (x2 + extra <= x1) | (y2 + extra <= y1)
    _refuse(truth, flat, "ground truth", "without area", "x1 < x2 and y1 < y2")


def _check_found(found: Tubes, protocol: TubeProtocol) -> None:
    if protocol.inverted == "refused":
        x1, y1, x2, y2 = found.box.T
        inverted = (x2 < x1) | (y2 < y1)
        _refuse(found, inverted, "detections", "that are inverted", "x1 <= x2 and y1 <= y2")


def _refuse(tubes: Tubes, bad: NDArray[np.bool_], side: str, what: str, expected: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        tube = int(np.searchsorted(tubes.start, row, side="right")) - 1
        raise InputError(
            f"{side}: {int(bad.sum())} box(es) {what}; the first is of tube {tube}, video "
            f"'{tubes.videos[tubes.video[tube]]}', frame {tubes.frame[row]}",
            expected=expected,
            found=tubes.box[row].tolist(),
            remedy="Boxes are x1, y1, x2, y2 with x2, y2 one past the last pixel.",
        )


def _table(side: Tubes | Iterable[Tube], classes: Sequence[str] | None) -> Tubes:
    if isinstance(side, Tubes):
        return side
    if classes is None:
        raise InputError(
            "the labels of these tubes have no names",
            remedy="Give classes, or a table of tubes (stack_tubes).",
        )
    return stack_tubes(side, classes=classes)

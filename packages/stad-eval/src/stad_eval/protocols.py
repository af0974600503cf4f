"""Named protocols of frame-mAP: every option that can change a number, nothing hidden elsewhere.

The strict protocols give one number for one set of rows, whatever their order:

- Detections are ranked by score. Equal scores are one point of the precision-recall curve; where
  they compete for the same ground truth, the box that is smaller in the order of x1, y1, x2, y2
  goes first. Ground-truth boxes of equal IoU are told apart by the same order.
- Each ground-truth box is matched at most once.
- A class without ground truth has no AP and is left out of the mean.
- Detections count on the frames that were annotated, those without a box included.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from stad_eval.boxes import Convention
from stad_eval.class_lists import AVA_EVALUATED, AVA_NOT_EVALUATED, JHMDB21, UCF24
from stad_eval.input_error import InputError
from stad_eval.precision import Rule, Ties

Matching = Literal["argmax", "best-unmatched"]


@dataclass(frozen=True, kw_only=True)
class FrameProtocol:
    """How detections on frames are scored.

    Attributes:
        name: the id that results carry.
        classes: names of the evaluated classes; None: all classes of the ground truth.
        ignored_classes: names that may occur and are left out; any other name is an error.
        convention: width and height of boxes, see `stad_eval.boxes`.
        matching: "argmax" (Pascal VOC): a detection goes for the ground truth that it overlaps
            most; if that one is taken it is a false positive. "best-unmatched": it goes for the
            best of those not yet taken.
        match_order: who may take a ground truth first: the higher "score", or the earlier "row"
            of the table (an evaluator that forgets to sort).
        average: how the area under the curve is integrated, see `stad_eval.precision`.
        ties: whether equal scores are "grouped" into one point of the curve or "rows" are points
            of their own, in the order of the table (so that the number depends on it).
        frames: where detections count: on "annotated" frames; on frames "with-truth" of an
            evaluated class; on "all" frames, so that those elsewhere are false positives.
        max_per_frame: at most so many detections per frame over all evaluated classes, the best
            scores first (equal ones by class, then by box); None: no limit.
        inverted: what a detection with x2 < x1 or y2 < y1 is: "refused" (an error), "dropped".
        exclusions: whether frames on an exclusion list are "removed" or the list is "ignored".
    """

    name: str
    classes: tuple[str, ...] | None = None
    ignored_classes: tuple[str, ...] = ()
    convention: Convention = "half-open"
    matching: Matching = "argmax"
    match_order: Literal["score", "row"] = "score"
    average: Rule = "all-point"
    ties: Ties = "grouped"
    frames: Literal["annotated", "with-truth", "all"] = "annotated"
    max_per_frame: int | None = None
    inverted: Literal["refused", "dropped"] = "refused"
    exclusions: Literal["removed", "ignored"] = "removed"

    def __post_init__(self) -> None:
        if self.max_per_frame is not None and self.max_per_frame < 1:
            raise InputError(
                f"protocol '{self.name}': bad max_per_frame",
                expected="1 or more, or None",
                found=self.max_per_frame,
            )


def _ava(name: str) -> FrameProtocol:
    return FrameProtocol(
        name=name,
        classes=AVA_EVALUATED,
        ignored_classes=AVA_NOT_EVALUATED,
        matching="argmax",
        max_per_frame=50,
    )


def _jhmdb(name: str) -> FrameProtocol:
    return FrameProtocol(name=name, classes=JHMDB21, matching="best-unmatched")


FRAME_PROTOCOLS: tuple[FrameProtocol, ...] = (
    _ava("ava-v2.1"),
    _ava("ava-v2.2"),
    FrameProtocol(name="keyframes", matching="argmax"),
    _jhmdb("jhmdb21-split1"),
    _jhmdb("jhmdb21-split2"),
    _jhmdb("jhmdb21-split3"),
    FrameProtocol(name="ucf24", classes=UCF24, matching="best-unmatched"),
    FrameProtocol(name="dense", matching="best-unmatched"),
)

PERSON = FrameProtocol(name="person", classes=("person",), matching="best-unmatched")


def frame_protocol(name: str) -> FrameProtocol:
    """The frame protocol of that id.

    Raises:
        InputError: naming the nearest id, if there is none of that name.
    """
    names = [each.name for each in FRAME_PROTOCOLS]
    if name in names:
        return FRAME_PROTOCOLS[names.index(name)]
    near = get_close_matches(name, names, n=1)
    raise InputError(
        "unknown protocol",
        expected=f"one of {', '.join(names)}",
        found=name,
        remedy=f"Did you mean '{near[0]}'?" if near else None,
    )

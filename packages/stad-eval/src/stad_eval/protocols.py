"""Named protocols of frame-mAP: every option that can change a number, nothing hidden elsewhere.

A strict protocol (`ava-v2.2`, `ucf24`, ...) gives one number for one set of rows, whatever their
order:

- Detections are ranked by score. Equal scores are one point of the precision-recall curve; where
  they compete for the same ground truth, the box that is smaller in the order of x1, y1, x2, y2
  goes first. Ground-truth boxes of equal IoU are told apart by the same order.
- Each ground-truth box is matched at most once.
- A class without ground truth has no AP and is left out of the mean.
- Detections count on the frames that were annotated, those without a box included.

A variant (`ava-v2.2+activitynet`, `ucf24+moc`, ...) does as a public evaluator does, its quirks
included: each quirk is one of the options below. The variants of sets of dense annotation take
their classes from the ground truth, as the evaluators do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stad_eval.boxes import Convention
from stad_eval.class_lists import (
    AVA_EVALUATED,
    AVA_NOT_EVALUATED,
    JHMDB21,
    MULTISPORTS_EVALUATED,
    MULTISPORTS_NOT_EVALUATED,
    UCF24,
    UCF_SPORTS,
)
from stad_eval.input_error import InputError
from stad_eval.precision import Rule, SinglePrecision, Ties
from stad_eval.protocol_names import by_name

Matching = Literal["argmax", "best-unmatched"]
Arrangement = Literal["table", "detected-frames", "truth-frames", "time"]
WithinFrame = Literal["table", "score", "heap", "argsort"]
Numbers = Literal["double", "single", "stored"]


@dataclass(frozen=True, kw_only=True)
class FrameProtocol:
    """How detections on frames are scored.

    The defaults make a strict protocol. `arrangement` matters only where another option looks at
    the order of rows (`match_order`, `ties`), and `within_frame` only where frames are arranged.

    Attributes:
        name: the id that results carry.
        classes: names of the evaluated classes; None: all classes of the ground truth.
        ignored_classes: names that may occur and are left out; with `classes` given, any other
            name is an error.
        convention: width and height of boxes, see `stad_eval.boxes`.
        matching: "argmax" (Pascal VOC): a detection goes for the ground truth that it overlaps
            most; if that one is taken it is a false positive. "best-unmatched": it goes for the
            best of those not yet taken.
        match_order: who may take a ground truth first: the higher "score" (equal ones by box), the
            earlier "row" (an evaluator that forgets to sort, or sorted within frames before), or
            who stands first on the "curve".
        truth_order: which of two ground truths of equal IoU is preferred: the smaller "box", the
            earlier row of the "table", or the one that comes first in a "heap" as below.
        arrangement: how rows are put in order by frame: not at all ("table"); frames as they come
            up among the detections ("detected-frames") or in the ground truth ("truth-frames");
            by video and "time".
        within_frame: how rows of one frame are put in order: as in the "table"; by falling
            "score", equal ones as in the table; the same, but equal ones as they lie in a "heap"
            of (score, class, y1, x1, y2, x2), which also decides whom `max_per_frame` drops; class
            by class by an unstable "argsort" of the scores.
        average: how the area under the curve is integrated, see `stad_eval.precision`.
        ties: whether equal scores are "grouped" into one point of the curve, or each row is a point
            of its own, in the order that a stable ("rows") or an unstable sort leaves them in, see
            `stad_eval.precision`; the number then depends on the order of rows.
        single_precision: what is rounded to float32, see `stad_eval.precision`.
        numbers: "double": all is float64. "single": scores, boxes and areas are float32. "stored":
            those of detections are, where the table's numbers were float32 before.
        frames: where detections count: on "annotated" frames; on frames "with-truth" of an
            evaluated class; on "all" frames, so that those elsewhere are false positives.
        max_per_frame: at most so many detections per frame over all evaluated classes, the best
            scores first (equal ones by class, then by box); None: no limit.
        inverted: what a detection with x2 < x1 or y2 < y1 is: "refused" (an error), "dropped", or
            "kept" as one that overlaps nothing.
        no_area: what one with x2 = x1 or y2 = y1 is: "kept" or "dropped".
        exclusions: whether frames on an exclusion list are "removed" or the list is "ignored".
        excluded_truth: whether ground truth on removed frames is "removed" too, or still "counted"
            in the denominator of recall.
        without_truth: AP of a class without ground truth: "none" (left out of the mean), "zero",
            or "refused" (an error if the class has detections, else zero: a division by zero).
        undetected: AP of a class with ground truth and without any detection: "zero", or "none"
            (left out of the mean).
    """

    name: str
    classes: tuple[str, ...] | None = None
    ignored_classes: tuple[str, ...] = ()
    convention: Convention = "half-open"
    matching: Matching = "argmax"
    match_order: Literal["score", "row", "curve"] = "score"
    truth_order: Literal["box", "table", "heap"] = "box"
    arrangement: Arrangement = "table"
    within_frame: WithinFrame = "table"
    average: Rule = "all-point"
    ties: Ties = "grouped"
    single_precision: SinglePrecision = "none"
    numbers: Numbers = "double"
    frames: Literal["annotated", "with-truth", "all"] = "annotated"
    max_per_frame: int | None = None
    inverted: Literal["refused", "dropped", "kept"] = "refused"
    no_area: Literal["kept", "dropped"] = "kept"
    exclusions: Literal["removed", "ignored"] = "removed"
    excluded_truth: Literal["removed", "counted"] = "removed"
    without_truth: Literal["none", "zero", "refused"] = "none"
    undetected: Literal["zero", "none"] = "zero"

    def __post_init__(self) -> None:
        if self.max_per_frame is not None and self.max_per_frame < 1:
            raise InputError(
                f"protocol '{self.name}': bad max_per_frame",
                expected="1 or more, or None",
                found=self.max_per_frame,
            )
        if self.match_order == "curve" and self.ties == "grouped":
            raise InputError(
                f"protocol '{self.name}': no order of rows on a curve of grouped scores",
                expected="match_order 'score' or 'row', or other ties",
                found="match_order 'curve', ties 'grouped'",
            )

    @property
    def strict(self) -> bool:
        """Whether the number does not depend on the order of rows."""
        unordered = self.ties == "grouped" and self.truth_order == "box"
        return unordered and self.match_order == "score" and self.within_frame != "heap"


def _ava(name: str) -> FrameProtocol:
    return FrameProtocol(
        name=name,
        classes=AVA_EVALUATED,
        ignored_classes=AVA_NOT_EVALUATED,
        matching="argmax",
        max_per_frame=50,
    )


def _dense(
    name: str, classes: tuple[str, ...] | None = None, ignored: tuple[str, ...] = ()
) -> FrameProtocol:
    return FrameProtocol(
        name=name, classes=classes, ignored_classes=ignored, matching="best-unmatched"
    )


# What the sets of keyframes have, strict; `+activitynet`, `+pyslowfast`, `+mmaction2` go with them.
KEYFRAME_BASES: tuple[FrameProtocol, ...] = (
    _ava("ava-v2.1"),
    _ava("ava-v2.2"),
    FrameProtocol(name="keyframes", matching="argmax"),
)

# What the sets of dense annotation have, strict; the other variants go with them.
DENSE_BASES: tuple[FrameProtocol, ...] = (
    _dense("jhmdb21-split1", JHMDB21),
    _dense("jhmdb21-split2", JHMDB21),
    _dense("jhmdb21-split3", JHMDB21),
    _dense("ucf24", UCF24),
    _dense("ucfsports", UCF_SPORTS),
    _dense("multisports", MULTISPORTS_EVALUATED, MULTISPORTS_NOT_EVALUATED),
    _dense("dense"),
)

FRAME_PROTOCOLS = (*KEYFRAME_BASES, *DENSE_BASES)

PERSON = _dense("person", ("person",))


# Evaluators of AVA. ActivityNet's is the origin of the other two.
_PYSLOWFAST = FrameProtocol(
    name="+pyslowfast",
    match_order="row",
    truth_order="table",
    arrangement="detected-frames",
    ties="numpy-ascending",
    frames="all",
    inverted="dropped",
    no_area="dropped",
)

KEYFRAME_VARIANTS: Mapping[str, FrameProtocol] = {
    "pyslowfast": _PYSLOWFAST,
    "activitynet": replace(
        _PYSLOWFAST,
        name="+activitynet",
        truth_order="heap",
        within_frame="heap",
        frames="annotated",
        max_per_frame=50,
        exclusions="ignored",
    ),
    "mmaction2": replace(
        _PYSLOWFAST,
        name="+mmaction2",
        arrangement="truth-frames",
        within_frame="score",
        numbers="single",
        frames="with-truth",
        inverted="refused",
        no_area="kept",
        excluded_truth="counted",
        undetected="none",
    ),
}

# Evaluators of dense annotation. All but the last come from ACT's script.
_ACT = FrameProtocol(
    name="+act",
    convention="inclusive",
    matching="best-unmatched",
    match_order="curve",
    truth_order="table",
    average="trapezoid",
    ties="numpy-descending",
    single_precision="curve",
    numbers="stored",
    frames="all",
    inverted="kept",
    without_truth="refused",
)

_MULTISPORTS = replace(
    _ACT,
    name="+multisports",
    ignored_classes=MULTISPORTS_NOT_EVALUATED,
    convention="half-open",
    matching="argmax",
    average="all-point",
    single_precision="none",
    without_truth="none",
)

DENSE_VARIANTS: Mapping[str, FrameProtocol] = {
    "act": _ACT,
    "moc": replace(_ACT, name="+moc"),
    "multisports2021": replace(
        _ACT,
        name="+multisports2021",
        ignored_classes=MULTISPORTS_NOT_EVALUATED,
        without_truth="none",
    ),
    "multisports": _MULTISPORTS,
    "mmaction2": replace(_MULTISPORTS, name="+mmaction2"),
    "3d-retinanet": replace(
        _ACT,
        name="+3d-retinanet",
        convention="half-open",
        arrangement="time",
        numbers="double",
        without_truth="zero",
    ),
    "realtime": replace(
        _ACT,
        name="+realtime",
        convention="half-open",
        match_order="row",
        arrangement="time",
        within_frame="argsort",
        average="all-point",
        single_precision="area",
        numbers="double",
        without_truth="zero",
    ),
}


def _variant(base: FrameProtocol, variant: str) -> FrameProtocol:
    name = f"{base.name}+{variant}"
    if base in DENSE_BASES:
        return replace(DENSE_VARIANTS[variant], name=name)
    own = {"classes": base.classes, "ignored_classes": base.ignored_classes}
    return replace(KEYFRAME_VARIANTS[variant], name=name, **own)


_ALL: Mapping[str, FrameProtocol] = {
    each.name: each
    for bases, variants in ((KEYFRAME_BASES, KEYFRAME_VARIANTS), (DENSE_BASES, DENSE_VARIANTS))
    for base in bases
    for each in (base, *(_variant(base, variant) for variant in variants))
}


def frame_protocol(name: str) -> FrameProtocol:
    """The frame protocol of that id: a dataset, or `dataset+variant`.

    Raises:
        InputError: naming the nearest id, if there is none of that name.
    """
    return by_name(name, _ALL)


def frame_protocol_names() -> list[str]:
    """Every id that `frame_protocol` takes."""
    return list(_ALL)

"""Named protocols of video-mAP: every option that can change a number, nothing hidden elsewhere.

A strict protocol (`ucf24`, `jhmdb21-split1`, ...) gives one number for one set of tubes, whatever
their order:

- Time is counted in frames that have a box, so that gaps and one-frame tubes need no special case.
- Tubes are ranked by score. Equal scores are one point of the precision-recall curve; where they
  compete for the same ground truth, an order of the tubes themselves (first frame, last frame,
  boxes) decides. Ground truths of equal overlap are told apart by the same order.
- Each ground-truth tube is matched at most once.
- A class without ground truth has no AP and is left out of the mean.
- Tubes count on the videos that the ground truth covers, those without a tube included.

A variant (`ucf24+moc`, `multisports+multisports`, ...) does as a public evaluator does, its quirks
included; it takes its classes from the ground truth, as they all do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from stad_eval.boxes import Convention
from stad_eval.class_lists import MULTISPORTS_NOT_EVALUATED
from stad_eval.input_error import InputError
from stad_eval.precision import Rule, SinglePrecision, Ties
from stad_eval.protocol_names import by_name
from stad_eval.protocols import Matching, frame_protocol

Time = Literal["frames", "span", "span-less-one"]
Overlap = Literal["space-time", "space", "time"]


@dataclass(frozen=True, kw_only=True)
class TubeProtocol:
    """How tubes are scored.

    Attributes:
        name: the id that results carry.
        classes: names of the evaluated classes; None: all classes of the ground truth.
        ignored_classes: names that may occur and are left out; with `classes` given, any other
            name is an error.
        convention: width and height of boxes, see `stad_eval.boxes`.
        scale: x and y of all boxes are multiplied by it first, which matters where the convention
            adds a pixel (3D-RetinaNet scores 320x240 videos on a grid of 682x512).
        overlap: what tubes are matched by: temporal IoU times mean box IoU over the shared frames
            ("space-time"), or one of the two factors.
        time: how time is counted for the temporal IoU. "frames": frames that have a box. "span":
            from the first to the last frame; a pair of tubes of which one has a box and the other
            has none somewhere in the shared span is refused, as these evaluators stop there.
            "span-less-one": the same, but a span of n frames counts n - 1, so that one-frame tubes
            have no length.
        no_union: overlap of a pair whose union has no area or no length: "zero", or "undefined"
            (not a number; it wins every argmax and passes no threshold, so that the detection is
            a false positive whatever else it overlaps).
        nms: a tube that overlaps a better one of its video and class by more than this is left
            out; None: none is.
        matching: "argmax": a detection goes for the ground truth that it overlaps most; if that
            one is taken it is a false positive. "best-unmatched": it goes for the best of those
            not yet taken.
        order: what decides between equal scores and equal overlaps: the "content" of the tubes,
            or their "row", so that the number depends on the order of the table.
        arrangement: how tubes are put in order before: not at all ("table"), or by "video" as the
            ground truth lists them.
        average: how the area under the curve is integrated, see `stad_eval.precision`.
        single_precision: what is rounded to float32, see `stad_eval.precision`.
        ties: whether equal scores are "grouped" into one point of the curve, or each tube is a
            point of its own, in the order that a stable ("rows") or an unstable sort leaves them
            in, see `stad_eval.precision`.
        without_truth: AP of a class without ground truth: "none" (left out of the mean), "zero",
            or "refused" (an error if the class has detections, else zero: a division by zero).
        other_videos: tubes on videos that the ground truth does not name: "left-out", or "false"
            positives.
        inverted: what a box with x2 < x1 or y2 < y1 is: "refused", or "kept" as one without area.
    """

    name: str
    classes: tuple[str, ...] | None = None
    ignored_classes: tuple[str, ...] = ()
    convention: Convention = "half-open"
    scale: tuple[float, float] = (1.0, 1.0)
    overlap: Overlap = "space-time"
    time: Time = "frames"
    no_union: Literal["zero", "undefined"] = "zero"
    nms: float | None = None
    matching: Matching = "best-unmatched"
    order: Literal["content", "row"] = "content"
    arrangement: Literal["table", "video"] = "table"
    average: Rule = "all-point"
    single_precision: SinglePrecision = "none"
    ties: Ties = "grouped"
    without_truth: Literal["none", "zero", "refused"] = "none"
    other_videos: Literal["left-out", "false"] = "left-out"
    inverted: Literal["refused", "kept"] = "refused"

    @property
    def strict(self) -> bool:
        """Whether the number does not depend on the order of the tubes."""
        return self.order == "content" and self.ties == "grouped"

    def __post_init__(self) -> None:
        if (self.order == "content") != (self.ties == "grouped"):
            raise InputError(
                f"protocol '{self.name}': one of order and ties looks at rows, the other does not",
                expected="order 'content' with ties 'grouped', or order 'row' with other ties",
                found=f"order '{self.order}', ties '{self.ties}'",
            )
        if self.nms is not None and not 0.0 <= self.nms <= 1.0:
            raise InputError(
                f"protocol '{self.name}': bad nms", expected="0 to 1, or None", found=self.nms
            )
        if min(self.scale) <= 0.0:
            raise InputError(
                f"protocol '{self.name}': bad scale",
                expected="two numbers over 0",
                found=self.scale,
            )


# MOC-Detector, MultiSports of 2021 and 3D-RetinaNet all come from ACT's script.
_ACT = TubeProtocol(
    name="+act",
    convention="inclusive",
    time="span",
    nms=0.3,
    order="row",
    arrangement="video",
    average="trapezoid",
    single_precision="curve",
    ties="numpy-descending",
    without_truth="refused",
    inverted="kept",
)

_MULTISPORTS = TubeProtocol(
    name="+multisports",
    ignored_classes=MULTISPORTS_NOT_EVALUATED,
    time="span-less-one",
    no_union="undefined",
    matching="argmax",
    order="row",
    ties="rows",
    other_videos="false",
    inverted="kept",
)

VARIANTS: Mapping[str, TubeProtocol] = {
    "act": _ACT,
    "moc": replace(_ACT, name="+moc"),
    "multisports2021": replace(
        _ACT,
        name="+multisports2021",
        ignored_classes=MULTISPORTS_NOT_EVALUATED,
        nms=None,
        arrangement="table",
        without_truth="none",
        other_videos="false",
    ),
    "multisports": _MULTISPORTS,
    # It links boxes itself, see `stad_eval.mmaction2_linking`.
    "mmaction2": replace(_MULTISPORTS, name="+mmaction2", ties="numpy-descending"),
    "3d-retinanet": replace(
        _ACT,
        name="+3d-retinanet",
        scale=(682 / 320, 512 / 240),
        nms=None,
        without_truth="zero",
    ),
}

BASES = (
    "jhmdb21-split1",
    "jhmdb21-split2",
    "jhmdb21-split3",
    "ucf24",
    "ucfsports",
    "multisports",
    "dense",
)


def _strict(base: str) -> TubeProtocol:
    frame = frame_protocol(base)
    return TubeProtocol(name=base, classes=frame.classes, ignored_classes=frame.ignored_classes)


_ALL: Mapping[str, TubeProtocol] = {
    each.name: each
    for base in BASES
    for each in (
        _strict(base),
        *(replace(variant, name=f"{base}+{key}") for key, variant in VARIANTS.items()),
    )
}


def tube_protocol(name: str) -> TubeProtocol:
    """The protocol of that id: a dataset, or `dataset+variant`.

    Raises:
        InputError: naming the nearest id, if there is none of that name; on `+realtime`, which
            scores single frames only.
    """
    if name in {f"{base}+realtime" for base in BASES}:
        raise InputError(
            f"'{name}' has no tubes: realtime-action-detection scores single frames only",
            remedy="Use it with frame_map; 3d-retinanet is its successor for tubes.",
        )
    return by_name(name, _ALL, what="protocol of tubes")


def tube_protocol_names() -> list[str]:
    """Every id that `tube_protocol` takes."""
    return list(_ALL)

"""What keeps the mean average precision from 100: the error analysis of ACT.

At every point of a class's curve, the share of each kind of error among the detections so far is
known; with precision these shares add up to 1. They are integrated over recall as precision is,
and what recall never reaches is missed, so that average precision and the parts add up to 1.
Source: Kalogeiton et al., "Action Tubelet Detector for Spatio-Temporal Action Localization",
Sec. 4.4; Li et al., "MultiSports", Sec. 5. Suffix legend: n = detections of a class.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stad_eval.class_columns import RisingPoints
from stad_eval.error_curves import area, best_later, counted_up
from stad_eval.input_error import InputError
from stad_eval.judgement import Judgement
from stad_eval.precision import Rule
from stad_eval.version import __version__

Kinds = Literal["strict", "act", "multisports"]


@dataclass(frozen=True, kw_only=True)
class BreakdownRule:
    """Which errors are told apart and how they are integrated.

    Attributes:
        name: the id that results carry.
        kinds: "strict": a false positive is, in this order, a duplicate (overlaps ground truth of
            its class by the threshold or more), of the wrong class (the same, of another class),
            badly localised (overlaps its class by the floor or more), at the wrong time (its class
            is in the video, but not there), or other. Tubes that lose their overlap in time rather
            than in space are at the wrong time, not badly localised. "act": any false positive on
            a frame with its class is one of localisation, duplicates and boxes far away too; else
            on a frame with others it is one of class if it overlaps one of them enough, or other;
            else its class may be elsewhere in the video (time), or not (other). "multisports": for
            tubes, MultiSports' nine kinds, which compare overlap in space and in time with the
            root of the threshold.
        curve: "shared": errors are read at the points that precision is read at, so that the
            parts add up. "own-envelope": each error's curve is made non-increasing from behind, as
            precision is; its maximum then counts, so that the parts add up to more than 1.
        single_precision: points of the curves are rounded to float32.
    """

    name: str
    kinds: Kinds = "strict"
    curve: Literal["shared", "own-envelope"] = "shared"
    single_precision: bool = False


_ACT = BreakdownRule(name="act", kinds="act", single_precision=True)
_MULTISPORTS = BreakdownRule(name="multisports2021", kinds="multisports", single_precision=True)

RULES: Mapping[str, BreakdownRule] = {
    "strict": BreakdownRule(name="strict"),
    "act": _ACT,
    "multisports2021": _MULTISPORTS,
    "multisports": replace(_MULTISPORTS, name="multisports", curve="own-envelope"),
}

PARTS: Mapping[Kinds, tuple[str, ...]] = {
    "strict": ("localisation", "classification", "time", "duplicate", "other"),
    "act": ("localisation", "classification", "time", "other"),
    "multisports": (
        "repeat",
        "extra",
        "localisation",
        "classification",
        "time",
        "classification+time",
        "classification+localisation",
        "time+localisation",
        "classification+time+localisation",
    ),
}


def breakdown_rule(name: str | None, protocol: str, *, tubes: bool) -> BreakdownRule:
    """The rule of that name; None: the one that goes with the protocol's variant.

    For frames, "act" goes with `+act` and `+moc`; for tubes, "multisports2021" and "multisports"
    go with the variants of these names; "strict" with all else.

    Raises:
        InputError: if there is no such rule, or it is for the other kind of detection.
    """
    if name is None:
        variant = protocol.partition("+")[2]
        fitting = {"multisports2021", "multisports"} if tubes else {"act", "moc"}
        name = {"moc": "act"}.get(variant, variant) if variant in fitting else "strict"
    names = ["strict", *(["multisports2021", "multisports"] if tubes else ["act"])]
    if name not in names:
        raise InputError(
            f"unknown rule of error breakdown for {'tubes' if tubes else 'frames'}",
            expected=f"one of {', '.join(names)}",
            found=name,
        )
    return RULES[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorBreakdown:
    """Average precision and what keeps it from 1; fractions.

    Attributes:
        protocol: id of the protocol.
        rule: id of the rule.
        iou: the threshold; a match needs IoU >= iou.
        mean: by part ("AP", the errors of the rule, "missed"), the mean over the classes that have
            ground truth; NaN if none has.
        per_class: the same by class name; None where a class has no ground truth.
        version: version of stad-eval.
    """

    protocol: str
    rule: str
    iou: float
    mean: dict[str, float]
    per_class: dict[str, dict[str, float] | None]
    version: str = __version__

    def table(self) -> str:
        """Aligned text: every class with AP and its parts in per cent, then the mean."""
        parts = list(self.mean)
        widths = [max(len(part) + 2, 9) for part in parts]
        first = max(len(name) for name in (*self.per_class, "class", "mean"))
        columns = list(zip(parts, widths, strict=True))
        title = f"{'class':<{first}}" + "".join(f"{part:>{width}}" for part, width in columns)
        rule = "-" * len(title)
        head = f"{self.protocol}, IoU {self.iou:g}: errors in per cent, {self.rule}"
        lines = [head, rule, title, rule]
        for name, row in (*self.per_class.items(), ("mean", self.mean)):
            if name == "mean":
                lines.append(rule)
            cells = ["-" if row is None else _per_cent(row[part]) for part in parts]
            text = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            lines.append(f"{name:<{first}}{text}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """For JSON: protocol, rule, iou, mean, per_class, version; None where undefined."""
        return {
            "protocol": self.protocol,
            "rule": self.rule,
            "iou": self.iou,
            "mean": {
                part: None if math.isnan(value) else value for part, value in self.mean.items()
            },
            "per_class": self.per_class,
            "version": self.version,
        }


def error_breakdown(
    judged: Judgement, rule: BreakdownRule, *, floor: float = 0.1
) -> ErrorBreakdown:
    """Integrate the errors of every class. No detections: all is missed; no truth: NaN."""
    parts = PARTS[rule.kinds]
    kind = _kinds(judged, rule.kinds, floor)[judged.order]
    per_class: dict[str, dict[str, float] | None] = {}
    for place, name in enumerate(judged.classes):
        if judged.truths[place] == 0:
            per_class[name] = None
            continue
        of_class = kind[judged.start[place] : judged.start[place + 1]]
        points = judged.columns[place].rising(of_class < 0)
        values = _class_parts(points, of_class, int(judged.truths[place]), judged.average, rule)
        per_class[name] = dict(zip(("AP", *parts, "missed"), values, strict=True))
    defined = [row for row in per_class.values() if row is not None]
    return ErrorBreakdown(
        protocol=judged.protocol,
        rule=rule.name,
        iou=judged.iou,
        mean={
            part: math.fsum(row[part] for row in defined) / len(defined) if defined else math.nan
            for part in ("AP", *parts, "missed")
        },
        per_class=per_class,
    )


def _kinds(judged: Judgement, kinds: Kinds, floor: float) -> NDArray[np.int8]:
    """Place of every detection's error among the parts, [N]; -1 for true positives."""
    parts = PARTS[kinds]
    if kinds == "multisports":
        conditions = _multisports_conditions(judged)
    elif kinds == "act":
        conditions = {
            "localisation": judged.own_here,
            "classification": judged.wrong_class,
            "other": judged.other_here,
            "time": judged.own_in_video,
        }
    else:
        near = judged.own.iou >= floor
        conditions = {
            "duplicate": judged.duplicate,
            "classification": judged.wrong_class,
            "localisation": near & ~judged.late,
            "time": near | (judged.own_in_video & ~judged.own_here),
        }
    rest = "extra" if kinds == "multisports" else "other"
    kind = np.full(judged.score.size, parts.index(rest), dtype=np.int8)
    # Written from the last condition to the first, what comes first is what stays.
    for part in reversed(conditions):
        kind[conditions[part]] = parts.index(part)
    kind[judged.correct] = -1
    return kind


def _multisports_conditions(judged: Judgement) -> dict[str, NDArray[np.bool_]]:
    """By part, in the order in which they are tried; overlap with nothing is what is left."""
    root = math.sqrt(judged.iou)
    of_own = judged.own.iou >= judged.other.iou
    some = np.where(of_own, judged.own.iou, judged.other.iou) > 0.0
    factors = judged.factors
    if factors is None:
        raise InputError("these kinds of error are of tubes", found="boxes on single frames")
    in_time, in_space = factors.time >= root, factors.space >= root
    own, other = some & of_own, some & ~of_own
    return {
        "repeat": judged.duplicate,
        "classification": judged.wrong_class,
        "localisation": own & in_time,
        "time": own & in_space,
        "time+localisation": own,
        "classification+localisation": other & in_time,
        "classification+time": other & in_space,
        "classification+time+localisation": other,
    }


def _class_parts(
    points: RisingPoints,
    kind: NDArray[np.int8],
    truths: int,
    average: Rule,
    rule: BreakdownRule,
) -> list[float]:
    """Average precision, the parts, and what is missed, of one class."""
    correct = kind < 0
    counts = [counted_up(kind == part) for part in range(len(PARTS[rule.kinds]))]
    if rule.curve == "own-envelope":
        values = [_own_envelope(each, correct, truths) for each in (counted_up(correct), *counts)]
    elif average == "all-point":
        values = [area(points, truths, "all-point"), *_at_precision(points, counts, truths)]
    else:
        values = _trapezoids(points, counts, truths, single=rule.single_precision)
    recall = correct.sum() / truths
    return [*values, 1.0 - float(np.float32(recall) if rule.single_precision else recall)]


def _at_precision(
    points: RisingPoints, counts: list[NDArray[np.int64]], truths: int
) -> list[float]:
    """The errors' shares at the very points whose precision the interpolated curve takes."""
    steps = np.diff(points.hits, prepend=0).astype(np.float64)
    at = points.end[best_later(points.hits / points.end)]
    return [float(np.sum(steps * (count[at] / at)) / truths) for count in counts]


def _trapezoids(
    points: RisingPoints, counts: list[NDArray[np.int64]], truths: int, *, single: bool
) -> list[float]:
    """Precision and errors, linear between points, from precision 1 and no error at recall 0."""
    kind = np.float32 if single else np.float64
    recall = (points.hits / truths).astype(kind)
    steps = np.diff(recall, prepend=kind(0))
    first = points.before == 0
    previous = np.maximum(points.before, 1)
    shares = [(points.hits / points.end, np.where(first, 1.0, points.hits_before / previous))]
    shares.extend(
        (count[points.end] / points.end, count[points.before] / previous) for count in counts
    )
    return [
        float(np.sum(steps * (end.astype(kind) + before.astype(kind)) * kind(0.5)))
        for end, before in shares
    ]


def _own_envelope(count: NDArray[np.int64], correct: NDArray[np.bool_], truths: int) -> float:
    """Area under a curve of its own, rounded as MultiSports' script rounds it."""
    share = (count[1:] / np.arange(1, count.size)).astype(np.float32).astype(np.float64)
    envelope = np.maximum.accumulate(share[::-1])[::-1]
    recall = (np.arange(1, int(correct.sum()) + 1) / truths).astype(np.float32)
    steps = np.diff(recall.astype(np.float64), prepend=0.0)
    return float(np.sum(steps * envelope[correct]))


def _per_cent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100.0 * value:.2f}"

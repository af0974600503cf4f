"""What a frame-mAP is made of, and how curves of single classes become it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stad_eval.input_error import InputError
from stad_eval.precision import PrecisionRecall, average_precision
from stad_eval.protocols import FrameProtocol
from stad_eval.version import __version__


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """Frame-mAP with what it was made of; fractions in [0, 1].

    Attributes:
        protocol: id of the protocol.
        iou: the threshold; a match needs IoU >= iou.
        mean: mean over the classes that have an AP; NaN if none has.
        per_class: AP by class name; None where a class has none (no ground truth, by default).
        counts: frames, ground-truth boxes and detections that were scored, detections that were
            left out and why.
        curves: precision-recall curve by class name.
        version: version of stad-eval.
    """

    protocol: str
    iou: float
    mean: float
    per_class: dict[str, float | None]
    counts: dict[str, int]
    curves: dict[str, PrecisionRecall]
    version: str = __version__

    def table(self) -> str:
        """Aligned text: every class with its AP in per cent and its true boxes, then the mean."""
        names = [*self.per_class, "mean"]
        width = max(len(name) for name in names)
        rule = "-" * (width + 20)
        head = f"{self.protocol}, IoU {self.iou:g}: {self.counts['frames']} frames"
        lines = [head, rule, f"{'class':<{width}}  {'AP %':>8}{'boxes':>10}", rule]
        for name, value in self.per_class.items():
            truths = self.curves[name].truths
            lines.append(f"{name:<{width}}  {_per_cent(value):>8}{truths:>10}")
        mean = None if math.isnan(self.mean) else self.mean
        lines += [rule, f"{'mean':<{width}}  {_per_cent(mean):>8}{self.counts['truths']:>10}"]
        return "\n".join(lines)

    def to_json(self) -> str:
        """JSON object: protocol, iou, mAP, per_class, counts, version; null where undefined."""
        content = {
            "protocol": self.protocol,
            "iou": self.iou,
            "mAP": None if math.isnan(self.mean) else self.mean,
            "per_class": self.per_class,
            "counts": self.counts,
            "version": self.version,
        }
        return json.dumps(content, indent=2, allow_nan=False)


def result_of(
    curves: Mapping[str, PrecisionRecall],
    counts: Mapping[str, int],
    options: FrameProtocol,
    iou: float,
) -> FrameResult:
    """The result of one curve per evaluated class.

    Raises:
        InputError: if a class without ground truth has detections and the protocol divides by
            zero there.
    """
    per_class = {name: class_ap(name, curve, options) for name, curve in curves.items()}
    return result_of_areas(per_class, curves, counts, options, iou)


def result_of_areas(
    per_class: Mapping[str, float | None],
    curves: Mapping[str, PrecisionRecall],
    counts: Mapping[str, int],
    options: FrameProtocol,
    iou: float,
) -> FrameResult:
    """The result of classes whose average precision is known."""
    return FrameResult(
        protocol=options.name,
        iou=iou,
        mean=_mean([value for value in per_class.values() if value is not None], options),
        per_class=dict(per_class),
        counts=dict(counts),
        curves=dict(curves),
    )


def class_ap(name: str, curve: PrecisionRecall, options: FrameProtocol) -> float | None:
    """Average precision of a class as the protocol has it; None where it has none.

    Raises:
        InputError: as `result_of`.
    """
    if curve.truths == 0 and options.without_truth == "refused" and curve.recall.size:
        raise InputError(
            f"class '{name}' has detections and no ground truth, where the evaluator that protocol "
            f"'{options.name}' reproduces divides by zero",
            expected="ground truth of every detected class",
            found="none",
            remedy="Leave these detections out, or take the strict protocol.",
        )
    if curve.truths == 0:
        return None if options.without_truth == "none" else 0.0
    if curve.recall.size == 0 and options.undetected == "none":
        return None
    return average_precision(curve, rule=options.average, single_precision=options.single_precision)


def _mean(values: list[float], options: FrameProtocol) -> float:
    if not values:
        return math.nan
    if options.single_precision != "none":
        return float(np.mean(np.array(values, dtype=np.float32)))
    return math.fsum(values) / len(values)


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.2f}"

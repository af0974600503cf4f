"""Video-mAP: mean average precision of action tubes; and v-MABO, how well tubes cover the truth."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.precision import PrecisionRecall, average_precision, precision_recall
from stad_eval.scored_tubes import tube_tables
from stad_eval.tube_matches import TubeMatches, tube_matches
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_tables import Tubes
from stad_eval.tube_thresholds import IOU, Threshold, threshold_name, threshold_ranges
from stad_eval.tubes import Tube
from stad_eval.version import __version__
from stad_eval.video_shards import (
    VideoPartial,
    join_videos,
    video_partial,
    video_partial_of,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """How well found tubes cover the true ones, whatever their score; fractions in [0, 1].

    The best overlap of every true tube is averaged by class, then over the classes that have
    ground truth; NaN if none has. Class-agnostic: found tubes of any class stand in for a truth.

    Attributes:
        class_agnostic: v-MABO over tubes of any class.
        class_aware: v-MABO over tubes of the right class.
        recall_agnostic: by threshold, the share of true tubes with an overlap of so much.
        recall_aware: the same over tubes of the right class.
        per_class: (agnostic, aware) v-MABO by class; None where a class has no ground truth.
    """

    class_agnostic: float
    class_aware: float
    recall_agnostic: dict[str, float]
    recall_aware: dict[str, float]
    per_class: dict[str, tuple[float, float] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoResult:
    """Video-mAP with what it was made of; fractions in [0, 1].

    Attributes:
        protocol: id of the protocol.
        mean: by threshold ("0.5", or a range such as "0.5:0.95"), the mean over the classes that
            count; NaN if there is none. A range is the mean over its thresholds.
        per_class: by threshold and class name, the AP; None where a class has none.
        curves: by single threshold and class name, the precision-recall curve.
        coverage: v-MABO and recall.
        counts: videos, true tubes and found tubes that were scored, matches by threshold, tubes
            that were left out and why.
        version: version of stad-eval.
    """

    protocol: str
    mean: dict[str, float]
    per_class: dict[str, dict[str, float | None]]
    curves: dict[str, dict[str, PrecisionRecall]]
    coverage: Coverage
    counts: dict[str, int]
    version: str = __version__

    def table(self) -> str:
        """Aligned text: every class with its AP in per cent by threshold, then the means."""
        keys = list(self.mean)
        names = next(iter(self.per_class.values()))
        curves = next(iter(self.curves.values()))
        width = max(len(name) for name in (*names, "class", "mean"))
        head = f"{self.protocol}: {self.counts['videos']} videos"
        title = f"{'class':<{width}}" + "".join(f"{key:>10}" for key in keys) + f"{'tubes':>8}"
        rule = "-" * len(title)
        lines = [head, rule, title, rule]
        for name in names:
            cells = "".join(f"{_per_cent(self.per_class[key][name]):>10}" for key in keys)
            lines.append(f"{name:<{width}}{cells}{curves[name].truths:>8}")
        cells = "".join(f"{_per_cent(self.mean[key]):>10}" for key in keys)
        lines += [rule, f"{'mean':<{width}}{cells}{self.counts['truths']:>8}"]
        agnostic, aware = self.coverage.class_agnostic, self.coverage.class_aware
        lines.append(f"v-MABO {_per_cent(agnostic)}, of the right class {_per_cent(aware)}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """JSON object: protocol, video_mAP, v_mabo, recall, per_class, counts, version.

        Undefined values are null.
        """
        content = {
            "protocol": self.protocol,
            "video_mAP": {key: _defined(value) for key, value in self.mean.items()},
            "v_mabo": {
                "class_agnostic": _defined(self.coverage.class_agnostic),
                "class_aware": _defined(self.coverage.class_aware),
            },
            "recall": {
                "class_agnostic": _all_defined(self.coverage.recall_agnostic),
                "class_aware": _all_defined(self.coverage.recall_aware),
            },
            "per_class": self.per_class,
            "counts": self.counts,
            "version": self.version,
        }
        return json.dumps(content, indent=2, allow_nan=False)


def video_map(
    truth: Tubes | Iterable[Tube],
    found: Tubes | Iterable[Tube],
    protocol: str | TubeProtocol,
    *,
    classes: Sequence[str] | None = None,
    iou: Sequence[Threshold] = IOU,
) -> VideoResult:
    """Video-mAP of `found` against `truth` at every threshold; overlaps are computed once.

    Args:
        truth: ground truth. A table also names the videos without a tube, on which found tubes
            are false positives; of single tubes, only the videos that they are on count.
        found: detections. Tubes on videos that `truth` does not name are left out (or false
            positives, if the protocol says so).
        protocol: id, or options.
        classes: what the labels of single tubes point into; None: the classes of the protocol or
            of the other side's table. Tables know their classes.
        iou: thresholds in (0, 1], or ranges "low:high" (in steps of 0.05) or "low:high:step".

    No detections give 0, no ground truth gives NaN.

    Raises:
        InputError: on an unknown protocol, class or threshold, on ground truth without area, and
            on boxes or gaps that the protocol refuses.
    """
    options = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    truth, found = tube_tables(truth, found, options, classes)
    return video_map_of(tube_matches(truth, found, options, iou=iou), iou=iou)


def video_map_of(matches: TubeMatches, *, iou: Sequence[Threshold] = IOU) -> VideoResult:
    """As `video_map`, of tubes that are matched already, at these thresholds among others.

    Raises:
        InputError: if they were not matched at one of the thresholds, or a class without ground
            truth has detections and the protocol refuses that.
    """
    return combine_videos([video_partial_of(matches)], iou=iou)


def video_map_streamed(
    shards: Iterable[tuple[Tubes, Tubes]],
    protocol: str | TubeProtocol,
    *,
    iou: Sequence[Threshold] = IOU,
) -> VideoResult:
    """Video-mAP of shards (truth, detections) that come one at a time, in bounded memory.

    Each shard holds videos of its own. Memory holds one shard, and of each tube its score and
    where it is right.

    Raises:
        InputError: as `video_map` and `combine_videos`.
    """
    parts = (video_partial(truth, found, protocol, iou=iou) for truth, found in shards)
    return combine_videos(parts, iou=iou)


def combine_videos(parts: Iterable[VideoPartial], *, iou: Sequence[Threshold] = IOU) -> VideoResult:
    """The result of all parts, exactly that of all their videos at once.

    Raises:
        InputError: if there is no part, parts differ in protocol, classes or thresholds, or have a
            video in common; if they were not scored at one of the thresholds, or have detections
            of a class without ground truth where the protocol refuses that.
    """
    whole = join_videos(parts)
    ranges = threshold_ranges(iou)
    missing = sorted({each for values in ranges.values() for each in values} - {*whole.thresholds})
    if missing:
        raise InputError("not scored at this threshold", expected=whole.thresholds, found=missing)
    truths = np.bincount(whole.truth_label, minlength=len(whole.classes))
    single = sorted({value for values in ranges.values() for value in values})
    curves = {threshold_name(value): _curves(whole, value, truths) for value in single}
    areas = {
        key: {name: _area(curve, whole) for name, curve in by_class.items()}
        for key, by_class in curves.items()
    }
    per_class: dict[str, dict[str, float | None]] = {}
    for key, values in ranges.items():
        columns = [areas[threshold_name(value)] for value in values]
        per_class[key] = {name: _mean([each[name] for each in columns]) for name in whole.classes}
    means = {
        key: _mean([_number(_mean([*areas[threshold_name(value)].values()])) for value in values])
        for key, values in ranges.items()
    }
    matches = {
        f"true_positives@{threshold_name(value)}": int(
            whole.correct[whole.thresholds.index(value)].sum()
        )
        for value in single
    }
    sizes = {
        "videos": len(whole.videos),
        "truths": whole.truth_label.size,
        "detections": whole.label.size,
    }
    return VideoResult(
        protocol=whole.protocol.name,
        mean={key: _number(value) for key, value in means.items()},
        per_class=per_class,
        curves=curves,
        coverage=_coverage(whole, single),
        counts={**sizes, **matches, **whole.counts},
    )


def _curves(
    whole: VideoPartial, threshold: float, truths: NDArray[np.int64]
) -> dict[str, PrecisionRecall]:
    correct = whole.correct[whole.thresholds.index(threshold)]
    order = np.argsort(whole.label, kind="stable")
    parts = np.searchsorted(whole.label[order], np.arange(len(whole.classes) + 1))
    result: dict[str, PrecisionRecall] = {}
    for place, name in enumerate(whole.classes):
        rows = order[parts[place] : parts[place + 1]]
        if not truths[place] and rows.size and whole.protocol.without_truth == "refused":
            raise InputError(
                f"protocol '{whole.protocol.name}' cannot score class '{name}': it has "
                f"{rows.size} detection(s) and no ground truth",
                remedy="Use the protocol without a variant, which leaves such a class out.",
            )
        result[name] = precision_recall(
            whole.score[rows], correct[rows], int(truths[place]), ties=whole.protocol.ties
        )
    return result


def _area(curve: PrecisionRecall, whole: VideoPartial) -> float | None:
    """AP of one class by the rules of the protocol."""
    options = whole.protocol
    if curve.truths == 0:
        return None if options.without_truth == "none" else 0.0
    return average_precision(curve, rule=options.average, single_precision=options.single_precision)


def _coverage(whole: VideoPartial, thresholds: list[float]) -> Coverage:
    def by_class(values: NDArray[np.float64]) -> list[float | None]:
        groups = [values[whole.truth_label == label] for label in range(len(whole.classes))]
        return [math.fsum(each) / each.size if each.size else None for each in groups]

    def recall(best: NDArray[np.float64]) -> dict[str, float]:
        shares = {
            threshold_name(limit): by_class((best >= limit).astype(np.float64))
            for limit in thresholds
        }
        return {key: _number(_mean(values)) for key, values in shares.items()}

    agnostic, aware = by_class(whole.best), by_class(whole.best_of_class)
    return Coverage(
        class_agnostic=_number(_mean(agnostic)),
        class_aware=_number(_mean(aware)),
        recall_agnostic=recall(whole.best),
        recall_aware=recall(whole.best_of_class),
        per_class={
            name: None if one is None or other is None else (one, other)
            for name, one, other in zip(whole.classes, agnostic, aware, strict=True)
        },
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is defined, the same in any order; None if nothing is."""
    defined = [value for value in values if value is not None and not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _all_defined(values: dict[str, float]) -> dict[str, float | None]:
    return {key: _defined(value) for key, value in values.items()}


def _per_cent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100.0 * value:.2f}"

"""What mending one kind of error would gain: mean average precision with an oracle, as in TIDE.

Each false positive has one kind, each ground truth that nothing found may be missed. An oracle
mends all errors of one kind and leaves the rest as it is. Source: Bolya et al., "TIDE: A General
Toolbox for Identifying Object Detection Errors", Sec. 2. Suffix legend: N = detections, M = ground
truths, n = detections of a class by falling score.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stad_eval.class_columns import ClassColumn, RisingPoints
from stad_eval.error_curves import area, counted_up
from stad_eval.judgement import Judgement
from stad_eval.version import __version__

KINDS = ("classification", "localisation", "time", "both", "duplicate", "background", "missed")
TOTALS = ("false positives", "false negatives")


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorGains:
    """Points of mean average precision that each kind of error costs; fractions.

    A false positive is, in this order: badly localised (it overlaps ground truth of its class by
    the floor or more, but less than the threshold), in time or in space (tubes only: whichever
    overlap is the smaller); of the wrong class (it overlaps another class by the threshold or
    more); a duplicate (it overlaps its class by the threshold or more); wrong in both class and
    place (it overlaps another class by the floor or more); background. Missed is ground truth that
    neither was found nor would be by mending place, time or class.

    The oracles: errors of localisation, time and classification become true positives if their
    ground truth is free (the best of several, the others go); all other false positives go; missed
    ground truth goes. "false positives": all go. "false negatives": all ground truth that was not
    found goes. A class that is left without ground truth counts as 1 if no detection is left
    either, else it stays as it was.

    Attributes:
        protocol: id of the protocol.
        iou: the threshold; a match needs IoU >= iou.
        floor: a smaller overlap is none.
        mean: mean average precision as it is; NaN without ground truth.
        gains: by kind of error, and by `TOTALS`, what mending it adds to `mean`.
        per_class: the same gains by class name; None where a class has no ground truth.
        counts: errors by kind.
        version: version of stad-eval.
    """

    protocol: str
    iou: float
    floor: float
    mean: float
    gains: dict[str, float]
    per_class: dict[str, dict[str, float] | None]
    counts: dict[str, int]
    version: str = __version__

    def table(self) -> str:
        """Aligned text: every kind of error with its count and the points that it costs."""
        width = max(len(name) for name in self.gains)
        rule = "-" * (width + 24)
        head = f"{self.protocol}, IoU {self.iou:g}: mAP {_per_cent(self.mean)}"
        lines = [head, rule, f"{'error':<{width}}{'count':>12}{'mAP gained':>12}", rule]
        for name, value in self.gains.items():
            if name == TOTALS[0]:
                lines.append(rule)
            lines.append(f"{name:<{width}}{self.counts[name]:>12}{_per_cent(value):>12}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """For JSON: protocol, iou, floor, mAP, gains, per_class, counts, version."""
        undefined = math.isnan(self.mean)
        return {
            "protocol": self.protocol,
            "iou": self.iou,
            "floor": self.floor,
            "mAP": None if undefined else self.mean,
            "gains": {name: None if undefined else value for name, value in self.gains.items()},
            "per_class": self.per_class,
            "counts": self.counts,
            "version": self.version,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fix:
    """What an oracle changes.

    Detections of the kinds `gone` (places in `KINDS`) vanish, except `hits`, which become right
    (flags [N], in the order of the curves); `moved` are right as another class, `moved_label`. Of
    each class `fewer` ground truths [C] go.
    """

    gone: int | None = None
    hits: NDArray[np.bool_] | None = None
    moved: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    moved_label: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    fewer: NDArray[np.int64] | None = None


# Stands for all kinds of false positives.
ALL = len(KINDS)


def error_gains(judged: Judgement, *, floor: float = 0.1) -> ErrorGains:
    """The points that each kind of error costs; no ground truth gives NaN."""
    kind = _kinds(judged, floor)
    free_M = np.ones(judged.truth_label.size, dtype=np.bool_)
    free_M[judged.taken[judged.correct]] = False
    open_M = free_M.copy()
    fixes: dict[str, _Fix] = {}
    counts: dict[str, int] = {}
    for place, name in enumerate(KINDS[:-1]):
        if name == "time" and not judged.tubes:
            continue
        wrong = kind == place
        counts[name] = int(wrong.sum())
        fixes[name] = _Fix(gone=place)
        if name in ("classification", "localisation", "time"):
            to = judged.other.truth if name == "classification" else judged.own.truth
            rows = np.flatnonzero(wrong)
            rows = rows[free_M[to[rows]]]
            open_M[to[rows]] = False
            best = _best(rows, to, judged)
            if name == "classification":
                label = judged.truth_label[to[best]]
                fixes[name] = _Fix(gone=place, moved=best, moved_label=label)
            else:
                right = np.zeros(kind.size, dtype=np.bool_)
                right[best] = True
                fixes[name] = _Fix(gone=place, hits=right[judged.order])
    classes = len(judged.classes)
    # Ground truth that is counted without being there to be found is missed too.
    lost = judged.truths - np.bincount(judged.truth_label[~free_M], minlength=classes)
    missed = lost - np.bincount(judged.truth_label[free_M & ~open_M], minlength=classes)
    fixes["missed"] = _Fix(fewer=missed)
    fixes["false positives"] = _Fix(gone=ALL)
    fixes["false negatives"] = _Fix(fewer=lost)
    counts["missed"] = int(missed.sum())
    counts["false positives"] = int((~judged.correct).sum())
    counts["false negatives"] = int(lost.sum())
    return _result(judged, kind, fixes, counts, floor)


def _kinds(judged: Judgement, floor: float) -> NDArray[np.int8]:
    """Place of every detection's error in `KINDS`, [N]; -1 for true positives."""
    near = (judged.own.iou >= floor) & (judged.own.iou < judged.iou)
    conditions = {
        "localisation": near & ~judged.late,
        "time": near,
        "classification": judged.wrong_class,
        "duplicate": judged.duplicate,
        "both": judged.other.iou >= floor,
    }
    kind = np.full(judged.score.size, KINDS.index("background"), dtype=np.int8)
    for name in reversed(conditions):
        kind[conditions[name]] = KINDS.index(name)
    kind[judged.correct] = -1
    return kind


def _best(rows: NDArray[np.intp], to: NDArray[np.integer], judged: Judgement) -> NDArray[np.intp]:
    """Of the rows that would find the same ground truth, the one of the best score."""
    order = rows[np.lexsort((judged.label[rows], -judged.score[rows], to[rows]))]
    return order[np.diff(to[order], prepend=-1) != 0]


def _result(
    judged: Judgement,
    kind: NDArray[np.int8],
    fixes: dict[str, _Fix],
    counts: dict[str, int],
    floor: float,
) -> ErrorGains:
    by_class = kind[judged.order]
    per_class: dict[str, dict[str, float] | None] = {}
    before: list[float] = []
    for place, name in enumerate(judged.classes):
        if judged.truths[place] == 0:
            per_class[name] = None
            continue
        column = _Column.of(judged, by_class, place)
        as_is = column.fixed(judged, _Fix(), math.nan)
        before.append(as_is)
        per_class[name] = {
            key: column.fixed(judged, fix, as_is) - as_is for key, fix in fixes.items()
        }
    defined = [row for row in per_class.values() if row is not None]
    count = len(defined)
    return ErrorGains(
        protocol=judged.protocol,
        iou=judged.iou,
        floor=floor,
        mean=math.fsum(before) / count if count else math.nan,
        gains={
            key: math.fsum(row[key] for row in defined) / count if count else math.nan
            for key in fixes
        },
        per_class=per_class,
        counts=counts,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Column:
    """The detections of one class by falling score, and the curve's points as they are."""

    place: int
    rows: slice
    kind: NDArray[np.int8]
    column: ClassColumn
    points: RisingPoints

    @staticmethod
    def of(judged: Judgement, by_class: NDArray[np.int8], place: int) -> "_Column":
        rows = slice(int(judged.start[place]), int(judged.start[place + 1]))
        kind, column = by_class[rows], judged.columns[place]
        points = column.rising(kind < 0)
        return _Column(place=place, rows=rows, kind=kind, column=column, points=points)

    def fixed(self, judged: Judgement, fix: _Fix, as_is: float) -> float:
        """Average precision after the fix; `as_is` where that is not defined."""
        truths = int(judged.truths[self.place])
        if fix.fewer is not None:
            truths -= int(fix.fewer[self.place])
        if truths == 0:
            return as_is if self.kind.size else 1.0
        if fix.gone == ALL:
            before = self.points.hits_before
            only = replace(self.points, end=self.points.hits, before=before)
            return area(only, truths, judged.average)
        return area(self._mended(judged, fix), truths, judged.average)

    def _mended(self, judged: Judgement, fix: _Fix) -> RisingPoints:
        points = self.points
        if fix.gone is None:
            return points
        wrong = self.kind == fix.gone
        if fix.hits is not None:
            right = fix.hits[self.rows]
            points = self.column.rising((self.kind < 0) | right)
            wrong &= ~right
        gone = counted_up(wrong)
        moved = np.sort(-judged.score[fix.moved[fix.moved_label == self.place]])
        if moved.size:
            grouped = judged.ties == "grouped"
            return (self._with_grouped if grouped else self._with_rows)(points, moved, gone)
        end, before = (at - gone[at] for at in (points.end, points.before))
        return replace(points, end=end, before=before)

    def _with_grouped(
        self, points: RisingPoints, moved: NDArray[np.floating], gone: NDArray[np.int64]
    ) -> RisingPoints:
        """The points after `moved`, by falling score, came in right and others went."""
        own = self.column.falling[points.before]
        wanted = np.sort(np.concatenate([own, moved]), kind="stable")
        wanted = wanted[np.append(True, np.diff(wanted) != 0)]
        count = np.append(0, points.hits)
        end = np.searchsorted(self.column.falling, wanted, side="right")
        before = np.searchsorted(self.column.falling, wanted, side="left")
        end, before = end - gone[end], before - gone[before]
        new = np.searchsorted(moved, wanted, side="right")
        new_before = np.searchsorted(moved, wanted, side="left")
        return RisingPoints(
            end=end + new,
            hits=count[np.searchsorted(own, wanted, side="right")] + new,
            before=before + new_before,
            hits_before=count[np.searchsorted(own, wanted, side="left")] + new_before,
        )

    def _with_rows(
        self, points: RisingPoints, moved: NDArray[np.floating], gone: NDArray[np.int64]
    ) -> RisingPoints:
        """As `_with_grouped`, each row a point; `moved` stands after rows of equal score."""
        place = np.searchsorted(self.column.falling, moved, side="right")
        end = np.concatenate([points.end, place])
        new = np.repeat([0, 1], [points.end.size, moved.size])
        order = np.lexsort((new, end))
        end, new = end[order], new[order]
        end = end - gone[end] + np.cumsum(new)
        count = np.arange(1, end.size + 1)
        return RisingPoints(end=end, hits=count, before=end - 1, hits_before=count - 1)


def _per_cent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100.0 * value:.2f}"

"""Frame-mAP: mean average precision of boxes on single frames."""

import json
import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.matching import Side, match
from stad_eval.precision import PrecisionRecall, average_precision, precision_recall
from stad_eval.protocols import PERSON, FrameProtocol, frame_protocol
from stad_eval.tables import Boxes, annotated_frames, check_truth, indices_of
from stad_eval.version import __version__

NO_FRAMES: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """Frame-mAP with what it was made of; fractions in [0, 1].

    Attributes:
        protocol: id of the protocol.
        iou: the threshold; a match needs IoU >= iou.
        mean: mean over the classes that have ground truth; NaN if none has.
        per_class: AP by class name; None where a class has no ground truth.
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


def frame_map(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    iou: float = 0.5,
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> FrameResult:
    """Frame-mAP of `found` against `truth`; videos and classes are aligned by name.

    `exclude` names (video, frame) pairs to be left out on both sides. No detections give 0, no
    ground truth gives NaN. Detections on videos that `truth` does not name are left out (or false
    positives, if the protocol counts all frames).

    Raises:
        InputError: on an unknown protocol or class, an IoU threshold outside (0, 1], ground truth
            without area, or an inverted detection where the protocol refuses it.
    """
    options = frame_protocol(protocol) if isinstance(protocol, str) else protocol
    if not 0.0 < iou <= 1.0:
        raise InputError("bad IoU threshold", expected="0 < iou <= 1", found=iou)
    check_truth(truth)
    evaluated = truth.classes if options.classes is None else options.classes
    index = {
        name: place for place, name in enumerate(dict.fromkeys((*truth.videos, *found.videos)))
    }
    counts: dict[str, int] = {}
    excluded = _excluded(exclude, index, options)
    annotated = _keys(index, truth, *annotated_frames(truth).T)
    truth_rows = _rows(truth, index, evaluated, options, side="ground truth")
    truth_rows = truth_rows.without(excluded)
    found_rows = _rows(found, index, evaluated, options, side="detections")
    counts["detections_of_other_classes"] = len(found) - len(found_rows)
    found_rows = _step(found_rows, found_rows.without(excluded), "excluded", counts)
    found_rows = _step(found_rows, _capped(found_rows, options.max_per_frame), "over_limit", counts)
    found_rows = _step(found_rows, _upright(found_rows, options), "inverted", counts)
    frames = np.setdiff1d(
        np.unique(truth_rows.frame) if options.frames == "with-truth" else annotated, excluded
    )
    if options.frames != "all":
        on = np.isin(found_rows.frame, frames)
        found_rows = _step(found_rows, found_rows.select(on), "on_other_frames", counts)
    return _score(truth_rows, found_rows, evaluated, options, iou, frames.size, counts)


def actor_ap(truth: Boxes, found: Boxes, *, iou: float = 0.5) -> FrameResult:
    """Average precision of persons, whatever they do: one row per distinct box.

    The rows of one box (same video, frame and coordinates) are one person, scored by the best of
    their scores; labels are not compared. Two persons with exactly the same box count once.

    Raises:
        InputError: as `frame_map`.
    """
    return frame_map(_persons(truth, truth=True), _persons(found, truth=False), PERSON, iou=iou)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Rows in the terms of one evaluation: `frame` is a key of (video, frame)."""

    frame: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return self.frame.size

    def select(self, keep: NDArray[np.bool_]) -> "_Rows":
        if keep.all():
            return self
        return _Rows(
            frame=self.frame[keep],
            label=self.label[keep],
            box=self.box[keep],
            score=self.score[keep],
        )

    def without(self, frames: NDArray[np.int64]) -> "_Rows":
        return self.select(~np.isin(self.frame, frames))


# Frames are less than 2**40 (held by Boxes), so a key of video and frame stays within int64.
_SPAN = 2**40


def _keys(
    index: dict[str, int], table: Boxes, video: NDArray[np.int64], frame: NDArray[np.int64]
) -> NDArray[np.int64]:
    return indices_of(table.videos, index)[video] * _SPAN + frame


def _rows(
    table: Boxes,
    index: dict[str, int],
    evaluated: tuple[str, ...],
    options: FrameProtocol,
    *,
    side: str,
) -> _Rows:
    """The rows of evaluated classes; refuses a class that the protocol does not know."""
    to_label = indices_of(table.classes, {name: place for place, name in enumerate(evaluated)})
    label = to_label[table.label] if len(table) else table.label
    other = label < 0
    if other.any():
        names = [table.classes[each] for each in np.unique(table.label[other])]
        unknown = sorted(set(names) - set(options.ignored_classes))
        if unknown:
            raise InputError(
                f"{side}: classes that protocol '{options.name}' does not know",
                expected=f"{len(evaluated)} classes: {', '.join(evaluated)}",
                found=", ".join(unknown),
                remedy="'keyframes' and 'dense' take the classes of any ground truth.",
            )
    return _Rows(
        frame=_keys(index, table, table.video, table.frame),
        label=label,
        box=table.box,
        score=table.score,
    ).select(~other)


def _excluded(
    exclude: Collection[tuple[str, int]], index: dict[str, int], options: FrameProtocol
) -> NDArray[np.int64]:
    if options.exclusions == "ignored":
        return np.empty(0, dtype=np.int64)
    keys = [index[video] * _SPAN + int(frame) for video, frame in exclude if video in index]
    return np.asarray(sorted(keys), dtype=np.int64)


def _step(before: _Rows, after: _Rows, why: str, counts: dict[str, int]) -> _Rows:
    counts[f"detections_{why}"] = len(before) - len(after)
    return after


def _capped(rows: _Rows, limit: int | None) -> _Rows:
    """The best `limit` rows of every frame, by score, then class, then box."""
    if limit is None or not len(rows):
        return rows
    _, group, size = np.unique(rows.frame, return_inverse=True, return_counts=True)
    crowded = np.flatnonzero(size[group] > limit)
    if crowded.size == 0:
        return rows
    keys = (*rows.box[crowded].T[::-1], rows.label[crowded], -rows.score[crowded])
    order = crowded[np.lexsort((*keys, group[crowded]))]
    start = np.flatnonzero(np.diff(group[order], prepend=-1))
    place = np.arange(order.size) - np.repeat(start, np.diff(np.append(start, order.size)))
    keep = np.ones(len(rows), dtype=np.bool_)
    keep[order[place >= limit]] = False
    return rows.select(keep)


def _upright(rows: _Rows, options: FrameProtocol) -> _Rows:
    bad = (rows.box[:, 2] < rows.box[:, 0]) | (rows.box[:, 3] < rows.box[:, 1])
    if options.inverted == "refused" and bad.any():
        raise InputError(
            f"{int(bad.sum())} detection(s) have an inverted box",
            expected="x1 <= x2 and y1 <= y2",
            found=rows.box[np.flatnonzero(bad)[0]].tolist(),
            remedy="Boxes are x1, y1, x2, y2; check for x, y, width, height.",
        )
    return rows.select(~bad)


def _score(
    truth: _Rows,
    found: _Rows,
    evaluated: tuple[str, ...],
    options: FrameProtocol,
    iou: float,
    frames: int,
    counts: dict[str, int],
) -> FrameResult:
    cells = np.unique(truth.frame)

    def side(rows: _Rows) -> Side:
        place = np.minimum(np.searchsorted(cells, rows.frame), max(cells.size - 1, 0))
        known = cells[place] == rows.frame if cells.size else np.zeros(len(rows), dtype=np.bool_)
        cell = np.where(known, place * len(evaluated) + rows.label, -1)
        return Side(cell=cell, box=rows.box)

    correct = (
        match(
            side(found),
            side(truth),
            score=found.score if options.match_order == "score" else None,
            iou=iou,
            rule=options.matching,
            convention=options.convention,
        )
        >= 0
    )
    order = np.argsort(found.label, kind="stable")
    parts = np.searchsorted(found.label[order], np.arange(len(evaluated) + 1))
    truths = np.bincount(truth.label, minlength=len(evaluated))
    curves: dict[str, PrecisionRecall] = {}
    for place, name in enumerate(evaluated):
        rows = order[parts[place] : parts[place + 1]]
        curves[name] = precision_recall(
            found.score[rows], correct[rows], int(truths[place]), ties=options.ties
        )
    per_class = {
        name: average_precision(curve, rule=options.average) for name, curve in curves.items()
    }
    values = [value for value in per_class.values() if value is not None]
    totals = {
        "frames": frames,
        "truths": len(truth),
        "detections": len(found),
        "true_positives": int(correct.sum()),
    }
    return FrameResult(
        protocol=options.name,
        iou=iou,
        mean=math.fsum(values) / len(values) if values else math.nan,
        per_class=per_class,
        counts={**totals, **counts},
        curves=curves,
    )


def _persons(table: Boxes, *, truth: bool) -> Boxes:
    """One row per distinct box, with the best score of its rows."""
    columns = (*table.box.T[::-1], table.frame, table.video)
    order = np.lexsort(columns) if len(table) else np.empty(0, dtype=np.intp)
    new = np.zeros(order.size, dtype=np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    start = np.flatnonzero(new)
    heads = order[start]
    best = np.maximum.reduceat(table.score[order], start) if start.size else np.empty(0)
    return replace(
        table.select(heads),
        classes=("person",),
        label=np.zeros(heads.size, dtype=np.int64),
        score=best,
        annotated=annotated_frames(table) if truth else None,
    )


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.2f}"

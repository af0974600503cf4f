"""Which rows of ground truth and detections a protocol scores, and why the others do not count."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stad_eval.frame_index import FrameIndex, frame_index
from stad_eval.input_error import InputError
from stad_eval.protocols import FrameProtocol
from stad_eval.row_order import Rows, arranged, frame_ranks, through_heap, within_limit
from stad_eval.tables import Boxes, annotated_frames, indices_of

NO_FRAMES: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """The rows of both sides that count, detections in the order that the protocol sees them in.

    Attributes:
        classes: names of the evaluated classes; labels of rows are places in it.
        videos: names of all videos of either side.
        truth, found: rows of both sides.
        counted: ground truths in the denominators of recall, if need be more than can be found.
        truths: int64 [C], the denominators of recall.
        counts: frames and rows that were scored, detections that were left out and why.
        index: what the frames of rows point into; its videos point into `videos`.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...]
    truth: Rows
    found: Rows
    counted: Rows
    truths: NDArray[np.int64]
    counts: dict[str, int]
    index: FrameIndex


def evaluated_classes(truth: Boxes, options: FrameProtocol) -> tuple[str, ...]:
    """Names of the classes that a protocol evaluates on this ground truth."""
    if options.classes is not None:
        return options.classes
    return tuple(name for name in truth.classes if name not in options.ignored_classes)


def scored_rows(
    truth: Boxes, found: Boxes, options: FrameProtocol, exclude: Collection[tuple[str, int]]
) -> Scored:
    """The rows that a protocol scores; videos and classes are aligned by name.

    Raises:
        InputError: on a class that the protocol does not know, or an inverted detection where the
            protocol refuses it.
    """
    classes = evaluated_classes(truth, options)
    names = dict.fromkeys((*truth.videos, *found.videos))
    videos = {name: place for place, name in enumerate(names)}
    truth_video = indices_of(truth.videos, videos)[truth.video]
    found_video = indices_of(found.videos, videos)[found.video]
    annotated_video, annotated_frame = annotated_frames(truth).T
    annotated_video = indices_of(truth.videos, videos)[annotated_video]
    columns = [
        (truth_video, truth.frame),
        (found_video, found.frame),
        (annotated_video, annotated_frame),
        _excluded(exclude, videos, options),
    ]
    index = frame_index(len(videos), columns)
    truth_slot, found_slot, annotated, excluded = (index.slots(*each) for each in columns)
    counts: dict[str, int] = {}
    left_out = index.mask(excluded)

    truth_all = _rows(truth, truth_slot, classes, options, side="ground truth")
    truth_rows = truth_all.select(~left_out[truth_all.frame]) if excluded.size else truth_all
    counted = truth_all if options.excluded_truth == "counted" else truth_rows
    rows = _rows(found, found_slot, classes, options, side="detections")
    counts["detections_of_other_classes"] = len(found) - len(rows)
    if excluded.size:
        rows = _step(rows, rows.select(~left_out[rows.frame]), "excluded", counts)
    counts.setdefault("detections_excluded", 0)
    ranks = frame_ranks(rows, truth_rows, options, index.size)
    limit = through_heap if options.within_frame == "heap" else within_limit
    rows = _step(rows, limit(rows, options.max_per_frame), "over_limit", counts)
    rows = _step(rows, _upright(rows, options), "inverted", counts)
    rows = _step(rows, _with_area(rows, options), "without_area", counts)
    frames = index.mask(truth_rows.frame if options.frames == "with-truth" else annotated)
    frames &= ~left_out
    if options.frames != "all":
        rows = _step(rows, rows.select(frames[rows.frame]), "on_other_frames", counts)
    totals = {"frames": int(frames.sum()), "truths": len(counted), "detections": len(rows)}
    return Scored(
        classes=classes,
        videos=tuple(names),
        truth=truth_rows,
        found=arranged(rows, ranks, options),
        counted=counted,
        truths=np.bincount(counted.label, minlength=len(classes)),
        counts={**totals, **counts},
        index=index,
    )


def _rows(
    table: Boxes,
    slot: NDArray[np.int64],
    classes: tuple[str, ...],
    options: FrameProtocol,
    *,
    side: str,
) -> Rows:
    """The rows of evaluated classes; refuses a class that the protocol does not know."""
    to_label = indices_of(table.classes, {name: place for place, name in enumerate(classes)})
    label = to_label[table.label] if len(table) else table.label
    other = label < 0
    if other.any():
        present = [table.classes[each] for each in np.unique(table.label[other])]
        unknown = sorted(set(present) - set(options.ignored_classes))
        if unknown:
            raise InputError(
                f"{side}: classes that protocol '{options.name}' does not know",
                expected=f"{len(classes)} classes: {', '.join(classes)}",
                found=", ".join(unknown),
                remedy="'keyframes' and 'dense' take the classes of any ground truth.",
            )
    stored = options.numbers == "stored" and side == "detections"
    return Rows(
        frame=slot,
        label=label,
        box=_numbers(table.box, options, stored=stored),
        score=_numbers(table.score, options, stored=stored),
    ).select(~other)


def _numbers(
    values: NDArray[np.float64], options: FrameProtocol, *, stored: bool
) -> NDArray[np.floating]:
    if options.numbers == "double" or (options.numbers == "stored" and not stored):
        return values
    single = values.astype(np.float32)
    return values if stored and (single != values).any() else single


def _excluded(
    exclude: Collection[tuple[str, int]], videos: dict[str, int], options: FrameProtocol
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs = [(videos[name], int(frame)) for name, frame in exclude if name in videos]
    if options.exclusions == "ignored":
        pairs = []
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _step(before: Rows, after: Rows, why: str, counts: dict[str, int]) -> Rows:
    counts[f"detections_{why}"] = len(before) - len(after)
    return after


def _upright(rows: Rows, options: FrameProtocol) -> Rows:
    if options.inverted == "kept":
        return rows
    bad = (rows.box[:, 2] < rows.box[:, 0]) | (rows.box[:, 3] < rows.box[:, 1])
    if options.inverted == "refused" and bad.any():
        raise InputError(
            f"{int(bad.sum())} detection(s) have an inverted box",
            expected="x1 <= x2 and y1 <= y2",
            found=rows.box[np.flatnonzero(bad)[0]].tolist(),
            remedy="Boxes are x1, y1, x2, y2; check for x, y, width, height.",
        )
    return rows.select(~bad)


def _with_area(rows: Rows, options: FrameProtocol) -> Rows:
    if options.no_area == "kept":
        return rows
    return rows.select((rows.box[:, 2] != rows.box[:, 0]) & (rows.box[:, 3] != rows.box[:, 1]))


def persons(table: Boxes, *, truth: bool) -> Boxes:
    """One row per distinct box, of the one class "person", with the best score of its rows."""
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

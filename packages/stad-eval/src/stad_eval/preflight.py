"""Preflight: what is odd about ground truth and detections before they are scored.

Nothing here changes a number. A finding that is likely a mistake of the user's (no video in common,
pixels against fractions, classes or frames counted from another number, a file that holds all its
rows twice) should stop an evaluation; the others are worth knowing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_eval.input_error import InputError
from stad_eval.tables import Boxes, annotated_frames, indices_of
from stad_eval.tube_tables import TubeFile, Tubes, tube_boxes

EXAMPLES = 3
# Repeated rows are a mistake from this share and number on; below, a detector may have made them.
REPEATED_SHARE, REPEATED_ROWS = 0.1, 20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something odd.

    Attributes:
        problem: what it is, in words.
        count: how many rows, boxes, videos or frames it is about.
        examples: some of them.
        mistake: whether scoring should stop.
        remedy: what to do about it.
    """

    problem: str
    count: int
    examples: tuple[str, ...] = ()
    mistake: bool = False
    remedy: str | None = None

    def __str__(self) -> str:
        shown = f" ({', '.join(self.examples)}{', ...' if self.count > len(self.examples) else ''})"
        text = f"{self.count} {self.problem}{shown if self.examples else ''}"
        return f"{text}. {self.remedy}" if self.remedy else text


def check_boxes(
    truth: Boxes, found: Boxes, *, exclude: Collection[tuple[str, int]] = ()
) -> tuple[Finding, ...]:
    """What is odd about two tables of boxes; empty tables have nothing odd but that.

    Videos and frames that only one side names, boxes in other units, inverted or empty boxes,
    equal rows, detections without any class of the ground truth or after a video's last frame.
    """
    results = [
        *_names("video", truth.videos, found.videos, _used(truth), _used(found)),
        *_frames(truth, found, exclude),
        *_units(truth.box, found.box),
        *_shapes(found),
        *_classes(truth.classes, found.classes, truth.label, found.label),
        *_repeats(truth, "ground truth"),
        *_repeats(found, "detections"),
    ]
    if not len(found) and len(truth):
        results.append(Finding(problem="detections", count=0))
    return tuple(results)


def check_tubes(truth: TubeFile, found: Tubes) -> tuple[Finding, ...]:
    """What is odd about tubes: as `check_boxes`, of the boxes on their frames."""
    boxes = tube_boxes(found)
    results = [
        *_names(
            "video",
            truth.tubes.videos,
            found.videos,
            np.arange(len(truth.tubes.videos)),
            np.unique(found.video),
        ),
        *_units(truth.tubes.box, found.box),
        *_shapes(boxes),
        *_classes(truth.tubes.classes, found.classes, truth.tubes.label, found.label),
        *_past_end(truth, boxes),
        *_repeated_tubes(found),
    ]
    if not len(found) and len(truth.tubes):
        results.append(Finding(problem="detected tubes", count=0))
    return tuple(results)


def check_past_end(truth: TubeFile, found: Boxes) -> tuple[Finding, ...]:
    """Detections after the last frame of their video, where the ground truth gives its length."""
    return tuple(_past_end(truth, found))


def stop_on_mistakes(findings: Sequence[Finding], *, force: bool = False) -> None:
    """Refuse to go on where a finding is likely a mistake, unless `force`.

    Raises:
        InputError: saying all likely mistakes.
    """
    mistakes = [str(each).rstrip(".") for each in findings if each.mistake]
    if mistakes and not force:
        raise InputError(
            f"this looks like a mistake: {'; '.join(mistakes)}",
            remedy="If it is meant to be so, add --force.",
        )


def _used(table: Boxes) -> NDArray[np.int64]:
    present = np.zeros(len(table.videos), dtype=np.bool_)
    present[table.video] = True
    if table.annotated is not None:
        present[table.annotated[:, 0]] = True
    return np.flatnonzero(present)


def _names(
    what: str,
    truth: Sequence[str],
    found: Sequence[str],
    truth_used: NDArray[np.int64],
    found_used: NDArray[np.int64],
) -> list[Finding]:
    true_names = {str(truth[at]) for at in truth_used.tolist()}
    found_names = {str(found[at]) for at in found_used.tolist()}
    extra, lacking = sorted(found_names - true_names), sorted(true_names - found_names)
    nothing = bool(true_names) and bool(found_names) and not true_names & found_names
    results: list[Finding] = []
    if extra:
        results.append(
            Finding(
                problem=f"{what}(s) of the detections are not in the ground truth",
                count=len(extra),
                examples=tuple(extra[:EXAMPLES]),
                mistake=nothing,
                remedy=f"The ground truth names its {what}s like '{sorted(true_names)[0]}'."
                if nothing
                else None,
            )
        )
    if lacking and found_names:
        results.append(
            Finding(
                problem=f"{what}(s) of the ground truth have no detection",
                count=len(lacking),
                examples=tuple(lacking[:EXAMPLES]),
            )
        )
    return results


def _frames(truth: Boxes, found: Boxes, exclude: Collection[tuple[str, int]]) -> list[Finding]:
    """Frames of detections, on videos of the ground truth, that were not annotated."""
    frames = annotated_frames(truth)
    to_video = indices_of(found.videos, {name: at for at, name in enumerate(truth.videos)})
    video = to_video[found.video] if len(found) else found.video
    on = video >= 0
    if not on.any() or not len(frames):
        return []
    span = max(int(frames[:, 1].max()), int(found.frame.max())) + 1
    key = video * span + found.frame
    known = frames[:, 0] * span + frames[:, 1]
    present = _distinct(key if on.all() else key[on])
    outside = np.setdiff1d(present, known, assume_unique=True)
    place = {name: at for at, name in enumerate(truth.videos)}
    listed = {place[name] * span + time for name, time in exclude if name in place}
    if listed:
        kept = [each for each in outside.tolist() if each not in listed]
        outside = np.array(kept, dtype=np.int64)
    results: list[Finding] = []
    if outside.size:
        nothing = not np.isin(present, known).any()
        examples = [
            f"{truth.videos[each // span]} {each % span}" for each in outside[:EXAMPLES].tolist()
        ]
        results.append(
            Finding(
                problem="frame(s) of the detections were not annotated",
                count=int(outside.size),
                examples=tuple(examples),
                mistake=nothing,
                remedy=f"The ground truth has frames like {truth.videos[frames[0, 0]]} "
                f"{frames[0, 1]}; do both files count frames alike?"
                if nothing
                else None,
            )
        )
    empty = np.setdiff1d(known, present, assume_unique=True)
    if empty.size:
        examples = [
            f"{truth.videos[each // span]} {each % span}" for each in empty[:EXAMPLES].tolist()
        ]
        results.append(
            Finding(
                problem="annotated frame(s) have no detection",
                count=int(empty.size),
                examples=tuple(examples),
            )
        )
    return results


def _distinct(key: NDArray[np.int64]) -> NDArray[np.int64]:
    top = int(key.max(initial=0)) + 1
    if key.size and top <= 1 << 26:
        table = np.zeros(top, dtype=np.bool_)
        table[key] = True
        return np.flatnonzero(table)
    return np.unique(key)


def _units(truth: NDArray[np.float64], found: NDArray[np.float64]) -> list[Finding]:
    if not truth.size or not found.size:
        return []
    sizes = [float(np.abs(each).max()) for each in (truth, found)]
    sides = ("the ground truth", "the detections")
    small = [size <= 2.0 for size in sizes]
    if small[0] == small[1] or max(sizes) < 8.0:
        return []
    fractions, pixels = (0, 1) if small[0] else (1, 0)
    return [
        Finding(
            problem=f"boxes of {sides[fractions]} seem to be fractions of the frame, those of "
            f"{sides[pixels]} pixels",
            count=len(found),
            examples=tuple(f"{_box(each[0])}" for each in (truth, found)),
            mistake=True,
            remedy="Multiply fractions by the width and height of the frame, or divide pixels.",
        )
    ]


def _shapes(found: Boxes) -> list[Finding]:
    inverted = (found.box[:, 2] < found.box[:, 0]) | (found.box[:, 3] < found.box[:, 1])
    flat = (found.box[:, 2] == found.box[:, 0]) | (found.box[:, 3] == found.box[:, 1])
    results: list[Finding] = []
    for bad, what in ((inverted, "inverted"), (flat & ~inverted, "without area")):
        if bad.any():
            rows = np.flatnonzero(bad)
            # Most boxes the wrong way round: they are x, y, width, height.
            many = rows.size > REPEATED_ROWS and rows.size * 4 > len(found)
            mistake = what == "inverted" and many
            results.append(
                Finding(
                    problem=f"detection(s) have a box {what}"
                    if what == "without area"
                    else f"detection(s) have an {what} box",
                    count=int(rows.size),
                    examples=tuple(_place(found, row) for row in rows[:EXAMPLES].tolist()),
                    mistake=mistake,
                    remedy="Boxes are x1, y1, x2, y2; these look like x, y, width, height."
                    if mistake
                    else None,
                )
            )
    return results


def _classes(
    true_names: Sequence[str],
    found_names: Sequence[str],
    true_label: NDArray[np.int64],
    found_label: NDArray[np.int64],
) -> list[Finding]:
    true_set = {true_names[at] for at in _distinct(true_label).tolist()}
    found_set = {found_names[at] for at in _distinct(found_label).tolist()}
    if not true_set or not found_set:
        return []
    results: list[Finding] = []
    undetected = [name for name in true_names if name in true_set - found_set]
    nothing = not true_set & found_set
    if undetected:
        # All classes but the first, and the first alone is missing: they may count from one more.
        shifted = (
            len(true_set) > 2
            and tuple(true_names) == tuple(found_names)
            and undetected == [true_names[0]]
        )
        results.append(
            Finding(
                problem="class(es) of the ground truth have no detection",
                count=len(undetected),
                examples=tuple(undetected[:EXAMPLES]),
                mistake=nothing,
                remedy="Do the detections count classes from 1, where 0 is meant?"
                if shifted or nothing
                else None,
            )
        )
    return results


def _past_end(truth: TubeFile, found: Boxes) -> list[Finding]:
    counts = np.array(
        [truth.frame_counts.get(name, 2**40) for name in found.videos], dtype=np.int64
    )
    over = np.flatnonzero(found.frame >= counts[found.video]) if len(found) else np.empty(0, int)
    if not over.size:
        return []
    return [
        Finding(
            problem="box(es) of the detections are after the last frame of their video",
            count=int(over.size),
            examples=tuple(
                f"{found.videos[found.video[row]]} frame {found.frame[row]} of "
                f"{counts[found.video[row]]}, from 0"
                for row in over[:EXAMPLES].tolist()
            ),
            mistake=True,
            remedy="Do the detections count frames from one more than the format does?",
        )
    ]


def _repeats(table: Boxes, side: str) -> list[Finding]:
    again = _repeated(
        np.column_stack([table.box, table.score]), table.video, table.frame, table.label
    )
    return _repeat_finding(
        f"row(s) of the {side}", again, len(table), [_place(table, row) for row in again[:EXAMPLES]]
    )


def _repeated_tubes(tubes: Tubes) -> list[Finding]:
    if not len(tubes):
        return []
    sums = np.add.reduceat(tubes.box, tubes.start[:-1], axis=0)
    again = _repeated(
        np.column_stack([sums, tubes.score]),
        tubes.video,
        tubes.frame[tubes.start[:-1]],
        tubes.label * (int(tubes.lengths().max()) + 1) + tubes.lengths(),
    )
    examples = [
        f"{tubes.videos[tubes.video[at]]} {tubes.classes[tubes.label[at]]}, score "
        f"{tubes.score[at]:g}"
        for at in again[:EXAMPLES].tolist()
    ]
    return _repeat_finding("detected tube(s)", again, len(tubes), examples)


def _repeat_finding(
    what: str, again: NDArray[np.int64], total: int, examples: Sequence[str]
) -> list[Finding]:
    if not again.size:
        return []
    mistake = again.size >= REPEATED_ROWS and again.size >= REPEATED_SHARE * total
    return [
        Finding(
            problem=f"{what} stand in it before, with all their numbers",
            count=int(again.size),
            examples=tuple(examples),
            mistake=mistake,
            remedy="Was a file appended to itself?" if mistake else None,
        )
    ]


def _repeated(numbers: NDArray[np.float64], *columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows [n] that equal an earlier one in all columns.

    Rows are told apart by a hash first, since sorting one column is all that a large table can pay
    for; those of equal hash are then compared.
    """
    # Adding 0 makes one zero of both.
    bits = (numbers + 0.0).view(np.uint64)
    code = np.zeros(len(numbers), dtype=np.uint64)
    for column in (*bits.T, *(each.astype(np.uint64) for each in columns)):
        code = (code ^ column) * np.uint64(0x9E3779B97F4A7C15)
        code ^= code >> np.uint64(29)
    ordered = np.sort(code)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not twice.size:
        return np.empty(0, dtype=np.int64)
    place = np.minimum(np.searchsorted(twice, code), twice.size - 1)
    rows = np.flatnonzero(twice[place] == code)
    whole = np.column_stack([numbers[rows], *(each[rows] for each in columns)])
    _, first, inverse = np.unique(whole, axis=0, return_index=True, return_inverse=True)
    return rows[first[inverse.reshape(-1)] != np.arange(rows.size)]


def _place(table: Boxes, row: int) -> str:
    name = table.videos[table.video[row]]
    return f"row {row}: {name} frame {table.frame[row]}, {_box(table.box[row])}"


def _box(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{side:g}" for side in box) + "]"

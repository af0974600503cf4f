"""Frame-mAP in parts: score subsets of the videos, put the parts together, get exactly the whole.

A part keeps of every detection its score and whether it is right, nothing else, and is saved as
npz without pickles. Parts of a strict protocol make the same number as all videos at once, to the
last bit. Under a protocol that depends on the order of rows, the whole is that of the parts'
rows, one part after the other.
"""

import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from stad_eval.frame_matches import FrameMatches, frame_matches
from stad_eval.frame_parts import ALIKE, FramePartial
from stad_eval.frame_result import FrameResult, class_ap, result_of, result_of_areas
from stad_eval.frame_rows import NO_FRAMES
from stad_eval.input_error import InputError
from stad_eval.partial_files import check_alike, check_next
from stad_eval.precision import PrecisionRecall, precision_recalls, thinned
from stad_eval.protocols import FrameProtocol
from stad_eval.score_spill import ScoreSpill
from stad_eval.tables import Boxes

# Points of a curve that a stream keeps for the eye.
CURVE_POINTS = 10_000


def frame_partial(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    ious: Sequence[float] = (0.5,),
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> FramePartial:
    """Score some videos, for `combine`; arguments as of `frame_map`, the overlaps found once.

    Raises:
        InputError: as `frame_map`.
    """
    return frame_partial_of(frame_matches(truth, found, protocol, ious=ious, exclude=exclude))


def frame_partial_of(matches: FrameMatches, *, by_score: bool = False) -> FramePartial:
    """What these matches add to a frame-mAP.

    With `by_score`, a class's detections stand by falling score where that changes no number: what
    `combine` then finds sorted, and the error analyses need sorted too, is sorted once.
    """
    scored = matches.scored
    grouped = matches.protocol.ties == "grouped"
    order = matches.by_score if by_score and grouped else matches.by_class
    correct = np.stack([(taken >= 0)[order] for taken in matches.taken])
    return FramePartial(
        protocol=matches.protocol,
        ious=matches.ious,
        classes=scored.classes,
        videos=matches.videos,
        truths=scored.truths,
        start=matches.start,
        score=matches.score[order],
        correct=correct,
        counts=scored.counts,
    )


def combine(parts: Iterable[FramePartial]) -> dict[float, FrameResult]:
    """The result of all parts at every threshold; the parts' videos must differ.

    Raises:
        InputError: if there is no part, or they differ in protocol, thresholds or classes, or have
            a video in common.
    """
    whole = list(parts)
    check_alike(whole, ALIKE)
    first = whole[0]
    truths = np.sum([part.truths for part in whole], axis=0)
    curves: dict[float, dict[str, PrecisionRecall]] = {iou: {} for iou in first.ious}
    for place, name in enumerate(first.classes):
        rows = [(part, slice(part.start[place], part.start[place + 1])) for part in whole]
        several = precision_recalls(
            np.concatenate([part.score[row] for part, row in rows]),
            np.concatenate([part.correct[:, row] for part, row in rows], axis=1),
            int(truths[place]),
            ties=first.protocol.ties,
        )
        for iou, curve in zip(first.ious, several, strict=True):
            curves[iou][name] = curve
    right = np.sum([part.correct.sum(axis=1) for part in whole], axis=0).tolist()
    return {
        iou: result_of(curves[iou], _summed(whole) | {"true_positives": hits}, first.protocol, iou)
        for iou, hits in zip(first.ious, right, strict=True)
    }


def frame_map_streamed(
    shards: Iterable[tuple[Boxes, Boxes]],
    protocol: str | FrameProtocol,
    *,
    ious: Sequence[float] = (0.5,),
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
    folder: str | Path | None = None,
    curve_points: int = CURVE_POINTS,
) -> dict[float, FrameResult]:
    """Frame-mAP of shards (truth, detections) that come one at a time, in bounded memory.

    Each shard holds videos of its own. Memory holds one shard, names of videos, and one class's
    scores of true positives; the scores of all detections lie in `folder`, by default a temporary
    one, 8 bytes each and one per threshold. The numbers are those of `frame_map`; the curves lack
    points at which nothing is found, and have at most `curve_points` points.

    Raises:
        InputError: as `frame_map` and `combine`; if the protocol depends on the order of rows.
    """
    parts = (
        frame_partial(truth, found, protocol, ious=ious, exclude=exclude) for truth, found in shards
    )
    return _spilled(parts, folder, curve_points)


def combine_files(
    paths: Sequence[str | Path],
    *,
    folder: str | Path | None = None,
    curve_points: int = CURVE_POINTS,
) -> dict[float, FrameResult]:
    """As `combine`, of parts that were saved, one at a time in memory; see `frame_map_streamed`.

    Raises:
        InputError: as `combine`, or if a file is no part; if the protocol depends on the order of
            rows.
    """
    return _spilled((FramePartial.load(path) for path in paths), folder, curve_points)


def _spilled(
    parts: Iterable[FramePartial], folder: str | Path | None, curve_points: int
) -> dict[float, FrameResult]:
    """The result of parts of which memory holds one; their scores lie in `folder` till the end."""
    if curve_points < 2:
        raise InputError("too few points of a curve", expected="2 or more", found=curve_points)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        whole: _Whole | None = None
        for part in parts:
            whole = whole or _Whole(part, Path(place))
            whole.add(part)
        if whole is None:
            raise InputError("no partial results", expected="at least one", found="none")
        return whole.results(curve_points)


class _Whole:
    """All parts of a stream: counts in memory, scores in files."""

    def __init__(self, first: FramePartial, folder: Path) -> None:
        if first.protocol.ties != "grouped":
            raise InputError(
                f"protocol '{first.protocol.name}' depends on the order of all rows",
                expected="a protocol with ties 'grouped'",
                remedy="Use `combine`, which holds the scores of all parts in memory.",
            )
        self.first = first.without_rows()
        self.truths = np.zeros_like(first.truths)
        self.counts = dict.fromkeys(first.counts, 0)
        self.spill = ScoreSpill(folder, len(first.classes), len(first.ious))
        self.seen: set[str] = set()

    def add(self, part: FramePartial) -> None:
        check_next(part, self.first, self.seen, ALIKE)
        self.truths += part.truths
        self.counts = {name: total + part.counts[name] for name, total in self.counts.items()}
        self.spill.add(part)

    def results(self, curve_points: int) -> dict[float, FrameResult]:
        """By threshold; of one class after the other, memory holds the scores of true positives."""
        first, thresholds = self.first, range(len(self.first.ious))
        areas: list[dict[str, float | None]] = [{} for _ in thresholds]
        curves: list[dict[str, PrecisionRecall]] = [{} for _ in thresholds]
        right = [0 for _ in thresholds]
        for label, (name, total) in enumerate(zip(first.classes, self.truths, strict=True)):
            tally = self.spill.tally(label)
            for at in thresholds:
                curve = tally.curve(at, int(total))
                areas[at][name] = class_ap(name, curve, first.protocol)
                curves[at][name] = thinned(curve, curve_points)
                right[at] += int(tally.hits[at].sum())
        return {
            iou: result_of_areas(
                areas[at],
                curves[at],
                self.counts | {"true_positives": right[at]},
                first.protocol,
                iou,
            )
            for at, iou in enumerate(first.ious)
        }


def _summed(parts: Sequence[FramePartial]) -> dict[str, int]:
    return {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}

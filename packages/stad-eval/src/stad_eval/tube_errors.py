"""What went wrong with tubes: types of detections, the breakdown of ACT, gains as in TIDE."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stad_eval import matching
from stad_eval.error_analysis import ErrorAnalysis, analysis
from stad_eval.error_breakdown import breakdown_rule
from stad_eval.judgement import (
    BestOverlaps,
    Factors,
    Judgement,
    best_pairs,
    check_thresholds,
)
from stad_eval.scored_tubes import tube_tables
from stad_eval.tube_matches import TubeMatches, tube_matches
from stad_eval.tube_overlap import Pairs
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.tube_tables import Tubes
from stad_eval.tubes import Tube


def tube_errors(
    truth: Tubes | Iterable[Tube],
    found: Tubes | Iterable[Tube],
    protocol: str | TubeProtocol,
    *,
    classes: Sequence[str] | None = None,
    iou: float = 0.5,
    floor: float = 0.1,
    rule: str | None = None,
    min_score: float | None = None,
) -> ErrorAnalysis:
    """Where the tubes that `video_map` scores went wrong.

    A tube is at the wrong time where its overlap with ground truth of its class is lost in time
    rather than in space, or where its class is in the video but on none of its frames.

    Args:
        truth: ground truth, as of `video_map`.
        found: detections.
        protocol: id, or options; decides what is scored, matched and integrated.
        classes: what the labels of single tubes point into, as of `video_map`.
        iou: a match needs an overlap >= iou.
        floor: a smaller overlap is none.
        rule: how errors are broken down: "strict"; "multisports2021" or "multisports" as these
            evaluators do; None: the one that goes with the protocol's variant, else "strict".
        min_score: types count only detections of this score or more; None: all.

    Raises:
        InputError: as `video_map`; on an unknown rule, or unless floor < iou.
    """
    options = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    check_thresholds(iou, floor)
    matches = tube_matches(*tube_tables(truth, found, options, classes), options, iou=(iou,))
    return tube_errors_of(matches, iou=iou, floor=floor, rule=rule, min_score=min_score)


def tube_errors_of(
    matches: TubeMatches,
    *,
    iou: float = 0.5,
    floor: float = 0.1,
    rule: str | None = None,
    min_score: float | None = None,
) -> ErrorAnalysis:
    """As `tube_errors`, of tubes that are matched already, at `iou` among others.

    Raises:
        InputError: if they were not matched at `iou`; on an unknown rule, or unless floor < iou.
    """
    check_thresholds(iou, floor)
    breakdown = breakdown_rule(rule, matches.protocol.name, tubes=True)
    return analysis(_judgement(matches, iou), breakdown, floor=floor, min_score=min_score)


def _judgement(matches: TubeMatches, iou: float) -> Judgement:
    found, truth, pairs = matches.found, matches.truth, matches.pairs
    options, size = matches.protocol, len(matches.classes)
    overlap, time = np.nan_to_num(matches.overlaps.whole), np.nan_to_num(matches.overlaps.time)
    same, some = found.label[pairs.a] == truth.label[pairs.b], overlap > 0.0
    preferred, order = matches.preferred, matches.order
    own, own_at = _best(len(found), pairs, overlap, np.flatnonzero(some & same), preferred)
    other, other_at = _best(len(found), pairs, overlap, np.flatnonzero(some & ~same), preferred)
    most_at = np.where(own.iou >= other.iou, own_at, other_at)
    present = np.zeros((len(found.videos), size), dtype=np.bool_)
    present[truth.video, truth.label] = True
    meet = time > 0.0
    return Judgement(
        protocol=options.name,
        tubes=True,
        iou=iou,
        classes=matches.classes,
        average=options.average,
        ties=options.ties,
        label=found.label,
        score=found.score,
        order=order,
        start=np.searchsorted(found.label[order], np.arange(size + 1)).astype(np.int64),
        truth_label=truth.label,
        truths=np.bincount(truth.label, minlength=size),
        taken=matches.taken_at(iou),
        own=own,
        other=other,
        own_here=_marked(len(found), pairs.a[same & meet]),
        other_here=_marked(len(found), pairs.a[~same & meet]),
        own_in_video=present[found.video, found.label],
        factors=Factors(
            own_time=_picked(time, own_at),
            own_space=_space(overlap, time, own_at),
            time=_picked(time, most_at),
            space=_space(overlap, time, most_at),
        ),
    )


def _best(
    count: int,
    pairs: Pairs,
    overlap: NDArray[np.float64],
    among: NDArray[np.intp],
    preferred: NDArray[np.int64],
) -> tuple[BestOverlaps, NDArray[np.int64]]:
    """Of every found tube the best pair `among` the given ones, and its place; -1 for none."""
    some = matching.Pairs(found=pairs.a[among], truth=pairs.b[among], iou=overlap[among])
    best = best_pairs(some, lambda rows: preferred[rows, None].astype(np.float64))
    iou, truth = np.zeros(count), np.full(count, -1, dtype=np.int64)
    place = np.full(count, -1, dtype=np.int64)
    found = some.found[best]
    iou[found], truth[found], place[found] = some.iou[best], some.truth[best], among[best]
    return BestOverlaps(iou=iou, truth=truth), place


def _marked(count: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(count, dtype=np.bool_)
    mask[rows] = True
    return mask


def _picked(values: NDArray[np.float64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values at the given places, 0 where there is no place."""
    result = np.zeros(at.size)
    result[at >= 0] = values[at[at >= 0]]
    return result


def _space(
    overlap: NDArray[np.float64], time: NDArray[np.float64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean box IoU of the pairs at the given places: what is left of the overlap without time."""
    whole, in_time = _picked(overlap, at), _picked(time, at)
    return np.divide(whole, in_time, out=np.zeros(at.size), where=in_time > 0.0)

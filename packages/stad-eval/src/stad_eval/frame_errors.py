"""What went wrong on single frames: types of detections, the breakdown of ACT, gains as in TIDE."""

from collections.abc import Collection
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stad_eval.error_analysis import ErrorAnalysis, analysis
from stad_eval.error_breakdown import breakdown_rule
from stad_eval.frame_rows import NO_FRAMES, Scored, scored_rows
from stad_eval.judgement import Judgement, best_overlaps, check_thresholds, ranked
from stad_eval.matching import Pairs, Side, assign, best_first, overlapping
from stad_eval.protocols import FrameProtocol, frame_protocol
from stad_eval.shards import truth_key
from stad_eval.tables import Boxes, check_truth

# The smallest number over 0: pairs that overlap at all.
SOME = float(np.nextafter(0.0, 1.0))


def frame_errors(
    truth: Boxes,
    found: Boxes,
    protocol: str | FrameProtocol,
    *,
    iou: float = 0.5,
    floor: float = 0.1,
    rule: str | None = None,
    min_score: float | None = None,
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> ErrorAnalysis:
    """Where the detections that `frame_map` scores went wrong.

    Detections on annotated frames without a box are errors of time if their class is elsewhere in
    the video, so that ground truth of untrimmed videos should say which frames were annotated.

    Args:
        truth: ground truth.
        found: detections.
        protocol: id, or options; decides what is scored, matched and integrated.
        iou: a match needs IoU >= iou.
        floor: a smaller overlap is none.
        rule: how errors are broken down: "strict", or "act" as ACT and MOC do; None: "act" for the
            protocols `+act` and `+moc`, else "strict".
        min_score: types count only detections of this score or more; None: all.
        exclude: (video, frame) pairs to be left out.

    Raises:
        InputError: as `frame_map`; on an unknown rule, or unless floor < iou.
    """
    options = frame_protocol(protocol) if isinstance(protocol, str) else protocol
    check_thresholds(iou, floor)
    breakdown = breakdown_rule(rule, options.name, tubes=False)
    check_truth(truth)
    judged = _judgement(scored_rows(truth, found, options, exclude), options, iou)
    return analysis(judged, breakdown, floor=floor, min_score=min_score)


def _judgement(scored: Scored, options: FrameProtocol, iou: float) -> Judgement:
    size = len(scored.classes)
    found, truth = scored.found, scored.truth
    order, start = ranked(found.label, found.score, size, options.ties)
    # One pass of overlaps, whatever the class; matching takes those of the same class.
    pairs = overlapping(
        Side(cell=found.frame, box=found.box),
        Side(cell=truth.frame, box=truth.box),
        least=SOME,
        convention=options.convention,
    )
    same = found.label[pairs.found] == truth.label[pairs.truth]
    own, other = pairs.select(same), pairs.select(~same)
    key = partial(truth_key, truth, options=options)
    cell = truth.frame * size + truth.label
    here = _holds(found.frame * size + found.label, cell, scored.index.size * size)
    any_here = _holds(found.frame, truth.frame, scored.index.size)
    video = scored.index.videos()
    in_video = np.zeros((int(video.max(initial=-1)) + 1, size), dtype=np.bool_)
    in_video[video[truth.frame], truth.label] = True
    return Judgement(
        protocol=options.name,
        tubes=False,
        iou=iou,
        classes=scored.classes,
        average=options.average,
        ties=options.ties,
        label=found.label,
        score=found.score,
        order=order,
        start=start,
        truth_label=truth.label,
        truths=scored.truths,
        taken=_taken(scored, own, options, iou, order),
        own=best_overlaps(len(found), own, key),
        other=best_overlaps(len(found), other, key),
        own_here=here,
        other_here=any_here & ~here,
        own_in_video=in_video[video[found.frame], found.label],
    )


def _taken(
    scored: Scored,
    own: Pairs,
    options: FrameProtocol,
    iou: float,
    order: NDArray[np.intp],
) -> NDArray[np.int64]:
    """The ground truth that each detection finds, as the protocol matches them."""
    found = scored.found
    key = partial(truth_key, scored.truth, options=options)
    own = best_first(own.select(own.iou >= iou), options.matching, key)
    score = found.score
    if options.match_order == "row":
        score = -np.arange(len(found), dtype=np.float64)
    elif options.match_order == "curve":
        score = np.empty(len(found))
        score[order] = -np.arange(len(found))
    return assign(
        own,
        iou=iou,
        rule=options.matching,
        score=score,
        found=Side(cell=found.frame, box=found.box),
        truths=len(scored.truth),
    )


def _holds(wanted: NDArray[np.int64], cells: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Whether each wanted cell is among `cells`; all are in [0, size)."""
    if size <= 8 * (wanted.size + cells.size) + (1 << 20):
        table = np.zeros(size, dtype=np.bool_)
        table[cells] = True
        return table[wanted]
    return np.isin(wanted, cells)

"""What went wrong on single frames: types of detections, the breakdown of ACT, gains as in TIDE."""

from collections.abc import Collection

import numpy as np

from stad_eval.error_analysis import ErrorAnalysis, analysis
from stad_eval.error_breakdown import breakdown_rule
from stad_eval.frame_matches import FrameMatches, frame_matches
from stad_eval.frame_rows import NO_FRAMES
from stad_eval.input_error import InputError
from stad_eval.judgement import Judgement, check_thresholds
from stad_eval.protocols import FrameProtocol
from stad_eval.tables import Boxes


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
    check_thresholds(iou, floor)
    matches = frame_matches(truth, found, protocol, ious=(iou,), exclude=exclude, surroundings=True)
    return frame_errors_of(matches, iou=iou, floor=floor, rule=rule, min_score=min_score)


def frame_errors_of(
    matches: FrameMatches,
    *,
    iou: float = 0.5,
    floor: float = 0.1,
    rule: str | None = None,
    min_score: float | None = None,
) -> ErrorAnalysis:
    """As `frame_errors`, of detections that are matched already, at `iou` among others.

    Raises:
        InputError: if they were not matched at `iou`, or without their surroundings; on an unknown
            rule, or unless floor < iou.
    """
    check_thresholds(iou, floor)
    breakdown = breakdown_rule(rule, matches.protocol.name, tubes=False)
    return analysis(judgement_of(matches, iou), breakdown, floor=floor, min_score=min_score)


def judgement_of(matches: FrameMatches, iou: float) -> Judgement:
    """What the error analyses ask of the detections, true positives being those of `iou`.

    Raises:
        InputError: if they were not matched at `iou`, or without their surroundings.
    """
    around = matches.surroundings
    if around is None:
        raise InputError(
            "these detections were matched without what stands around them",
            remedy="Give frame_matches surroundings=True.",
        )
    scored, options = matches.scored, matches.protocol
    truth, size = scored.truth, len(scored.classes)
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
        label=matches.label,
        score=matches.score,
        order=matches.by_score,
        start=matches.start,
        truth_label=truth.label[matches.true_rows],
        truths=scored.truths,
        taken=matches.taken_at(iou),
        own=around.own,
        other=around.other,
        own_here=around.own_here,
        other_here=around.other_here,
        own_in_video=in_video[video[scored.found.frame[matches.rows]], matches.label],
    )

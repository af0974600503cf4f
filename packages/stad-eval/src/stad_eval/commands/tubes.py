"""`stad-eval tubes`: frame-mAP, video-mAP, v-MABO and errors of dense annotation."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stad_eval.commands.output import (
    add_force,
    add_json,
    defined,
    dumped,
    per_cent,
    report_findings,
    with_classes_of,
    with_inverted_kept,
    write_result,
)
from stad_eval.commands.tube_detections import FoundTubes, add_detections, read_detections
from stad_eval.commands.tube_inputs import add_corners, read_truth
from stad_eval.error_analysis import ErrorAnalysis
from stad_eval.frame import FrameResult, frame_maps_of
from stad_eval.frame_errors import frame_errors_of
from stad_eval.frame_matches import frame_matches
from stad_eval.input_error import InputError
from stad_eval.preflight import Finding, check_boxes, check_past_end, check_tubes
from stad_eval.protocols import frame_protocol
from stad_eval.tables import Boxes
from stad_eval.tube_errors import tube_errors_of
from stad_eval.tube_matches import tube_matches
from stad_eval.tube_protocols import tube_protocol
from stad_eval.tube_tables import TubeFile
from stad_eval.tube_thresholds import IOU, threshold_name, threshold_ranges
from stad_eval.version import __version__
from stad_eval.video import VideoResult, video_map_of

NAME = "tubes"
HELP = "Frame-mAP, video-mAP, v-MABO and errors of boxes and tubes on dense annotation."
EXAMPLE = """  stad-eval tubes --groundtruth UCF101v2-GT.pkl \\
    --frame-detections frame_detections.pkl --tube-detections video_detections.pkl \\
    --protocol ucf24+moc --json result.json
  stad-eval tubes --groundtruth UCF101v2-GT.pkl --tubelets inference_dir --protocol ucf24+moc"""
FRAME_IOU = (0.2, 0.5, 0.75)
ERROR_IOU = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """All results of one set of detections; None where there was nothing to score."""

    protocol: str
    frames: Mapping[float, FrameResult]
    tubes: VideoResult | None
    frame_errors: ErrorAnalysis | None
    tube_errors: ErrorAnalysis | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_truth(parser)
    add_detections(parser)
    parser.add_argument(
        "--protocol",
        required=True,
        help="jhmdb21-split1 to 3, ucf24, ucfsports, multisports or dense, alone or with +act, "
        "+moc, +multisports2021, +multisports, +mmaction2, +3d-retinanet, +realtime",
    )
    add_force(parser)
    add_json(parser)


def add_truth(parser: argparse.ArgumentParser) -> None:
    """The options `--groundtruth`, `--split` and `--corners`."""
    parser.add_argument(
        "--groundtruth",
        type=Path,
        required=True,
        help="pickle of ACT, MOC, MultiSports or UCF24's pyannot, or our JSON or npz",
    )
    parser.add_argument(
        "--split",
        type=int,
        help="split of a pickle that holds several (default: the protocol's, else 1)",
    )
    add_corners(parser)


def split_of(protocol: str, given: int | None) -> int:
    """The split to read: the given one, or that in a protocol's name such as jhmdb21-split2."""
    base = protocol.partition("+")[0]
    named = base[-1] if base.startswith("jhmdb21-split") else ""
    return given if given is not None else int(named) if named.isdigit() else 1


def run(options: argparse.Namespace) -> None:
    """Score the files and write the result.

    Raises:
        InputError: if an input is wrong.
    """
    refuse_untubed(options.protocol)
    split = split_of(options.protocol, options.split)
    truth = read_truth(options.groundtruth, split=split, corners=options.corners)
    boxes = truth.boxes()
    found = read_detections(options, truth)
    report_findings(findings(truth, boxes, found), force=options.force)
    scores = score(truth, boxes, found, options.protocol, force=options.force)
    write_result(options.json, dumped(content(scores)), table(scores))


def refuse_untubed(name: str) -> None:
    """Refuse a protocol that has no tubes, before anything is read.

    Raises:
        InputError: on an unknown protocol, or one of keyframes.
    """
    frame_protocol(name)
    if not name.endswith("+realtime"):
        tube_protocol(name)


def findings(truth: TubeFile, boxes: Boxes, found: FoundTubes) -> list[Finding]:
    """What is odd about the detections."""
    results: list[Finding] = []
    if found.frames is not None:
        results += check_boxes(boxes, found.frames)
        results += check_past_end(truth, found.frames)
    if found.tubes is not None and not found.linked:
        results += check_tubes(truth, found.tubes)
    return results


def score(
    truth: TubeFile, boxes: Boxes, found: FoundTubes, protocol: str, *, force: bool = False
) -> Scores:
    """Score what there is; `boxes` are the ground truth on frames.

    With `force`, inverted boxes are false positives where the protocol would refuse them. Where the
    protocol knows none of the ground truth's classes, those are evaluated.

    Raises:
        InputError: as `frame_map` and `video_map`.
    """
    frames: Mapping[float, FrameResult] = {}
    on_frames = on_tubes = None
    rules = with_classes_of(frame_protocol(protocol), boxes.classes)
    known = {"classes": rules.classes, "ignored_classes": rules.ignored_classes}
    if found.frames is not None:
        rules = with_inverted_kept(rules, found.frames.box) if force else rules
        matches = frame_matches(boxes, found.frames, rules, ious=FRAME_IOU, surroundings=True)
        frames = frame_maps_of(matches)
        on_frames = frame_errors_of(matches, iou=ERROR_IOU)
    videos = None
    if found.tubes is not None and not protocol.endswith("+realtime"):
        options = replace(tube_protocol(protocol), **known)
        options = with_inverted_kept(options, found.tubes.box) if force else options
        matches = tube_matches(truth.tubes, found.tubes, options, iou=IOU)
        videos = video_map_of(matches, iou=IOU)
        on_tubes = tube_errors_of(matches, iou=ERROR_IOU)
    if not frames and videos is None:
        raise InputError(
            f"protocol '{protocol}' scores single frames, and there are only tubes",
            remedy="Give --frame-detections.",
        )
    return Scores(
        protocol=protocol,
        frames=frames,
        tubes=videos,
        frame_errors=on_frames,
        tube_errors=on_tubes,
    )


def content(scores: Scores) -> dict[str, object]:
    """The JSON object of all results; null for what was not scored."""
    frames = {
        threshold_name(iou): scores.frames[iou] if scores.frames else None for iou in FRAME_IOU
    }
    videos = scores.tubes
    cover = None if videos is None else videos.coverage
    return {
        "protocol": scores.protocol,
        "frame_mAP": {
            key: None if result is None else defined(result.mean) for key, result in frames.items()
        },
        "video_mAP": {
            key: None if videos is None else defined(videos.mean[key])
            for key in threshold_ranges(IOU)
        },
        "v_mabo": {
            "class_agnostic": None if cover is None else defined(cover.class_agnostic),
            "class_aware": None if cover is None else defined(cover.class_aware),
        },
        "per_class": {
            "frame_mAP": {
                key: result.per_class for key, result in frames.items() if result is not None
            },
            "video_mAP": {} if videos is None else videos.per_class,
        },
        "errors": {
            "frames": None if scores.frame_errors is None else scores.frame_errors.to_dict(),
            "tubes": None if scores.tube_errors is None else scores.tube_errors.to_dict(),
        },
        "counts": {
            "frames": next((result.counts for result in frames.values() if result), None),
            "tubes": None if videos is None else videos.counts,
        },
        "version": __version__,
    }


def table(scores: Scores) -> str:
    """Aligned text of all results."""
    parts: list[str] = []
    if scores.frames:
        parts.append(_frame_table(scores))
    if scores.frame_errors is not None:
        parts.append(scores.frame_errors.breakdown.table())
    if scores.tubes is not None:
        parts.append(scores.tubes.table())
    if scores.tube_errors is not None:
        parts.append(scores.tube_errors.breakdown.table())
    return "\n\n".join(parts)


def _frame_table(scores: Scores) -> str:
    names = next(iter(scores.frames.values())).per_class
    width = max(len(name) for name in (*names, "class", "mean"))
    keys = [threshold_name(iou) for iou in scores.frames]
    title = f"{'class':<{width}}" + "".join(f"{key:>10}" for key in keys)
    rule = "-" * len(title)
    lines = [f"{scores.protocol}: frame-mAP by IoU", rule, title, rule]
    for name in names:
        values = [result.per_class[name] for result in scores.frames.values()]
        lines.append(f"{name:<{width}}" + "".join(f"{per_cent(value):>10}" for value in values))
    means = "".join(f"{per_cent(result.mean):>10}" for result in scores.frames.values())
    return "\n".join([*lines, rule, f"{'mean':<{width}}{means}"])

"""`stad-eval report`: one self-contained page of what was scored."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stad_eval.commands.ava_inputs import add_labelmap, read_ava_inputs
from stad_eval.commands.output import add_force, fitted, report_findings
from stad_eval.commands.scored_pair import on_keyframes
from stad_eval.commands.tube_detections import add_detections, read_detections
from stad_eval.commands.tube_inputs import add_corners, read_truth
from stad_eval.commands.tubes import findings, refuse_untubed, split_of
from stad_eval.evidence import frame_evidence_of, tube_evidence_of
from stad_eval.formats.files import replaced
from stad_eval.frame import frame_maps_of
from stad_eval.frame_errors import frame_errors_of
from stad_eval.frame_matches import frame_matches
from stad_eval.frame_result import FrameResult
from stad_eval.frame_rows import NO_FRAMES
from stad_eval.input_error import InputError
from stad_eval.protocols import frame_protocol
from stad_eval.tables import Boxes
from stad_eval.tube_errors import tube_errors_of
from stad_eval.tube_matches import tube_matches
from stad_eval.tube_protocols import tube_protocol
from stad_eval.tube_tables import Tubes
from stad_eval.video import video_map_of

if TYPE_CHECKING:
    from stad_eval.result_page import Scored

NAME = "report"
HELP = "Write one HTML page: curves, bars, errors, worst videos (needs the extra 'report')."
EXAMPLE = """  stad-eval report --groundtruth ava_val_v2.2.csv --detections detections.csv \\
    --labelmap ava_action_list_v2.2.pbtxt --protocol ava-v2.2 --output report.html
  stad-eval report --groundtruth UCF101v2-GT.pkl --frame-detections frame_detections.pkl \\
    --tube-detections video_detections.pkl --protocol ucf24 --output report.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--groundtruth", type=Path, required=True, help="AVA's CSV, or ground truth of tubes"
    )
    parser.add_argument("--detections", type=Path, help="AVA's CSV of detections")
    add_labelmap(parser, required=False)
    add_detections(parser)
    parser.add_argument("--split", type=int, help="split of a pickle that holds several")
    add_corners(parser)
    parser.add_argument("--protocol", required=True, help="as of 'stad-eval ava' or 'tubes'")
    parser.add_argument("--iou", type=float, default=0.5, help="IoU threshold (default: 0.5)")
    parser.add_argument("--title", default="Evaluation", help="heading of the page")
    parser.add_argument("--output", type=Path, required=True, help="the HTML file to write")
    add_force(parser)


def run(options: argparse.Namespace) -> None:
    """Score the files and write the page.

    Raises:
        InputError: if an input is wrong, or matplotlib or jinja2 is missing.
    """
    try:
        from stad_eval.result_page import result_page
    except ImportError:
        raise InputError(
            "the page needs matplotlib and jinja2", remedy="pip install 'stad-eval[report]'"
        ) from None
    scored = _keyframes(options) if on_keyframes(options.protocol) else _dense(options)
    text = result_page(options.title, scored)
    with replaced(options.output) as stream:
        stream.write(text)
    sys.stderr.write(f"wrote {options.output}\n")


def _keyframes(options: argparse.Namespace) -> "list[Scored]":
    frame_protocol(options.protocol)
    if options.labelmap is None or options.detections is None:
        raise InputError(
            f"protocol '{options.protocol}' needs more files",
            expected="--detections FILE and --labelmap FILE",
        )
    inputs = read_ava_inputs(
        options.groundtruth,
        [options.detections],
        options.labelmap,
        options.exclude,
        force=options.force,
    )
    return [_frames(inputs.truth, inputs.found[0], options, inputs.exclude)]


def _dense(options: argparse.Namespace) -> "list[Scored]":
    refuse_untubed(options.protocol)
    if options.detections is not None:
        raise InputError(
            "--detections is for AVA's files",
            expected="--frame-detections, --tube-detections or --tubelets",
        )
    split = split_of(options.protocol, options.split)
    truth = read_truth(options.groundtruth, split=split, corners=options.corners)
    boxes, found = truth.boxes(), read_detections(options, truth)
    report_findings(findings(truth, boxes, found), force=options.force)
    scored: list[Scored] = []
    if found.frames is not None:
        scored.append(_frames(boxes, found.frames, options, NO_FRAMES))
    if found.tubes is not None and not options.protocol.endswith("+realtime"):
        scored.append(_tubes(truth.tubes, found.tubes, options))
    return scored


def _frames(
    truth: Boxes,
    found: Boxes,
    options: argparse.Namespace,
    exclude: frozenset[tuple[str, int]],
) -> "Scored":
    from stad_eval.result_page import Scored

    iou = options.iou
    rules = frame_protocol(options.protocol)
    rules = fitted(rules, truth.classes, found.box, force=options.force)
    matches = frame_matches(truth, found, rules, ious=(iou,), exclude=exclude, surroundings=True)
    return Scored(
        name="frame",
        result=frame_maps_of(matches)[iou],
        errors=frame_errors_of(matches, iou=iou),
        evidence=frame_evidence_of(matches, iou=iou),
    )


def _tubes(truth: Tubes, found: Tubes, options: argparse.Namespace) -> "Scored":
    from stad_eval.result_page import Scored

    iou = options.iou
    rules = tube_protocol(options.protocol)
    rules = fitted(rules, truth.classes, found.box, force=options.force)
    matches = tube_matches(truth, found, rules, iou=(iou,))
    result = video_map_of(matches, iou=(iou,))
    key = next(iter(result.mean))
    return Scored(
        name="video",
        # One threshold of tubes has the form of a result of frames.
        result=FrameResult(
            protocol=result.protocol,
            iou=iou,
            mean=result.mean[key],
            per_class=result.per_class[key],
            counts=result.counts,
            curves=result.curves[key],
        ),
        errors=tube_errors_of(matches, iou=iou),
        evidence=tube_evidence_of(matches, iou=iou),
    )

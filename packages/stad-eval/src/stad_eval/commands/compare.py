"""`stad-eval compare`: two detectors on the same ground truth, and how sure the difference is."""

import argparse
from pathlib import Path

from stad_eval.bootstrap import Comparison, Interval
from stad_eval.bootstrap import compare as compared
from stad_eval.commands.output import (
    add_json,
    defined,
    dumped,
    per_cent,
    with_classes_of,
    with_inverted_kept,
    write_result,
)
from stad_eval.commands.scored_pair import FrameInputs, add_inputs, read_inputs
from stad_eval.evidence import Evidence, frame_evidence, tube_evidence
from stad_eval.protocols import frame_protocol
from stad_eval.tube_protocols import tube_protocol
from stad_eval.version import __version__

NAME = "compare"
HELP = "Compare two detectors by paired bootstrap over videos."
EXAMPLE = """  stad-eval compare a.csv b.csv --groundtruth ava_val_v2.2.csv \\
    --labelmap ava_action_list_v2.2.pbtxt --protocol ava-v2.2
  stad-eval compare a.pkl b.pkl --groundtruth UCF101v2-GT.pkl --protocol ucf24 --metric video"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    for name, text in (("A", "detections of one detector"), ("B", "detections of the other")):
        parser.add_argument(name.lower(), metavar=name, type=Path, help=text)
    add_inputs(parser, required=True)
    parser.add_argument("--protocol", required=True, help="as of 'stad-eval ava' or 'tubes'")
    parser.add_argument(
        "--metric",
        choices=("frame", "video"),
        default="frame",
        help="frame-mAP of boxes, or video-mAP of tubes (default: frame)",
    )
    parser.add_argument("--samples", type=int, default=1000, help="draws of videos (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Score both, compare and write the result.

    Raises:
        InputError: if an input is wrong.
    """
    first, second = evidence(options)
    result = compared(first, second, samples=options.samples, seed=options.seed)
    write_result(options.json, dumped(_content(options, result)), _table(options, result))


def evidence(options: argparse.Namespace) -> tuple[Evidence, Evidence]:
    """What each video adds to the number of either detector.

    Raises:
        InputError: if an input is wrong.
    """
    tubes = options.metric == "video"
    inputs = read_inputs(options, options.protocol, [options.a, options.b], tubes=tubes)
    iou, sides = options.iou, list[Evidence]()
    if isinstance(inputs, FrameInputs):
        rules = with_classes_of(frame_protocol(options.protocol), inputs.truth.classes)
        for each in inputs.found:
            kept = with_inverted_kept(rules, each.box) if options.force else rules
            sides.append(frame_evidence(inputs.truth, each, kept, iou=iou, exclude=inputs.exclude))
    else:
        rules = with_classes_of(tube_protocol(options.protocol), inputs.truth.classes)
        for each in inputs.found:
            kept = with_inverted_kept(rules, each.box) if options.force else rules
            sides.append(tube_evidence(inputs.truth, each, kept, iou=iou))
    return sides[0], sides[1]


def _content(options: argparse.Namespace, result: Comparison) -> dict[str, object]:
    return {
        "protocol": options.protocol,
        "metric": f"{options.metric}_mAP",
        "iou": options.iou,
        "A": _interval(result.first),
        "B": _interval(result.second),
        "difference": _interval(result.difference),
        "p": result.share,
        "level": result.first.level,
        "samples": int(result.first.draws.size),
        "seed": options.seed,
        "videos": result.first.videos,
        "version": __version__,
    }


def _interval(each: Interval) -> dict[str, float | None]:
    return {"mAP": defined(each.mean), "low": defined(each.low), "high": defined(each.high)}


def _table(options: argparse.Namespace, result: Comparison) -> str:
    rows = (("A", result.first), ("B", result.second), ("B - A", result.difference))
    lines = [
        f"{options.protocol}, {options.metric}-mAP at IoU {options.iou:g}, "
        f"{result.first.videos} videos, {result.first.draws.size} draws",
        f"{'':<8}{'mAP':>8}{'from':>10}{'to':>10}   ({100.0 * result.first.level:g} %)",
    ]
    for name, each in rows:
        cells = f"{per_cent(each.mean):>8}{per_cent(each.low):>10}{per_cent(each.high):>10}"
        lines.append(f"{name:<8}{cells}")
    verdict = "B differs from A" if result.share < 0.05 else "no difference beyond chance"
    return "\n".join([*lines, f"p {result.share:.3f}: {verdict}"])

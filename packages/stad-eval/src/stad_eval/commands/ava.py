"""`stad-eval ava`: frame-mAP of AVA's CSV files."""

import argparse
from pathlib import Path

from stad_eval.commands.ava_inputs import add_labelmap, read_ava_inputs
from stad_eval.commands.output import (
    add_force,
    add_json,
    with_inverted_kept,
    write_result,
)
from stad_eval.frame import frame_map
from stad_eval.protocols import frame_protocol

NAME = "ava"
HELP = "Frame-mAP of detections on AVA's keyframes."
EXAMPLE = """  stad-eval ava --groundtruth ava_val_v2.2.csv --detections detections.csv \\
    --labelmap ava_action_list_v2.2.pbtxt --exclude ava_val_excluded_timestamps_v2.2.csv \\
    --protocol ava-v2.2 --json result.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--groundtruth", type=Path, required=True, help="AVA's CSV of ground truth")
    parser.add_argument(
        "--detections",
        type=Path,
        required=True,
        help="CSV of video,timestamp,x1,y1,x2,y2,action_id,score with normalised boxes",
    )
    add_labelmap(parser, required=True)
    parser.add_argument(
        "--protocol",
        default="ava-v2.2",
        help="ava-v2.1, ava-v2.2 or keyframes, alone or with +activitynet, +pyslowfast, +mmaction2"
        " (default: ava-v2.2)",
    )
    parser.add_argument("--iou", type=float, default=0.5, help="IoU threshold (default: 0.5)")
    add_force(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Score the files and write the result.

    Raises:
        InputError: if an input is wrong.
    """
    protocol = frame_protocol(options.protocol)
    inputs = read_ava_inputs(
        options.groundtruth,
        [options.detections],
        options.labelmap,
        options.exclude,
        force=options.force,
    )
    if options.force:
        protocol = with_inverted_kept(protocol, inputs.found[0].box)
    result = frame_map(
        inputs.truth, inputs.found[0], protocol, iou=options.iou, exclude=inputs.exclude
    )
    write_result(options.json, result.to_json(), result.table())

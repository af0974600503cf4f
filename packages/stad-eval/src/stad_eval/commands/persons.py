"""`stad-eval persons`: AP of persons whatever they do, by COCO's evaluation."""

import argparse
from pathlib import Path

from stad_eval.commands.ava_inputs import add_labelmap, read_ava_inputs
from stad_eval.commands.output import add_force, add_json, report_findings, write_result
from stad_eval.commands.tube_inputs import add_corners, read_found_boxes, read_truth
from stad_eval.person_localisation import person_ap
from stad_eval.preflight import check_boxes

NAME = "persons"
HELP = "AP of persons, actions aside (needs the extra 'coco')."
EXAMPLE = """  stad-eval persons --groundtruth ava_val_v2.2.csv --detections detections.csv \\
    --labelmap ava_action_list_v2.2.pbtxt --json persons.json
  stad-eval persons --groundtruth UCF101v2-GT.pkl --detections frame_detections.pkl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--groundtruth", type=Path, required=True, help="AVA's CSV, or ground truth of tubes"
    )
    parser.add_argument(
        "--detections", type=Path, required=True, help="AVA's CSV, or detections on frames"
    )
    add_labelmap(parser, required=False)
    add_corners(parser)
    add_force(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Score the files and write the result.

    Raises:
        InputError: if an input is wrong, or pycocotools is missing.
    """
    if options.labelmap is not None:
        inputs = read_ava_inputs(
            options.groundtruth,
            [options.detections],
            options.labelmap,
            options.exclude,
            force=options.force,
        )
        result = person_ap(inputs.truth, inputs.found[0], exclude=inputs.exclude)
    else:
        truth = read_truth(options.groundtruth, corners=options.corners)
        boxes, found = truth.boxes(), read_found_boxes(options.detections, truth)
        report_findings(check_boxes(boxes, found), force=options.force)
        result = person_ap(boxes, found)
    write_result(options.json, result.to_json(), result.table())

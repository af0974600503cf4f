"""Inputs of commands that take AVA's files as well as those of dense annotation."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from stad_eval.commands.ava_inputs import add_labelmap, read_ava_inputs
from stad_eval.commands.output import add_force, report_findings
from stad_eval.commands.tube_inputs import (
    add_corners,
    read_found_boxes,
    read_found_tubes,
    read_truth,
)
from stad_eval.commands.tubes import split_of
from stad_eval.input_error import InputError
from stad_eval.preflight import Finding, check_boxes, check_past_end, check_tubes
from stad_eval.protocols import KEYFRAME_BASES
from stad_eval.tables import Boxes
from stad_eval.tube_tables import Tubes


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameInputs:
    """Ground truth and detections on frames."""

    truth: Boxes
    found: tuple[Boxes, ...]
    exclude: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class TubeInputs:
    """Ground truth and detections of tubes."""

    truth: Tubes
    found: tuple[Tubes, ...]


def add_inputs(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The options that name ground truth and how it is read."""
    parser.add_argument(
        "--groundtruth", type=Path, required=required, help="AVA's CSV, or ground truth of tubes"
    )
    add_labelmap(parser, required=False)
    parser.add_argument("--split", type=int, help="split of a pickle that holds several")
    add_corners(parser)
    parser.add_argument("--iou", type=float, default=0.5, help="IoU threshold (default: 0.5)")
    add_force(parser)


def on_keyframes(protocol: str) -> bool:
    """Whether a protocol is one of AVA's files."""
    return protocol.partition("+")[0] in {each.name for each in KEYFRAME_BASES}


def read_inputs(
    options: argparse.Namespace, protocol: str, paths: list[Path], *, tubes: bool
) -> FrameInputs | TubeInputs:
    """Read ground truth and detections as the protocol needs them, and look for mistakes.

    Raises:
        InputError: if a file cannot be read, an option is missing, or on likely mistakes.
    """
    if options.groundtruth is None:
        raise InputError("no ground truth", expected="--groundtruth FILE")
    if on_keyframes(protocol):
        if options.labelmap is None:
            raise InputError(f"protocol '{protocol}' needs a label map", expected="--labelmap FILE")
        if tubes:
            raise InputError(f"protocol '{protocol}' has no tubes", expected="--metric frame")
        inputs = read_ava_inputs(
            options.groundtruth, paths, options.labelmap, options.exclude, force=options.force
        )
        return FrameInputs(truth=inputs.truth, found=inputs.found, exclude=inputs.exclude)
    split = split_of(protocol, options.split)
    truth = read_truth(options.groundtruth, split=split, corners=options.corners)
    findings: list[Finding] = []
    if tubes:
        found_tubes = tuple(read_found_tubes(path, truth) for path in paths)
        for each in found_tubes:
            findings += check_tubes(truth, each)
        report_findings(findings, force=options.force)
        return TubeInputs(truth=truth.tubes, found=found_tubes)
    boxes = truth.boxes()
    found = tuple(read_found_boxes(path, truth) for path in paths)
    for each in found:
        findings += check_boxes(boxes, each)
        findings += check_past_end(truth, each)
    report_findings(findings, force=options.force)
    return FrameInputs(truth=boxes, found=found)

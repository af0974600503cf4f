"""Detections of dense annotation: boxes on frames, tubes, or tubelets to be linked."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from stad_eval.commands.tube_inputs import read_found_boxes, read_found_tubes
from stad_eval.formats.tubelet_files import TubeletFiles, read_tubelets
from stad_eval.input_error import InputError
from stad_eval.linking import link
from stad_eval.mmaction2_linking import mmaction2_tubes
from stad_eval.suppression import Suppression
from stad_eval.tables import Boxes
from stad_eval.tube_tables import TubeFile, Tubes, stack_tubes
from stad_eval.tubelet_linking import (
    ACT_FRAME_NMS,
    ACT_LINKING,
    MOC_FRAME_NMS,
    MOC_LINKING,
    TubeletLinking,
    link_tubelets,
)
from stad_eval.tubelets import frame_boxes


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundTubes:
    """What was detected.

    Attributes:
        frames: boxes on frames, if there are any to be scored.
        tubes: tubes, if there are any to be scored.
        linked: whether the tubes were linked here, from boxes or tubelets.
    """

    frames: Boxes | None
    tubes: Tubes | None
    linked: bool


def add_detections(parser: argparse.ArgumentParser) -> None:
    """The options that name detections, and how they are linked."""
    parser.add_argument(
        "--frame-detections",
        type=Path,
        help="boxes on frames: rows of video index, frame, label, score, x1, y1, x2, y2 (pickle, "
        "npz), or our JSON",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--tube-detections",
        type=Path,
        help="tubes: MultiSports' pickle, 3D-RetinaNet's, a folder of ACT's, or our JSON or npz",
    )
    either.add_argument(
        "--tubelets",
        type=Path,
        help="folder of tubelets (MOC, ACT), or an npz, to be linked",
    )
    add_linker(parser)


def add_linker(parser: argparse.ArgumentParser) -> None:
    """The option `--linker`."""
    parser.add_argument(
        "--linker",
        choices=("act", "viterbi"),
        default="act",
        help="how boxes or tubelets become tubes where no tubes are given (default: act, by the "
        "options of the protocol's variant)",
    )


def read_detections(options: argparse.Namespace, truth: TubeFile) -> FoundTubes:
    """Read the detections, and link them where there are no tubes yet.

    Tubelets are suppressed and linked as the variant of the protocol does. Without detections on
    frames, their boxes are scored on frames; tubes alone leave frames out.

    Raises:
        InputError: if no detections are named, or a file cannot be read.
    """
    frames = None
    if options.frame_detections is not None:
        frames = read_found_boxes(options.frame_detections, truth)
    if options.tube_detections is not None:
        tubes = read_found_tubes(options.tube_detections, truth)
        return FoundTubes(frames=frames, tubes=tubes, linked=False)
    if options.tubelets is not None:
        files = read_tubelets(
            options.tubelets,
            videos=truth.tubes.videos,
            classes=truth.tubes.classes,
            frame_counts=truth.frame_counts,
        )
        return _of_tubelets(files, frames, options.protocol, options.linker, truth)
    if frames is None:
        raise InputError(
            "no detections",
            expected="--frame-detections, --tube-detections or --tubelets",
            found="none of them",
        )
    tubes = linked(frames, options.linker, truth, options.protocol)
    return FoundTubes(frames=frames, tubes=tubes, linked=True)


def linked(frames: Boxes, linker: str, truth: TubeFile, protocol: str) -> Tubes:
    """Tubes of boxes on frames; videos are those of the ground truth, then others.

    `+mmaction2` links them itself, unless the linker is "viterbi".
    """
    if linker == "act" and protocol.endswith("+mmaction2"):
        return mmaction2_tubes(frames)
    tubes = link(frames, linker="viterbi" if linker == "viterbi" else "act")
    videos = dict.fromkeys((*truth.tubes.videos, *frames.videos))
    return stack_tubes(tubes, classes=frames.classes, videos=tuple(videos))


def _of_tubelets(
    files: TubeletFiles, frames: Boxes | None, protocol: str, linker: str, truth: TubeFile
) -> FoundTubes:
    linking, suppression = _as_variant(protocol)
    boxes = frame_boxes(files.framed, suppression)
    if linker == "viterbi":
        tubes = linked(boxes, linker, truth, protocol)
    else:
        tubes = stack_tubes(
            link_tubelets(files.linked, linking),
            classes=truth.tubes.classes,
            videos=truth.tubes.videos,
        )
    return FoundTubes(frames=boxes if frames is None else frames, tubes=tubes, linked=True)


def _as_variant(protocol: str) -> tuple[TubeletLinking, Suppression]:
    variant = protocol.partition("+")[2]
    if variant == "moc":
        return MOC_LINKING, MOC_FRAME_NMS
    if variant == "act":
        return ACT_LINKING, ACT_FRAME_NMS
    return TubeletLinking(), replace(MOC_FRAME_NMS, convention="half-open")

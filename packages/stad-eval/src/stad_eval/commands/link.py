"""`stad-eval link`: boxes on frames, or tubelets, to tubes."""

import argparse
import sys
from pathlib import Path

from stad_eval.commands.tube_detections import add_linker, read_detections
from stad_eval.commands.tube_inputs import read_truth
from stad_eval.commands.tubes import add_truth, split_of
from stad_eval.formats.multisports import write_multisports_tubes
from stad_eval.formats.tubes_json import write_tubes_json
from stad_eval.formats.tubes_npz import write_tubes_npz
from stad_eval.input_error import InputError
from stad_eval.tube_tables import TubeFile

NAME = "link"
HELP = "Link boxes on frames, or tubelets, to tubes and write them."
EXAMPLE = """  stad-eval link --groundtruth UCF101v2-GT.pkl \\
    --frame-detections frame_detections.pkl --linker viterbi --output tubes.json
  stad-eval link --groundtruth UCF101v2-GT.pkl --tubelets inference_dir --protocol ucf24+moc \\
    --output tubes.pkl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_truth(parser)
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--frame-detections", type=Path, help="boxes on frames (pickle, npz, JSON)")
    either.add_argument("--tubelets", type=Path, help="folder of tubelets (MOC, ACT), or an npz")
    add_linker(parser)
    parser.add_argument(
        "--protocol",
        default="dense",
        help="tubelets are linked as its variant does, +moc or +act, boxes as +mmaction2 does "
        "(default: strict)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="tubes by the name's ending: .json or .npz (ours), .pkl (MultiSports')",
    )
    parser.set_defaults(tube_detections=None)


def run(options: argparse.Namespace) -> None:
    """Link and write.

    Raises:
        InputError: if an input is wrong.
    """
    if options.output.suffix not in (".json", ".npz", ".pkl"):
        raise InputError(
            "unknown kind of file to write",
            path=options.output,
            expected="a name that ends in .json, .npz or .pkl",
        )
    split = split_of(options.protocol, options.split)
    truth = read_truth(options.groundtruth, split=split, corners=options.corners)
    tubes = read_detections(options, truth).tubes
    if tubes is None:
        raise InputError("no detections to link")
    known = set(tubes.videos)
    content = TubeFile(
        tubes=tubes,
        frame_counts={name: n for name, n in truth.frame_counts.items() if name in known},
        sizes={name: size for name, size in truth.sizes.items() if name in known},
    )
    if options.output.suffix == ".json":
        write_tubes_json(options.output, content)
    elif options.output.suffix == ".npz":
        write_tubes_npz(options.output, content)
    else:
        write_multisports_tubes(options.output, tubes)
    sys.stderr.write(f"{len(tubes)} tubes in {options.output}\n")

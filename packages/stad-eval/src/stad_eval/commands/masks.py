"""`stad-eval masks`: J and F of masks of objects."""

import argparse
from pathlib import Path

from stad_eval.commands.output import add_json, write_result
from stad_eval.formats.youtube_vos_meta import read_youtube_vos_classes
from stad_eval.mask_scoring import score_masks

NAME = "masks"
HELP = "Region and boundary measures (J, F) of masks: DAVIS 2017 and YouTube-VOS."
EXAMPLE = """  stad-eval masks --groundtruth DAVIS/Annotations/480p --results results \\
    --protocol davis2017 --json result.json
  stad-eval masks --groundtruth valid/Annotations --results results --protocol youtube-vos \\
    --classes valid/meta.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    for name, text in (("groundtruth", "ground truth"), ("results", "results")):
        parser.add_argument(
            f"--{name}",
            type=Path,
            required=True,
            help=f"folder of {text}: <video>/<frame>.png, index masks",
        )
    parser.add_argument(
        "--protocol",
        default="davis2017",
        help="davis2017, davis2017-unsupervised (either with +official) or youtube-vos"
        " (default: davis2017)",
    )
    parser.add_argument("--classes", type=Path, help="YouTube-VOS' meta.json: classes of objects")
    parser.add_argument(
        "--missing",
        choices=("refused", "empty"),
        default="refused",
        help="what missing masks are (default: refused)",
    )
    parser.add_argument("--videos", nargs="+", help="only these videos (default: all)")
    parser.add_argument("--workers", type=int, help="threads (default: one per processor)")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Score the folders and write the result.

    Raises:
        InputError: if an input is wrong.
    """
    result = score_masks(
        options.groundtruth,
        options.results,
        options.protocol,
        videos=options.videos,
        classes=None if options.classes is None else read_youtube_vos_classes(options.classes),
        missing=options.missing,
        workers=options.workers,
    )
    write_result(options.json, result.to_json(), result.table())

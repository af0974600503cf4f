"""`stad-eval explain`: the options in which two protocols differ, and what each one moves."""

import argparse
from pathlib import Path

from stad_eval.commands.output import add_json, defined, dumped, fitted, write_result
from stad_eval.commands.scored_pair import (
    FrameInputs,
    TubeInputs,
    add_inputs,
    on_keyframes,
    read_inputs,
)
from stad_eval.explain import (
    Difference,
    Explanation,
    differences,
    explain_frames,
    explain_options,
)
from stad_eval.formats.youtube_vos_meta import read_youtube_vos_classes
from stad_eval.input_error import InputError
from stad_eval.mask_protocols import MASK_PROTOCOLS, MaskProtocol, mask_protocol
from stad_eval.mask_scoring import score_masks
from stad_eval.protocols import FrameProtocol, frame_protocol
from stad_eval.tube_protocols import TubeProtocol, tube_protocol
from stad_eval.version import __version__
from stad_eval.video import video_map

NAME = "explain"
HELP = "Say which options of two protocols differ, and how many points each moves."
EXAMPLE = """  stad-eval explain ava-v2.2 ava-v2.2+pyslowfast
  stad-eval explain ava-v2.2 ava-v2.2+pyslowfast --groundtruth ava_val_v2.2.csv \\
    --detections detections.csv --labelmap ava_action_list_v2.2.pbtxt
  stad-eval explain ucf24 ucf24+moc --groundtruth UCF101v2-GT.pkl \\
    --tube-detections video_detections.pkl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("first", metavar="A", help="a protocol")
    parser.add_argument("second", metavar="B", help="another protocol")
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--detections",
        "--frame-detections",
        dest="detections",
        type=Path,
        help="detections on frames: AVA's CSV, or as of 'stad-eval tubes'; or a folder of masks",
    )
    either.add_argument("--tube-detections", type=Path, help="tubes, as of 'stad-eval tubes'")
    add_inputs(parser, required=False)
    parser.add_argument("--classes", type=Path, help="YouTube-VOS' meta.json: classes of objects")
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Compare the protocols and write what differs.

    Raises:
        InputError: if an input is wrong.
    """
    names = (options.first, options.second)
    kinds = [_kind(name) for name in names]
    if kinds[0] != kinds[1]:
        raise InputError(
            "these protocols read different files",
            expected="two protocols of keyframes, two of dense annotation, or two of masks",
            found=" and ".join(names),
        )
    if kinds[0] == "masks":
        masks, others = (mask_protocol(name) for name in names)
        explained = _of_masks(options, masks, others)
    elif options.tube_detections is not None:
        first, second = (tube_protocol(name) for name in names)
        explained = _of_tubes(options, first, second)
    else:
        one, other = (frame_protocol(name) for name in names)
        explained = _of_frames(options, one, other)
    if isinstance(explained, Explanation):
        write_result(options.json, dumped(_content(explained)), _table(explained))
    else:
        write_result(options.json, dumped(_options(names, explained)), _plain(names, explained))


def _kind(name: str) -> str:
    """What files a protocol reads.

    Raises:
        InputError: on an unknown protocol.
    """
    if name in {each.name for each in MASK_PROTOCOLS}:
        return "masks"
    frame_protocol(name)
    return "keyframes" if on_keyframes(name) else "dense"


def _of_masks(
    options: argparse.Namespace, first: MaskProtocol, second: MaskProtocol
) -> Explanation | tuple[Difference, ...]:
    truth, found = options.groundtruth, options.detections
    if found is None:
        return differences(first, second)
    if truth is None:
        raise InputError("no ground truth", expected="--groundtruth FOLDER")
    classes = None if options.classes is None else read_youtube_vos_classes(options.classes)
    return explain_options(
        first, second, lambda rules: score_masks(truth, found, rules, classes=classes).mean
    )


def _of_frames(
    options: argparse.Namespace, first: FrameProtocol, second: FrameProtocol
) -> Explanation | tuple[Difference, ...]:
    if options.detections is None:
        return differences(first, second)
    inputs = read_inputs(options, first.name, [options.detections], tubes=False)
    if not isinstance(inputs, FrameInputs):
        raise InputError("these files hold no detections on frames")
    truth, found = inputs.truth, inputs.found[0]
    first, second = (
        fitted(each, truth.classes, found.box, force=options.force) for each in (first, second)
    )
    return explain_frames(truth, found, first, second, iou=options.iou, exclude=inputs.exclude)


def _of_tubes(
    options: argparse.Namespace, first: TubeProtocol, second: TubeProtocol
) -> Explanation:
    inputs = read_inputs(options, first.name, [options.tube_detections], tubes=True)
    if not isinstance(inputs, TubeInputs):
        raise InputError("these files hold no tubes")
    truth, found = inputs.truth, inputs.found[0]
    first, second = (
        fitted(each, truth.classes, found.box, force=options.force) for each in (first, second)
    )

    def mean(protocol: TubeProtocol) -> float:
        return next(iter(video_map(truth, found, protocol, iou=(options.iou,)).mean.values()))

    return explain_options(first, second, mean)


def _content(explained: Explanation) -> dict[str, object]:
    return {
        "protocols": list(explained.names),
        "mAP": [defined(value) for value in explained.values],
        "options": [
            {
                "option": each.difference.option,
                "values": [_short(each.difference.first), _short(each.difference.second)],
                "moves_first": defined(each.first),
                "moves_second": defined(each.second),
                "obstacle": each.obstacle,
            }
            for each in explained.effects
        ],
        "version": __version__,
    }


def _options(names: tuple[str, str], found: tuple[Difference, ...]) -> dict[str, object]:
    return {
        "protocols": list(names),
        "mAP": [None, None],
        "options": [
            {
                "option": each.option,
                "values": [_short(each.first), _short(each.second)],
                "moves_first": None,
                "moves_second": None,
                "obstacle": None,
            }
            for each in found
        ],
        "version": __version__,
    }


def _table(explained: Explanation) -> str:
    values = " and ".join(
        f"{name}: {'-' if value is None else f'{100.0 * value:.2f}'}"
        for name, value in zip(explained.names, explained.values, strict=True)
    )
    rows = [
        (
            each.difference.option,
            str(_short(each.difference.first)),
            str(_short(each.difference.second)),
            _points(each.first),
            _points(each.second),
        )
        for each in explained.effects
    ]
    head = ("option", explained.names[0], explained.names[1], "moves A by", "moves B by")
    obstacles = dict.fromkeys(each.obstacle for each in explained.effects if each.obstacle)
    notes = [f"- no number: {each}" for each in obstacles]
    return "\n".join([values, *_columns([head, *rows]), *notes])


def _plain(names: tuple[str, str], found: tuple[Difference, ...]) -> str:
    rows = [(each.option, str(_short(each.first)), str(_short(each.second))) for each in found]
    if not rows:
        return f"{names[0]} and {names[1]} do not differ"
    return "\n".join(_columns([("option", *names), *rows]))


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _points(value: float | None) -> str:
    return "-" if defined(value) is None else f"{100.0 * (value or 0.0):+.2f}"


def _short(value: object) -> object:
    """A value of an option as it may be shown: long lists of names by their number."""
    if isinstance(value, tuple) and len(value) > 3:
        return f"{len(value)} names"
    return list(value) if isinstance(value, tuple) else value

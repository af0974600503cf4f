"""What commands write: a result to a file or to standard output, notes to standard error."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stad_eval.formats.files import replaced
from stad_eval.preflight import Finding, stop_on_mistakes
from stad_eval.protocols import FrameProtocol
from stad_eval.tube_protocols import TubeProtocol

P = TypeVar("P", FrameProtocol, TubeProtocol)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option `--json`."""
    parser.add_argument(
        "--json", metavar="FILE", help="write the result as JSON; '-' is standard output"
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """The option `--force`."""
    parser.add_argument(
        "--force", action="store_true", help="go on where the files look like a mistake"
    )


def write_result(target: str | None, content: Mapping[str, object] | str, table: str) -> None:
    """Write JSON to a file, whole or not at all, or to standard output; without target, a table.

    Raises:
        InputError: if the folder of the file does not exist.
        OSError: if it cannot be written.
    """
    if target is None:
        sys.stdout.write(f"{table}\n")
        return
    text = content if isinstance(content, str) else dumped(content)
    if target == "-":
        sys.stdout.write(f"{text}\n")
        return
    with replaced(target) as stream:
        stream.write(f"{text}\n")


def dumped(content: Mapping[str, object]) -> str:
    """JSON text; numbers that are not finite have to be None."""
    return json.dumps(content, indent=2, allow_nan=False)


def defined(value: float | None) -> float | None:
    """None for NaN, as JSON has no such number."""
    return None if value is None or math.isnan(value) else float(value)


def per_cent(value: float | None) -> str:
    """A fraction in per cent, or a dash."""
    return "-" if value is None or math.isnan(value) else f"{100.0 * value:.2f}"


def with_inverted_kept(protocol: P, box: NDArray[np.float64]) -> P:
    """The protocol, but that inverted boxes are false positives where it would refuse them.

    Says on standard error if there are any.
    """
    inverted = bool((box[:, 2:] < box[:, :2]).any())
    if protocol.inverted != "refused" or not inverted:
        return protocol
    sys.stderr.write("note: detections with an inverted box count as false positives\n")
    return replace(protocol, inverted="kept")


def with_classes_of(protocol: P, classes: Sequence[str]) -> P:
    """The protocol, but with the ground truth's classes where it knows none of them.

    So files of renamed or made-up classes can be scored by any protocol; says so on standard error.
    Ground truth of which it knows some classes is left to the protocol, which refuses the others.
    """
    known = None if protocol.classes is None else {*protocol.classes, *protocol.ignored_classes}
    if known is None or not classes or not known.isdisjoint(classes):
        return protocol
    sys.stderr.write(
        f"note: protocol '{protocol.name}' knows none of the classes of the ground truth "
        f"({classes[0]}, ...): those of the ground truth are evaluated\n"
    )
    return replace(protocol, classes=None, ignored_classes=())


def fitted(protocol: P, classes: Sequence[str], box: NDArray[np.float64], *, force: bool) -> P:
    """The protocol as it goes with these files: `with_classes_of`, `force` `with_inverted_kept`."""
    protocol = with_classes_of(protocol, classes)
    return with_inverted_kept(protocol, box) if force else protocol


def report_findings(findings: Sequence[Finding], *, force: bool) -> None:
    """Say on standard error what preflight found, and stop at likely mistakes unless `force`.

    Raises:
        InputError: saying the likely mistakes.
    """
    for each in findings:
        if force or not each.mistake:
            sys.stderr.write(f"note: {each}\n")
    stop_on_mistakes(findings, force=force)

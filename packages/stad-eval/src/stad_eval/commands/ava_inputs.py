"""The files of AVA that several commands take: ground truth, detections, label map, exclusions."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stad_eval.commands.output import report_findings
from stad_eval.formats.ava_csv import ava_boxes, read_ava_frames
from stad_eval.formats.ava_rows import AvaRows, read_ava_rows
from stad_eval.formats.label_map import LabelMap, read_label_map
from stad_eval.frame_rows import NO_FRAMES
from stad_eval.preflight import EXAMPLES, Finding, check_boxes
from stad_eval.tables import Boxes


@dataclass(frozen=True, kw_only=True, eq=False)
class AvaInputs:
    """Ground truth, detections by the name of their file, and excluded frames."""

    truth: Boxes
    found: tuple[Boxes, ...]
    exclude: frozenset[tuple[str, int]]


def add_labelmap(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The options `--labelmap` and `--exclude`."""
    parser.add_argument(
        "--labelmap", type=Path, required=required, help="AVA's label map (pbtxt, either dialect)"
    )
    parser.add_argument(
        "--exclude", type=Path, help="frames to be left out on both sides (CSV of video,timestamp)"
    )


def read_ava_inputs(
    truth: Path, found: list[Path], labelmap: Path, exclude: Path | None, *, force: bool
) -> AvaInputs:
    """Read the files and look for mistakes; notes go to standard error.

    Actions that the label map lacks are left out on both sides: AVA's files may hold 80 actions,
    of which 60 are evaluated.

    Raises:
        InputError: if a file cannot be read, or on likely mistakes unless `force`.
    """
    names = read_label_map(labelmap)
    excluded = NO_FRAMES if exclude is None else read_ava_frames(exclude)
    true_rows = read_ava_rows(truth)
    findings = _unlisted(true_rows, names, "ground truth")
    true = ava_boxes(true_rows, truth, classes=names, column_8="person", unlisted="skipped")
    del true_rows
    tables: list[Boxes] = []
    for path in found:
        rows = read_ava_rows(path)
        findings += _unlisted(rows, names, "detections")
        table = ava_boxes(rows, path, classes=names, column_8="score", unlisted="skipped")
        del rows
        findings += check_boxes(true, table, exclude=excluded)
        tables.append(table)
    report_findings(findings, force=force)
    return AvaInputs(truth=true, found=tuple(tables), exclude=excluded)


def _unlisted(rows: AvaRows, names: LabelMap, side: str) -> list[Finding]:
    top = max(names.ids) + 1
    counts = np.bincount(np.minimum(rows.action, top), minlength=top + 1)
    listed = np.zeros(top + 1, dtype=np.bool_)
    listed[list(names.ids)] = True
    unlisted = int(counts[~listed].sum())
    if not unlisted:
        return []
    ids = [each for each in np.flatnonzero((counts > 0) & ~listed).tolist() if each < top]
    zero = counts[0] > 0 and 0 not in names.ids
    nothing = unlisted == rows.action.size
    return [
        Finding(
            problem=f"row(s) of the {side} have an action that the label map lacks; left out",
            count=unlisted,
            examples=tuple(f"action {each}" for each in ids[:EXAMPLES]),
            mistake=bool(zero or nothing),
            remedy="Actions count from 1 in AVA's files; do these count from 0?" if zero else None,
        )
    ]

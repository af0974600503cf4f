"""Right tubes and the four kinds of wrong ones, of several runs side by side (CFAD, Fig. 5).

Prints machine and versions, a row per run, and for runs that differ by their seed alone
(`NAME-seed0`, `NAME-seed1`, as studies name them) the median and, in brackets, least and most.

    python benchmarks/cfad_errors.py RUN [RUN ...] --data DATA [--min-score 0]

With runs of `model.options.residual=false` beside such without it is the paper's figure: the branch
of differences reduced wrongly classified tubes by 42 % on UCF101-24 and by 14 % on JHMDB-21.
"""

import argparse
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from measurement import machine
from stad_cli.scoring import score_checkpoint
from stad_eval import tube_errors

KINDS = ("true positive", "wrong class", "bad localisation", "duplicate", "background")
SCORES = ("video_mAP@0.5", "v_MABO")


def numbers_of(run: Path, data: Path | None, least: float) -> list[float]:
    """Two scores in per cent, then how many tubes are of each kind."""
    found = score_checkpoint(run, data=data)
    if found.tube_truth is None or found.tubes is None:
        raise SystemExit(f"{run} finds no tubes")
    counts = tube_errors(
        found.tube_truth, found.tubes, found.protocol, min_score=least
    ).types.counts
    numbers = found.metrics()
    return [*(100 * numbers[name] for name in SCORES), *(counts[kind] for kind in KINDS)]


def in_words(column: int, values: Sequence[float]) -> str:
    """A cell: a number, or the median of several and their spread."""
    digits = 1 if column < len(SCORES) else 0
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(name: str, runs: Sequence[Sequence[float]]) -> str:
    columns = zip(*runs, strict=True)
    cells = [in_words(number, values) for number, values in enumerate(columns)]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--min-score", type=float, default=0.0)
    options = parser.parse_args()
    print(f"{machine()}, torch {torch.__version__}\n")
    print("| run | video-mAP@0.5, % | v-MABO, % | " + " | ".join(KINDS) + " |")
    print("|---" * (1 + len(SCORES) + len(KINDS)) + "|")
    groups: dict[str, list[list[float]]] = defaultdict(list)
    for run in options.runs:
        numbers = numbers_of(run, options.data, options.min_score)
        groups[re.sub(r"-seed\d+$", "", run.name)].append(numbers)
        print(row(run.name, [numbers]), flush=True)
    for name, runs in groups.items():
        if len(runs) > 1:
            print(row(f"{name}, median of {len(runs)}", runs))


if __name__ == "__main__":
    main()

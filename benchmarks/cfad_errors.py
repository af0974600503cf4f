"""Right tubes and the four kinds of wrong ones, of several runs side by side (CFAD, Fig. 5).

    python benchmarks/cfad_errors.py RUN [RUN ...] --data DATA [--min-score 0]

With a run of `model.options.residual=false` beside one without it is the paper's figure: the branch
of differences reduced wrongly classified tubes by 42 % on UCF101-24 and by 14 % on JHMDB-21.
"""

import argparse
from pathlib import Path

from stad_cli.scoring import score_checkpoint
from stad_eval import tube_errors

KINDS = ("true positive", "wrong class", "bad localisation", "duplicate", "background")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--min-score", type=float, default=0.0)
    options = parser.parse_args()
    print("| run | video-mAP@0.5, % | v-MABO, % | " + " | ".join(KINDS) + " |")
    print("|---" * (3 + len(KINDS)) + "|")
    for run in options.runs:
        found = score_checkpoint(run, data=options.data)
        if found.tube_truth is None or found.tubes is None:
            raise SystemExit(f"{run} finds no tubes")
        types = tube_errors(
            found.tube_truth, found.tubes, found.protocol, min_score=options.min_score
        ).types
        numbers = found.metrics()
        counts = " | ".join(str(types.counts[kind]) for kind in KINDS)
        score, cover = 100 * numbers["video_mAP@0.5"], 100 * numbers["v_MABO"]
        print(f"| {run.name} | {score:.1f} | {cover:.1f} | {counts} |")


if __name__ == "__main__":
    main()

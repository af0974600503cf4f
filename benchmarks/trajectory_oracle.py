"""How well polynomials and key timestamps can describe real action tubes: an upper bound.

Every ground-truth tube is fitted as CFAD describes it: boxes relative to the tube's mean box (shift
of the centre, logarithm of the growth), time from 0 to 1, by least squares; and as the spline
through key timestamps of N evenly spaced ones (Eq. 5), and through so many evenly spaced ones. The
overlap of a fit is its mean box IoU over the tube's frames; v-MABO is its mean over the tubes of a
class, averaged over classes. It is about what a detector of tubes of this form can reach at best
(least squares are not the greatest overlap, so that a little more is possible).

    STAD_DATA=DATA python benchmarks/trajectory_oracle.py [--every 1] [--out FOLDER]

`--every 10` looks at every tenth tube alone. `--out` takes a plot and the numbers as JSON.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from stad_data import Dataset, action_tubes
from stad_data.datasets import jhmdb, ucf24
from stad_eval.tubes import Tube
from stad_models import trajectories as curves

ORDERS = range(1, 7)
EPSILONS = (0.8, 0.9)
SMALL = (5, 6, 8)
"""Numbers of timestamps for which exhaustive search takes little time."""
EVENLY = (2, 3, 4, 6, 8, 16)


@dataclass(frozen=True, kw_only=True, eq=False)
class Set:
    """The tubes of a dataset, and how many timestamps CFAD samples of each."""

    name: str
    tubes: tuple[Tube, ...]
    samples: int


def tubes_of(name: str, dataset: Dataset, samples: int, every: int) -> Set:
    found = [tube for video in (*dataset.train, *dataset.test) for tube in action_tubes(video)]
    return Set(name=name, tubes=tuple(found[::every]), samples=samples)


def moved(tube: Tube) -> tuple[torch.Tensor, torch.Tensor]:
    """Times [F] and boxes [F, 4] of a tube, without boxes that have no area."""
    boxes = torch.from_numpy(np.asarray(tube.boxes, np.float64))
    frames = torch.from_numpy(np.asarray(tube.frames, np.float64))
    good = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    span = torch.tensor([[float(frames[0]), float(frames[-1]) + 1]], dtype=torch.float64)
    return curves.normalised_times(frames, span)[0][good], boxes[good]


def polynomial_overlap(tube: Tube, order: int) -> float:
    times, boxes = moved(tube)
    anchor = boxes.mean(dim=0, keepdim=True)
    wanted = curves.encode_tube(boxes[None], anchor)[0]
    fitted = curves.polynomial(curves.fit_polynomial(times, wanted, order), times)
    return float(curves.mean_iou(curves.decode_tube(fitted[None], anchor)[0], boxes))


def spline_overlap(tube: Tube, count: int, epsilon: float | None) -> tuple[float, int]:
    """Overlap and number of timestamps: key ones of `count`, or all of them."""
    times, boxes = moved(tube)
    if epsilon is None:
        keys = torch.ones(count, dtype=torch.bool)
    else:
        keys = curves.key_timestamps(times, boxes, count=count, threshold=epsilon)
    stamps = curves.evenly(count, like=boxes)
    found = curves.interpolated(curves.linear(times, boxes, stamps), keys, times)
    return float(curves.mean_iou(found, boxes)), int(keys.sum())


def mabo(tubes: Sequence[Tube], overlap: Callable[[Tube], float]) -> dict[str, float]:
    """v-MABO, the mean over tubes, and their share above 0.5, 0.75 and 0.9."""
    values = np.array([overlap(tube) for tube in tubes])
    labels = np.array([tube.label for tube in tubes])
    classes = [values[labels == label].mean() for label in np.unique(labels)]
    shares = {f"share@{least}": float((values >= least).mean()) for least in (0.5, 0.75, 0.9)}
    return {"v_MABO": float(np.mean(classes)), "mean": float(values.mean()), **shares}


def measured(chosen: Set) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for order in ORDERS:
        numbers = mabo(chosen.tubes, lambda tube, k=order: polynomial_overlap(tube, k))
        rows.append({"fit": f"polynomial, k = {order}", "numbers": 4 * (order + 1), **numbers})
        print(line(rows[-1]), flush=True)
    for epsilon in EPSILONS:
        counts: list[int] = []

        def overlap(tube: Tube, least: float = epsilon, counts: list[int] = counts) -> float:
            value, count = spline_overlap(tube, chosen.samples, least)
            counts.append(count)
            return value

        numbers = mabo(chosen.tubes, overlap)
        mean = float(np.mean(counts))
        name = f"key timestamps of {chosen.samples}, epsilon {epsilon}"
        rows.append({"fit": name, "numbers": 4 * mean, **numbers})
        print(line(rows[-1]), flush=True)
    for count in EVENLY:
        numbers = mabo(chosen.tubes, lambda tube, n=count: spline_overlap(tube, n, None)[0])
        rows.append({"fit": f"{count} evenly spaced", "numbers": 4 * count, **numbers})
        print(line(rows[-1]), flush=True)
    return rows


def greedy_gaps(tubes: Sequence[Tube], count: int, epsilon: float) -> list[float]:
    """How much IoU exhaustive search for as many timestamps would gain over the greedy one."""
    gaps: list[float] = []
    for tube in tubes:
        times, boxes = moved(tube)
        keys = curves.key_timestamps(times, boxes, count=count, threshold=epsilon)
        at_stamps = curves.linear(times, boxes, curves.evenly(count, like=boxes))
        overlaps: list[float] = []
        for inner in combinations(range(1, count - 1), int(keys.sum()) - 2):
            chosen = torch.zeros(count, dtype=torch.bool)
            chosen[[0, *inner, count - 1]] = True
            found = curves.interpolated(at_stamps, chosen, times)
            overlaps.append(float(curves.mean_iou(found, boxes)))
        greedy = float(curves.mean_iou(curves.interpolated(at_stamps, keys, times), boxes))
        gaps.append(max(overlaps) - greedy)
    return gaps


def line(row: dict[str, object]) -> str:
    values = [
        f"{100 * float(str(row[key])):.1f}"
        for key in ("v_MABO", "share@0.5", "share@0.75", "share@0.9")
    ]
    return f"| {row['fit']} | {float(str(row['numbers'])):.1f} | " + " | ".join(values) + " |"


def plot(results: dict[str, list[dict[str, object]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5))
    for name, rows in results.items():
        fits = [row for row in rows if str(row["fit"]).startswith("polynomial")]
        values = [100 * float(str(row["v_MABO"])) for row in fits]
        axes.plot(list(ORDERS), values, marker="o", label=f"{name}, polynomials")
        keys = next(row for row in rows if str(row["fit"]).startswith("key"))
        level = 100 * float(str(keys["v_MABO"]))
        axes.axhline(level, linestyle=":", label=f"{name}, key timestamps")
    axes.set_xlabel("order k")
    axes.set_ylabel("v-MABO of the best fit, %")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    root = Path(os.environ["STAD_DATA"])
    print(f"python {platform.python_version()}, torch {version('torch')}")
    results: dict[str, list[dict[str, object]]] = {}
    readers = {
        "UCF101-24": (lambda: ucf24.read(root / "ucf24", missing="keep"), 16),
        "JHMDB-21": (lambda: jhmdb.read(root / "jhmdb"), 6),
    }
    for name, (read, samples) in readers.items():
        chosen = tubes_of(name, read(), samples, options.every)
        print(f"\n{chosen.name}: {len(chosen.tubes)} tubes")
        print("| fit | numbers per tube | v-MABO, % | IoU >= 0.5, % | >= 0.75, % | >= 0.9, % |")
        print("|---|---|---|---|---|---|")
        results[chosen.name] = measured(chosen)
        for count in SMALL:
            gaps = np.array(greedy_gaps(chosen.tubes, count, EPSILONS[0]))
            print(
                f"greedy selection of {count} loses {100 * gaps.mean():.3f} % of IoU to "
                f"exhaustive search on average, {100 * gaps.max():.2f} % at most; more than 1 % on "
                f"{100 * (gaps > 0.01).mean():.2f} % of the tubes"
            )
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(results, indent=1)
        (options.out / "trajectory_oracle.json").write_text(text + "\n")
        plot(results, options.out / "trajectory_oracle.png")


if __name__ == "__main__":
    main()

"""The external person detector of SE-STAD's Table 4, and what it proposes on the synthetic set.

Two-stage detectors take their boxes from a detector of its own, which sees single frames, larger
ones, and learns nothing of actions. Here it is the small SE-STAD on one frame, without its action
loss. What it finds in the training and the test videos becomes one pickle in the form of AVA's
published proposals, which `data.proposals` names.

    python benchmarks/synthetic_proposals.py [--steps 1500] [--seed 0] [--data DIR] [--out FILE]

Without --data the set of the studies is made in a temporary folder: the same parameters give the
same videos.
"""

import argparse
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np

from stad_cli.config import Recipe, load_recipe
from stad_cli.engine.checkpoint import build_model
from stad_cli.engine.dataset import dataset_of, frame_caches
from stad_cli.engine.distributed import processes
from stad_cli.engine.evaluate import evaluate
from stad_cli.engine.train import train
from stad_data import Dataset
from stad_data.synthetic import make
from stad_eval import Boxes

OUT = Path(__file__).parent / "studies" / "se_stad_table4_inputs" / "proposals.pkl"
SETTINGS = (
    "clip.length=1",
    "optim.amp=none",  # bfloat16 gradients of so short clips crash in oneDNN 3.13
    "data.size=[240, 180]",  # the videos have 160 x 120
    "data.cache_size=[160, 120]",
    "model.options.ranges=[[0.0, 48.0], [48.0, 96.0], [96.0, 1e6]]",
    "model.options.action_weight=0.0",
    "model.options.test_score=0.05",
    "model.options.score=action",
    "augment.scale=[0.8, 1.3]",
    "optim.batch=8",
)
FEWEST = 0.1
"""Boxes that score less are no proposals."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of the set in AVA's layout")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    recipe = load_recipe(
        "se_stad_tiny_study",
        [*SETTINGS, f"optim.steps={given.steps}", f"run.seed={given.seed}"],
    )
    with tempfile.TemporaryDirectory() as folder:
        data = given.data
        if data is None:
            data = make(Path(folder) / "set", layouts=("ava",)).root / "ava"
        write(recipe, data, Path(folder) / "run", given.out)


def write(recipe: Recipe, data: Path, run: Path, out: Path) -> None:
    """Train, look at both parts, and write what was found."""
    start = time.perf_counter()
    outcome = train(recipe, data=data, out=run, device="cpu", say=print)
    dataset = dataset_of(recipe, data)
    model = build_model(outcome.last).model
    table: dict[str, list[list[float]]] = {}
    caches = frame_caches((*dataset.train, *dataset.test), recipe.data)
    with processes("cpu") as group:
        for part in ("train", "test"):
            found = evaluate(model, dataset, part, recipe, group, caches=caches)
            print(f"{part}: actor AP {100 * found.actor_result.mean:.1f} %")
            for threshold in (0.2, 0.3, 0.4, 0.5):
                print(f"  above {threshold}: {rates(found.actor_truth, found.actors, threshold)}")
            table |= rows(dataset, part, found.actors)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(pickle.dumps(table, protocol=4))
    print(f"{sum(map(len, table.values()))} boxes of {len(table)} keyframes: {out}")
    print(f"{time.perf_counter() - start:.0f} s")


def rows(dataset: Dataset, part: str, actors: Boxes) -> dict[str, list[list[float]]]:
    """From "video,0902" to rows of a box as shares of the frame, and its score."""
    found: dict[str, list[list[float]]] = {}
    videos = {each.video: each for each in (dataset.train if part == "train" else dataset.test)}
    order = np.lexsort((-actors.score, actors.frame, actors.video))
    for row in order[actors.score[order] >= FEWEST].tolist():
        video = videos[actors.videos[actors.video[row]]]
        second = video.timestamps[np.searchsorted(video.keyframes, actors.frame[row])]
        box = actors.box[row] / np.array([*video.size, *video.size])
        numbers = [*box.clip(0, 1).tolist(), float(actors.score[row])]
        key = f"{video.video},{second:04d}"
        found.setdefault(key, []).append([round(number, 4) for number in numbers])
    return found


def rates(truth: Boxes, found: Boxes, threshold: float) -> str:
    """Share of the annotated boxes that are found at IoU 0.5, and of the found that are right."""
    hits, kept = 0, found.select(found.score >= threshold)
    for key in np.unique(np.stack([truth.video, truth.frame], 1), axis=0):
        here = [
            table.box[(table.video == key[0]) & (table.frame == key[1])] for table in (truth, kept)
        ]
        hits += greedy(*here)
    recall, precision = 100 * hits / len(truth.box), 100 * hits / max(1, len(kept.box))
    return f"recall {recall:.1f} %, precision {precision:.1f} %"


def greedy(truth: np.ndarray, found: np.ndarray) -> int:
    """Pairs of an annotated and a found box that overlap by 0.5 or more, the best ones first."""
    low = np.maximum(truth[:, None, :2], found[None, :, :2])
    high = np.minimum(truth[:, None, 2:], found[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (truth, found)]
    iou = shared / (areas[0][:, None] + areas[1] - shared)
    pairs = 0
    while iou.size and iou.max() >= 0.5:
        row, column = np.unravel_index(iou.argmax(), iou.shape)
        iou[row, :], iou[:, column] = 0, 0
        pairs += 1
    return pairs


if __name__ == "__main__":
    main()

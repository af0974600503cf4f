"""How long frame-mAP takes at the scale of AVA's validation set, as the rows grow.

Generated keyframes hold 1 to 4 people with 1 to 3 labels each; detections are 7 people with labels
of falling score. Prints machine, versions, rows, then the median and spread of the runs.

    python benchmarks/eval_frame_map.py [--keyframes 57408] [--repeats 5] [--csv]
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import stad_eval
from stad_eval import Boxes, LabelMap, frame_map, read_ava_csv, write_ava_csv
from stad_eval.class_lists import AVA_EVALUATED, AVA_NOT_EVALUATED

IDS_NOT_EVALUATED = (2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75)
CLASSES = LabelMap(
    (*AVA_EVALUATED, *AVA_NOT_EVALUATED),
    (*sorted(set(range(1, 81)) - set(IDS_NOT_EVALUATED)), *IDS_NOT_EVALUATED),
)
EVALUATED = np.array([CLASSES.index(name) for name in AVA_EVALUATED])


def boxes_of(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0.0, 0.6, (count, 2))
    size = rng.uniform(0.1, 0.39, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).round(3)


def generate(keyframes: int, seed: int) -> tuple[Boxes, Boxes]:
    """Ground truth and detections; a detection of a true person is that box, moved a little."""
    rng = np.random.default_rng(seed)
    videos = tuple(f"video{at:05d}" for at in range(-(-keyframes // 897)))
    people = np.repeat(np.arange(keyframes), rng.integers(1, 5, keyframes))
    box = boxes_of(rng, people.size)
    weights = 1.0 / np.arange(1, EVALUATED.size + 1)
    draw = rng.choice(EVALUATED, (people.size, 3), p=weights / weights.sum())
    truth = table(videos, people, box, draw, np.ones(draw.shape), rng, most=3)

    extra = np.repeat(np.arange(keyframes), 3)
    found_frames = np.concatenate([people, extra])
    moved = np.clip(box + rng.normal(0.0, 0.02, box.shape), 0.0, 1.0)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.01)
    found_box = np.concatenate([moved, boxes_of(rng, extra.size)]).round(3)
    guess = rng.choice(EVALUATED, (found_frames.size, 5), p=weights / weights.sum())
    guess[: people.size, :2] = draw[:, :2]
    score = rng.beta(1.0, 4.0, guess.shape)
    score[: people.size, :2] = rng.beta(3.0, 3.0, (people.size, 2))
    return truth, table(videos, found_frames, found_box, guess, score, rng, most=5)


def table(videos, frames, box, label, score, rng, *, most) -> Boxes:
    keep = np.arange(label.shape[1]) < rng.integers(1, most + 1, label.shape[0])[:, None]
    if most == 5:
        keep[:, :4] = True
    for column in range(1, label.shape[1]):
        keep[:, column] &= (label[:, :column] != label[:, column : column + 1]).all(axis=1)
    row, column = np.nonzero(keep)
    order = rng.permutation(row.size)
    row, column = row[order], column[order]
    return Boxes(
        videos=videos,
        classes=CLASSES,
        video=frames[row] // 897,
        frame=902 + frames[row] % 897,
        box=box[row],
        label=label[row, column],
        score=score[row, column],
    )


def timed(work, repeats: int) -> str:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    return f"median {middle:.3f} s, {min(seconds):.3f} to {max(seconds):.3f} s over {repeats} runs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keyframes", type=int, default=57408)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--csv", action="store_true", help="time from CSV files to the number too")
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {platform.system()}")
    print(f"python {platform.python_version()}, numpy {np.__version__}")
    print(f"stad-eval {stad_eval.__version__}")
    for share in (16, 4, 1):
        keyframes = options.keyframes // share
        truth, found = generate(keyframes, seed=7)
        value = frame_map(truth, found, "ava-v2.2").mean
        spent = timed(lambda t=truth, f=found: frame_map(t, f, "ava-v2.2"), options.repeats)
        print(f"{keyframes} keyframes, {len(truth)} + {len(found)} rows, mAP {value:.4f}: {spent}")
    if options.csv:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("truth.csv", "found.csv")]
            write_ava_csv(paths[0], truth, classes=CLASSES, scores=False)
            write_ava_csv(paths[1], found, classes=CLASSES, scores=True)

            def whole() -> None:
                tables = [read_ava_csv(path, classes=CLASSES) for path in paths]
                frame_map(*tables, "ava-v2.2")

            print(f"CSV files to number: {timed(whole, options.repeats)}")


if __name__ == "__main__":
    main()

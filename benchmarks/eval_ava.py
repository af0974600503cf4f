"""How long frame-mAP takes at the scale of AVA's validation set, from CSV files to the number.

Generated keyframes hold 1 to 4 people with 1 to 3 labels each; detections are these people, moved a
little, and three boxes of nobody, each with labels of falling score: 57,408 keyframes and 1,162,645
detections in shuffled rows. Prints machine and versions; then, each in a process of its own, the
median and spread of the wall time from files to number (without and with the start of Python) and
the peak memory; last, how time and memory grow with 1, 4 and 16 times the rows, from one file that
is read in shards and from tables that come video by video.

Peer: ActivityNet's official evaluator takes 80.6 s and 734 MB on files of this size (2 cores).

    python benchmarks/eval_ava.py [--repeats 5] [--protocol ava-v2.2] [--scales 1 4 16]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from measurement import child, forget_peak, growth_table, machine, peak_memory
from stad_eval import Boxes, LabelMap, ava_shards, frame_map_streamed, read_ava_csv
from stad_eval.class_lists import AVA_EVALUATED, AVA_NOT_EVALUATED

VIDEOS, SECONDS, DETECTIONS = 64, 897, 1_162_645
PEER = 80.6
IDS_NOT_EVALUATED = (2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75)
CLASSES = LabelMap(
    (*AVA_EVALUATED, *AVA_NOT_EVALUATED),
    (*sorted(set(range(1, 81)) - set(IDS_NOT_EVALUATED)), *IDS_NOT_EVALUATED),
)
EVALUATED = np.array([CLASSES.index(name) for name in AVA_EVALUATED])

RUN = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
{block}
from stad_eval import frame_map, read_ava_csv, read_label_map
truth = read_ava_csv(sys.argv[1], classes=sys.argv[3])
found = read_ava_csv(sys.argv[2], classes=truth.classes, column_8="score")
result = frame_map(truth, found, sys.argv[4])
spent = time.perf_counter() - start
status = Path("/proc/self/status").read_text()  # getrusage counts the parent's memory too
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
rows = [len(truth), len(found)]
print(json.dumps({{"s": spent, "MiB": peak, "mAP": result.mean, "rows": rows}}))
"""
WITHOUT_PYARROW = "sys.modules['pyarrow'] = None"


def generate(seed: int) -> tuple[Boxes, Boxes]:
    """Ground truth and detections of 64 videos, named by the seed."""
    rng = np.random.default_rng(seed)
    keyframes = VIDEOS * SECONDS
    people = np.repeat(np.arange(keyframes), rng.integers(1, 5, keyframes))
    box = boxes_of(rng, people.size)
    weights = 1.0 / np.arange(1, EVALUATED.size + 1)
    weights /= weights.sum()
    draw = rng.choice(EVALUATED, (people.size, 3), p=weights)
    keep = np.arange(3) < rng.integers(1, 4, people.size)[:, None]
    truth = table(seed, people, box, draw, np.ones(draw.shape), keep)

    frames = np.concatenate([people, np.repeat(np.arange(keyframes), 3)])
    moved = np.clip(box + rng.normal(0.0, 0.02, box.shape), 0.0, 1.0)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.01)
    moved = np.concatenate([moved, boxes_of(rng, 3 * keyframes)]).round(3)
    guess = rng.choice(EVALUATED, (frames.size, 5), p=weights)
    guess[: people.size, :2] = draw[:, :2]
    score = rng.beta(1.0, 4.0, guess.shape)
    score[: people.size, :2] = rng.beta(3.0, 3.0, (people.size, 2))
    found = table(seed, frames, moved, guess, score.round(9), np.ones(guess.shape, dtype=bool))
    return truth, found.select(rng.permutation(len(found))[:DETECTIONS])


def boxes_of(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0.0, 0.6, (count, 2))
    size = rng.uniform(0.1, 0.39, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).round(3)


def table(seed, frames, box, label, score, keep) -> Boxes:
    """One row per kept label of every box; a label stands once per box."""
    for column in range(1, label.shape[1]):
        keep[:, column] &= (label[:, :column] != label[:, column : column + 1]).all(axis=1)
    row, column = np.nonzero(keep)
    return Boxes(
        videos=tuple(f"v{seed:04d}-{at:05d}" for at in range(VIDEOS)),
        classes=CLASSES,
        video=frames[row] // SECONDS,
        frame=902 + frames[row] % SECONDS,
        box=box[row],
        label=label[row, column],
        score=score[row, column],
    )


def write(path: Path, rows: Boxes, *, scores: bool) -> None:
    """As write_ava_csv, in the form that detectors write: fixed decimals."""
    ids = np.asarray(CLASSES.ids)[rows.label].tolist()
    columns = (
        rows.video.tolist(),
        rows.frame.tolist(),
        rows.box.tolist(),
        ids,
        rows.score.tolist(),
    )
    with path.open("w") as stream:
        for video, frame, (x1, y1, x2, y2), action, score in zip(*columns, strict=True):
            tail = f",{score:.9f}\n" if scores else "\n"
            stream.write(
                f"{rows.videos[video]},{frame:04d},{x1:.3f},{y1:.3f},{x2:.3f},{y2:.3f},{action}{tail}"
            )


def from_files(folder: Path, protocol: str, repeats: int, *, pyarrow: bool) -> str:
    """One line: the time of fresh processes from files to number."""
    paths = [str(folder / name) for name in ("truth.csv", "found.csv", "map.pbtxt")]
    code = RUN.format(block="" if pyarrow else WITHOUT_PYARROW)
    runs, walls = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *paths, protocol],
            check=True,
            capture_output=True,
            text=True,
        )
        walls.append(time.perf_counter() - start)
        runs.append(json.loads(done.stdout))
    middle = statistics.median(run["s"] for run in runs)
    low, high = min(run["s"] for run in runs), max(run["s"] for run in runs)
    peak = max(run["MiB"] for run in runs)
    return (
        f"median {middle:.2f} s ({low:.2f} to {high:.2f}; 1/{PEER / middle:.0f} of the peer), "
        f"whole process {statistics.median(walls):.2f} s, peak {peak:.0f} MiB, "
        f"rows {runs[0]['rows']}, mAP {runs[0]['mAP']:.6f}"
    )


def measure(scale: int, protocol: str) -> None:
    """Print, as JSON, the time to score `scale` times the rows by video, and its peak memory."""
    making, peak, rows, tables = 0.0, 0.0, 0, 0.0

    def shards() -> Iterator[tuple[Boxes, Boxes]]:
        nonlocal making, peak, rows, tables
        for seed in range(scale):
            peak = max(peak, peak_memory() if seed else 0.0)
            start = time.process_time()
            truth, found = generate(seed)
            parts = [
                (truth.select(truth.video == at), found.select(found.video == at))
                for at in range(VIDEOS)
            ]
            rows += len(found)
            del truth, found
            making += time.process_time() - start
            tables = max(tables, forget_peak())
            yield from parts

    start, before = time.perf_counter(), time.process_time()
    result = frame_map_streamed(shards(), protocol)[0.5]
    wall, processor = time.perf_counter() - start, time.process_time() - before
    content = {
        "scale": scale,
        "rows": rows,
        # Generation is one process's work on its processor, so that its wall time is its share.
        "seconds": wall * (processor - making) / processor,
        "processor": processor - making,
        "peak": max(peak, peak_memory()),
        "tables": tables,
        "mAP": result.mean,
    }
    print(json.dumps(content))


def measure_files(folder: Path, protocol: str) -> None:
    """Print, as JSON, the time from a file of detections to the number, by shards of it."""
    truth = read_ava_csv(folder / "truth.csv", classes=folder / "map.pbtxt")
    tables = forget_peak()
    rows = 0

    def counted() -> Iterator[tuple[Boxes, Boxes]]:
        nonlocal rows
        for shard in ava_shards(truth, folder / "found.csv", classes=truth.classes):
            rows += len(shard[1])
            yield shard

    start, before = time.perf_counter(), time.process_time()
    result = frame_map_streamed(counted(), protocol)[0.5]
    content = {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - before,
        "rows": rows,
        "peak": peak_memory(),
        "tables": tables,
        "mAP": result.mean,
    }
    print(json.dumps(content))


def enlarged(source: Path, folder: Path, scale: int) -> Path:
    """The files of `source` as often as `scale` says, under other names of videos each time."""
    for name in ("truth.csv", "found.csv"):
        text = (source / name).read_bytes()
        with (folder / name).open("wb") as stream:
            for at in range(scale):
                stream.write(text.replace(b"v0000-", f"v{at:04d}-".encode()))
    (folder / "map.pbtxt").write_bytes((source / "map.pbtxt").read_bytes())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--protocol", default="ava-v2.2")
    parser.add_argument("--scales", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--folder", type=Path, help="keep the generated files here")
    parser.add_argument("--measure", help="measure one scale, or a folder, for the tables")
    options = parser.parse_args()
    if options.measure is not None:
        if options.measure.isdigit():
            measure(int(options.measure), options.protocol)
        else:
            measure_files(Path(options.measure), options.protocol)
        return
    print(f"{machine()}\nprotocol {options.protocol}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "found.csv").exists():
            truth, found = generate(0)
            write(folder / "truth.csv", truth, scores=False)
            write(folder / "found.csv", found, scores=True)
            items = zip(CLASSES, CLASSES.ids, strict=True)
            text = "".join(f'item {{\n  name: "{name}"\n  id: {at}\n}}\n' for name, at in items)
            (folder / "map.pbtxt").write_text(text)
        for pyarrow in (True, False):
            line = from_files(folder, options.protocol, options.repeats, pyarrow=pyarrow)
            print(f"files to number, {'with' if pyarrow else 'without'} pyarrow: {line}")
        rows = []
        for scale in options.scales:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                larger = enlarged(folder, Path(place), scale)
                row = child(__file__, "--measure", larger, "--protocol", options.protocol)
                rows.append({**row, "scale": scale})
    if options.scales:
        print(f"a file of detections, in shards, to the number:\n{growth_table(rows)}")
        settings = ("--protocol", options.protocol)
        rows = [child(__file__, "--measure", scale, *settings) for scale in options.scales]
        print(f"tables by video:\n{growth_table(rows)}\nmAP {[row['mAP'] for row in rows]}")


if __name__ == "__main__":
    main()

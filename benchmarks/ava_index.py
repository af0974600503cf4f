"""What an index saves for AVA's training set: time to load, and memory of every worker.

Generated rows are of AVA v2.2's size and form: 235 videos with 837,318 rows of 80 actions, some 3
rows per person and second, persons who stay for seconds to minutes; the videos are not there
(their size is given). Prints machine and versions; then, each in fresh processes, the time to read
the CSV file, to make the index and to load it (median and spread, without and with the start of
Python); last, what the data costs: 4 forked and 2 spawned workers that look at the boxes of every
keyframe, by /proc/<pid>/smaps_rollup. PSS counts a page that n processes share as 1/n of a page;
"own" is what a worker shares with no one. A worker without data is measured beside them.

    python benchmarks/ava_index.py [--repeats 5] [--rows 837318]
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from stad_eval.class_lists import AVA_EVALUATED, AVA_NOT_EVALUATED

VIDEOS, SECONDS, ROWS = 235, 897, 837_318

READ = """
import json, sys, time
from stad_data.datasets import ava
options = dict(label_map=sys.argv[2], missing="keep", size=(640, 360))
index = sys.argv[3] if len(sys.argv) > 3 and sys.argv[3] else None
start = time.perf_counter()
data = ava.read(sys.argv[1], index=index, **options)
spent = time.perf_counter() - start
"""

TIME = (
    READ
    + """
boxes = sum(video.num_boxes for video in data.train)
print(json.dumps({"s": spent, "boxes": boxes, "videos": len(data.train)}))
"""
)

MEMORY = (
    READ.replace("data = ava", "data = None if index == 'nothing' else ava")
    + """
import multiprocessing
from pathlib import Path

def look(videos, ready, done):
    seen = sum(len(video.at(frame)) for video in videos for frame in video.keyframes.tolist())
    ready.put(seen)
    done.wait()

def cost(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]

if __name__ == "__main__":
    videos = () if data is None else data.train
    found = {}
    for kind, count in (("fork", 4), ("spawn", 2)):
        context = multiprocessing.get_context(kind)
        ready, done = context.SimpleQueue(), context.Event()
        workers = [context.Process(target=look, args=(videos, ready, done)) for _ in range(count)]
        for worker in workers:
            worker.start()
        seen = {ready.get() for _ in workers}
        costs = [cost(worker.pid) for worker in workers]
        found[kind] = [max(part) for part in zip(*costs)]
        assert len(seen) == 1, seen
        done.set()
        for worker in workers:
            worker.join()
    print(json.dumps(found))
"""
)


def write_rows(path: Path, rows: int, seed: int = 0) -> None:
    """Persons who come, stay and go; each has the same box a while and 1 to 5 actions."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, 81)
    weights = 1.0 / np.arange(1, 81)
    weights /= weights.sum()
    per_video = np.full(VIDEOS, rows // VIDEOS)
    per_video[: rows % VIDEOS] += 1
    with path.open("w") as stream:
        for video, wanted in enumerate(per_video.tolist()):
            lines: list[str] = []
            person = 0
            while len(lines) < wanted:
                first, stay = int(rng.integers(SECONDS)), int(rng.geometric(0.12))
                x, y, w, h = rng.uniform((0, 0, 0.1, 0.2), (0.6, 0.4, 0.39, 0.59))
                for second in range(first, min(first + stay, SECONDS)):
                    dx, dy = rng.normal(0, 0.003, 2)
                    x, y = float(np.clip(x + dx, 0, 1 - w)), float(np.clip(y + dy, 0, 1 - h))
                    box = f"{x:.3f},{y:.3f},{x + w:.3f},{y + h:.3f}"
                    count = int(rng.choice(6, p=(0, 0.25, 0.3, 0.25, 0.15, 0.05)))
                    actions = rng.choice(ids, count, replace=False, p=weights).tolist()
                    where = f"video_{video:07d},{902 + second:04d},{box}"
                    lines += [f"{where},{action},{person}\n" for action in sorted(actions)]
                person += 1
            stream.writelines(lines[:wanted])


def timed(arguments: list[str], repeats: int, *, forget: Path | None = None) -> str:
    """One line: the time of fresh processes; `forget` is deleted before each."""
    runs, walls = [], []
    for _ in range(repeats):
        if forget is not None:
            forget.unlink(missing_ok=True)
        start = time.perf_counter()
        runs.append(run(TIME, arguments))
        walls.append(time.perf_counter() - start)
    spent = [each["s"] for each in runs]
    return (
        f"median {statistics.median(spent):.3f} s ({min(spent):.3f} to {max(spent):.3f}), whole "
        f"process {statistics.median(walls):.2f} s, {runs[0]['videos']} videos, "
        f"{runs[0]['boxes']:,} boxes"
    )


def run(code: str, arguments: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"  # a spawned worker imports it
        script.write_text(code)
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {platform.system()}")
    print(f"python {platform.python_version()}, numpy {np.__version__}")
    print(f"stad-data {version('stad-data')}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows, labels, index = folder / "train.csv", folder / "map.pbtxt", folder / "ava.index"
        write_rows(rows, options.rows)
        names = (*AVA_EVALUATED, *AVA_NOT_EVALUATED)
        text = (f'item {{\n  name: "{name}"\n  id: {at + 1}\n}}\n' for at, name in enumerate(names))
        labels.write_text("".join(text))
        given = [str(rows), str(labels)]
        print(f"{options.rows:,} rows, {rows.stat().st_size / 2**20:.0f} MiB")
        print("read the CSV file:", timed(given, options.repeats))
        with_index = [*given, str(index)]
        print("make the index:   ", timed(with_index, min(3, options.repeats), forget=index))
        print("load the index:   ", timed(with_index, options.repeats))
        print(f"index {index.stat().st_size / 2**20:.0f} MiB")
        cases = {"no data": [*given, "nothing"], "CSV": [*given, ""], "index": with_index}
        for name, arguments in cases.items():
            found = run(MEMORY, arguments)
            for kind, (shared, own) in found.items():
                print(f"{name:>8}, a {kind}ed worker: PSS {shared:6.1f} MiB, own {own:6.1f} MiB")


if __name__ == "__main__":
    main()

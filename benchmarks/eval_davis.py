"""How long scoring masks takes at the scale of DAVIS 2017's validation set, from PNG files on.

Generated: 30 videos, 1,999 frames of 854 x 480, 61 objects with ragged outlines that move and
change; a result is the truth moved a little, with holes, islands and lost frames. Each measurement
runs in a process of its own, so that its peak memory is its own. Prints machine, versions, the
median and spread of the runs, peak memory, and the ratio to the public evaluator's figures
(54.9 s and 2.5 GB, davis2017-evaluation on 2 cores, semi-supervised; 97 s unsupervised).

    python benchmarks/eval_davis.py [--repeats 3] [--workers 2] [--share 1] [--growth]
        [--protocol davis2017] [--folder FOLDER]
"""

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy
from scipy import ndimage

import stad_eval
from stad_eval import score_masks, write_mask_png

VIDEOS, FRAMES, OBJECTS = 30, 1999, 61
HEIGHT, WIDTH = 480, 854
PUBLIC_SECONDS = {"davis2017": 54.9, "davis2017-unsupervised": 97.0}
PUBLIC_MEMORY = 2.5e9


def blob(rng: np.random.Generator, cells: int) -> np.ndarray:
    """A ragged region on a coarse grid, smooth noise above a level, around the middle."""
    noise = ndimage.gaussian_filter(rng.standard_normal((cells, cells)), 2.0)
    y, x = np.mgrid[-1 : 1 : cells * 1j, -1 : 1 : cells * 1j]
    return noise / noise.std() * 0.35 + 1.0 - 1.6 * np.hypot(x, y) > 0.3


def generate(folder: Path, videos: int, frames: int, objects: int, seed: int = 7) -> None:
    rng = np.random.default_rng(seed)
    for at in range(videos):
        count = objects // videos + (at < objects % videos)
        length = frames // videos + (at < frames % videos)
        for name in ("truth", "found"):
            (folder / name / f"video{at:03d}").mkdir(parents=True)
        shapes = [blob(rng, int(cells)) for cells in rng.integers(90, 280, count)]
        place = rng.uniform(0.15, 0.6, (count, 2)) * (HEIGHT, WIDTH)
        speed = rng.normal(0.0, 1.5, (count, 2))
        for frame in range(length):
            truth, found = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2))
            for index, shape in enumerate(shapes, start=1):
                if frame % 10 == 0:
                    shapes[index - 1] = blob(rng, len(shape))
                top, left = (place[index - 1] + frame * speed[index - 1]).astype(int)
                draw(truth, shape, top, left, index)
                if frame and rng.random() < 0.03:
                    continue
                shift = rng.integers(-6, 7, 2)
                worn = ndimage.binary_erosion(shape, iterations=int(rng.integers(1, 4)))
                draw(found, worn, top + shift[0], left + shift[1], index)
            for _ in range(4):
                row, column = rng.integers(0, HEIGHT - 30), rng.integers(0, WIDTH - 30)
                found[row : row + 12, column : column + 20] = rng.integers(0, count + 1)
            name = f"video{at:03d}/{frame:05d}.png"
            write_mask_png(folder / "truth" / name, truth)
            write_mask_png(folder / "found" / name, found)


def draw(mask: np.ndarray, shape: np.ndarray, top: int, left: int, index: int) -> None:
    rows, columns = np.nonzero(shape)
    rows, columns = rows + top, columns + left
    on = (rows >= 0) & (rows < HEIGHT) & (columns >= 0) & (columns < WIDTH)
    mask[rows[on], columns[on]] = index


def measure(folder: Path, protocol: str, workers: int) -> None:
    """One run; prints seconds, processor seconds, bytes of peak memory, and the number."""
    start, busy = time.perf_counter(), time.process_time()
    result = score_masks(folder / "truth", folder / "found", protocol, workers=workers)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(seconds, busy, peak, result.mean, result.counts["frames"], result.counts["objects"])


def runs(folder: Path, options: argparse.Namespace) -> list[list[float]]:
    command = [sys.executable, __file__, "--measure", str(folder)]
    command += ["--protocol", options.protocol, "--workers", str(options.workers)]
    results = []
    for _ in range(options.repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results.append([float(each) for each in done.stdout.split()])
    return results


def report(folder: Path, options: argparse.Namespace, share: int) -> None:
    parts = [max(1, each // share) for each in (VIDEOS, FRAMES, OBJECTS)]
    if not (folder / "truth").is_dir():
        generate(folder, *parts)
    results = runs(folder, options)
    seconds = [each[0] for each in results]
    middle, peak = statistics.median(seconds), max(each[2] for each in results)
    *_, value, frames, objects = results[0]
    busy = statistics.median(each[1] for each in results)
    print(
        f"{parts[0]} videos, {frames:.0f} scored frames, {objects:.0f} objects, J&F {value:.6f}: "
        f"median {middle:.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s over "
        f"{len(seconds)} runs ({busy:.2f} s of processor time); peak {peak / 1e6:.0f} MB"
    )
    public = PUBLIC_SECONDS.get(options.protocol)
    if share == 1 and public:
        print(
            f"public evaluator {public} s, {PUBLIC_MEMORY / 1e9} GB: "
            f"{public / middle:.1f} times faster, 1/{PUBLIC_MEMORY / peak:.1f} of the memory"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--share", type=int, default=1, help="1/SHARE of the videos and frames")
    parser.add_argument("--growth", action="store_true", help="1/16, 1/4 and all of it")
    parser.add_argument("--protocol", default="davis2017")
    parser.add_argument("--folder", type=Path, help="keep the files here, or take those of before")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.protocol, options.workers)
        return
    print(f"machine: {platform.processor() or platform.machine()}, {platform.system()}")
    print(f"python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
    print(f"stad-eval {stad_eval.__version__}, {options.protocol}, {options.workers} workers")
    for share in (16, 4, 1) if options.growth else (options.share,):
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
            report(options.folder / f"share{share}", options, share)
        else:
            with tempfile.TemporaryDirectory() as folder:
                report(Path(folder), options, share)


if __name__ == "__main__":
    main()

"""Does the training loader keep ahead of the model, and how long does a step wait for its data?

A model that takes a fixed time per batch (by default 100 ms, asleep, as if a GPU were at work)
draws batches of `ClipDataset` by `EpochBatches` through worker processes, as `stad train` does:

- JHMDB: clips of 16 frames from many short files of 320x240 (STAD_DATA's, else generated);
- AVA: clips of 32 of 64 frames around keyframes anywhere in one 15-minute file of 640x360, H.264
  (generated), as every worker sees its own long files.

Both are scaled and cropped to 224x224 at random and flipped. Printed are the wait before each step,
the share of the time that went into waiting, and how many clips the workers give when nothing else
holds them up: what a model of that speed can be fed with. On a machine that is busy otherwise the
fairer figure is the work per clip (processor time): it says how many clips free cores would give.
The log of a training holds the same share as "wait".

Run: uv run python benchmarks/loader.py [--workers 2] [--compute 100] [--steps 60] [--case AVA]
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from decode import generated, packages, processor
from stad_data import Track, VideoAnnotation, datasets, transforms
from stad_data.loading import Batch, ClipDataset, collate
from stad_data.sampling import EpochBatches, keyframe_samples

AHEAD = 4  # batches that every worker prepares
MINUTES = 15


def film(path: Path, *, frames: int, size: tuple[int, int], every: int) -> VideoAnnotation:
    """An annotation of one actor in every so manieth frame of a generated file."""
    keyframes = np.arange(0, frames, every)
    width, height = size
    box = [0.3 * width, 0.2 * height, 0.6 * width, 0.9 * height]
    return VideoAnnotation(
        video=path.stem,
        path=path,
        num_frames=frames,
        size=size,
        fps=30.0,
        tracks=(
            Track(
                actor=0,
                frames=keyframes,
                boxes=np.tile(box, (len(keyframes), 1)),
                labels=np.ones((len(keyframes), 1), np.bool_),
            ),
        ),
        keyframes=keyframes,
    )


def short_films(folder: Path) -> list[VideoAnnotation]:
    """JHMDB's training videos, or twenty generated ones."""
    if os.environ.get("STAD_DATA"):
        return list(datasets.jhmdb.read(Path(os.environ["STAD_DATA"]) / "jhmdb").train)
    paths = [generated(folder / f"{n}.mp4", frames=40, size=(320, 240)) for n in range(20)]
    return [film(path, frames=40, size=(320, 240), every=1) for path in paths]


def long_film(folder: Path) -> list[VideoAnnotation]:
    """A video of fifteen minutes with a keyframe every second."""
    frames, size = MINUTES * 1800, (640, 360)
    path = generated(folder / "long.mp4", frames=frames, size=size)
    return [film(path, frames=frames, size=size, every=30)]


def clips_of(videos: list[VideoAnnotation], *, length: int, stride: int) -> ClipDataset:
    """Clips as they are trained on."""
    return ClipDataset(
        videos,
        keyframe_samples(videos),
        length=length,
        stride=stride,
        transform=transforms.Compose(
            [transforms.RandomScaledCrop((224, 224), (1.0, 1.2)), transforms.RandomFlip(0.5)]
        ),
    )


def work_of(clips: ClipDataset, count: int) -> list[float]:
    """Seconds of processor time for each of some clips, in this process."""
    rows = np.random.default_rng(3).integers(0, len(clips), count + 1).tolist()
    seconds = []
    for row in rows:
        start = time.process_time()
        collate([clips[0, row]])
        seconds.append(time.process_time() - start)
    clips.close()
    return seconds[1:]


def loader(clips: ClipDataset, *, batch: int, workers: int) -> Iterator[Batch]:
    """Endless batches, as a training draws them."""
    order = EpochBatches(size=len(clips), batch=batch, seed=0)
    return iter(
        DataLoader(
            clips,
            batch_sampler=order,
            num_workers=workers,
            collate_fn=collate,
            prefetch_factor=AHEAD if workers else None,
            multiprocessing_context=multiprocessing.get_context("fork") if workers else None,
        )
    )


def timed(batches: Iterator[Batch], steps: int, compute: float) -> tuple[list[float], list[float]]:
    """Seconds that each step waited, and that it computed."""
    waits, works = [], []
    for _ in range(steps):
        start = time.perf_counter()
        next(batches)
        ready = time.perf_counter()
        time.sleep(compute)
        waits.append(ready - start)
        works.append(time.perf_counter() - ready)
    return waits, works


def spread(seconds: list[float]) -> str:
    """The median and the middle of the values, in milliseconds."""
    low, middle, high = (1e3 * float(np.percentile(seconds, q)) for q in (10, 50, 90))
    return f"{middle:.1f} ms (10 % {low:.1f}, 90 % {high:.1f})"


def measure(title: str, clips: ClipDataset, batch: int, options: argparse.Namespace) -> None:
    """Print one case: with the model, and as fast as the workers can."""
    workers, steps = options.workers, options.steps
    warm = max(2, AHEAD * workers)
    work = work_of(clips, 20)
    batches = loader(clips, batch=batch, workers=workers)
    first, _ = timed(batches, 1, 0.0)
    timed(batches, warm, options.compute / 1e3)
    waits, works = timed(batches, steps, options.compute / 1e3)
    share = sum(waits) / (sum(waits) + sum(works))
    # Then nothing holds the workers up: what they had prepared is used up first.
    timed(batches, warm, 0.0)
    bare, _ = timed(batches, max(10, steps // 2), 0.0)
    rate = batch / statistics.mean(bare)
    free = max(1, workers) / statistics.mean(work)
    verdict = "keeps ahead" if share < 0.01 else "keeps up" if share < 0.1 else "falls behind"
    print(f"{title}: {batch} clips of {clips.length} frames")
    print(f"  wait {spread(waits)}, compute {spread(works)}, {steps} steps")
    print(f"  {100 * share:.1f} % of the time waited: {verdict}; first batch {first[0]:.2f} s")
    print(
        f"  without a model: {rate:.1f} clips/s, so {rate * options.compute / 1e3:.1f} clips"
        f" per {options.compute:g} ms"
    )
    print(
        f"  {spread(work)} of work per clip: {max(1, workers)} free cores would give"
        f" {free:.1f} clips/s, {free * options.compute / 1e3:.1f} per {options.compute:g} ms"
    )


def main() -> None:
    """Print the machine, the versions and both cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes that load")
    parser.add_argument("--compute", type=float, default=100, help="ms that the model takes")
    parser.add_argument("--steps", type=int, default=60, help="steps measured")
    parser.add_argument("--batch", type=int, help="clips per batch (4 of JHMDB, 2 of AVA)")
    parser.add_argument("--case", choices=["JHMDB", "AVA"], help="only this one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"machine: {processor()}, {load}; {packages()}")
    print(f"torch {torch.__version__}; {options.workers} workers, {options.compute:g} ms per batch")
    with tempfile.TemporaryDirectory() as name:
        if options.case in (None, "JHMDB"):
            clips = clips_of(short_films(Path(name)), length=16, stride=1)
            measure("JHMDB", clips, options.batch or 4, options)
        if options.case in (None, "AVA"):
            clips = clips_of(long_film(Path(name)), length=32, stride=2)
            measure("AVA", clips, options.batch or 2, options)


if __name__ == "__main__":
    main()

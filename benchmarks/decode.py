"""How long does it take to get one clip's frames out of a video file?

Two ways of access, each beside the loop that one would write with PyAV alone (open, decode from
the first frame, keep what is wanted):

- short: 15 frames out of clips of 15 to 40 frames (JHMDB, named by STAD_DATA; else generated);
- long: 32 frames of a 64-frame window anywhere in a long 640x360 H.264 file (generated), with a
  reader opened for each clip, and with one reader kept open.

Run: uv run python benchmarks/decode.py [--minutes 5] [--rounds 15]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np

from stad_data import VideoReader, VideoWriter


def generated(path: Path, *, frames: int, size: tuple[int, int], preset: str) -> Path:
    """A moving texture with some noise, one keyframe in 250 frames at most."""
    rng = np.random.default_rng(0)
    width, height = size
    texture = rng.integers(0, 255, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
    texture = texture.repeat(20, 0).repeat(20, 1)[:height, :width]
    noise = rng.integers(0, 12, (8, height, width, 3), dtype=np.uint8)
    with VideoWriter(path, size=size, fps=30, preset=preset, threads=0) as writer:
        for number in range(frames):
            writer.write(np.roll(texture, 3 * number, axis=1) // 2 + noise[number % 8])
    return path


def plainly(path: Path, indices: list[int]) -> np.ndarray:
    """The obvious loop."""
    wanted = set(indices)
    found = []
    with av.open(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
            if number >= indices[-1]:
                break
    return np.stack(found)


def opened_each_time(path: Path, indices: list[int]) -> np.ndarray:
    """A VideoReader for this clip alone: it has to index the file first."""
    with VideoReader(path) as reader:
        return reader.read(indices)


def measure(name: str, read: Callable[[Path, list[int]], np.ndarray], jobs: list) -> float:
    """Print and return the median time of a job in milliseconds."""
    times = []
    for path, indices in jobs:
        start = time.perf_counter()
        frames = read(path, indices)
        times.append(1e3 * (time.perf_counter() - start))
        assert len(frames) == len(indices)
    median = statistics.median(times)
    low, high = np.percentile(times, [10, 90])
    print(f"  {name:32} {median:8.1f} ms   (10 % {low:.1f}, 90 % {high:.1f}, n = {len(times)})")
    return median


def short_clips(folder: Path, rounds: int) -> None:
    """Access as in JHMDB."""
    root = Path(os.environ.get("STAD_DATA", "")) / "jhmdb" / "videos"
    paths = sorted(root.glob("*/*.mp4")) if os.environ.get("STAD_DATA") else []
    source = "JHMDB, 320x240" if paths else "generated, 320x240"
    if not paths:
        paths = [generated(folder / "short.mp4", frames=40, size=(320, 240), preset="medium")]
    rng = np.random.default_rng(1)
    jobs = [(paths[i], list(range(15))) for i in rng.integers(0, len(paths), 4 * rounds)]
    print(f"short: 15 frames from the start of a clip ({source})")
    ours = measure("VideoReader, opened each time", opened_each_time, jobs)
    plain = measure("PyAV, obvious loop", plainly, jobs)
    print(f"  ratio {plain / ours:.2f}")


def long_video(folder: Path, minutes: float, rounds: int) -> None:
    """Access as in AVA."""
    frames = int(minutes * 60 * 30)
    path = generated(folder / "long.mp4", frames=frames, size=(640, 360), preset="ultrafast")
    rng = np.random.default_rng(2)
    jobs = [
        (path, list(range(first, first + 64, 2))) for first in rng.integers(0, frames - 64, rounds)
    ]
    print(f"long: 32 frames of a 64-frame window ({minutes:g} min, 640x360, H.264)")
    ours = measure("VideoReader, opened each time", opened_each_time, jobs)
    with VideoReader(path) as reader:
        kept = measure("VideoReader, kept open", lambda _, indices: reader.read(indices), jobs)
    plain = measure("PyAV, obvious loop", plainly, jobs[: max(5, rounds // 3)])
    print(f"  ratio {plain / ours:.1f}, kept open {plain / kept:.1f}")


def main() -> None:
    """Print the machine, the versions and both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2, help="length of the long video")
    parser.add_argument("--rounds", type=int, default=15, help="clips measured per way")
    options = parser.parse_args()
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(
        f"versions: stad-data {version('stad-data')}, PyAV {av.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        short_clips(Path(folder), options.rounds)
        long_video(Path(folder), options.minutes, options.rounds)


if __name__ == "__main__":
    main()

"""How many clips per second come out of video files, and how much memory does it take?

Four kinds of access, each with a file opened for every clip, as a loader over many files does:

- AVA: 32 frames of a 64-frame window anywhere in a long 640x360 H.264 file (generated);
- UCF: 16 frames of a 32-frame window in a 320x240 H.264 file of 200 frames (generated);
- JHMDB: 15 frames from the start of clips of 15 to 40 frames (STAD_DATA's, else generated);
- UCF24's own MPEG-4 files, where STAD_DATA has them: 16 frames of a 32-frame window.

Each by every backend of VideoReader and beside it by the libraries alone, used as one would at
first; the end of a case sets VideoReader against the best of plain PyAV and decord, and the others.
Every way runs in a process of its own, which gives its peak memory; the first clip of each way is
compared with the obvious loop's. Backends that are not installed, or refuse, say so. "Work" is
processor time, all threads together: the fairer figure on a machine that is busy otherwise.

Run: uv run python benchmarks/decode.py [--minutes 5] [--rounds 15] [--case AVA]
"""

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import numpy as np

from stad_data import VideoReader, VideoWriter

Job = tuple[Path, list[int]]
SEGMENT = 600  # frames that are encoded; a long file repeats them


def generated(path: Path, *, frames: int, size: tuple[int, int]) -> Path:
    """A moving texture with some noise: x264's medium preset, B-frames, at most 250 to a group."""
    rng = np.random.default_rng(0)
    width, height = size
    texture = rng.integers(0, 255, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
    texture = texture.repeat(20, 0).repeat(20, 1)[:height, :width]
    noise = rng.integers(0, 12, (8, height, width, 3), dtype=np.uint8)
    segment = path.with_name(f"segment_{path.name}")
    count = min(frames, SEGMENT)
    with VideoWriter(segment, size=size, fps=30, preset="medium", crf=23) as writer:
        for number in range(count):
            writer.write(np.roll(texture, 3 * number, axis=1) // 2 + noise[number % 8])
    return repeated(segment, path, frames // count)


def repeated(segment: Path, path: Path, times: int) -> Path:
    """The same packets one time after the other, without encoding them again."""
    with av.open(segment) as source, av.open(path, "w") as to:
        template = source.streams.video[0]
        stream = to.add_stream_from_template(template)
        packets = [packet for packet in source.demux(template) if packet.size]
        length = sum(packet.duration for packet in packets)
        for turn in range(times):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts + turn * length, packet.dts + turn * length
                copy.duration, copy.time_base = packet.duration, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                to.mux(copy)
    segment.unlink()
    return path


# --- the ways ---------------------------------------------------------------------------------


def obvious(path: Path, indices: list[int]) -> np.ndarray:
    """PyAV from the first frame."""
    wanted = set(indices)
    found = []
    with av.open(path) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
            if number >= indices[-1]:
                break
    return np.stack(found)


def sought(path: Path, indices: list[int]) -> np.ndarray:
    """PyAV from the keyframe before, taking the rate to be constant."""
    wanted = set(indices)
    found = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        per_frame = round(1 / (stream.average_rate * stream.time_base))
        container.seek(indices[0] * per_frame, stream=stream)
        for frame in container.decode(stream):
            number = frame.pts // per_frame
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
            if number >= indices[-1]:
                break
    return np.stack(found)


def decord_alone(path: Path, indices: list[int], threads: int = 0) -> np.ndarray:
    """decord as its README shows."""
    import decord

    return decord.VideoReader(str(path), num_threads=threads).get_batch(indices).asnumpy()


def decord_alone_single(path: Path, indices: list[int]) -> np.ndarray:
    """The same with one thread."""
    return decord_alone(path, indices, threads=1)


def torchcodec_alone(path: Path, indices: list[int]) -> np.ndarray:
    """torchcodec as its README shows."""
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(str(path), dimension_order="NHWC").get_frames_at(indices).data.numpy()


def reader(path: Path, indices: list[int]) -> np.ndarray:
    """VideoReader."""
    with VideoReader(path) as video:
        return video.read(indices)


def reader_decord(path: Path, indices: list[int]) -> np.ndarray:
    """VideoReader by decord."""
    with VideoReader(path, backend="decord") as video:
        return video.read(indices)


def reader_torchcodec(path: Path, indices: list[int]) -> np.ndarray:
    """VideoReader by torchcodec."""
    with VideoReader(path, backend="torchcodec") as video:
        return video.read(indices)


class KeptOpen:
    """VideoReader, one for all clips of a file."""

    def __init__(self) -> None:
        self.readers: dict[Path, VideoReader] = {}

    def __call__(self, path: Path, indices: list[int]) -> np.ndarray:
        """Frames of the file, opened once."""
        if path not in self.readers:
            self.readers[path] = VideoReader(path)
        return self.readers[path].read(indices)


WAYS: dict[str, Callable[[Path, list[int]], np.ndarray]] = {
    "VideoReader": reader,
    "VideoReader, kept open": KeptOpen(),
    "VideoReader, decord": reader_decord,
    "VideoReader, torchcodec": reader_torchcodec,
    "PyAV alone, obvious loop": obvious,
    "PyAV alone, with seek": sought,
    "decord alone": decord_alone,
    "decord alone, one thread": decord_alone_single,
    "torchcodec alone": torchcodec_alone,
}


PLAIN = ("PyAV alone", "decord alone")
BESIDE = ("PyAV alone, obvious loop", "torchcodec alone")


# --- measuring --------------------------------------------------------------------------------


def run(name: str, jobs: list[Job], expected: np.ndarray) -> tuple[list[float], list[float], str]:
    """In a process of its own: seconds by the clock and of all cores per job; what was wrong."""
    way = WAYS[name]
    try:
        frames = way(*jobs[0])
    except ImportError:
        return [], [], "not installed"
    except Exception as error:  # the libraries' own kinds: the line is printed, the run goes on
        return [], [], f"refused: {str(error).strip().splitlines()[0][:150]}"
    same = frames.shape == expected.shape and bool((frames == expected).all())
    times, work = [], []
    for path, indices in jobs[1:]:
        start, busy = time.perf_counter(), time.process_time()
        way(path, indices)
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - busy)
    note = "" if same else ", OTHER FRAMES THAN THE OBVIOUS LOOP'S"
    return times, work, f"{peak_mib():.0f} MiB{note}"


def peak_mib() -> float:
    """The most memory that this process held; Linux tells it apart from its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(title: str, jobs: list[Job]) -> None:
    """Print one case: each way's clips per second."""
    print(f"{title} ({len(jobs) - 1} clips)")
    expected = obvious(*jobs[0])
    medians: dict[str, float] = {}
    works: dict[str, float] = {}
    for name in WAYS:
        few = jobs[: max(4, len(jobs) // 3)] if name == "PyAV alone, obvious loop" else jobs
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            times, work, note = pool.apply(run, (name, few, expected))
        if not times:
            print(f"  {name:26} {note}")
            continue
        median = medians[name] = statistics.median(times)
        works[name] = statistics.median(work)
        low, high = (1e3 * float(np.percentile(times, q)) for q in (10, 90))
        print(
            f"  {name:26} {1 / median:7.1f} clips/s   {1e3 * median:7.1f} ms "
            f"(10 % {low:.1f}, 90 % {high:.1f}), {1e3 * works[name]:.1f} ms of work, "
            f"peak {note}"
        )
    for what, found in (("by the clock", medians), ("by work", works)):
        ours = found["VideoReader"]
        plain = [name for name in found if name.startswith(PLAIN)]
        best = min(plain, key=lambda name: found[name])
        others = [best, *(name for name in found if name in BESIDE)]
        ratios = ", ".join(f"{found[name] / ours:.2f} of {name}" for name in others)
        print(f"  {what}, VideoReader has this many times the speed: {ratios}")


def windows(paths: list[Path], frames: int, rounds: int, *, length: int) -> list[Job]:
    """Every second frame of windows anywhere; the first job only warms up."""
    rng = np.random.default_rng(2)
    starts = rng.integers(0, frames - length, rounds + 1).tolist()
    return [(paths[n % len(paths)], list(range(s, s + length, 2))) for n, s in enumerate(starts)]


def starts(folder: Path, data: Path | None, rounds: int) -> list[Job]:
    """The first 15 frames of short clips."""
    paths = sorted((data / "jhmdb" / "videos").glob("*/*.mp4")) if data else []
    if not paths:
        paths = [generated(folder / "short.mp4", frames=40, size=(320, 240))]
    picked = np.random.default_rng(1).integers(0, len(paths), 2 * rounds + 1).tolist()
    return [(paths[n], list(range(15))) for n in picked]


def processor() -> str:
    """What the processor calls itself; Linux tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def packages() -> str:
    """Versions of what takes part."""
    names = ("stad-data", "av", "decord", "torchcodec", "numpy")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    ffmpeg = ".".join(str(n) for n in av.library_versions["libavcodec"])
    return f"{', '.join(found)}, Python {platform.python_version()}, PyAV's libavcodec {ffmpeg}"


def main() -> None:
    """Print the machine, the versions and all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5, help="length of the long video")
    parser.add_argument("--rounds", type=int, default=15, help="clips measured per way")
    parser.add_argument("--case", choices=["AVA", "UCF", "JHMDB", "UCF24"], help="only this one")
    options = parser.parse_args()
    data = Path(os.environ["STAD_DATA"]) if os.environ.get("STAD_DATA") else None
    print(f"machine: {processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"versions: {packages()}")

    def chosen(case: str) -> bool:
        return options.case in (None, case)

    with tempfile.TemporaryDirectory() as name:
        folder, rounds = Path(name), options.rounds
        if chosen("AVA"):
            frames = max(SEGMENT, int(options.minutes * 1800) // SEGMENT * SEGMENT)
            path = generated(folder / "long.mp4", frames=frames, size=(640, 360))
            title = f"AVA: 32 of 64 frames of {frames / 1800:g} minutes, 640x360, H.264"
            measure(title, windows([path], frames, rounds, length=64))
        if chosen("UCF"):
            path = generated(folder / "middle.mp4", frames=200, size=(320, 240))
            jobs = windows([path], 200, rounds, length=32)
            measure("UCF: 16 of 32 frames of 200, 320x240, H.264", jobs)
        if chosen("JHMDB"):
            measure("JHMDB: 15 frames of 15 to 40, 320x240, H.264", starts(folder, data, rounds))
        paths = sorted((data / "ucf24" / "videos").glob("*.mp4")) if data else []
        if chosen("UCF24") and paths:
            jobs = windows(paths, 90, rounds, length=32)
            measure("UCF24: 16 of 32 frames of 92 to 244, 340x256, MPEG-4", jobs)


if __name__ == "__main__":
    main()

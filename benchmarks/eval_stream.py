"""Ten times more rows than memory holds, scored video by video.

A process may take no more address space than it has after its imports and CAP MiB (the limit is
RLIMIT_AS). It is given detections of so many generated videos that their table would take ten times
CAP (64 bytes a row), one video at a time, and scores them through `frame_map_streamed`. Then,
without a limit, the same videos are scored in parts that are combined in memory, and the first of
them as one table; both must give the very numbers of the stream. A third process with the same
limit keeps the tables instead, and says how far it gets. The same for tubes and
`video_map_streamed` (40 bytes a row). Prints machine and versions, rows, bytes, seconds and peak
memory.

    python benchmarks/eval_stream.py [--cap 300] [--times 10] [--protocol ava-v2.2]
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from measurement import child, machine, peak_memory
from stad_eval import (
    Boxes,
    Tubes,
    combine,
    combine_videos,
    concatenate,
    concatenate_tubes,
    frame_map,
    frame_map_streamed,
    frame_partial,
    video_map,
    video_map_streamed,
    video_partial,
)
from stad_eval.class_lists import AVA_EVALUATED, UCF24

MIB = 1 << 20
KEYFRAMES, PEOPLE, EXTRA = 900, 4, 16
TUBES, LENGTH = 8, 3000
BYTES = {"frames": 64, "tubes": 40}
ROWS = {"frames": KEYFRAMES * (PEOPLE + EXTRA), "tubes": 2 * TUBES * LENGTH}
# So many videos are also scored as one table.
WHOLE = 60


def frames_of(video: int) -> tuple[Boxes, Boxes]:
    """One video: four people on every keyframe, all found, and sixteen boxes of nobody."""
    rng = np.random.default_rng(video)
    name, scale = (f"v{video:06d}",), np.array([0.3, 0.3, 0.9, 0.9])
    people = rng.uniform(0.0, 0.1, (KEYFRAMES * PEOPLE, 4)) + scale * rng.uniform(
        0.2, 1.0, (KEYFRAMES * PEOPLE, 1)
    )
    label = rng.integers(0, len(AVA_EVALUATED), KEYFRAMES * PEOPLE)
    frame = np.repeat(np.arange(902, 902 + KEYFRAMES), PEOPLE)
    more = KEYFRAMES * EXTRA
    moved = people + rng.normal(0.0, 0.04, people.shape)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
    truth = Boxes(
        videos=name,
        classes=AVA_EVALUATED,
        video=np.zeros(label.size, dtype=np.int64),
        frame=frame,
        box=people,
        label=label,
        score=np.ones(label.size),
    )
    found = Boxes(
        videos=name,
        classes=AVA_EVALUATED,
        video=np.zeros(label.size + more, dtype=np.int64),
        frame=np.concatenate([frame, rng.integers(902, 902 + KEYFRAMES, more)]),
        box=np.concatenate([moved, moved[rng.integers(0, label.size, more)]]),
        label=np.concatenate([label, rng.integers(0, len(AVA_EVALUATED), more)]),
        score=np.concatenate([rng.beta(3, 2, label.size), rng.beta(1, 4, more)]),
    )
    return truth, found


def tubes_of(video: int) -> tuple[Tubes, Tubes]:
    """One video: eight people, all found, each with another tube of nobody."""
    rng = np.random.default_rng(video)
    corner = rng.uniform(0.0, 200.0, (TUBES, 1, 2))
    drift = np.arange(LENGTH)[:, None] * rng.uniform(-0.1, 0.1, (TUBES, 1, 2))
    people = np.concatenate([corner + drift, corner + drift + 80.0], axis=2).reshape(-1, 4)
    label = rng.integers(0, len(UCF24), TUBES)

    def table(box: np.ndarray, label: np.ndarray, score: np.ndarray) -> Tubes:
        return Tubes(
            videos=(f"v{video:06d}",),
            classes=UCF24,
            video=np.zeros(label.size, dtype=np.int64),
            label=label,
            score=score,
            start=np.arange(label.size + 1) * LENGTH,
            frame=np.tile(np.arange(LENGTH), label.size),
            box=box,
        )

    moved = people + np.repeat(rng.normal(0.0, 8.0, (TUBES, 1)), LENGTH, axis=0)
    found = table(
        np.concatenate([moved, moved[::-1]]),
        np.concatenate([label, rng.integers(0, len(UCF24), TUBES)]),
        np.concatenate([rng.beta(3, 2, TUBES), rng.beta(1, 4, TUBES)]),
    )
    return table(people, label, np.ones(TUBES)), found


def shards(what: str, videos: int) -> Iterator[tuple]:
    make = frames_of if what == "frames" else tubes_of
    return (make(video) for video in range(videos))


def streamed(what: str, videos: int, protocol: str, folder: str) -> dict:
    """The numbers of a stream, as JSON has them."""
    if what == "frames":
        result = frame_map_streamed(shards(what, videos), protocol, folder=folder)[0.5]
        return json.loads(result.to_json())
    return json.loads(video_map_streamed(shards(what, videos), protocol).to_json())


def combined(what: str, videos: int, protocol: str) -> dict:
    """The same from parts that are held in memory."""
    parts = shards(what, videos)
    if what == "frames":
        result = combine(frame_partial(*each, protocol) for each in parts)[0.5]
        return json.loads(result.to_json())
    return json.loads(combine_videos(video_partial(*each, protocol) for each in parts).to_json())


def whole(what: str, videos: int, protocol: str) -> dict:
    """The same from one table of all."""
    sides = zip(*shards(what, videos), strict=True)
    if what == "frames":
        truth, found = (concatenate(each) for each in sides)
        return json.loads(frame_map(truth, found, protocol).to_json())
    truth, found = (concatenate_tubes(each) for each in sides)
    return json.loads(video_map(truth, found, protocol).to_json())


def limited(cap: int) -> float:
    """Let this process take no more than `cap` MiB beyond what it has; MiB that it has."""
    status = Path("/proc/self/status").read_text()
    size = int(status.split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + cap * MIB, size + cap * MIB))
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(options: argparse.Namespace) -> None:
    """In a process of its own: the stream, or how many tables can be kept."""
    what, videos = options.what, options.videos
    for _ in islice(shards(what, 1), 1):  # what generation and numpy set up at their first use
        whole(what, 1, options.protocol)
    held = limited(options.cap)
    if options.measure == "kept":
        tables = []
        try:
            tables.extend(shards(what, videos))
        except MemoryError:
            kept = len(tables)
            del tables
            print(json.dumps({"videos": kept}))
            return
        sys.exit("the limit does not hold: all tables were kept")
    start = time.perf_counter()
    result = streamed(what, videos, options.protocol, options.folder)
    spent = time.perf_counter() - start
    content = {"result": result, "seconds": spent, "held": held, "peak": peak_memory()}
    print(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cap", type=int, default=300, help="MiB beyond the imports")
    parser.add_argument("--times", type=float, default=10.0, help="tables of so many times CAP")
    parser.add_argument("--measure", choices=("stream", "kept"), help="one measurement")
    parser.add_argument("--what", choices=("frames", "tubes"), default="frames")
    parser.add_argument("--videos", type=int, default=0)
    parser.add_argument("--protocol", default="ava-v2.2")
    parser.add_argument("--folder", help="where the scores of a stream lie (default: temporary)")
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    print(machine())
    good = True
    for what, protocol in (("frames", options.protocol), ("tubes", "ucf24")):
        size = ROWS[what] * BYTES[what]
        videos = int(np.ceil(options.times * options.cap * MIB / size))
        print(
            f"{what}, {protocol}: {videos} videos, {videos * ROWS[what]:,} rows, "
            f"{videos * size / MIB:,.0f} MiB as one table; limit {options.cap} MiB",
            flush=True,
        )
        settings = ("--what", what, "--protocol", protocol, "--cap", options.cap)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            place = ("--videos", videos, "--folder", folder)
            stream = child(__file__, "--measure", "stream", *settings, *place)
            few = streamed(what, WHOLE, protocol, folder)
        kept = child(__file__, "--measure", "kept", *settings, "--videos", videos)
        print(
            f"  streamed in {stream['seconds']:.1f} s, generation included; "
            f"{stream['held']:.0f} MiB before, at most {stream['peak']:.0f} MiB\n"
            f"  kept as tables, memory ends after {kept['videos']} videos"
        )
        same = {
            "parts combined in memory": stream["result"] == combined(what, videos, protocol),
            f"the first {WHOLE} videos as one table": few == whole(what, WHOLE, protocol),
        }
        for name, equal in same.items():
            print(f"  {name}: {'the same to the last bit' if equal else 'DIFFERENT'}", flush=True)
        good = good and all(same.values())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

"""How long all metrics of UCF101-24 take at full scale: frames, tubes, coverage, errors.

Generated ground truth has 914 videos, 163,898 frames and 3,754 tubes. Detections are 1,438,608
boxes on frames, and for every true tube one that follows it, some with the wrong class or a part of
its time, and two that follow nothing. Prints machine, versions and sizes, then the median and
spread of the runs, the memory at its peak, and the ratio to MOC's script, which takes 140.7 s for
files of this size (two cores, a quiet machine; a figure that is stated here, not measured).

    python benchmarks/eval_ucf24.py [--repeats 3] [--scales 1 4] [--protocol ucf24]
"""

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

import stad_eval
from stad_eval import Boxes, TubeFile, Tubes, video_map
from stad_eval.class_lists import UCF24
from stad_eval.frame_errors import frame_errors
from stad_eval.shards import combine, frame_partial
from stad_eval.tube_errors import tube_errors

VIDEOS, FRAMES, TUBES, BOXES = 914, 163_898, 3_754, 1_438_608
PEER_SECONDS = 140.7
FRAME_IOUS = (0.2, 0.5, 0.75)
SIZE = (320.0, 240.0)


def shares(rng: np.random.Generator, total: int, parts: int, least: int) -> np.ndarray:
    """`parts` whole numbers of at least `least` whose sum is `total`."""
    weights = rng.gamma(4.0, 1.0, parts)
    cuts = np.floor(np.cumsum(weights) / weights.sum() * (total - least * parts)).astype(np.int64)
    return np.diff(cuts, prepend=0) + least


def walk(rng: np.random.Generator, length: np.ndarray) -> np.ndarray:
    """Boxes [sum(length), 4] of people who drift over the frame, tube after tube."""
    corner = rng.uniform((0, 0), (200, 120), (length.size, 2))
    size = rng.uniform((30, 60), (90, 110), (length.size, 2))
    speed = rng.uniform(-0.15, 0.15, (length.size, 2))
    at = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    low = np.repeat(corner, length, axis=0) + at[:, None] * np.repeat(speed, length, axis=0)
    low = np.clip(low, 0, np.array(SIZE) - 30)
    high = np.minimum(low + np.repeat(size, length, axis=0), SIZE)
    return np.concatenate([low, np.maximum(high, low + 5)], axis=1)


def moved(rng: np.random.Generator, box: np.ndarray, by: float) -> np.ndarray:
    result = np.clip(box + rng.normal(0.0, by, box.shape), 0, (*SIZE, *SIZE))
    result[:, 2:] = np.maximum(result[:, 2:], result[:, :2] + 2)
    return result.round(2)


def table(video, label, score, first, length, box) -> Tubes:
    at = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return Tubes(
        videos=tuple(f"video{each:05d}" for each in range(int(video.max()) + 1)),
        classes=UCF24,
        video=video,
        label=label,
        score=score,
        start=np.concatenate(([0], np.cumsum(length))),
        frame=np.repeat(first, length) + at,
        box=box,
    )


def generate(scale: int, seed: int) -> tuple[TubeFile, Boxes, Tubes]:
    """Ground truth, detections on frames, detected tubes."""
    rng = np.random.default_rng(seed)
    videos = VIDEOS * scale
    frames = shares(rng, FRAMES * scale, videos, 20)
    actions = rng.integers(0, len(UCF24), videos)
    video = np.repeat(np.arange(videos), shares(rng, TUBES * scale, videos, 1))
    length = np.maximum((frames[video] * rng.uniform(0.4, 1.0, video.size)).astype(np.int64), 2)
    first = (rng.uniform(size=video.size) * (frames[video] - length + 1)).astype(np.int64)
    label = actions[video]
    truth = table(video, label, np.ones(video.size), first, length, walk(rng, length))
    names = truth.videos
    counts = {name: int(count) for name, count in zip(names, frames, strict=True)}
    return (
        TubeFile(tubes=truth, frame_counts=counts, sizes=dict.fromkeys(names, (320, 240))),
        frame_detections(rng, truth, frames, scale),
        tube_detections(rng, truth, frames),
    )


def frame_detections(rng, truth: Tubes, frames: np.ndarray, scale: int) -> Boxes:
    owner = np.repeat(np.arange(len(truth)), truth.lengths())
    picked = np.arange(owner.size)
    extra = BOXES * scale - owner.size
    # What follows nothing lies on any frame, half of it with the action of its video.
    key = rng.integers(0, int(frames.sum()), extra)
    ends = np.cumsum(frames)
    video = np.searchsorted(ends, key, side="right")
    action = np.zeros(frames.size, dtype=np.int64)
    action[truth.video] = truth.label
    label = np.where(rng.uniform(size=extra) < 0.5, action[video], rng.integers(0, 24, extra))
    order = rng.permutation(picked.size + extra)
    score = np.concatenate([rng.beta(5, 2, picked.size), rng.beta(1, 6, extra)])
    box = [moved(rng, truth.box[picked], 8.0), moved(rng, walk(rng, np.ones(extra, int)), 8.0)]
    return Boxes(
        videos=truth.videos,
        classes=UCF24,
        video=np.concatenate([truth.video[owner], video])[order],
        frame=np.concatenate([truth.frame[picked], key - (ends - frames)[video]])[order],
        label=np.concatenate([truth.label[owner], label])[order],
        score=score[order].astype(np.float32),
        box=np.concatenate(box)[order],
    )


def tube_detections(rng, truth: Tubes, frames: np.ndarray) -> Tubes:
    cut = (truth.lengths() * rng.uniform(0.0, 0.3, len(truth))).astype(np.int64)
    rows = np.concatenate(
        [np.arange(a + c, b) for a, b, c in zip(truth.start, truth.start[1:], cut, strict=False)]
    )
    label = truth.label.copy()
    wrong = rng.uniform(size=label.size) < 0.15
    label[wrong] = rng.integers(0, 24, int(wrong.sum()))
    video = rng.integers(0, frames.size, 2 * len(truth))
    length = np.maximum((frames[video] * rng.uniform(0.3, 1.0, video.size)).astype(np.int64), 1)
    lengths = np.concatenate([truth.lengths() - cut, length])
    order = rng.permutation(lengths.size)
    tubes = table(
        np.concatenate([truth.video, video]),
        np.concatenate([label, rng.integers(0, 24, video.size)]),
        np.concatenate([rng.beta(5, 2, len(truth)), rng.beta(1, 4, video.size)]),
        np.concatenate([truth.frame[truth.start[:-1]] + cut, np.zeros(video.size, dtype=np.int64)]),
        lengths,
        np.concatenate([moved(rng, truth.box[rows], 6.0), walk(rng, length)]),
    )
    return tubes.select(order)


def timed(work: Callable[[], object], repeats: int) -> tuple[float, str]:
    """Median wall time, and a text with its spread and the median time of the processor."""
    seconds: list[float] = []
    processor: list[float] = []
    for _ in range(repeats):
        start, before = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - before)
    middle = statistics.median(seconds)
    spread = f"{min(seconds):.3f} to {max(seconds):.3f} s"
    return (
        middle,
        f"median {middle:.3f} s, {spread}, processor {statistics.median(processor):.3f} s",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--protocol", default="ucf24")
    options = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {platform.system()}")
    print(f"python {platform.python_version()}, numpy {np.__version__}")
    print(f"stad-eval {stad_eval.__version__}, protocol {options.protocol}")
    base = 0.0
    for scale in options.scales:
        truth, boxes, tubes = generate(scale, seed=7)
        sizes = f"{len(truth.tubes.videos)} videos, {sum(truth.frame_counts.values())} frames"
        print(
            f"x{scale}: {sizes}, {len(truth.tubes)} true tubes; found {len(boxes)} boxes, "
            f"{len(tubes)} tubes"
        )
        steps = work_of(truth, boxes, tubes, options.protocol)
        total = 0.0
        for name, step in steps.items():
            spent, text = timed(step, options.repeats)
            total += spent
            print(f"  {name:<24}{text}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        base = base or total / scale
        share = total / scale / base
        print(
            f"  {'total of the medians':<24}{total:.3f} s, per row {share:.2f} of the first scale's"
        )
        print(f"  peak memory so far: {peak:.0f} MiB, generation and the tables included")
        if scale == 1:
            ratio = PEER_SECONDS / total
            print(f"  {ratio:.0f} times as fast as MOC's stated {PEER_SECONDS} s")


def work_of(truth, boxes, tubes, protocol) -> dict[str, Callable[[], object]]:
    def frames() -> object:
        return combine([frame_partial(truth.boxes(), boxes, protocol, ious=FRAME_IOUS)])

    def videos() -> object:
        return video_map(truth.tubes, tubes, protocol)

    def errors() -> object:
        return frame_errors(truth.boxes(), boxes, protocol)

    def errors_of_tubes() -> object:
        return tube_errors(truth.tubes, tubes, protocol)

    print(f"  frame-mAP {[round(each.mean, 4) for each in frames().values()]}")
    result = videos()
    print(f"  video-mAP { {key: round(value, 4) for key, value in result.mean.items()} }")
    print(f"  v-MABO {result.coverage.class_agnostic:.4f}, {result.coverage.class_aware:.4f}")
    return {
        "frame-mAP, 3 thresholds": frames,
        "video-mAP and coverage": videos,
        "errors of frames": errors,
        "errors of tubes": errors_of_tubes,
    }


if __name__ == "__main__":
    main()

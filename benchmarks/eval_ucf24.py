"""How long all metrics of UCF101-24 take at full scale: frames, tubes, coverage, errors.

Generated ground truth has 914 videos, 163,898 frames and 3,754 tubes. Detections are 1,438,608
boxes on frames in shuffled rows, and for every true tube one that follows it, some with the
wrong class or a part of its time, and two that follow nothing. Prints machine and versions; then,
for 1, 4 and 16 times these sizes, each in a process of its own, the sizes, the values, the time of
every step of `stad-eval tubes` and its peak memory (the tables included, their generation not);
last, how the time grows. MOC's script takes 140.7 s for files of the first size (two cores, a quiet
machine; a figure that is stated here, not measured).

    python benchmarks/eval_ucf24.py [--repeats 5] [--scales 1 4 16] [--protocol ucf24]
"""

import argparse
import json
import statistics
from collections.abc import Callable

import numpy as np

from measurement import child, forget_peak, growth_table, in_words, machine, peak_memory, timed
from stad_eval import (
    Boxes,
    FrameMatches,
    TubeFile,
    TubeMatches,
    Tubes,
    frame_errors_of,
    frame_maps_of,
    frame_matches,
    tube_errors_of,
    tube_matches,
    video_map_of,
)
from stad_eval.class_lists import UCF24

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


def work_of(
    truth: TubeFile, boxes: Boxes, tubes: Tubes, protocol: str
) -> dict[str, Callable[[], object]]:
    """The steps of `stad-eval tubes` on tables that are read already."""
    matched: dict[str, FrameMatches | TubeMatches] = {}

    def frames() -> None:
        matched["frames"] = frame_matches(
            truth.boxes(), boxes, protocol, ious=FRAME_IOUS, surroundings=True
        )

    def videos() -> None:
        matched["tubes"] = tube_matches(truth.tubes, tubes, protocol)

    return {
        "matches of frames": frames,
        "frame-mAP, 3 thresholds": lambda: frame_maps_of(matched["frames"]),
        "errors of frames": lambda: frame_errors_of(matched["frames"]),
        "matches of tubes": videos,
        "video-mAP and v-MABO": lambda: video_map_of(matched["tubes"]),
        "errors of tubes": lambda: tube_errors_of(matched["tubes"]),
    }


def measure(scale: int, protocol: str, repeats: int) -> None:
    """Print, as JSON, times and peak memory at one scale."""
    truth, boxes, tubes = generate(scale, seed=7)
    tables = forget_peak()
    steps = work_of(truth, boxes, tubes, protocol)
    values = {name: step() for name, step in steps.items()}
    frames, video = values["frame-mAP, 3 thresholds"], values["video-mAP and v-MABO"]
    del values
    content = {
        "videos": len(truth.tubes.videos),
        "frames": sum(truth.frame_counts.values()),
        "truths": len(truth.tubes),
        "tubes": len(tubes),
        "rows": len(boxes),
        "tables": tables,
        "values": {
            "frame-mAP": {key: result.mean for key, result in frames.items()},
            "video-mAP": video.mean,
            "v-MABO": [video.coverage.class_agnostic, video.coverage.class_aware],
        },
    }
    del frames, video
    content["steps"] = {name: timed(step, repeats) for name, step in steps.items()}
    print(json.dumps({**content, "peak": peak_memory()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--protocol", default="ucf24")
    parser.add_argument("--measure", type=int, help="measure one scale here, for the table")
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure, options.protocol, options.repeats)
        return
    print(f"{machine()}\nprotocol {options.protocol}")
    rows = []
    for scale in options.scales:
        repeats = options.repeats if scale == 1 else min(options.repeats, 3)
        settings = ("--measure", scale, "--protocol", options.protocol, "--repeats", repeats)
        row = child(__file__, *settings)
        sizes = f"{row['videos']} videos, {row['frames']} frames, {row['truths']} true tubes"
        print(f"{scale}x: {sizes}; found {row['rows']} boxes, {row['tubes']} tubes")
        print(f"  {row['values']}")
        for name, times in row["steps"].items():
            print(f"  {name:<26}{in_words(times)}")
        total = sum(statistics.median(times["wall"]) for times in row["steps"].values())
        processor = sum(min(times["processor"]) for times in row["steps"].values())
        print(f"  {'sum':<26}{total:.3f} s, processor {processor:.3f} s", flush=True)
        if scale == 1:
            print(f"  1/{PEER_SECONDS / total:.0f} of MOC's stated {PEER_SECONDS} s")
        rows.append({**row, "scale": scale, "seconds": total, "processor": processor})
    print(growth_table(rows))


if __name__ == "__main__":
    main()

"""Does one frame of the synthetic videos tell the actions apart, or only motion?

Two oracles know the true pose of every actor, one of them at a single frame, the other over eight
frames; both are the same classifier (ridge regression on random Fourier features) on the same
actors. With --crops a small CNN sees rendered crops round the true boxes instead, one frame
repeated against eight frames (needs torch).

    python benchmarks/synthetic_motion.py [--crops] [--videos 90] [--test-videos 36] [--seed 0]
"""

import argparse
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic import ACTIONS, Scene, flip_pairs, simulate
from stad_data.synthetic.renderer import Renderer
from stad_data.synthetic.scene import Part, generator

LENGTH = 8
FPS = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Poses:
    """Actors at frames, with what the two oracles see of them. N = actors at frames."""

    frame: NDArray[np.float64]  # [N,F1] one frame's pose
    motion: NDArray[np.float64]  # [N,F2] the same and how it changes over eight frames
    labels: NDArray[np.bool_]  # [N,C]
    where: NDArray[np.int64]  # [N,3] video, actor, frame


def window(frame: int, count: int, stride: int) -> NDArray[np.int64]:
    """The clip round a frame, with the video's ends repeated."""
    return np.clip(frame + (np.arange(LENGTH) - LENGTH // 2) * stride, 0, count - 1)


def neighbours(scene: Scene, actor: int, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """[K,6]: is there somebody to the left and right, and how far over and down, in heights."""
    me = scene.actors[actor].joints[frames, 0]
    height = np.ptp(scene.actors[actor].extents[frames][:, [1, 3]], axis=1)[:, None]
    out = np.zeros((len(frames), 6))
    for side, sign in enumerate((-1.0, 1.0)):
        nearest = np.full(len(frames), np.inf)
        for other in range(len(scene.actors)):
            away = (scene.actors[other].joints[frames, 0] - me) / height
            take = (sign * away[:, 0] > 0) & (sign * away[:, 0] < nearest)
            take &= scene.visible(other)[frames]
            nearest[take] = sign * away[take, 0]
            out[take, 3 * side] = 1.0
            out[take, 3 * side + 1 : 3 * side + 3] = away[take]
    return out


def poses(
    seed: int, part: Part, videos: int, *, every: int, stride: int, fps: float = FPS
) -> Poses:
    """Poses of all visible actors at every so many frames of so many videos."""
    single, moving, labels, where = [], [], [], []
    for index in range(videos):
        scene = simulate(seed, part=part, index=index, fps=fps)
        for number, actor in enumerate(scene.actors):
            for frame in range(every, scene.num_frames - every // 2, every):
                if not scene.visible(number)[frame]:
                    continue
                clip = window(frame, scene.num_frames, stride)
                box = actor.extents[frame]
                middle, height = (box[:2] + box[2:]) / 2, box[3] - box[1]
                # Places in the world: what the camera does is taken away.
                world = actor.joints[clip] - scene.camera[clip][:, None]
                still = (actor.joints[frame] - middle) / height
                moved = (world - world[LENGTH // 2]) / height
                place = np.concatenate([middle, box[2:] - box[:2]]) / scene.size[1]
                beside = neighbours(scene, number, clip)
                now = np.concatenate([still.ravel(), place, beside[LENGTH // 2]])
                change = np.concatenate(
                    [2.0 * moved.ravel(), 2.0 * (beside - beside[LENGTH // 2]).ravel()]
                )
                single.append(now)
                moving.append(np.concatenate([now, change]))
                labels.append(actor.labels[frame])
                where.append((index, number, frame))
    return Poses(
        frame=np.array(single),
        motion=np.array(moving),
        labels=np.array(labels),
        where=np.array(where),
    )


def oracle_scores(
    train: NDArray[np.float64],
    labels: NDArray[np.bool_],
    test: NDArray[np.float64],
    *,
    features: int = 3000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """[N,C] scores of test rows; width and ridge are chosen on a fifth of the training rows."""
    rng = np.random.default_rng(seed)
    held = rng.random(len(train)) < 0.2
    one, other = rng.integers(len(train), size=(2, 5_000))
    distance = float(np.median(np.linalg.norm(train[one] - train[other], axis=1)))
    best, chosen = -1.0, (1.0, 1.0)
    for width in (0.25, 0.5, 1.0):
        for ridge in (0.1, 1.0, 10.0):
            fitted = _fit(train[~held], labels[~held], width * distance, ridge, features, seed)
            quality = float(np.nanmean(average_precisions(fitted(train[held]), labels[held])))
            if quality > best:
                best, chosen = quality, (width, ridge)
    return _fit(train, labels, chosen[0] * distance, chosen[1], features, seed)(test)


def _fit(rows, labels, width, ridge, features, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((rows.shape[1], features)) / width
    phase = rng.uniform(0, 2 * np.pi, features)

    def expand(x):
        return np.cos(x @ weights + phase) * np.sqrt(2.0)

    wide = expand(rows)
    prior = labels.mean(axis=0)
    gram = wide.T @ wide + ridge * np.eye(features)
    solution = np.linalg.solve(gram, wide.T @ (labels - prior))
    return lambda x: expand(x) @ solution + prior


def average_precisions(
    scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[C], area under each class's precision-recall curve; NaN for a class without a positive."""
    out = np.full(labels.shape[1], np.nan)
    for column in range(labels.shape[1]):
        hits = labels[np.argsort(-scores[:, column], kind="stable"), column]
        if hits.any():
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            out[column] = precision[hits].mean()
    return out


def crops(
    seed: int, part: Part, where: NDArray[np.int64], *, stride: int, fps: float, side: int = 40
) -> NDArray[np.uint8]:
    """[N,T,S,S,3]: squares of 1.5 box sides round the true box, for every row of `where`."""
    out = np.zeros((len(where), LENGTH, side, side, 3), np.uint8)
    at = (np.arange(2 * side) + 0.5) / (2 * side) - 0.5
    for index in np.unique(where[:, 0]).tolist():
        scene = simulate(seed, part=part, index=index, fps=fps)
        renderer = Renderer(scene, generator(seed, "ava", part, index, "look"))
        rows = np.flatnonzero(where[:, 0] == index)
        clips = {row: window(int(where[row, 2]), scene.num_frames, stride) for row in rows}
        frames = {f: renderer.frame(f) for f in np.unique(list(clips.values())).tolist()}
        for row, clip in clips.items():
            box = scene.boxes(int(where[row, 1]))[where[row, 2]]
            reach = 1.5 * max(box[2] - box[0], box[3] - box[1])
            x = np.clip((box[0] + box[2]) / 2 + at * reach, 0, scene.size[0] - 1).astype(int)
            y = np.clip((box[1] + box[3]) / 2 + at * reach, 0, scene.size[1] - 1).astype(int)
            twice = np.stack([frames[int(f)][y[:, None], x] for f in clip]).astype(np.float32)
            out[row] = twice.reshape(LENGTH, side, 2, side, 2, 3).mean(axis=(2, 4))
    return out


def crop_scores(train, labels, test, *, repeat: bool, epochs: int, threads: int):
    """[N,C] scores of a small 3D CNN trained from scratch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(threads)

    def block(inputs, outputs, time_kernel, kernel, stride):
        size, padding = (time_kernel, kernel, kernel), (time_kernel // 2, kernel // 2, kernel // 2)
        return nn.Sequential(
            nn.Conv3d(inputs, outputs, size, stride=stride, padding=padding, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        )

    model = nn.Sequential(
        block(3, 16, 3, 5, (1, 2, 2)),
        block(16, 24, 3, 3, (1, 2, 2)),
        block(24, 48, 3, 3, (1, 2, 2)),
        block(48, 96, 3, 3, (2, 1, 1)),
        nn.AdaptiveAvgPool3d((1, 3, 3)),
        nn.Flatten(),
        nn.Linear(96 * 9, labels.shape[1]),
    )
    top_rate, batch = 5e-3, 24
    optimiser = torch.optim.AdamW(model.parameters(), top_rate, weight_decay=0.02)
    clips = torch.from_numpy(train).permute(0, 4, 1, 2, 3).contiguous()
    targets = torch.from_numpy(labels.astype(np.float32))
    swap = torch.arange(labels.shape[1])
    for one, other in flip_pairs(ACTIONS):
        swap[one], swap[other] = other, one

    def prepare(x):
        x = x[:, :, LENGTH // 2 : LENGTH // 2 + 1].expand_as(x) if repeat else x
        return x.float() / 64 - 2

    start, step, loss = time.monotonic(), 0, torch.zeros(())
    for _ in range(epochs):
        for rows in torch.randperm(len(clips)).split(batch):
            step += 1
            part = min(step * batch / len(clips) / epochs, 1.0)
            for group in optimiser.param_groups:
                group["lr"] = top_rate * min(1.0, part / 0.1) * (1 - part) + 1e-6
            x, y = prepare(clips[rows]), targets[rows]
            if torch.rand(()) < 0.5:
                x, y = x.flip(-1), y[:, swap]
            x = x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, 1))
            x = x + 0.3 * torch.randn(len(x), 3, 1, 1, 1)
            loss = nn.functional.binary_cross_entropy_with_logits(model(x), y, reduction="none")
            loss = loss.sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    spent = time.monotonic() - start
    print(f"CNN: torch {torch.__version__}, {epochs} epochs in {spent:.0f} s, loss {loss:.2f}")
    model.eval()
    with torch.no_grad():
        x = torch.from_numpy(test).permute(0, 4, 1, 2, 3)
        return torch.cat([model(prepare(part)) for part in x.split(64)]).numpy()


def show(columns: dict[str, NDArray[np.float64]]) -> None:
    """One row per class, one column per classifier, the mean below."""
    print(f"{'class':16s}" + "".join(f"{name:>14s}" for name in columns))
    for place, name in enumerate(ACTIONS):
        print(f"{name:16s}" + "".join(f"{100 * c[place]:14.1f}" for c in columns.values()))
    print(f"{'mean':16s}" + "".join(f"{100 * np.nanmean(c):14.1f}" for c in columns.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=90)
    parser.add_argument("--test-videos", type=int, default=36)
    parser.add_argument("--stride", type=int, default=1, help="of the eight frames")
    parser.add_argument("--crops", action="store_true", help="also train a CNN on rendered crops")
    parser.add_argument("--epochs", type=int, default=16, help="of training per CNN")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CNN")
    options = parser.parse_args()
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}")
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, "
        f"stad-data {version('stad-data')}"
    )
    train = poses(options.seed, "train", options.videos, every=6, stride=options.stride)
    test = poses(options.seed, "test", options.test_videos, every=12, stride=options.stride)
    print(
        f"{len(train.labels)} training and {len(test.labels)} test actors, "
        f"8 frames at stride {options.stride}; AP in per cent\n"
    )
    chance = test.labels.mean(axis=0)
    columns = {"chance": chance}
    for name in ("frame", "motion"):
        scores = oracle_scores(getattr(train, name), train.labels, getattr(test, name))
        columns[f"pose, {name}"] = average_precisions(scores, test.labels)
    if options.crops:
        keep = np.flatnonzero(train.where[:, 2] % round(FPS) == 0)
        training = {"epochs": options.epochs, "threads": options.threads}
        film = {"stride": options.stride, "fps": FPS}
        pixels = crops(options.seed, "train", train.where[keep], **film)
        held = crops(options.seed, "test", test.where, **film)
        for name, repeat in (("frame", True), ("motion", False)):
            scores = crop_scores(pixels, train.labels[keep], held, repeat=repeat, **training)
            columns[f"CNN, {name}"] = average_precisions(scores, test.labels)
    show(columns)
    ratio = np.nanmean(columns["pose, frame"]) / np.nanmean(columns["pose, motion"])
    print(f"\none frame's pose gives {100 * ratio:.0f} % of what eight frames' poses give")


if __name__ == "__main__":
    main()

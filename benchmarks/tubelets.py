"""What one streaming pass over a video saves a tubelet detector, against every clip alone.

Both give tubelets around every frame of a video of random frames; the naive way makes each clip's
maps anew. The detections have to be the same, which is checked first. STMA looks at whole clips by
its 3D trunk too; `clip_step` says around which frames, and the naive way looks at the same clip for
each tubelet. Prints machine and versions, frames per second (median and spread), and the ratio.

    python benchmarks/tubelets.py    # MOC at its published size, five minutes on a CPU
    python benchmarks/tubelets.py --models moc_tiny stma_tiny --size 128 96 --frames 48 --batch 8
    python benchmarks/tubelets.py --models moc_dla34 stma_dla34_resnext101 --device cuda --amp \\
        --frames 256 --batch 8

MOC's authors give 53 frames per second for MOC at 288 x 288, colour alone, on their GPU.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from measurement import machine
from stad_models import zoo
from stad_models.detectors.stma_options import StmaOptions
from stad_models.streaming import TubeletDetector, video_tubelets
from stad_models.structures import Tubelets

CLASSES = 24


def built(name: str, length: int, step: int) -> TubeletDetector:
    """The detector with fresh weights, for K frames."""
    builder = getattr(zoo, name)
    if name.startswith("stma"):
        options = StmaOptions(clip_step=step)
        return builder(CLASSES, tubelet_length=length, clip_length=16, options=options)
    return builder(CLASSES, tubelet_length=length)


def settled(model: torch.nn.Module, frames: Tensor) -> None:
    """Let the normalisations see these frames, so that maps are neither flat nor endless."""
    model.train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = None
        maps = model.frame_maps(frames)
        if model.sees_clip:
            model.clip_maps(frames[: model.clip_length].transpose(0, 1)[None])
        del maps
    model.eval()


def around(frames: Tensor, middle: int, length: int) -> Tensor:
    """Frames [T, C, H, W] around one; the first or last is repeated beyond an end."""
    places = torch.arange(length) - length // 2 + middle
    return frames[places.clamp(0, len(frames) - 1).to(frames.device)]


def naive(model: TubeletDetector, frames: Tensor, batch: int) -> Iterator[Tubelets]:
    """Tubelets around every frame, all maps of every clip worked out for it alone."""
    length, step, last = model.tubelet_length, model.clip_step, len(frames) - 1
    first = model.clip_length // 2 - length // 2
    for start in range(0, len(frames), batch):
        middles = range(start, min(start + batch, len(frames)))
        snippets = torch.cat([around(frames, middle, length) for middle in middles])
        maps = tuple(x.unflatten(0, (-1, length)) for x in model.frame_maps(snippets))
        if model.sees_clip:
            clips = [
                around(frames, min((middle + step // 2) // step * step, last), model.clip_length)
                for middle in middles
            ]
            maps = (*maps, *model.clip_maps(torch.stack([clip.transpose(0, 1) for clip in clips])))
        yield from model.tubelets(maps, (frames.shape[3], frames.shape[2]), first)


def streamed(model: TubeletDetector, frames: Tensor, batch: int) -> Iterator[Tubelets]:
    """The same in one pass."""
    for _, found in video_tubelets(model, frames.split(32), batch=batch):
        yield found


def difference(one: list[Tubelets], other: list[Tubelets]) -> tuple[float, float]:
    """Greatest difference of boxes, in pixels, and of scores; rows are matched by their order."""
    boxes = scores = 0.0
    for a, b in zip(one, other, strict=True):
        if len(a) != len(b):
            return float("inf"), float("inf")
        if len(a):
            boxes = max(boxes, float((a.boxes - b.boxes).abs().max()))
            scores = max(scores, float((a.scores - b.scores).abs().max()))
    return boxes, scores


def rates(work: Callable[[], object], options: argparse.Namespace, *, frames: int) -> list[float]:
    """Frames per second of each repetition, after one that does not count."""
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    work()
    found = []
    for _ in range(options.repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        found.append(frames / (time.perf_counter() - start))
    return found


def in_words(values: list[float]) -> str:
    return f"{statistics.median(values):9.3g} ({min(values):.3g} to {max(values):.3g})"


def compare(name: str, step: int, options: argparse.Namespace) -> None:
    """Print one row."""
    torch.manual_seed(0)
    model = built(name, options.tubelet, step)
    width, height = options.size
    frames = torch.randn(options.frames, 3, height, width)
    settled(model, frames[:16])

    def run(way: Callable[..., Iterator[Tubelets]], frames: Tensor) -> list[Tubelets]:
        return list(way(model, frames, options.batch))

    with torch.inference_mode():
        model.double()
        few = frames[: options.checked].double()
        boxes, scores = difference(run(streamed, few), run(naive, few))
        model.float().to(options.device)
        frames = frames.to(options.device)
        amp: AbstractContextManager[object] = (
            torch.autocast(options.device, torch.bfloat16) if options.amp else nullcontext()
        )
        with amp:
            fast, slow = (
                rates(lambda way=way: run(way, frames), options, frames=len(frames))
                for way in (streamed, naive)
            )
    ratio = statistics.median(fast) / statistics.median(slow)
    label = f"{name}, clip_step {step}" if model.sees_clip else name
    print(f"{label:38s}{in_words(fast):28s}{in_words(slow):28s}{ratio:7.2f}x", end="")
    print(f"   {boxes:.1e} px, {scores:.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["moc_dla34"])
    parser.add_argument("--tubelet", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4], help="clip_step of STMA")
    parser.add_argument("--size", type=int, nargs=2, default=(288, 288))
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--checked", type=int, default=8, help="frames compared in float64")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", action="store_true", help="bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(), f"torch {torch.__version__}, {options.threads} threads", sep=", ")
    if options.device == "cuda":
        print(torch.cuda.get_device_name())
    width, height = options.size
    kind = "bfloat16" if options.amp else "float32"
    print(f"K = {options.tubelet}, {width} x {height}, {options.frames} frames, {kind}\n")
    head = f"{'detector':38s}{'streaming, frames/s':28s}{'every clip alone':28s}{'ratio':>8s}"
    print(f"{head}   difference")
    for name in options.models:
        for step in options.steps if name.startswith("stma") else (1,):
            compare(name, step, options)


if __name__ == "__main__":
    main()

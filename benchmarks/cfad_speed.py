"""Where CFAD's time goes: per frame and by stage, beside the project's own detect-and-link path.

One video of T frames at a time (the paper: 7.6 ms per frame, T = 96, from RGB): the trunk,
temporal proposals with the features of their spans, coarse tubes with their suppression, and
refinement. Weights are random, and every timestamp is refined (`importance` 0): the most that it
can cost. Beside it, on the same frames and in the same run, MOC on DLA-34 (a tubelet of K = 7
around every frame) with its linking.
Prints the machine, versions, medians and spreads, parameters and multiply-adds.

    python benchmarks/cfad_speed.py [--device cpu] [--model cfad_i3d] [--frames 96] [--size 224]
        [--precision float32|bf16] [--repeats 5] [--peer moc_dla34|moc_tiny|none]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from measurement import machine
from stad_eval import TubeletLinking, link_tubelets
from stad_eval.tubelets import Tubelets as TubeletTable
from stad_models import flops, zoo
from stad_models.detectors.cfad import Cfad
from stad_models.streaming import video_tubelets
from stad_models.structures import Tubelets

CLASSES = 24


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and where."""

    device: torch.device
    frames: int
    size: int
    repeats: int
    autocast: bool

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def seconds(work: Callable[[], object], settings: Settings) -> list[float]:
    """Times of every repeat, after one that warms up."""
    found: list[float] = []
    for repeat in range(settings.repeats + 1):
        settings.synchronise()
        begun = time.perf_counter()
        work()
        settings.synchronise()
        if repeat:
            found.append(time.perf_counter() - begun)
    return found


def row(name: str, times: list[float], frames: int) -> str:
    each = [1000 * value / frames for value in times]
    return f"{name:34}{statistics.median(each):10.3f}{min(each):10.3f}{max(each):10.3f}"


def cfad_rows(model: Cfad, clips: torch.Tensor, settings: Settings) -> tuple[list[str], float]:
    frames = settings.frames
    clip_map = model.backbone(clips).clip[0]
    temporal = model.heads.temporal(clip_map, frames)
    seen = model.spans(clip_map, temporal)
    choice = model.coarse(seen, clips=1, frames=frames)
    stages: dict[str, Callable[[], object]] = {
        "trunk": lambda: model.backbone(clips),
        "temporal proposals, features": lambda: model.spans(
            clip_map, model.heads.temporal(clip_map, frames)
        ),
        "coarse tubes, suppression": lambda: model.coarse(seen, clips=1, frames=frames),
        "refinement": lambda: model.refined(seen, choice, frames=frames),
        "whole": lambda: model(clips),
    }
    rows: list[str] = []
    whole = 0.0
    for name, work in stages.items():
        times = seconds(work, settings)
        rows.append(row(f"CFAD, {name}", times, frames))
        whole = statistics.median(times)
    rows.append(f"({len(seen.spans)} spans, {len(choice.spans)} tubes refined)")
    return rows, whole


def peer_rows(name: str, clips: torch.Tensor, settings: Settings) -> tuple[list[str], float]:
    """Detection of a tubelet around every frame in one streaming pass, then linking."""
    model = getattr(zoo, name)(CLASSES, tubelet_length=7).eval().to(settings.device)
    frames = clips[0].transpose(0, 1)

    def detect() -> list[tuple[int, Tubelets]]:
        return list(video_tubelets(model, frames.split(32)))

    kept = detect()
    starts, labels, scores, boxes = zip(*(_rows(frame, one) for frame, one in kept), strict=True)
    table = TubeletTable(
        videos=("video",),
        classes=tuple(str(number) for number in range(CLASSES)),
        video=np.zeros(sum(map(len, starts)), np.int64),
        start=np.concatenate(starts),
        label=np.concatenate(labels),
        score=np.concatenate(scores),
        box=np.concatenate(boxes),
    )

    def link() -> object:
        return link_tubelets(table, TubeletLinking())

    detected, linked = seconds(detect, settings), seconds(link, settings)
    rows = [
        row(f"{name}, detection", detected, settings.frames),
        row(f"{name}, linking", linked, settings.frames),
    ]
    return rows, statistics.median(detected) + statistics.median(linked)


def _rows(frame: int, found: Tubelets) -> tuple[np.ndarray, ...]:
    """First frames, labels, scores and boxes of the tubelets around a frame, a row per class."""
    tubelet, label = np.nonzero(found.scores.float().cpu().numpy())
    scores = found.scores.double().cpu().numpy()[tubelet, label]
    boxes = found.boxes.double().cpu().numpy()[tubelet]
    return np.full(len(tubelet), max(0, frame - 3)), label, scores, boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="cfad_i3d")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", default="moc_dla34")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    settings = Settings(
        device=device,
        frames=options.frames,
        size=options.size,
        repeats=options.repeats,
        autocast=options.precision == "bf16",
    )
    model = getattr(zoo, options.model)(CLASSES).eval()
    model.options = replace(model.options, importance=0.0)
    cost = flops.count(model, options.size, options.frames)
    model = model.to(device)
    clips = torch.randn(1, 3, options.frames, options.size, options.size, device=device)
    print(machine())
    if device.type == "cuda":
        print(torch.cuda.get_device_name(device))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.precision}")
    print(f"{options.model}, {options.frames} frames of {options.size} x {options.size}")
    print(f"\n{'part':12}{'M parameters':>16}{'G multiply-adds':>18}")
    for part in sorted(cost.macs, key="total".__eq__):
        print(f"{part:12}{cost.params[part] / 1e6:16.2f}{cost.macs[part] / 1e9:18.2f}")
    print(f"\n{'ms per frame':34}{'median':>10}{'least':>10}{'most':>10}")
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=settings.autocast),
    ):
        rows, whole = cfad_rows(model, clips, settings)
        print("\n".join(rows))
        if options.peer != "none":
            rows, peer = peer_rows(options.peer, clips, settings)
            print("\n".join(rows))
            print(f"CFAD is {peer / whole:.2f} times as fast")


if __name__ == "__main__":
    main()

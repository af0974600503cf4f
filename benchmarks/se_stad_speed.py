"""How fast SE-STAD is on a CPU: its SlowFast R50 8x8 trunk, several ways, and each of its parts.

The trunk: one clip of 32 frames, 256x256, batch 1. The reference is the network layer by layer, as
PySlowFast composes it: float32, NCDHW, each convolution, normalisation and ReLU a step of its own.
Beside it: batch normalisation folded, channels innermost, bfloat16, compiled code, and compiled
code with the weights built in (`compile_for_inference`, for bfloat16 under autocast). Every way
must give the reference's maps: within 1e-4 of their absolute maximum in float32; for bfloat16 the
mean error is told and must be below 2 % of the mean absolute value. Where the package pytorchvideo
is installed, its SlowFast R50 for detection (fresh weights, up to the maps that its head pools) is
timed in the same rounds.
Ways take turns, so that a machine that slows down slows all of them; a ratio is the median over
rounds of the reference's time in that round by the way's.

Then the whole detector, stage by stage: in the reference's way, and in the fastest of each
precision. Actions are told for 10 actors of fixed boxes, since fresh weights find no real ones.

Prints machine, load and versions, medians and spreads. Ends with 1 where maps differ.

    python benchmarks/se_stad_speed.py [--threads 2] [--repeats 5] [--no-compile]
"""

import argparse
import importlib.util
import math
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from stad_models import compile_for_inference, fold_batch_norm, zoo
from stad_models.backbones.features import Features
from stad_models.detectors.se_stad import SeStad
from stad_models.heads.localisation import suppress

GOALS = {"fp32": 1.4, "bf16": 3.0}
EXACT, COARSE = 1e-4, 2e-2
NORMS = (nn.BatchNorm3d,)


def machine() -> str:
    """Processor, load, threads and versions."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    flags = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in cpu_flags()]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"machine: {model} ({', '.join(flags)}), {os.cpu_count()} cores, load {load}\n"
        f"python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, {torch.get_num_threads()} threads"
    )


def cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


@torch.no_grad()
def settled(model: nn.Module) -> nn.Module:
    """The model with normalisations as training leaves them: fresh ones hide half the network."""
    generator = torch.Generator().manual_seed(0)
    last = {
        block.last_norm
        for block in model.modules()
        if isinstance(getattr(block, "last_norm", None), nn.Module)
    }
    for norm in model.modules():
        if isinstance(norm, NORMS):
            noise = torch.randn(4, norm.num_features, generator=generator)
            norm.weight.copy_((1 + 0.1 * noise[0]) * (0.25 if norm in last else 1.0))
            norm.bias.copy_(0.1 * noise[1])
            norm.running_mean.copy_(0.1 * noise[2])
            norm.running_var.copy_(1 + 0.1 * noise[3].abs())
    return model.eval()


def innermost(model: nn.Module) -> nn.Module:
    """The model with the channels of its kernels innermost; maps follow the clips and them."""
    for weight in model.parameters():
        if weight.ndim in (4, 5):
            layout = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
            weight.data = weight.data.contiguous(memory_format=layout)
    return model


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to compute the network.

    Attributes:
        name: For the table.
        precision: "fp32" or "bf16".
        make: Makes the network of the reference's.
        last: Whether clips have channels innermost.
        autocast: Whether weights and clips stay float32, and autocast narrows them.
    """

    name: str
    precision: str
    make: Callable[[nn.Module], nn.Module]
    last: bool = False
    autocast: bool = False

    def clips(self, clips: Tensor) -> Tensor:
        """The clips as this way takes them."""
        narrow = self.precision == "bf16" and not self.autocast
        found = clips.bfloat16() if narrow else clips
        return found.contiguous(memory_format=torch.channels_last_3d) if self.last else found

    def context(self) -> torch.autocast:
        """Networks run inside of it."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.autocast)


REFERENCE = Way(name="reference: eager", precision="fp32", make=lambda model: model)
PEER = Way(name="pytorchvideo: eager", precision="fp32", make=lambda model: model)


def ways(*, compiled: bool) -> list[Way]:
    """All ways but the reference, which takes the network as it is; the fastest two last."""

    def narrow(model: nn.Module) -> nn.Module:
        found = innermost(fold_batch_norm(model))
        if isinstance(found, SeStad):  # RoIAlign knows no bfloat16: autocast takes care of it
            for part in (found.backbone, found.neck, found.localisation_head):
                part.bfloat16()
            return found
        return found.bfloat16()

    def wide(model: nn.Module) -> nn.Module:
        return innermost(fold_batch_norm(model))

    found = [
        Way(name="folded", precision="fp32", make=fold_batch_norm),
        Way(name="folded, channels last", precision="fp32", make=wide, last=True),
        Way(name="folded, channels last", precision="bf16", make=narrow, last=True),
    ]
    if compiled:
        name = "folded, channels last, compiled"
        found += [
            Way(name=name, precision="fp32", make=lambda x: built(wide(x)), last=True),
            Way(name=name, precision="bf16", make=lambda x: built(narrow(x)), last=True),
        ]
        name, make = "compiled for inference", compile_for_inference
        found += [
            Way(name=name, precision="fp32", make=make),
            Way(name=name, precision="bf16", make=make, last=True, autocast=True),
        ]
    return found


def built(model: nn.Module) -> nn.Module:
    """The model whose networks compile themselves when they are first called."""
    if isinstance(model, SeStad):
        for part in (model.backbone, model.neck, model.localisation_head):
            part.compile()
    else:
        model.compile()
    return model


@torch.inference_mode()
def maps_of(trunk: nn.Module, clips: Tensor) -> list[Tensor]:
    features: Features = trunk(clips)
    return [x.float() for x in (*features.keyframe.values(), *features.clip)]


def apart(found: list[Tensor], wanted: list[Tensor], precision: str) -> float:
    """The largest difference by the largest value, or for bfloat16 the mean one by the mean one."""
    if precision == "fp32":
        pairs = [((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True)]
    else:
        pairs = [
            ((a - b).abs().mean() / b.abs().mean()) for a, b in zip(found, wanted, strict=True)
        ]
    return max(float(each) for each in pairs)


def told(name: str, seconds: list[float], note: str = "") -> None:
    low, high = min(seconds), max(seconds)
    spread = f"({1000 * low:.0f} to {1000 * high:.0f})"
    print(f"{name:42s}{1000 * statistics.median(seconds):8.1f} ms {spread:>18s}  {note}")


class Peer(nn.Module):
    """The trunk of pytorchvideo's SlowFast R50 for detection, fed as ours is."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pytorchvideo.models.hub.slowfast import slowfast_r50_detection
        self.stages = nn.Sequential(*slowfast_r50_detection(pretrained=False).model.blocks[:5])

    def forward(self, clips: Tensor) -> list[Tensor]:
        return self.stages([clips[:, :, ::4], clips])


def trunk_table(model: nn.Module, clips: Tensor, options: argparse.Namespace) -> bool:
    """Time the ways of the trunk; whether all gave the reference's maps."""
    wanted = maps_of(model, clips)
    runs = [(REFERENCE, model, clips)]
    fine = True
    differences = [0.0]
    for way in ways(compiled=options.compile):
        started = time.perf_counter()
        network, given = way.make(model), way.clips(clips)
        with way.context():
            difference = apart(maps_of(network, given), wanted, way.precision)
        if "compiled" in way.name:
            print(
                f"({way.name}, {way.precision}: {time.perf_counter() - started:.0f} s to compile)"
            )
        fine &= difference <= (EXACT if way.precision == "fp32" else COARSE)
        runs.append((way, network, given))
        differences.append(difference)
    if importlib.util.find_spec("pytorchvideo"):
        runs.append((PEER, Peer().eval(), clips))
        differences.append(math.nan)
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(options.repeats + 1):  # the first does not count
        for spent, (way, network, given) in zip(times, runs, strict=True):
            with torch.inference_mode(), way.context():
                start = time.perf_counter()
                network(given)
                seconds = time.perf_counter() - start
            if turn:
                spent.append(seconds)
    best = dict.fromkeys(GOALS, 0.0)
    for (way, _, _), spent, difference in zip(runs, times, differences, strict=True):
        ratio = statistics.median(a / b for a, b in zip(times[0], spent, strict=True))
        note = "" if way is PEER else f", maps differ by {difference:.1e}"
        told(f"{way.name}, {way.precision}", spent, f"{ratio:5.2f} x{note}")
        if way not in (REFERENCE, PEER):
            best[way.precision] = max(best[way.precision], ratio)
    for precision, goal in GOALS.items():
        reached = "reached" if best[precision] >= goal else "missed"
        print(f"goal in {precision}: {goal} x; best here {best[precision]:.2f} x: {reached}")
    return fine


def actors_of(count: int, size: int) -> Tensor:
    """Regions `[count, 5]` of one clip: a quarter of the frame wide, half of it high."""
    left = torch.linspace(0, 0.75 * size, count)
    top = torch.linspace(0, 0.5 * size, count)
    return torch.stack((0 * left, left, top, left + size / 4, top + size / 2), dim=1)


@torch.inference_mode()
def stages(model: SeStad, way: Way, clips: Tensor, rois: Tensor) -> dict[str, float]:
    """Seconds of each stage of one pass."""
    with way.context():
        return _stages(model, clips, rois)


def _stages(model: SeStad, clips: Tensor, rois: Tensor) -> dict[str, float]:
    found: dict[str, float] = {}
    size, options = (clips.shape[4], clips.shape[3]), model.options
    start = time.perf_counter()

    def done(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        found[name] = now - start
        start = now

    features = model.backbone(clips)
    done("backbone")
    levels = model.neck(features.keyframe)
    done("neck")
    output = model.localisation_head(levels, size)
    done("localisation head")
    dense = model.localisation_head.proposals(output, threshold=0.0, limit=options.test_candidates)
    suppress(dense, iou=options.test_nms, limit=options.max_actors)
    done("boxes and suppression")
    with torch.autocast("cpu", torch.bfloat16, enabled=features.clip[0].dtype == torch.bfloat16):
        model.classify(features, rois)
    done("RoIAlign and action head")
    return found


def stage_table(model: SeStad, clips: Tensor, options: argparse.Namespace) -> None:
    """Time the stages of the detector in the reference's way and in the fastest ones."""
    rois = actors_of(10, options.size)
    fastest = ways(compiled=options.compile)[-2:]
    runs = [(way, way.make(model), way.clips(clips)) for way in (REFERENCE, *fastest)]
    for way, detector, given in runs:
        rounds = [stages(detector, way, given, rois) for _ in range(options.repeats + 1)][1:]
        whole = [sum(each.values()) for each in rounds]
        print(f"\nSE-STAD, {way.name}, {way.precision}")
        for stage in rounds[0]:
            spent = [each[stage] for each in rounds]
            share = statistics.median(a / b for a, b in zip(spent, whole, strict=True))
            told(f"  {stage}", spent, f"{100 * share:5.1f} %")
        heads = [each["localisation head"] + each["RoIAlign and action head"] for each in rounds]
        share = statistics.median(a / b for a, b in zip(heads, whole, strict=True))
        told("  all", whole, f"both heads {100 * share:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(machine())
    print(f"one clip of 32 frames, {options.size}x{options.size}\n")
    model = settled(zoo.se_stad_slowfast_r50_8x8(80))
    clips = torch.randn(1, 3, 32, options.size, options.size)
    fine = trunk_table(model.backbone, clips, options)
    stage_table(model, clips, options)
    if not fine:
        sys.exit("a way gave other maps than the reference")


if __name__ == "__main__":
    main()

"""What routing capsules over two dimensions saves against three, on the same features.

Features of an encoder, `[N, 832, T', 28, 28]` as for 224 x 224 pixels. Two dimensions: averaged
over time, primary capsules by a 9 x 9 convolution, EM routing in each of 20 x 20 cells
(VideoCapsule). Three dimensions: primary capsules by a 3 x 9 x 9 convolution of all frames, as in
VideoCapsuleNet, and the same routing in each of (T' - 2) x 20 x 20 cells. VideoCapsuleNet's second
capsule layer is in neither. Multiply-adds are of convolutions and matrix products; times are CPU
seconds of one thread for the forward and the backward pass, median and spread.

    python benchmarks/capsule_routing.py [--frames 8] [--clips 1] [--repeats 3] [--channels 832]
"""

import argparse
import platform
import statistics
import time
from importlib.metadata import version

import torch
from torch import Tensor, nn

from stad_models import flops
from stad_models.heads.capsule import ClassCapsules, PrimaryCapsules

TYPES, CLASSES, SIDE, KERNEL = 32, 24, 28, 9


class Pooled(nn.Module):
    """Capsules of features without time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.primary = PrimaryCapsules(channels, TYPES, KERNEL)
        self.capsules = ClassCapsules(TYPES, CLASSES)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.capsules(*self.primary(features.mean(dim=2)))


class Solid(nn.Module):
    """Capsules of features with time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.primary = PrimaryCapsules(channels, TYPES, (3, KERNEL, KERNEL))
        self.capsules = ClassCapsules(TYPES, CLASSES)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.capsules(*self.primary(features))


def seconds(model: nn.Module, features: Tensor, repeats: int) -> list[float]:
    """CPU seconds of forward and backward, after one run to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        poses, active = model(features)
        (poses.sum() + active.sum()).backward()
        times.append(time.process_time() - start)
        model.zero_grad(set_to_none=True)
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--channels", type=int, default=832)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{platform.machine()}, python {platform.python_version()}, torch {version('torch')}")
    print(f"{options.clips} clips, features [{options.channels}, {options.frames}, 28, 28]")
    features = torch.randn(options.clips, options.channels, options.frames, SIDE, SIDE)
    medians, macs = [], []
    for name, model in (
        ("2D routing", Pooled(options.channels)),
        ("3D routing", Solid(options.channels)),
    ):
        macs.append(flops.multiply_adds(model, features[:1]))
        taken = seconds(model, features, options.repeats)
        medians.append(statistics.median(taken))
        print(
            f"{name}: {macs[-1] / 1e9:.2f} G multiply-adds per clip, {medians[-1]:.2f} CPU s "
            f"({min(taken):.2f} to {max(taken):.2f})"
        )
    print(
        f"3D by 2D: {macs[1] / macs[0]:.1f} x multiply-adds, {medians[1] / medians[0]:.1f} x time"
    )


if __name__ == "__main__":
    main()

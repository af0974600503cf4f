"""The convolutions that a dense head runs on every level of a pyramid."""

from __future__ import annotations

import math

from torch import nn


class Tower(nn.Sequential):
    """3x3 convolutions, each with ReLU, and GroupNorm between them where asked for."""

    def __init__(self, channels: int, depth: int, *, group_norm: bool = True) -> None:
        groups = math.gcd(channels, max(1, min(32, channels // 8)))
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, channels, 3, padding=1))
            if group_norm:
                layers.append(nn.GroupNorm(groups, channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


def initialise(head: nn.Module, rare: nn.Conv2d, *, prior: float = 0.01) -> None:
    """Small normal weights for every convolution of a head; its classifier starts at a prior.

    The prior is the probability that every location begins with: actors are rare.

    Source: Focal loss for dense object detection, Sec. 4.1.
    """
    for module in head.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    if rare.bias is not None:
        nn.init.constant_(rare.bias, -math.log((1 - prior) / prior))

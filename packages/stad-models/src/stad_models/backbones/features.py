"""What every backbone gives to the heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of a batch of clips.

    Attributes:
        keyframe: maps of the keyframe by name ("res2" ... "res5"), each `[N, C, H, W]`; the
            keyframe sits at position T // 2 of every map's own time axis.
        clip: the maps that regions are pooled from, one per pathway, each `[N, C, T, H, W]`.
    """

    keyframe: Mapping[str, Tensor]
    clip: tuple[Tensor, ...]


class Backbone(Protocol):
    """Anything that turns clips into features; a module of one's own need not inherit from it."""

    @property
    def strides(self) -> Mapping[str, int]:
        """Pixels of the clip per cell, by map name and under "clip"."""
        ...

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels, by map name, and under "clip" the sum over the clip maps."""
        ...

    def __call__(self, clips: Tensor) -> Features:
        """Same as `features`."""
        ...

    def features(self, clips: Tensor) -> Features:
        """Features of clips `[N, 3, T, H, W]`."""
        ...

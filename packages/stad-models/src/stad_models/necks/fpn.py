"""A feature pyramid over keyframe maps. Maps are [N, C, H, W]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional


class FeaturePyramid(nn.Module):
    """Top-down sums of 1x1-projected maps, each smoothed by a 3x3 convolution.

    Args:
        sources: names of the keyframe maps, fine to coarse, such as `("res3", "res4")`.
        channels_in: channels by map name.
        strides_in: pixels per cell by map name.
        channels: channels of every level.
        extra_levels: levels put on top, each by a 3x3 convolution of stride 2 on the level below.

    Attributes:
        strides: pixels per cell of each level, fine to coarse.
        channels: as given.

    Source: Feature pyramid networks, Sec. 3; SE-STAD, Fig. 2 and Table 8 (P5 on P4).
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        channels_in: Mapping[str, int],
        strides_in: Mapping[str, int],
        channels: int = 256,
        extra_levels: int = 1,
    ) -> None:
        super().__init__()
        if not sources:
            raise ValueError("FeaturePyramid: name at least one keyframe map, found none")
        if extra_levels < 0:
            raise ValueError(
                f"FeaturePyramid: at least one level per keyframe map is needed, "
                f"found {len(sources) + extra_levels} for {', '.join(sources)}"
            )
        self.sources = tuple(sources)
        self.channels = channels
        strides = [strides_in[name] for name in sources]
        self.strides = (*strides, *(strides[-1] * 2 ** (i + 1) for i in range(extra_levels)))
        self.lateral = nn.ModuleList(nn.Conv2d(channels_in[name], channels, 1) for name in sources)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in sources)
        self.extra = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(extra_levels)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, keyframe: Mapping[str, Tensor]) -> list[Tensor]:
        """Keyframe maps by name to one map per level, `[N, channels, H, W]`, fine to coarse."""
        laterals = [
            project(keyframe[name])
            for project, name in zip(self.lateral, self.sources, strict=True)
        ]
        for fine in range(len(laterals) - 2, -1, -1):
            laterals[fine] = laterals[fine] + _enlarged(laterals[fine + 1], laterals[fine])
        levels = [smooth(x) for smooth, x in zip(self.smooth, laterals, strict=True)]
        for extra in self.extra:
            levels.append(extra(levels[-1]))
        return levels


def _enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    if coarse.shape[2:] == fine.shape[2:]:
        return coarse
    return functional.interpolate(coarse, size=fine.shape[2:], mode="nearest")

"""The head of tubelet detectors: actors are points that move through K frames.

Suffixes: N clips, F frames, K frames of a tubelet, P kinds of centers, S numbers per size, h and w
cells of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

CENTER_BIAS = -2.19
"""What logits of centers start from: a probability of 0.1 everywhere."""

Extent = Literal["sides", "distances"]
"""How a box lies about its point: width and height around it, or how far away each side is."""

EXTENT_NUMBERS: dict[Extent, int] = {"sides": 2, "distances": 4}


@dataclass(frozen=True, kw_only=True, eq=False)
class PointMaps:
    """What the head says of every cell.

    Attributes:
        centers: `[N, P, h, w]` logits of an actor's keyframe center lying in the cell; P is the
            number of classes, or 1 where actors are found whatever they do.
        movement: `[N, K, 2, h, w]`, from the cell to the actor's center in each frame, (x, y) in
            cells.
        sizes: `[N, K, S, h, w]`, raw, of an actor whose center in that frame lies in the cell.
    """

    centers: Tensor
    movement: Tensor
    sizes: Tensor

    def cropped(self, grid: tuple[int, int]) -> PointMaps:
        """The (height, width) cells that lie on the frame, in float32 at least."""
        rows, columns = grid
        return PointMaps(
            centers=precise(self.centers[..., :rows, :columns]),
            movement=precise(self.movement[..., :rows, :columns]),
            sizes=precise(self.sizes[..., :rows, :columns]),
        )


class TubeletHead(nn.Module):
    """Three branches: centers and movement from all K frames together, sizes frame by frame.

    Args:
        channels: channels of a frame's map.
        length: frames K of a tubelet.
        centers: kinds P of centers: one per class, or a single one.
        extent: what sizes are: "sides" (width, height) or "distances" (left, top, right, bottom).
        hidden: channels inside each branch.

    Source: Actions as moving points, Sec. 3.2 to 3.4.
    """

    def __init__(
        self,
        channels: int,
        *,
        length: int,
        centers: int,
        extent: Extent = "sides",
        hidden: int = 256,
    ) -> None:
        super().__init__()
        if length < 1 or centers < 1:
            raise ValueError(
                f"TubeletHead: length and centers must be positive, found {length} and {centers}"
            )
        self.length = length
        self.num_centers = centers
        self.extent: Extent = extent
        self.centers = _branch(length * channels, hidden, centers)
        self.movement = _branch(length * channels, hidden, 2 * length)
        self.sizes = _branch(channels, hidden, EXTENT_NUMBERS[extent])
        last = self.centers[-1].bias
        if isinstance(last, nn.Parameter):
            nn.init.constant_(last, CENTER_BIAS)

    def frame_sizes(self, features: Tensor) -> Tensor:
        """Sizes `[F, S, h, w]` from the maps `[F, channels, h, w]` of single frames."""
        return self.sizes(features)

    def forward(self, features: Tensor, sizes: Tensor) -> PointMaps:
        """All maps, from those of K frames `[N, K, channels, h, w]` and their sizes."""
        together = features.flatten(1, 2)
        movement = self.movement(together)
        return PointMaps(
            centers=self.centers(together),
            movement=movement.unflatten(1, (self.length, 2)),
            sizes=sizes,
        )


def _branch(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    layers = (
        nn.Conv2d(channels_in, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels_out, 1),
    )
    for layer in layers:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def precise(x: Tensor) -> Tensor:
    """The same numbers in float32, or in float64 where they are."""
    return x if x.is_floating_point() and x.element_size() == 8 else x.float()

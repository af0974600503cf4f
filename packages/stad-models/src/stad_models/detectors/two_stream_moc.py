"""MOC on colour and optical flow: two detectors whose maps are mixed before centers are chosen.

Source: Actions as moving points, Sec. 4, and its public code. Suffixes: N clips, F frames, K frames
of a tubelet.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from stad_models.detectors.moc import Moc, class_tubelets
from stad_models.detectors.snippets import check_clips, first_of_snippet, snippet, unflattened
from stad_models.heads.tubelet import PointMaps
from stad_models.structures import Targets, Tubelets


@dataclass(frozen=True, kw_only=True)
class StreamShares:
    """How much colour counts in each mixture, in [0, 1]; flow has the rest.

    Attributes:
        centers: of probabilities of centers.
        movement: of movement.
        sizes: of sizes.
    """

    centers: float = 0.5
    movement: float = 0.8
    sizes: float = 0.8

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.centers, self.movement, self.sizes)):
            raise ValueError(f"StreamShares: shares must lie in [0, 1], found {self}")


class TwoStreamMoc(nn.Module):
    """Two MOCs, one on colour and one on flow, fused late.

    Args:
        colour: the detector of the first 3 channels of a clip.
        flow: that of the others, stacked images of flow (`snippets.stacked_flow`).
        shares: see `StreamShares`.

    Attributes:
        tubelet_length, clip_length, clip_stride, num_classes, exclusive: those of both detectors.
        channels_in: channels of a clip, 18 for images of flow stacked by fives.
        sees_clip, clip_step: no; 1.

    Raises:
        ValueError: detectors that differ in any of these.
    """

    def __init__(self, colour: Moc, flow: Moc, *, shares: StreamShares | None = None) -> None:
        super().__init__()
        for name in ("num_classes", "exclusive", "tubelet_length", "clip_length", "clip_stride"):
            one, other = getattr(colour, name), getattr(flow, name)
            if one != other:
                raise ValueError(
                    f"TwoStreamMoc: both streams need the same {name}, found {one} and {other}"
                )
        if colour.backbone.stride != flow.backbone.stride:
            raise ValueError(
                "TwoStreamMoc: both streams need the same stride, found "
                f"{colour.backbone.stride} and {flow.backbone.stride}"
            )
        self.colour = colour
        self.flow = flow
        self.shares = shares or StreamShares()
        self.num_classes = colour.num_classes
        self.exclusive = colour.exclusive
        self.tubelet_length = colour.tubelet_length
        self.clip_length = colour.clip_length
        self.clip_stride = colour.clip_stride
        self.channels_in = colour.channels_in + flow.channels_in
        self.sees_clip = False
        self.clip_step = 1

    def forward(
        self, clips: Tensor, targets: Targets | None = None
    ) -> dict[str, Tensor] | list[Tubelets]:
        """Losses of both streams, each on its own, where targets are given; else tubelets.

        Args:
            clips: `[N, 3 + channels of flow, T, H, W]`.
            targets: with tracks over the K middle frames.

        Returns:
            With targets the losses of `Moc` as "colour_center", "flow_center" and so on. Without,
            one `Tubelets` per clip. Streams that were trained alone need no more training.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        length = self.tubelet_length
        check_clips("TwoStreamMoc", clips, channels=self.channels_in, length=length)
        if targets is not None:
            found: dict[str, Tensor] = {}
            for name, stream, part in zip(
                ("colour", "flow"), (self.colour, self.flow), self._parts(clips, 1), strict=True
            ):
                losses = stream(part, targets)
                found.update({f"{name}_{loss}": value for loss, value in losses.items()})
            return found
        frames = snippet(clips, length).flatten(0, 1)
        maps = tuple(unflattened(x, length) for x in self.frame_maps(frames))
        size = (clips.shape[4], clips.shape[3])
        return self.tubelets(maps, size, first_of_snippet(clips.shape[2], length))

    def frame_maps(self, frames: Tensor) -> tuple[Tensor, ...]:
        """What both streams work out frame by frame, colour first, each `[F, ...]`."""
        colour, flow = self._parts(frames, 1)
        return (*self.colour.frame_maps(colour), *self.flow.frame_maps(flow))

    def clip_maps(self, clips: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002
        """What is worked out from whole clips: nothing."""
        return ()

    def tubelets(
        self, maps: tuple[Tensor, ...], size: tuple[int, int], first: int
    ) -> list[Tubelets]:
        """Tubelets from the maps of K frames; those begin at `first` of their clip."""
        half = len(maps) // 2
        colour = self.colour.points(maps[:half], size)
        flow = self.flow.points(maps[half:], size)
        shares = self.shares
        heat = _mixed(colour.centers.sigmoid(), flow.centers.sigmoid(), shares.centers)
        points = PointMaps(
            centers=heat,
            movement=_mixed(colour.movement, flow.movement, shares.movement),
            sizes=_mixed(colour.sizes, flow.sizes, shares.sizes),
        )
        return class_tubelets(
            heat,
            points,
            stride=self.colour.backbone.stride,
            size=size,
            first=first,
            options=self.colour.options,
        )

    def _parts(self, x: Tensor, axis: int) -> tuple[Tensor, ...]:
        return x.split((self.colour.channels_in, self.flow.channels_in), dim=axis)


def _mixed(colour: Tensor, flow: Tensor, share: float) -> Tensor:
    return share * colour + (1 - share) * flow

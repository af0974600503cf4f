"""VideoCapsule: a clip's localisation map and class scores, by capsules on features without time.

Source: End-to-end semi-supervised learning for video action detection, Sec. 3.1: VideoCapsuleNet
with the features pooled over time and capsules routed over two dimensions.
Suffix legend: N = clips, C = classes, P = numbers of a pose, D = C times P.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stad_models.detectors.map_outputs import MapOutputs
from stad_models.detectors.snippets import check_clips, padded
from stad_models.heads.capsule import ClassCapsules, PrimaryCapsules
from stad_models.heads.capsule_decoder import MaskedDecoder
from stad_models.heads.capsule_losses import (
    dice_loss,
    map_cross_entropy,
    margin_at,
    spread_loss,
)
from stad_models.structures import Maps, Targets

TIMES = 8
"""Clips must have a multiple of so many frames: the decoder doubles them three times."""


class LayeredEncoder(Protocol):
    """A 3D trunk with named layers, as `I3d`; a module of one's own need not inherit from it."""

    @property
    def strides(self) -> Mapping[str, int]:
        """Pixels of the clip per cell of each layer's map."""
        ...

    def endpoints(self, clips: Tensor, names: Collection[Any]) -> Mapping[Any, Tensor]:
        """Maps `[N, channels, T', H / s, W / s]` of the named layers."""
        ...


@dataclass(frozen=True, kw_only=True)
class VideoCapsuleOptions:
    """What training weighs.

    Attributes:
        margins: of the spread loss, at the beginning and at the end.
        margin_steps: training passes over which the margin grows.
        class_weight: weight of the spread loss.
        cross_entropy_weight: weight of the map's cross-entropy.
        dice_weight: weight of 1 - Dice.

    Raises:
        ValueError: margins outside [0, 1].
    """

    margins: tuple[float, float] = (0.2, 0.9)
    margin_steps: int = 2000
    class_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    dice_weight: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 <= margin <= 1 for margin in self.margins) or self.margin_steps < 0:
            raise ValueError(
                "VideoCapsuleOptions: margins must lie in [0, 1] and margin_steps be at least 0, "
                f"found {self.margins} and {self.margin_steps}"
            )


class VideoCapsule(nn.Module):
    """The detector, composed of built parts.

    Args:
        backbone: a `LayeredEncoder`.
        layers: those of its layers at strides 2, 4 and 8 whose maps are used.
        primary: capsules from the last of these maps.
        capsules: those of the classes.
        decoder: from capsules to pixels.
        num_classes: actions.
        exclusive: whether an actor does one action only; it is what training may want to know.
        clip_length: frames of a clip, a multiple of 8.
        clip_stride: frames between them in the video.
        options: see `VideoCapsuleOptions`.
        multiple: frames are padded to multiples of it.

    Attributes:
        passes: training passes so far, which the margin grows with; saved with the weights.
    """

    passes: Tensor

    def __init__(  # noqa: PLR0913 - the parts, and what a recipe says of them
        self,
        backbone: LayeredEncoder,
        layers: tuple[str, str, str],
        primary: PrimaryCapsules,
        capsules: ClassCapsules,
        decoder: MaskedDecoder,
        *,
        num_classes: int,
        exclusive: bool,
        clip_length: int,
        clip_stride: int,
        options: VideoCapsuleOptions,
        multiple: int,
    ) -> None:
        super().__init__()
        if clip_length < 1 or clip_length % TIMES:
            raise ValueError(
                f"VideoCapsule: clip_length must be a multiple of {TIMES}, found {clip_length}"
            )
        strides = tuple(backbone.strides[name] for name in layers)
        if strides != (2, 4, 8):
            raise ValueError(
                f"VideoCapsule: layers {', '.join(layers)} must have strides 2, 4 and 8, found "
                f"{strides}; see I3dShape.pool_strides"
            )
        self.backbone = backbone
        self.layers = layers
        self.primary = primary
        self.capsules = capsules
        self.decoder = decoder
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.clip_length = clip_length
        self.clip_stride = clip_stride
        self.options = options
        self.multiple = multiple
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(
        self, clips: Tensor, targets: Targets | None = None, *, labels: Tensor | None = None
    ) -> dict[str, Tensor] | list[Maps] | MapOutputs:
        """Losses where targets are given, outputs where labels are, else maps.

        Args:
            clips: `[N, 3, T, H, W]` float, normalised, of any size; T a multiple of 8.
            targets: with masks, on the same device. The map is decoded from the capsules of the
                labels.
            labels: `[N, C]` in [0, 1]: decode the map from these classes, and where a row is 0
                from the best one; `losses` makes losses of the outcome.

        Returns:
            With targets the weighted losses "class", "cross_entropy" and "dice", whose sum is to
            be minimised. With labels `MapOutputs`. Without either one `Maps` per clip, decoded
            from its best class.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        if targets is not None:
            wanted = clip_labels(targets, self.num_classes)
            return self.losses(self.outputs(clips, wanted), targets)
        if labels is not None:
            return self.outputs(clips, labels)
        return self.outputs(clips, clips.new_zeros((len(clips), self.num_classes))).maps()

    def outputs(self, clips: Tensor, labels: Tensor) -> MapOutputs:
        """Maps, scores and features of clips; arguments as `forward`.

        In training it is one more training pass.
        """
        check_clips("VideoCapsule", clips, channels=3, length=TIMES)
        if clips.shape[2] % TIMES:
            raise ValueError(
                f"VideoCapsule: clips must have a multiple of {TIMES} frames, found "
                f"{clips.shape[2]}"
            )
        if labels.shape != (len(clips), self.num_classes):
            raise ValueError(
                f"VideoCapsule: labels must be [{len(clips)}, {self.num_classes}], found "
                f"{list(labels.shape)}"
            )
        if self.training:
            self.passes += 1
        height, width = clips.shape[3:]
        skips = self.encode(clips)
        # Time is pooled before the capsules: the paper's reason why routing is cheap.
        poses, active = self.capsules(*self.primary(skips[-1].mean(dim=2)))
        scores = active.mean(dim=(2, 3))
        features = (poses * active[:, :, None]).mean(dim=(3, 4)).flatten(1)
        mask = decoded_classes(scores, labels)
        logits = self.decoder(poses, mask.to(poses.dtype), skips, clips.shape[2])[:, 0]
        return MapOutputs(logits=logits[..., :height, :width], scores=scores, features=features)

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The backbone's maps `[N, channels, T', H / s, W / s]` at strides 2, 4 and 8.

        Clips are padded first.
        """
        found = self.backbone.endpoints(padded(clips, self.multiple), self.layers)
        halves, quarters, eighths = (found[name] for name in self.layers)
        return halves, quarters, eighths

    def losses(self, outputs: MapOutputs, targets: Targets) -> dict[str, Tensor]:
        """The weighted losses of outputs, as `forward` gives them.

        Raises:
            ValueError: targets without masks, or of another size.
        """
        masks = targets.masks
        if masks is None or masks.shape != outputs.logits.shape:
            raise ValueError(
                f"VideoCapsule: targets need masks {list(outputs.logits.shape)}, found "
                f'{None if masks is None else list(masks.shape)}; make clips of form "map"'
            )
        options = self.options
        wanted = clip_labels(targets, self.num_classes)
        margin = margin_at(self.passes, options.margins, options.margin_steps)
        return {
            "class": spread_loss(outputs.scores, wanted, margin) * options.class_weight,
            "cross_entropy": map_cross_entropy(outputs.logits, masks)
            * options.cross_entropy_weight,
            "dice": dice_loss(outputs.logits, masks) * options.dice_weight,
        }


def clip_labels(targets: Targets, num_classes: int) -> Tensor:
    """`[N, C]`: what anybody does at the clip's keyframe, in [0, 1]; 0 where nobody is there.

    Raises:
        ValueError: labels of another number of classes.
    """
    rows: Sequence[Tensor] = [
        labels.amax(dim=0) if len(labels) else labels.new_zeros(num_classes)
        for labels in targets.labels
    ]
    for clip, row in enumerate(rows):
        if row.shape != (num_classes,):
            raise ValueError(
                f"VideoCapsule: labels of clip {clip} have {row.shape[0]} classes, the model has "
                f"{num_classes}"
            )
    return torch.stack([*rows]) if rows else torch.zeros((0, num_classes))


def decoded_classes(scores: Tensor, labels: Tensor) -> Tensor:
    """`[N, C]` of 0 and 1: the labelled classes of a clip, or its best one where it has no label.

    A mixed clip's labels count from 1/2.
    """
    known = labels >= 0.5
    best = scores.detach().argmax(dim=1, keepdim=True)
    found = torch.arange(scores.shape[1], device=scores.device) == best
    return torch.where(known.any(dim=1, keepdim=True), known, found)

"""Video object segmentation: an object is given by its mask on one frame and found on others.

The paper that trains such a network by consistency (End-to-end semi-supervised learning for video
action detection, Sec. 6.1) takes the recurrent one of "YouTube-VOS: Sequence-to-sequence video
object segmentation" and says no more: the first frame and its mask set the state of a ConvLSTM, one
object a pass. Here, by our choice, a 3D trunk looks at all frames at once, a frame's cells are
matched with those of the given frame instead of passing through a recurrent state, and a decoder
with skip connections gives the map. One object a pass as there.
Suffix legend: N = clips, T = frames to be segmented.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stad_models.detectors.map_outputs import MapOutputs
from stad_models.detectors.snippets import check_clips, padded
from stad_models.detectors.video_capsule import LayeredEncoder
from stad_models.heads.capsule_losses import dice_loss, map_cross_entropy
from stad_models.heads.mask_decoder import MaskDecoder
from stad_models.heads.reference_matching import STRIDE, ReferenceMatching
from stad_models.structures import Maps, Targets

CHANNELS = 4
"""Channels of a clip: its colours, and the given mask on the first frame."""


@dataclass(frozen=True, kw_only=True)
class ObjectSegmentationOptions:
    """What training weighs.

    Attributes:
        cross_entropy_weight: weight of the map's cross-entropy.
        dice_weight: weight of 1 - Dice.
    """

    cross_entropy_weight: float = 1.0
    dice_weight: float = 1.0


class ObjectSegmentation(nn.Module):
    """The network, composed of built parts.

    A clip is the reference, the frame with the given mask, and after it the T frames in which the
    object is to be found. They need not follow each other closely.

    Args:
        backbone: a `LayeredEncoder` whose maps have as many frames as the clip.
        layers: those of its layers at strides 2, 4 and 8 whose maps are used.
        matching: reads from the reference what is known of the object.
        decoder: from what was read, and the trunk's maps, to pixels.
        num_classes: classes of the dataset's objects. The network does not tell them apart; it
            keeps the number for those who ask any detector for it.
        exclusive: likewise.
        clip_length: T.
        clip_stride: frames between them in the video.
        options: see `ObjectSegmentationOptions`.

    Attributes:
        channels_in: 4, see `forward`.
    """

    channels_in = CHANNELS

    def __init__(  # noqa: PLR0913 - the parts, and what a recipe says of them
        self,
        backbone: LayeredEncoder,
        layers: tuple[str, str, str],
        matching: ReferenceMatching,
        decoder: MaskDecoder,
        *,
        num_classes: int,
        exclusive: bool,
        clip_length: int,
        clip_stride: int,
        options: ObjectSegmentationOptions,
    ) -> None:
        super().__init__()
        strides = tuple(backbone.strides[name] for name in layers)
        if strides != (2, 4, STRIDE):
            raise ValueError(
                f"ObjectSegmentation: layers {', '.join(layers)} must have strides 2, 4 and "
                f"{STRIDE}, found {strides}; see I3dShape.pool_strides"
            )
        if clip_length < 1:
            raise ValueError(
                f"ObjectSegmentation: clip_length must be at least 1, found {clip_length}"
            )
        self.backbone = backbone
        self.layers = layers
        self.matching = matching
        self.decoder = decoder
        self.num_classes = num_classes
        self.exclusive = exclusive
        self.clip_length = clip_length
        self.clip_stride = clip_stride
        self.options = options

    def forward(
        self, clips: Tensor, targets: Targets | None = None, *, labels: Tensor | None = None
    ) -> dict[str, Tensor] | list[Maps] | MapOutputs:
        """Losses where targets are given, outputs where labels are, else maps.

        Args:
            clips: `[N, 4, 1 + T, H, W]` float, of any size: normalised colours of the reference and
                the T frames, and as the last channel the object's mask on the reference (1 inside),
                0 on the other frames. Without a pixel of it nothing is asked for.
            targets: with masks `[N, 1 + T, H, W]`, on the same device.
            labels: anything but None asks for outputs, as other detectors of maps give them.

        Returns:
            With targets the weighted losses "cross_entropy" and "dice", whose sum is to be
            minimised. With labels `MapOutputs` of the T frames, which hold no scores and no
            features. Without either one `Maps` of them per clip, with no scores.

        Raises:
            TypeError: clips are not floating point.
            ValueError: clips or targets have the wrong shape.
        """
        outputs = self.outputs(clips)
        if targets is not None:
            return self.losses(outputs, targets)
        return outputs.maps() if labels is None else outputs

    def outputs(self, clips: Tensor) -> MapOutputs:
        """Maps `[N, T, H, W]` of clips, with gradients; arguments as `forward`."""
        check_clips("ObjectSegmentation", clips, channels=CHANNELS, length=2)
        height, width = clips.shape[3:]
        whole = padded(clips, STRIDE)
        halves, quarters, eighths = self.encode(whole)
        read = self.matching(eighths, whole[:, :, 0])
        logits = self.decoder(
            torch.cat([read.to(eighths.dtype), eighths[:, :, 1:]], dim=1),
            quarters[:, :, 1:],
            halves[:, :, 1:],
        )
        nothing = logits.new_zeros((len(clips), 0))
        return MapOutputs(logits=logits[:, 0, :, :height, :width], scores=nothing, features=nothing)

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The backbone's maps `[N, channels, 1 + T, H / s, W / s]` at strides 2, 4 and 8.

        The sides of the clips must be multiples of 8.

        Raises:
            ValueError: the backbone takes strides over time.
        """
        found = self.backbone.endpoints(clips[:, :-1], self.layers)
        halves, quarters, eighths = (found[name] for name in self.layers)
        if eighths.shape[2] != clips.shape[2]:
            raise ValueError(
                "ObjectSegmentation: the backbone must keep all frames, found "
                f"{eighths.shape[2]} of {clips.shape[2]}; see I3dShape.stem_strides"
            )
        return halves, quarters, eighths

    def losses(self, outputs: MapOutputs, targets: Targets) -> dict[str, Tensor]:
        """The weighted losses of outputs, as `forward` gives them.

        A clip whose given mask is empty (a crop may have cut the object off) wants empty maps.

        Raises:
            ValueError: targets without masks, or of another size.
        """
        count, frames, height, width = outputs.logits.shape
        masks = targets.masks
        if masks is None or masks.shape != (count, 1 + frames, height, width):
            raise ValueError(
                f"ObjectSegmentation: targets need masks {[count, 1 + frames, height, width]}, "
                f'found {None if masks is None else list(masks.shape)}; make clips of form "object"'
            )
        asked = masks[:, 0].flatten(1).amax(dim=1) > 0
        wanted = masks[:, 1:] * asked[:, None, None, None]
        options = self.options
        return {
            "cross_entropy": map_cross_entropy(outputs.logits, wanted)
            * options.cross_entropy_weight,
            "dice": dice_loss(outputs.logits, wanted) * options.dice_weight,
        }

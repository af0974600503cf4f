"""Multiply-adds and parameters of a model, part by part, without running it.

Everything happens on the meta device: shapes are worked out, nothing is computed and no memory is
needed for weights or maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from stad_models.detectors.cfad import Cfad
from stad_models.detectors.moc import Moc
from stad_models.detectors.object_segmentation import ObjectSegmentation
from stad_models.detectors.se_stad import SeStad
from stad_models.detectors.snippets import padded, snippet, unflattened
from stad_models.detectors.stma import Stma
from stad_models.detectors.two_stream_moc import TwoStreamMoc
from stad_models.detectors.video_capsule import VideoCapsule
from stad_models.heads.reference_matching import STRIDE

Rule = Literal["mac", "paper"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs for one clip, in units of one.

    Attributes:
        macs: multiply-adds by part, and their "total". A trunk has only "backbone".
        params: parameters by part, and their "total".
    """

    macs: dict[str, int]
    params: dict[str, int]


def count(
    model: nn.Module,
    size: int | tuple[int, int],
    frames: int,
    rule: Rule = "mac",
    *,
    actors: int = 10,
) -> Cost:
    """Cost of one clip in evaluation mode.

    Args:
        model: a `SeStad`, a detector of tubelets, of tubes (a `Cfad` with as many spans as it looks
            at, `max_tubes` of them refined at every timestamp) or of maps, or a backbone (the part
            "backbone"); it is not changed, and may have its weights on the meta device.
        size: side of a square clip, or (width, height), in pixels.
        frames: frames of the clip; of an `ObjectSegmentation` those beside the given one.
        rule: "mac" counts convolutions, linear layers and the matrix products of non-local blocks,
            each once; of deformable convolutions only those that give their offsets. "paper" is
            what SE-STAD's tables count: these, batch normalisation (2 per element), ReLU and
            max-pooling (1 per element put out), and the localisation head twice, because the
            authors' training code runs it twice.
        actors: regions that the action head sees.

    Raises:
        ValueError: the rule is unknown, or the model cannot take such a clip.
    """
    if rule not in ("mac", "paper"):
        raise ValueError(f"count: rule must be 'mac' or 'paper', found {rule!r}")
    width, height = (size, size) if isinstance(size, int) else size
    clips = torch.empty((1, 3, frames, height, width), device="meta")
    if isinstance(model, SeStad):
        macs = _detector_macs(model, clips, rule, actors)
        params = {part: _params(model.get_submodule(part)) for part in macs}
    elif isinstance(model, (Moc, Stma, TwoStreamMoc)):
        clips = clips[:, :1].expand(-1, model.channels_in, -1, -1, -1)
        macs = _tubelet_macs(model, clips, rule)
        params = {part: _params(model.get_submodule(part)) for part in macs}
    elif isinstance(model, VideoCapsule):
        macs = _capsule_macs(model, clips, rule)
        params = {part: _params(model.get_submodule(part)) for part in macs}
    elif isinstance(model, ObjectSegmentation):
        clips = torch.empty((1, model.channels_in, 1 + frames, height, width), device="meta")
        macs = _segmentation_macs(model, clips, rule)
        params = {part: _params(model.get_submodule(part)) for part in macs}
    elif isinstance(model, Cfad):
        clips = clips[:, :1].expand(-1, model.channels_in, -1, -1, -1)
        macs = _cfad_macs(model, clips, rule)
        parts = {"backbone": model.get_submodule("backbone"), **dict(model.heads.named_children())}
        params = {part: _params(module) for part, module in parts.items()}
    else:
        macs = {"backbone": _run(model, rule, clips)[1]}
        params = {"backbone": _params(model)}
    return Cost(
        macs={"total": sum(macs.values()), **macs}, params={"total": sum(params.values()), **params}
    )


def multiply_adds(part: nn.Module, *inputs: Tensor, rule: Rule = "mac") -> int:
    """What one call of any module costs, by the rule of `count`; inputs may lie anywhere."""
    return _run(part, rule, *(x.to("meta") for x in inputs))[1]


def _detector_macs(model: SeStad, clips: Tensor, rule: Rule, actors: int) -> dict[str, int]:
    rois = torch.empty((actors, 5), device="meta")
    size = (clips.shape[4], clips.shape[3])
    features, backbone = _run(model.get_submodule("backbone"), rule, clips)
    levels, neck = _run(model.get_submodule("neck"), rule, features.keyframe)
    _, localisation = _run(model.get_submodule("localisation_head"), rule, levels, size)
    _, action = _run(model.get_submodule("action_head"), rule, features.clip, rois)
    passes = 2 if rule == "paper" else 1
    return {
        "backbone": backbone,
        "neck": neck,
        "localisation_head": passes * localisation,
        "action_head": action,
    }


def _tubelet_macs(model: Moc | Stma | TwoStreamMoc, clips: Tensor, rule: Rule) -> dict[str, int]:
    if isinstance(model, TwoStreamMoc):
        first = model.colour.channels_in
        colour = _tubelet_macs(model.colour, clips[:, :first], rule)
        flow = _tubelet_macs(model.flow, clips[:, first:], rule)
        return {"colour": sum(colour.values()), "flow": sum(flow.values())}
    length, multiple, head = model.tubelet_length, model.multiple, model.tubelet_head
    frames = padded(snippet(clips, length).flatten(0, 1), multiple)
    features, backbone = _run(model.get_submodule("backbone"), rule, frames)
    sizes, by_frame = _run(head.sizes, rule, features)
    maps = unflattened(features, length), unflattened(sizes, length)
    macs = {"backbone": backbone, "tubelet_head": by_frame + _run(head, rule, *maps)[1]}
    if isinstance(model, Stma) and model.action_head is not None:
        coarse, macs["action_head"] = _run(model.action_head.coarse, rule, features)
        together = (unflattened(coarse, length),)
        if model.clip_backbone is not None:
            found, macs["clip_backbone"] = _run(
                model.get_submodule("clip_backbone"), rule, padded(clips, multiple)
            )
            together = (*together, found.clip[0].mean(dim=2))
        macs["action_head"] += _run(model.action_head, rule, *together)[1]
    return macs


def _capsule_macs(model: VideoCapsule, clips: Tensor, rule: Rule) -> dict[str, int]:
    skips, backbone = _run(_Encoder(model), rule, clips)
    found, primary = _run(model.primary, rule, skips[-1].mean(dim=2))
    (poses, _), capsules = _run(model.capsules, rule, *found)
    mask = poses[:, :, 0, 0, 0]
    _, decoder = _run(model.decoder, rule, poses, mask, skips, clips.shape[2])
    return {"backbone": backbone, "primary": primary, "capsules": capsules, "decoder": decoder}


def _segmentation_macs(model: ObjectSegmentation, clips: Tensor, rule: Rule) -> dict[str, int]:
    whole = padded(clips, STRIDE)
    (halves, quarters, eighths), backbone = _run(_Encoder(model), rule, whole)
    read, matching = _run(model.matching, rule, eighths, whole[:, :, 0])
    joined = torch.cat([read, eighths[:, :, 1:]], dim=1)
    finer = (quarters[:, :, 1:], halves[:, :, 1:])
    _, decoder = _run(model.decoder, rule, joined, *finer)
    return {"backbone": backbone, "matching": matching, "decoder": decoder}


class _Encoder(nn.Module):
    """The part of a detector of maps that its backbone does."""

    def __init__(self, model: VideoCapsule | ObjectSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        return self.model.encode(clips)


def _cfad_macs(model: Cfad, clips: Tensor, rule: Rule) -> dict[str, int]:
    features, backbone = _run(model.get_submodule("backbone"), rule, clips)
    clip_map, heads, options = features.clip[0], model.heads, model.options
    channels, samples = clip_map.shape[1], model.samples
    cells = tuple(clip_map.shape[3:])
    spans = torch.empty((options.max_spans, channels, samples, *cells), device="meta")
    refined = torch.empty((options.max_tubes, channels, samples, *cells), device="meta")
    looked = refined.transpose(1, 2).flatten(0, 1)
    return {
        "backbone": backbone,
        "temporal": _run(heads.temporal, rule, clip_map, clips.shape[2])[1],
        "coarse": _run(heads.coarse, rule, spans)[1],
        "selector": _run(heads.selector, rule, refined)[1],
        "boxes": _run(heads.boxes, rule, looked)[1],
    }


class _Counter(TorchDispatchMode):
    """Adds up the cost of every operation that runs under it."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.macs = 0
        self._elementwise = rule == "paper"

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in _PRODUCTS:
            self.macs += _PRODUCTS[packet](args, result)
        elif self._elementwise and packet in _ELEMENTWISE:
            first = result[0] if isinstance(result, tuple) else result
            self.macs += _ELEMENTWISE[packet] * first.numel()
        return result


def _convolution(args: tuple[Any, ...], result: Tensor) -> int:
    weight: Tensor = args[1]  # [out, in / groups, *kernel], transposed [in, out / groups, *kernel]
    transposed: bool = args[6]
    cells = args[0].numel() if transposed else result.numel()
    return cells * prod(weight.shape[1:])


_ATEN = torch.ops.aten
_PRODUCTS = {
    _ATEN.convolution: _convolution,
    _ATEN.mm: lambda args, result: result.numel() * args[0].shape[-1],
    _ATEN.addmm: lambda args, result: result.numel() * args[1].shape[-1],
    _ATEN.bmm: lambda args, result: result.numel() * args[0].shape[-1],
}
_ELEMENTWISE = {
    _ATEN.native_batch_norm: 2,
    _ATEN._native_batch_norm_legit_no_training: 2,
    _ATEN.cudnn_batch_norm: 2,
    _ATEN.relu: 1,
    _ATEN.relu_: 1,
    _ATEN.max_pool2d_with_indices: 1,
    _ATEN.max_pool3d_with_indices: 1,
}


def _run(part: nn.Module, rule: Rule, *inputs: object) -> tuple[Any, int]:
    """What a part gives for inputs on the meta device, and what that costs."""
    state = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    on_meta = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    was_training = [module for module in part.modules() if module.training]
    part.eval()
    try:
        with torch.no_grad(), torch.device("meta"), _Counter(rule) as counter:
            result = functional_call(part, on_meta, inputs)
    finally:
        for module in was_training:
            module.training = True
    return result, counter.macs


def _params(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())

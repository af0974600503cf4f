"""From a checkpoint into a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stad_models.weights.detection import OWN, detect, named
from stad_models.weights.layout import HEAD, Layout
from stad_models.weights.report import (
    COUNTER,
    Loaded,
    LoadReport,
    Mismatched,
    Required,
    Skipped,
    WeightsError,
)
from stad_models.weights.source import Source, read

_BACKBONE = "backbone."
_HEADS = ("action_head", "head")


def load(
    model: nn.Module,
    source: str | Path | Mapping[str, Any],
    layout: str = "auto",
    *,
    require: Required = "backbone",
) -> LoadReport:
    """Fill a model from a checkpoint of any known layout, and say what went where.

    Files are read without running code from them: PyTorch's (`weights_only=True`), safetensors, npz
    and pickles of arrays. Strides and dilations are no weights, so checkpoints of classifiers fill
    the trunks of detectors. Kernels without a time axis are repeated over time and divided by its
    length (Quo vadis, action recognition?, Sec. 2.4); sides of length 1 come and go. A network that
    takes colours and optical flow together, in 5 channels, is filled by weights of colour too.

    Args:
        model: a detector (its `backbone` and the linear layer of its `action_head` are filled), or
            a backbone alone.
        source: a file, or tensors or arrays by key; also nested, as checkpoints hold them.
        layout: one of `layout_names()`, or "auto" to tell it by the keys.
        require: "backbone", to begin training with: every tensor of the backbone must be filled,
            the heads need not. "all", for inference: every tensor of the model. "nothing" loads
            what fits.

    Raises:
        WeightsError: the file cannot be used, its layout is not known, or it does not fill what is
            required. The model is as it was.
        ValueError: an unknown layout or requirement.
    """
    places = _Places.of(model)
    found = read(source)
    own = _own_names(places, found)
    auto = layout == "auto"
    chosen = detect(found.tensors, own, source=found.name) if auto else named(layout)
    plan = _own_plan(places, found, own) if chosen is None else _plan(places, found, chosen)
    report = plan.report(found, OWN if chosen is None else chosen.name)
    report.require(require)
    plan.fill(found.name)
    return report


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Where a model takes tensors.

    Attributes:
        state: the model's tensors by name, sharing its memory.
        prefix: before the names of the backbone's.
        head: before "weight" and "bias" of the action head's linear layer, if it has one.
        left_out: layers of the published backbone that this one, by design, ends before.
    """

    state: Mapping[str, Tensor]
    prefix: str
    head: str | None
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: nn.Module) -> _Places:
        state: dict[str, Tensor] = model.state_dict()
        if any(value.is_meta for value in state.values()):
            raise WeightsError(
                f"weights: {type(model).__name__} is on the meta device and has no memory to fill; "
                "use model.to_empty(device=...) first"
            )
        inside = isinstance(getattr(model, "backbone", None), nn.Module)
        backbone = model.get_submodule("backbone") if inside else model
        heads = [
            f"{name}."
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear)
            and name.endswith("projection")
            and name.split(".", 1)[0] in _HEADS
        ]
        return cls(
            state=state,
            prefix=_BACKBONE if inside else "",
            head=heads[0] if inside and len(heads) == 1 else None,
            left_out=getattr(backbone, "left_out", ()),
        )

    def name(self, renamed: str) -> str | None:
        """The model's name of a renamed tensor; None for a head where there is none."""
        if not renamed.startswith(HEAD):
            return self.prefix + renamed
        of_head = renamed.removeprefix(HEAD)
        if of_head in self.state:  # heads that have no linear layer are told by their whole name
            return of_head
        return None if self.head is None else self.head + of_head

    def parts(self) -> dict[str, int]:
        names = [name for name in self.state if not name.endswith(COUNTER)]
        if not self.prefix:
            return {"backbone": len(names)}
        return dict(Counter(name.split(".", 1)[0] for name in names))


class _Plan:
    """What is to go where; nothing moves before `fill`."""

    def __init__(self, places: _Places) -> None:
        self.places = places
        self.values: dict[str, Tensor] = {}
        self.loaded: list[Loaded] = []
        self.skipped: list[Skipped] = []
        self.mismatched: list[Mismatched] = []

    def skip(self, key: str, tensor: Tensor, reason: str, *, of_backbone: bool = False) -> None:
        shape = tuple(tensor.shape)
        self.skipped.append(Skipped(key=key, shape=shape, reason=reason, of_backbone=of_backbone))

    def put(self, name: str, key: str, tensor: Tensor, note: str = "") -> None:
        """Take a tensor for a place that exists, in its shape where that can be."""
        place = self.places.state[name]
        value, change = _fitted(tensor, tuple(place.shape))
        if value is None:
            self.mismatched.append(
                Mismatched(
                    name=name, key=key, expected=tuple(place.shape), found=tuple(tensor.shape)
                )
            )
            return
        self.values[name] = value
        self.loaded.append(Loaded(name=name, key=key, note="; ".join(filter(None, (note, change)))))

    def report(self, source: Source, layout: str) -> LoadReport:
        for key in source.others:
            self.skipped.append(Skipped(key=key, shape=(), reason="no tensor of numbers"))
        settled = {one.name for one in (*self.loaded, *self.mismatched)}
        missing = [
            name for name in self.places.state if name not in settled and not name.endswith(COUNTER)
        ]
        return LoadReport(
            source=source.name,
            layout=layout,
            loaded=tuple(self.loaded),
            skipped=tuple(self.skipped),
            mismatched=tuple(self.mismatched),
            missing=tuple(missing),
            parts=self.places.parts(),
            prefix=self.places.prefix,
        )

    @torch.no_grad()
    def fill(self, source: str) -> None:
        """Copy all values.

        Raises:
            WeightsError: a value is not finite; nothing was copied.
        """
        for one in self.loaded:
            value = self.values[one.name]
            if value.is_floating_point() and not _is_finite(value):
                raise WeightsError(
                    f"weights: {one.key} of {source} holds values that are not finite: the file "
                    "is damaged, or its training diverged"
                )
        for name, value in self.values.items():
            self.places.state[name].copy_(value)


def _plan(places: _Places, source: Source, layout: Layout) -> _Plan:
    plan = _Plan(places)
    ready = layout.prepare(source.tensors)
    for key, reason in ready.skipped.items():
        plan.skip(key, source.tensors[key], reason)
    for key, tensor in ready.tensors.items():
        renamed = layout.rename(key)
        if renamed is None:
            plan.skip(key, tensor, f"not a key of the layout {layout.name}")
            continue
        name = places.name(renamed)
        if name is None:
            plan.skip(key, tensor, "a head, and this model has no linear action head")
        elif name in places.state:
            plan.put(name, key, tensor, ready.notes.get(key, ""))
        elif renamed.split(".", 1)[0] in places.left_out:
            plan.skip(key, tensor, "a layer after the last of this backbone")
        elif key.endswith(COUNTER):
            plan.skip(key, tensor, "a counter of batches that this model does not keep")
        else:
            reason = "this backbone has no such layer"
            plan.skip(key, tensor, reason, of_backbone=not renamed.startswith(HEAD))
    return plan


def _own_names(places: _Places, source: Source) -> dict[str, str]:
    """The file's keys that are the model's own names, to those.

    A backbone's file fits the backbone of a detector, and a detector's file a backbone.
    """
    found: dict[str, str] = {}
    for key in source.tensors:
        other = places.prefix + key if places.prefix else key.removeprefix(_BACKBONE)
        name = next((name for name in (key, other) if name in places.state), None)
        if name is not None:
            found[key] = name
    return found


def _own_plan(places: _Places, source: Source, own: Mapping[str, str]) -> _Plan:
    plan = _Plan(places)
    of_detector = any(key.startswith(_BACKBONE) for key in source.tensors)
    for key, tensor in source.tensors.items():
        if key in own:
            plan.put(own[key], key, tensor)
            continue
        of_backbone = key.startswith(_BACKBONE) if of_detector else not key.endswith(COUNTER)
        plan.skip(key, tensor, "the model has no tensor of this name", of_backbone=of_backbone)
    return plan


def _is_finite(value: Tensor) -> bool:
    """Whether all values are numbers; the least and the greatest tell, as both pass NaN on."""
    return value.numel() == 0 or bool(torch.stack(value.aminmax()).isfinite().all())


def _fitted(tensor: Tensor, shape: tuple[int, ...]) -> tuple[Tensor | None, str]:
    """A tensor in the shape of its place, and what that took; None where it cannot be.

    Sides of length 1 come and go; a kernel `[out, in, height, width]` is inflated over time. One of
    3 colours fills one of 5 channels, colours and optical flow, whose part for flow begins at 0:
    the network starts as that of colour.
    """
    if tuple(tensor.shape) == shape:
        return tensor, ""
    if [n for n in tensor.shape if n != 1] == [n for n in shape if n != 1]:
        return tensor.reshape(shape), ""
    if tensor.ndim == 4 and len(shape) == 5 and tensor.shape == (*shape[:2], *shape[3:]):
        return tensor[:, :, None].expand(shape) / shape[2], f"inflated over {shape[2]} times"
    of_colour = tensor.ndim == 5 and tensor.shape[1] == 3
    if of_colour and shape == (tensor.shape[0], 5, *tensor.shape[2:]):
        flow = tensor.new_zeros((len(tensor), 2, *tensor.shape[2:]))
        return torch.cat((tensor, flow), dim=1), "colours alone, flow begins at 0"
    return None, ""

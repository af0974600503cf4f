"""Where a detector is cut into graphs, and how graphs take the place of its networks again.

Suffix legend: N = clips, R = regions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from stad_cli.export.tensor_tree import filled, leaves
from stad_eval import InputError
from stad_models.backbones.features import Features
from stad_models.detectors.moc import Moc
from stad_models.detectors.se_stad import SeStad
from stad_models.structures import Prediction

Run = Callable[..., Mapping[str, Tensor]]
"""A graph that runs: tensors in the order of its inputs, to tensors by the names of its outputs."""


class RawDetector(Protocol):
    """What any detector has to offer to be exported, unless this file knows it already.

    In evaluation its `forward` must be `finish(raw(clips), (width, height))`.
    """

    def raw(self, clips: Tensor) -> Mapping[str, Tensor]:
        """Everything that needs weights, from clips `[N, 3, T, H, W]`; maps of N rows each."""
        ...

    def finish(self, raw: Mapping[str, Tensor], size: tuple[int, int]) -> list[Prediction]:
        """Predictions from what `raw` gave, of clips of (width, height); uses no weight."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """One network to be exported.

    Attributes:
        name: Names its file.
        module: Takes the inputs in order, gives a tuple of the outputs in order.
        inputs: Example tensors by name; their first axis may have any length.
        outputs: Names of what comes out.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


def cut(model: nn.Module, clips: Tensor) -> list[Graph]:
    """The graphs of a detector in evaluation mode, with example inputs made from clips.

    Args:
        model: The detector.
        clips: `[N, 3, T, H, W]`, N at least 2; T, H and W are fixed in the graphs.

    Raises:
        InputError: The detector does not say where it can be cut.
    """
    if isinstance(model, SeStad):
        return _cut_se_stad(model, clips)
    if isinstance(model, Moc):
        return [_cut_moc(model, clips)]
    if hasattr(model, "raw") and hasattr(model, "finish"):
        return [_cut_raw(model, clips)]
    raise InputError(
        f"{type(model).__name__} cannot be exported",
        expected="SE-STAD, MOC, or a detector with the methods raw and finish",
        remedy="see RawDetector in stad_cli/export/graphs.py",
    )


def join(model: nn.Module, runs: Mapping[str, Run], shape: tuple[int, int, int, int]) -> nn.Module:
    """Put running graphs in the place of a detector's networks; the rest is its own code.

    Args:
        model: A detector of the same form, on the meta device: it holds no weights.
        runs: By the names of its graphs.
        shape: (channels, T, H, W) of clips.
    """
    if isinstance(model, SeStad):
        return _join_se_stad(model, runs, shape)
    if isinstance(model, Moc):
        return _join_moc(model, runs["points"], shape)
    _replace(model, "raw", runs["raw"])
    return model


class _Localise(nn.Module):
    """Clips to what the localisation head says and the maps that regions are pooled from.

    What depends on the form of the clips alone (points, anchors) is worked out once.
    """

    def __init__(self, model: SeStad, clips: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            said, fewer = (leaves(model.localise(part)[1]) for part in (clips, clips[:1]))
        self.fixed = [name for name, x in said.items() if x.shape == fewer[name].shape]
        for number, name in enumerate(self.fixed):
            self.register_buffer(f"fixed_{number}", said[name])
        self.said = [name for name in said if name not in self.fixed]

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        features, output = self.model.localise(clips)
        found = leaves(output)
        fixed = [getattr(self, f"fixed_{number}").clone() for number in range(len(self.fixed))]
        return (*(found[name] for name in self.said), *fixed, *features.clip)


class _Classify(nn.Module):
    """Maps of the clips and regions `[R, 5]` to action logits `[R, C]`."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *maps, rois = inputs
        return (self.head(tuple(maps), rois),)


def _cut_se_stad(model: SeStad, clips: Tensor) -> list[Graph]:
    localise = _Localise(model, clips)
    with torch.no_grad():
        features, _ = model.localise(clips)
    maps = {f"clip.{number}": x for number, x in enumerate(features.clip)}
    height, width = clips.shape[3:]
    whole = clips.new_tensor([0.0, 0.0, float(width), float(height)])
    rois = torch.stack([torch.cat((whole.new_tensor([n % 2]), whole)) for n in range(3)])
    return [
        Graph(
            name="localise",
            module=localise,
            inputs={"clips": clips},
            outputs=(
                *(f"head.{name}" for name in (*localise.said, *localise.fixed)),
                *maps,
            ),
        ),
        Graph(
            name="classify",
            module=_Classify(model.action_head),
            inputs={**maps, "rois": rois},
            outputs=("logits",),
        ),
    ]


class _Classifier(nn.Module):
    """Stands where the action head stood."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, clip: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        return self.run(*clip, rois)["logits"]


def _join_se_stad(
    model: SeStad, runs: Mapping[str, Run], shape: tuple[int, int, int, int]
) -> nn.Module:
    with torch.no_grad():
        features, template = model.localise(torch.empty((1, *shape), device="meta"))
    maps = len(features.clip)

    def localise(clips: Tensor) -> tuple[Features, object]:
        found = runs["localise"](clips)
        said = {
            name.removeprefix("head."): x for name, x in found.items() if name.startswith("head.")
        }
        clip = tuple(found[f"clip.{number}"] for number in range(maps))
        return Features(keyframe={}, clip=clip), filled(template, said)

    _replace(model, "localise", localise)
    model.action_head = _Classifier(runs["classify"])
    return model


class _Points(nn.Module):
    """K frames `[N, K, C, H, W]` to the maps of centers, movement and sizes."""

    def __init__(self, model: Moc, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        count = frames.shape[1]
        maps = self.model.frame_maps(frames.flatten(0, 1))
        points = self.model.points(tuple(x.unflatten(0, (-1, count)) for x in maps), self.size)
        return points.centers, points.movement, points.sizes


def _cut_moc(model: Moc, clips: Tensor) -> Graph:
    frames = clips[:, :, : model.tubelet_length].transpose(1, 2).contiguous()
    return Graph(
        name="points",
        module=_Points(model, (clips.shape[4], clips.shape[3])),
        inputs={"frames": frames},
        outputs=("centers", "movement", "sizes"),
    )


def _join_moc(model: Moc, run: Run, shape: tuple[int, int, int, int]) -> nn.Module:
    channels, _, height, width = shape
    frames = torch.empty((1, model.tubelet_length, channels, height, width), device="meta")
    with torch.no_grad():
        maps = model.frame_maps(frames.flatten(0, 1))
        template = model.points(
            tuple(x.unflatten(0, (-1, model.tubelet_length)) for x in maps), (width, height)
        )
    # The frames go through unchanged; the graph does in one what both steps did.
    _replace(model, "frame_maps", lambda frames: (frames,))
    _replace(model, "points", lambda maps, _size: filled(template, run(maps[0])))
    return model


class _Raw(nn.Module):
    """A detector's `raw` as its forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        return tuple(cast("RawDetector", self.model).raw(clips).values())


def _cut_raw(model: nn.Module, clips: Tensor) -> Graph:
    with torch.no_grad():
        names = tuple(cast("RawDetector", model).raw(clips))
    return Graph(name="raw", module=_Raw(model), inputs={"clips": clips}, outputs=names)


def _replace(model: nn.Module, name: str, method: Callable[..., Any]) -> None:
    """Let this one detector answer by another function."""
    object.__setattr__(model, name, method)

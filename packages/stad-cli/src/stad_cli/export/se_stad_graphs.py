"""Where SE-STAD is cut: localisation on whole clips, actions on regions.

With RPN + RCNN the second look at regions is a graph of its own, since how many there are, and
which, is found between the two stages. Suffix legend: N = clips, R = regions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stad_cli.export.graph import Graph, Method, Run, answer_by
from stad_cli.export.tensor_tree import filled, leaves
from stad_models.backbones.features import Features
from stad_models.detectors.se_stad import SeStad
from stad_models.heads.rcnn import Rcnn


class _Localise(nn.Module):
    """Clips to what the localisation head says and the maps that regions are pooled from.

    What depends on the form of the clips alone (points, anchors) is worked out once.
    """

    def __init__(self, model: SeStad, clips: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            features, levels, output = _localised(model, clips)
            said, fewer = leaves(output), leaves(_localised(model, clips[:1])[2])
        self.fixed = [name for name, x in said.items() if x.shape == fewer[name].shape]
        for number, name in enumerate(self.fixed):
            self.register_buffer(f"fixed_{number}", said[name])
        self.said = [name for name in said if name not in self.fixed]
        self.levels = _numbered("levels", levels)
        self.maps = _numbered("clip", features.clip)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what comes out."""
        said = (f"head.{name}" for name in (*self.said, *self.fixed))
        return (*said, *self.levels, *self.maps)

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        features, levels, output = _localised(self.model, clips)
        found = leaves(output)
        fixed = [getattr(self, f"fixed_{number}").clone() for number in range(len(self.fixed))]
        return (*(found[name] for name in self.said), *fixed, *levels, *features.clip)


def _localised(model: SeStad, clips: Tensor) -> tuple[Features, tuple[Tensor, ...], object]:
    """Features, the pyramid where a second stage needs it, and what the (first) stage says."""
    head = model.localisation_head
    if not isinstance(head, Rcnn):
        features, output = model.localise(clips)
        return features, (), output
    features = model.backbone(clips)
    levels = tuple(model.neck(features.keyframe))
    return features, levels, head.first.votes(levels)


def cut_se_stad(model: SeStad, clips: Tensor) -> list[Graph]:
    """The graphs of an SE-STAD: "localise", "regions" of RPN + RCNN, and "classify"."""
    localise = _Localise(model, clips)
    rois = _whole_frames(clips)
    graphs = [
        Graph(name="localise", module=localise, inputs={"clips": clips}, outputs=localise.outputs)
    ]
    head = model.localisation_head
    if isinstance(head, Rcnn):

        def look(*inputs: Tensor) -> tuple[Tensor, Tensor]:
            *levels, rois_R5 = inputs
            return head.classify(levels, rois_R5)

        graphs.append(
            Graph(
                name="regions",
                module=Method(head, look),
                inputs={**localise.levels, "rois": rois},
                outputs=("actor", "changes"),
            )
        )

    def classify(*inputs: Tensor) -> Tensor:
        *maps, rois_R5 = inputs
        return model.action_head(tuple(maps), rois_R5)

    graphs.append(
        Graph(
            name="classify",
            module=Method(model.action_head, classify),
            inputs={**localise.maps, "rois": rois},
            outputs=("logits",),
        )
    )
    return graphs


def join_se_stad(model: SeStad, runs: Mapping[str, Run], shape: tuple[int, int, int, int]) -> None:
    """Let an SE-STAD on the meta device answer by its graphs."""
    _, _, height, width = shape
    head = model.localisation_head
    with torch.no_grad():
        features, levels, template = _localised(model, torch.empty((1, *shape), device="meta"))

    def localise(clips: Tensor) -> tuple[Features, object]:
        found = runs["localise"](clips)
        heads = {name.removeprefix("head."): x for name, x in found.items()}
        said = filled(template, heads)
        if isinstance(head, Rcnn):
            pyramid = [found[name] for name in _numbered("levels", levels)]
            said = head.examine(pyramid, said, (width, height))
        clip = tuple(found[name] for name in _numbered("clip", features.clip))
        return Features(keyframe={}, clip=clip), said

    if isinstance(head, Rcnn):
        answer_by(head, "classify", lambda maps, rois: _values(runs["regions"](*maps, rois)))
    answer_by(model, "localise", localise)
    answer_by(
        model.action_head, "forward", lambda clip, rois: runs["classify"](*clip, rois)["logits"]
    )


def _numbered(name: str, tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return {f"{name}.{number}": x for number, x in enumerate(tensors)}


def _values(found: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(found.values())


def _whole_frames(clips: Tensor) -> Tensor:
    """Regions `[3, 5]` of the first two clips, each the whole frame."""
    height, width = clips.shape[3:]
    whole = clips.new_tensor([0.0, 0.0, float(width), float(height)])
    return torch.stack([torch.cat((whole.new_tensor([n % 2]), whole)) for n in range(3)])

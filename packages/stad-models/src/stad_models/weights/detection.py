"""Which layout a checkpoint has, told by its keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from torch import Tensor

from stad_models.weights.caffe2 import CAFFE2
from stad_models.weights.i3d import I3D
from stad_models.weights.layout import Layout
from stad_models.weights.mmaction2 import MMACTION2
from stad_models.weights.moc import MOC
from stad_models.weights.pyslowfast import PYSLOWFAST
from stad_models.weights.pytorchvideo import PYTORCHVIDEO
from stad_models.weights.report import WeightsError
from stad_models.weights.resnets3d import RESNETS_3D
from stad_models.weights.torchvision_video import TORCHVISION

LAYOUTS = (PYSLOWFAST, CAFFE2, PYTORCHVIDEO, MMACTION2, TORCHVISION, MOC, RESNETS_3D, I3D)
"""Every public layout; a new one is a file of this package and a name here."""

OWN = "stad"
"""The layout of a model's own names."""


def layout_names() -> tuple[str, ...]:
    """What `load` takes as a layout, besides "auto"."""
    return (OWN, *(layout.name for layout in LAYOUTS))


def named(name: str) -> Layout | None:
    """A public layout by its name; None for our own.

    Raises:
        ValueError: there is none of this name.
    """
    if name == OWN:
        return None
    found = next((layout for layout in LAYOUTS if layout.name == name), None)
    if found is None:
        near = get_close_matches(name, layout_names(), n=1)
        raise ValueError(
            f"weights: no layout is named {name!r}"
            + (f"; do you mean {near[0]!r}?" if near else "")
            + f" There are auto, {', '.join(layout_names())}"
        )
    return found


def detect(tensors: Mapping[str, Tensor], own: Collection[str], *, source: str) -> Layout | None:
    """The layout that most keys are of; None for our own names.

    Args:
        tensors: the checkpoint.
        own: names that are the model's own.
        source: the file's name, for messages.

    Raises:
        WeightsError: fewer than half of the keys are of any layout, or two fit equally well.
    """
    total = len(tensors)
    ours = sum(key in own for key in tensors)
    counts = {layout.name: layout.known(tensors) for layout in LAYOUTS}
    ranked = sorted(LAYOUTS, key=lambda layout: counts[layout.name], reverse=True)
    best, second = ranked[0], ranked[1]
    if ours and ours >= counts[best.name]:
        return None
    if 2 * counts[best.name] < total:
        raise WeightsError(_unknown(tensors, best, counts[best.name], source))
    if counts[best.name] == counts[second.name]:
        raise WeightsError(
            f"weights: the {total} keys of {source}, such as {next(iter(tensors))!r}, could be of "
            f"the layout {best.name!r} or of {second.name!r}; name the layout"
        )
    return best


def _unknown(tensors: Mapping[str, Tensor], best: Layout, known: int, source: str) -> str:
    layouts = f"Known layouts: {', '.join(layout_names())} (the model's own names)"
    if known:
        odd = next(key for key in tensors if best.rename(key) is None)
        return (
            f"weights: the layout of {source} is not known: {known} of its {len(tensors)} keys are "
            f"of the nearest, {best.name!r} (such as {best.example!r}), but {odd!r} is not. "
            f"{layouts}"
        )
    example = next(iter(tensors))
    looks = get_close_matches(example, [layout.example for layout in LAYOUTS], 1, cutoff=0)
    nearest = next(layout for layout in LAYOUTS if layout.example == looks[0])
    return (
        f"weights: the layout of {source} is not known: its {len(tensors)} keys are like "
        f"{example!r}, and those of the nearest, {nearest.name!r}, like {nearest.example!r}. "
        f"{layouts}"
    )

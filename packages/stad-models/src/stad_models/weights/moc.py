"""MOC's and CenterNet's names of DLA-34, with MOC's three branches.

The trunk alone is filled from CenterNet's COCO checkpoints, whose keys lack `backbone.`; of their
heads the one for sizes has a counterpart. The stem of a flow stream is another one than that of
colour: MOC begins it with the mean over the three colours, five times.

Source: github.com/MCG-NJU/MOC-Detector, github.com/xingyizhou/CenterNet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from stad_models.weights.layout import HEAD, Layout, Prepared, renaming

_TRUNK = r"(?:backbone\.)?"
_BASE = rf"{_TRUNK}(?:base\.)?"
_BRANCHES = {"hm": "centers", "mov": "movement", "wh": "sizes"}
_STEPS = {"proj": "project", "up": "up", "node": "join"}
_UNUSED = re.compile(rf"{_BASE}level[34]\.project\..*")


def _tree(found: re.Match[str]) -> str:
    level, branches, place = found.groups()
    # The innermost pair of branches are blocks, the others trees; a root or a projection is a
    # part of the tree that it stands in.
    steps = branches.split(".")[:-1]
    if place.startswith(("conv", "bn")):
        steps[-1] = steps[-1].replace("tree", "block")
    place = re.sub(r"^(root\.)?bn", r"\1norm", place)
    return ".".join(("levels", level, *steps, place))


def _merging(found: re.Match[str]) -> str:
    number, part, place, rest = found.groups()
    merging = "last" if number is None else f"rounds.{number}"
    rest = rest.replace("actf.0.", "norm.").replace("conv_offset_mask", "offsets")
    return f"aggregation.{merging}.steps.{int(place) - 1}.{_STEPS[part]}.{rest}"


_rename = renaming(
    (
        (rf"{_BASE}base_layer\.([01])\.(\w+)", r"stem.\1.\2"),
        (rf"{_BASE}level([01])\.(\d+)\.(\w+)", r"levels.\1.\2.\3"),
        (
            rf"{_BASE}level([2-5])\.((?:tree[12]\.)*)"
            r"((?:conv|bn)[12]\.\w+|root\.(?:conv|bn)\.\w+|project\.[01]\.\w+)",
            _tree,
        ),
        (rf"{_TRUNK}(?:dla_up\.ida_(\d)|ida_up)\.(proj|up|node)_(\d)\.(.+)", _merging),
        (
            r"(?:branch\.)?(hm|mov|wh)\.([02])\.(weight|bias)",
            lambda m: f"{HEAD}tubelet_head.{_BRANCHES[m[1]]}.{m[2]}.{m[3]}",
        ),
    )
)


def _prepare(tensors: Mapping[str, Tensor]) -> Prepared:
    """Set aside what the public code makes but never uses."""
    unused = {key for key in tensors if _UNUSED.fullmatch(key)}
    return Prepared(
        tensors={key: value for key, value in tensors.items() if key not in unused},
        skipped=dict.fromkeys(sorted(unused), "a layer that the public code never uses"),
    )


MOC = Layout(
    name="moc",
    project="MOC-Detector",
    example="backbone.dla_up.ida_0.proj_1.conv.conv_offset_mask.weight",
    rename=_rename,
    prepare=_prepare,
)

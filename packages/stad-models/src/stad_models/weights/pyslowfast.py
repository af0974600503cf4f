"""PySlowFast's names: `model_state` of its checkpoints, for classification and for AVA.

Source: github.com/facebookresearch/SlowFast.
"""

from __future__ import annotations

import re

from stad_models.weights.layout import HEAD, PATHWAYS, Layout, renaming
from stad_models.weights.mvit_names import PYSLOWFAST_RULES

_CONVOLUTIONS = {"a": "1", "b": "2", "c": "3"}


def _stem(found: re.Match[str]) -> str:
    part = "conv" if found[2] == "conv" else "norm"
    return f"{PATHWAYS[found[1]]}.stem.{part}.{found[3]}"


def _shortcut(found: re.Match[str]) -> str:
    part = "norm" if found[4] else "conv"
    return f"{PATHWAYS[found[2]]}.res{found[1]}.blocks.{found[3]}.shortcut.{part}.{found[5]}"


def _convolution(found: re.Match[str]) -> str:
    part = ("norm" if found[5] else "conv") + _CONVOLUTIONS[found[4]]
    return f"{PATHWAYS[found[2]]}.res{found[1]}.blocks.{found[3]}.{part}.{found[6]}"


def _nonlocal(found: re.Match[str]) -> str:
    part = "norm" if found[4] == "bn" else found[4].removeprefix("conv_")
    return f"{PATHWAYS[found[2]]}.res{found[1]}.nonlocals.{found[3]}.{part}.{found[5]}"


def _fusion(found: re.Match[str]) -> str:
    part = "conv" if found[2] == "conv_f2s" else "norm"
    return f"fusions.{int(found[1]) - 1}.{part}.{found[3]}"


rename = renaming(
    (
        (r"s1\.pathway([01])_stem\.(conv|bn)\.(\w+)", _stem),
        (r"s([2-5])\.pathway([01])_res(\d+)\.branch1(_bn)?\.(\w+)", _shortcut),
        (r"s([2-5])\.pathway([01])_res(\d+)\.branch2\.([abc])(_bn)?\.(\w+)", _convolution),
        (
            r"s([2-5])\.pathway([01])_nonlocal(\d+)\.(conv_theta|conv_phi|conv_g|conv_out|bn)\.(\w+)",
            _nonlocal,
        ),
        (r"s([1-4])_fuse\.(conv_f2s|bn)\.(\w+)", _fusion),
        (r"head\.projection\.(weight|bias)", rf"{HEAD}\1"),
        *PYSLOWFAST_RULES,
    )
)

PYSLOWFAST = Layout(
    name="pyslowfast",
    project="PySlowFast",
    example="s4.pathway0_res3.branch2.a.weight",
    rename=rename,
)

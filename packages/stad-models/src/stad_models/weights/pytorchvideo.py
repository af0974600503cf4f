"""PyTorchVideo's names: Slow, SlowFast and MViT; detection models carry the prefix `model.`.

Source: github.com/facebookresearch/pytorchvideo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from stad_models.weights.layout import HEAD, PATHWAYS, Layout, Prepared, renaming
from stad_models.weights.mvit_names import PYTORCHVIDEO_RULES

_PREFIX = r"(?:model\.)?"
_PATHWAY = r"(?:multipathway_blocks\.([01])\.)?"
_CONVOLUTIONS = {"a": "1", "b": "2", "c": "3"}
_ALIAS = re.compile(r"(blocks\.\d+\.attn\.)_attention_pool_([qkv])\.(pool|norm)\.(weight|bias)")


def _pathway(number: str | None) -> str:
    return PATHWAYS[number or "0"]


def _shortcut(found: re.Match[str]) -> str:
    stage, pathway, block, part, kind = found.groups()
    return f"{_pathway(pathway)}.res{int(stage) + 1}.blocks.{block}.shortcut.{part}.{kind}"


def _convolution(found: re.Match[str]) -> str:
    stage, pathway, block, part, letter, kind = found.groups()
    part += _CONVOLUTIONS[letter]
    return f"{_pathway(pathway)}.res{int(stage) + 1}.blocks.{block}.{part}.{kind}"


def _fusion(found: re.Match[str]) -> str:
    part = "conv" if found[2] == "conv_fast_to_slow" else "norm"
    return f"fusions.{found[1]}.{part}.{found[3]}"


_rename = renaming(
    (
        (
            rf"{_PREFIX}blocks\.0\.{_PATHWAY}(conv|norm)\.(\w+)",
            lambda m: f"{_pathway(m[1])}.stem.{m[2]}.{m[3]}",
        ),
        (
            rf"{_PREFIX}blocks\.([1-4])\.{_PATHWAY}res_blocks\.(\d+)\.branch1_(conv|norm)\.(\w+)",
            _shortcut,
        ),
        (
            rf"{_PREFIX}blocks\.([1-4])\.{_PATHWAY}res_blocks\.(\d+)\.branch2\."
            r"(conv|norm)_([abc])\.(\w+)",
            _convolution,
        ),
        (
            rf"{_PREFIX}blocks\.([0-3])\.multipathway_fusion\.(conv_fast_to_slow|norm)\.(\w+)",
            _fusion,
        ),
        (r"(?:blocks\.[56]|detection_head)\.proj\.(weight|bias)", rf"{HEAD}\1"),
        *PYTORCHVIDEO_RULES,
    )
)


def _prepare(tensors: Mapping[str, Tensor]) -> Prepared:
    """Drop second names, and join queries, keys and values of MViT as other layouts keep them.

    The pools of attention are kept under two names, of which PyTorchVideo reads the shorter.
    """
    kept = dict(tensors)
    skipped: dict[str, str] = {}
    notes: dict[str, str] = {}
    for key in tensors:
        found = _ALIAS.fullmatch(key)
        if not found:
            continue
        shorter = f"{found[1]}{found[3]}_{found[2]}.{found[4]}"
        value = kept.pop(key)
        same = torch.equal(kept.setdefault(shorter, value), value)
        skipped[key] = "second name of a tensor" + ("" if same else ", with other values")
    for key in tensors:
        if not key.endswith((".attn.q.weight", ".attn.q.bias")):
            continue
        start, kind = key.rsplit(".", 2)[0], key.rsplit(".", 1)[1]
        names = [f"{start}.{letter}.{kind}" for letter in "qkv"]
        if all(name in kept for name in names):
            kept[f"{start}.qkv.{kind}"] = torch.cat([kept.pop(name) for name in names])
            notes[f"{start}.qkv.{kind}"] = "joined of queries, keys and values"
    return Prepared(tensors=kept, skipped=skipped, notes=notes)


PYTORCHVIDEO = Layout(
    name="pytorchvideo",
    project="PyTorchVideo",
    example="blocks.3.res_blocks.3.branch2.conv_a.weight",
    rename=_rename,
    prepare=_prepare,
)

"""The names of PySlowFast's model zoo in Caffe2: pickles of `blobs`.

Source: github.com/facebookresearch/SlowFast, MODEL_ZOO.md and configs/*/c2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from stad_models.weights import pyslowfast
from stad_models.weights.layout import Layout, Prepared, renaming

_KINDS = {
    "w": "weight",
    "b": "bias",
    "bn_s": "weight",
    "bn_b": "bias",
    "bn_rm": "running_mean",
    "bn_riv": "running_var",
}
_NORM = r"(bn_(?:s|b|rm|riv))"
_WEIGHT_OR_NORM = r"(w|bn_(?:s|b|rm|riv))"
_TRAINING = re.compile(r".*_momentum|lr|model_iter")


def _pathway(fast: str | None) -> str:
    return "1" if fast else "0"


def _fusion(stage: str, kind: str) -> str:
    return f"s{stage}_fuse.{'conv_f2s' if kind == 'w' else 'bn'}.{_KINDS[kind]}"


def _block(found: re.Match[str]) -> str:
    fast, stage, block, branch, kind = found.groups()
    branch = "branch1" if branch == "1" else f"branch2.{branch[1]}"
    norm = "" if kind == "w" else "_bn"
    return f"s{stage}.pathway{_pathway(fast)}_res{block}.{branch}{norm}.{_KINDS[kind]}"


public_key = renaming(
    (
        (r"(t_)?conv1_w", lambda m: f"s1.pathway{_pathway(m[1])}_stem.conv.weight"),
        (
            rf"(t_)?res_conv1_{_NORM}",
            lambda m: f"s1.pathway{_pathway(m[1])}_stem.bn.{_KINDS[m[2]]}",
        ),
        (rf"t_pool1_subsample_{_WEIGHT_OR_NORM}", lambda m: _fusion("1", m[1])),
        (
            rf"t_res([234])_\d+_branch2c_bn_subsample_{_WEIGHT_OR_NORM}",
            lambda m: _fusion(m[1], m[2]),
        ),
        (rf"(t_)?res([2-5])_(\d+)_branch(1|2[abc])_{_WEIGHT_OR_NORM}", _block),
        (
            r"nonlocal_conv([2-5])_(\d+)_(theta|phi|g|out)_([wb])",
            lambda m: f"s{m[1]}.pathway0_nonlocal{m[2]}.conv_{m[3]}.{_KINDS[m[4]]}",
        ),
        (
            rf"nonlocal_conv([2-5])_(\d+)_{_NORM}",
            lambda m: f"s{m[1]}.pathway0_nonlocal{m[2]}.bn.{_KINDS[m[3]]}",
        ),
        (r"pred_([wb])", lambda m: f"head.projection.{_KINDS[m[1]]}"),
    )
)
"""A blob's name as PySlowFast names the tensor in PyTorch; None where it is none of these."""


def _rename(key: str) -> str | None:
    public = public_key(key)
    return None if public is None else pyslowfast.rename(public)


def _prepare(tensors: Mapping[str, Tensor]) -> Prepared:
    skipped = {key: "state of the training" for key in tensors if _TRAINING.fullmatch(key)}
    kept = {key: value for key, value in tensors.items() if key not in skipped}
    return Prepared(tensors=kept, skipped=skipped)


CAFFE2 = Layout(
    name="caffe2",
    project="PySlowFast's model zoo in Caffe2",
    example="res4_3_branch2a_w",
    rename=_rename,
    prepare=_prepare,
)

"""mmaction2's names: SlowOnly and SlowFast, of recognisers and of detectors.

Its lateral connections have no normalisation: build the model with `laterals="plain"`.

Source: github.com/open-mmlab/mmaction2, ResNet3dSlowOnly, ResNet3dSlowFast and BBoxHeadAVA.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from stad_models.weights.layout import HEAD, Layout, Prepared, renaming

_PREFIX = r"(?:backbone\.)?"
_PATHWAY = r"(?:(slow|fast)_path\.)?"
_PARTS = {"conv": "conv", "bn": "norm"}
_DETECTION_HEAD = "roi_head.bbox_head.fc_cls."


def _stem(found: re.Match[str]) -> str:
    return f"{found[1] or 'slow'}.stem.{_PARTS[found[2]]}.{found[3]}"


def _block(found: re.Match[str]) -> str:
    pathway, stage, block, number, part, kind = found.groups()
    place = f"{_PARTS[part]}{number}" if number else f"shortcut.{_PARTS[part]}"
    return f"{pathway or 'slow'}.res{int(stage) + 1}.blocks.{block}.{place}.{kind}"


def _lateral(found: re.Match[str]) -> str:
    return f"fusions.{found[1] or 0}.{_PARTS[found[2]]}.{found[3]}"


_rename = renaming(
    (
        (rf"{_PREFIX}{_PATHWAY}conv1\.(conv|bn)\.(\w+)", _stem),
        (
            rf"{_PREFIX}{_PATHWAY}layer([1-4])\.(\d+)\.(?:conv([123])|downsample)\.(conv|bn)\.(\w+)",
            _block,
        ),
        (rf"{_PREFIX}slow_path\.(?:conv1|layer([1-3]))_lateral\.(conv|bn)\.(\w+)", _lateral),
        (r"(?:roi_head\.bbox_head|cls_head)\.fc_cls\.(weight|bias)", rf"{HEAD}\1"),
    )
)


def _prepare(tensors: Mapping[str, Tensor]) -> Prepared:
    """Cut the background, the first class of a detection head, which our models do not have."""
    kept, notes = dict(tensors), dict[str, str]()
    for key, value in tensors.items():
        if key.startswith(_DETECTION_HEAD) and len(value) > 1:
            kept[key] = value[1:]
            notes[key] = f"without the first of {len(value)} rows, which is the background"
    return Prepared(tensors=kept, notes=notes)


MMACTION2 = Layout(
    name="mmaction2",
    project="mmaction2",
    example="slow_path.layer3.3.conv1.conv.weight",
    rename=_rename,
    prepare=_prepare,
)

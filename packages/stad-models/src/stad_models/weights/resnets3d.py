"""3D-ResNets-PyTorch's names: ResNeXt-101 and ResNets with 3x3x3 kernels, as YOWO uses them too.

Source: github.com/kenshohara/3D-ResNets-PyTorch.
"""

from __future__ import annotations

import re

from stad_models.weights.layout import HEAD, Layout, renaming


def _block(found: re.Match[str]) -> str:
    stage, block, part, number, kind = found.groups()
    parts = {"conv": "convs", "bn": "norms"}
    return f"res{int(stage) + 1}.{block}.{parts[part]}.{int(number) - 1}.{kind}"


RESNETS_3D = Layout(
    name="resnets3d",
    project="3D-ResNets-PyTorch",
    example="layer3.15.conv2.weight",
    rename=renaming(
        (
            (r"conv1\.(\w+)", r"stem.0.\1"),
            (r"bn1\.(\w+)", r"stem.1.\1"),
            (r"layer([1-4])\.(\d+)\.(conv|bn)([123])\.(\w+)", _block),
            (
                r"layer([1-4])\.(\d+)\.downsample\.([01])\.(\w+)",
                lambda m: f"res{int(m[1]) + 1}.{m[2]}.shortcut.{m[3]}.{m[4]}",
            ),
            (r"fc\.(weight|bias)", rf"{HEAD}\1"),
        )
    ),
)

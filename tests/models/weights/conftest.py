"""Public checkpoints as the tests make them: listed keys and shapes, filled by a rule."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

Checkpoint = dict[str, torch.Tensor]


def rule_weight(key: str, shape: list[int]) -> np.ndarray:
    """The deterministic filling rule of the golden files (`tests/golden/PROVENANCE.md`)."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    a = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        return a * np.float32(np.sqrt(2 / np.prod(shape[1:])) * (0.1 if "nonlocal" in key else 1))
    if key.endswith("running_var"):
        return np.abs(a) * 0.1 + 1
    if not key.endswith("running_mean") and key.endswith("weight"):
        return (1 + a * 0.1) * (0.25 if key.endswith(("c_bn.weight", "bn3.weight")) else 1)
    return a * np.float32(0.1)


@pytest.fixture
def listed(golden: Path) -> Callable[[str], dict[str, list]]:
    """Keys of a public checkpoint, with shape and type (Caffe2: and PySlowFast's key)."""

    def read(layout: str) -> dict[str, list]:
        path = golden / "models" / "layouts" / f"{layout}.json"
        return json.loads(path.read_text(encoding="utf-8"))

    return read


@pytest.fixture
def public(listed) -> Callable[[str], Checkpoint]:
    """A public checkpoint by the rule; a Caffe2 one has the values of its PySlowFast twin."""

    def make(layout: str) -> Checkpoint:
        found = {}
        for key, (shape, other) in listed(layout).items():
            value = rule_weight(other if layout.startswith("caffe2") else key, shape)
            found[key] = torch.from_numpy(np.asarray(value)).reshape(shape)
        return found

    return make

"""Trunks and action head against outputs of the public code (see tests/golden/PROVENANCE.md)."""

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stad_models import zoo
from stad_models.backbones.pathway import Pathway, PathwayShape
from stad_models.backbones.resnet3d import SlowOnly
from stad_models.heads.action import LinearAction


class Classifier(nn.Module):
    """Trunk and action head, as the public detection models are."""

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = LinearAction(
            backbone.channels["clip"], num_classes, stride=backbone.strides["clip"]
        )


def public_key(ours: str) -> str:
    """Our state-dict key as PySlowFast names it."""
    key = ours.removeprefix("backbone.")
    key = re.sub(r"fusions\.(\d)\.", lambda m: f"s{int(m[1]) + 1}_fuse.", key)
    key = key.replace("_fuse.conv.", "_fuse.conv_f2s.").replace("_fuse.norm.", "_fuse.bn.")
    for pathway, name in enumerate(("slow", "fast")):
        key = key.replace(f"{name}.stem.", f"s1.pathway{pathway}_stem.")
        key = re.sub(rf"{name}\.res(\d)\.blocks\.(\d+)\.", rf"s\1.pathway{pathway}_res\2.", key)
        key = re.sub(
            rf"{name}\.res(\d)\.nonlocals\.(\d+)\.", rf"s\1.pathway{pathway}_nonlocal\2.", key
        )
    key = re.sub(r"nonlocal(\d+)\.(theta|phi|g|out)\.", r"nonlocal\1.conv_\2.", key)
    for ours_part, theirs in (
        ("shortcut.conv", "branch1"),
        ("shortcut.norm", "branch1_bn"),
        *((f"conv{i}", f"branch2.{letter}") for i, letter in enumerate("abc", 1)),
        *((f"norm{i}", f"branch2.{letter}_bn") for i, letter in enumerate("abc", 1)),
    ):
        key = key.replace(f".{ours_part}.", f".{theirs}.")
    return key.replace(".norm.", ".bn.")


def rule_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
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


def fill(model: nn.Module, values: Mapping[str, np.ndarray] | None) -> None:
    """Load the public weights, or those of the rule, under our names."""
    state = {}
    for name, tensor in model.state_dict().items():
        key = public_key(name)
        value = rule_weight(key, tuple(tensor.shape)) if values is None else values[key]
        state[name] = torch.from_numpy(np.asarray(value)).reshape(tensor.shape)
    model.load_state_dict(state)


def outputs(model: Classifier, meta: dict) -> dict[str, torch.Tensor]:
    """Maps of every stage and pathway, and the head's probabilities, for the golden input."""
    shape = (1, 3, meta["T"], meta["S"], meta["S"])
    noise = np.random.default_rng(zlib.crc32(b"input")).standard_normal(shape)
    clips = torch.from_numpy(noise.astype(np.float32))
    found: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            found[name] = output

        return hook

    for pathway in ("slow", "fast"):
        for stage in ("res2", "res3", "res4", "res5"):
            if hasattr(model.backbone, pathway):
                module = getattr(model.backbone, pathway).stage(stage)
                module.register_forward_hook(keep(f"{stage}.{pathway}"))
    model.eval()
    with torch.no_grad():
        features = model.backbone(clips)
        logits = model.head(features.clip, torch.tensor(meta["rois"]))
    found["head_sigmoid_4rois"] = logits.sigmoid()
    return found


def check_sampled(model: Classifier, path: Path) -> None:
    golden = np.load(path)
    found = outputs(model, json.loads(str(golden["meta"])))
    names = sorted({name.rsplit(".", 1)[0] for name in golden.files if name.endswith(".val")})
    assert len(names) >= 5
    for name in names:
        assert list(found[name].shape) == golden[f"{name}.shape"].tolist()
        values = found[name].flatten()[torch.from_numpy(golden[f"{name}.idx"])].numpy()
        largest = golden[f"{name}.stats"][2]
        np.testing.assert_allclose(values, golden[f"{name}.val"], rtol=0, atol=1e-4 * largest)
        assert found[name].abs().max().item() == pytest.approx(largest, rel=1e-4)


def test_small_slowonly_agrees_with_public_outputs_in_full(golden: Path):
    expected = np.load(golden / "models" / "small_slowonly_r50_w8.npz")
    weights = np.load(golden / "models" / "small_slowonly_r50_w8.weights.npz")
    trunk = SlowOnly(Pathway(PathwayShape(stem_width=8, widths=(8, 16, 32, 64))))
    model = Classifier(trunk, 10)
    assert {public_key(name) for name in model.state_dict()} == set(weights.files) | {
        public_key(name) for name in model.state_dict() if name.endswith("num_batches_tracked")
    }
    state = dict(weights)
    for name in model.state_dict():
        state.setdefault(public_key(name), np.zeros((), np.int64))
    fill(model, state)
    found = outputs(model, json.loads(str(expected["meta"])))
    for name in ("res2.slow", "res3.slow", "res4.slow", "res5.slow", "head_sigmoid_4rois"):
        largest = np.abs(expected[name]).max()
        np.testing.assert_allclose(
            found[name].numpy(), expected[name], rtol=0, atol=1e-4 * largest, err_msg=name
        )


@pytest.mark.parametrize(
    ("layout", "builder"),
    [
        ("SLOWONLY_4x16_R50_AVA", zoo.slowonly_r50_4x16),
        ("SLOWFAST_8x8_R50_AVA", zoo.slowfast_r50_8x8),
        ("SLOWFAST_4x16_R50_K400", zoo.slowfast_r50_4x16),
        ("SLOWFAST_8x8_R101_50_50_NL_AVA", zoo.slowfast_r101_nl_8x8),
    ],
)
def test_trunks_have_the_public_checkpoints_tensors(golden: Path, layout: str, builder):
    path = golden / "models" / "layouts" / f"pyslowfast_{layout}.json"
    public = {
        key: shape
        for key, (shape, _) in json.loads(path.read_text(encoding="utf-8")).items()
        if not key.startswith("head.")
    }
    with torch.device("meta"):
        trunk = builder()
    ours = {public_key(name): list(value.shape) for name, value in trunk.state_dict().items()}
    assert ours == public


@pytest.mark.slow
def test_full_slowonly_agrees_with_public_outputs(golden: Path):
    model = Classifier(zoo.slowonly_r50_4x16(), 80)
    fill(model, None)
    check_sampled(model, golden / "models" / "full_slowonly_r50_4x16_ava.npz")


@pytest.mark.slow
def test_full_slowfast_agrees_with_public_outputs(golden: Path):
    model = Classifier(zoo.slowfast_r50_8x8(), 80)
    fill(model, None)
    check_sampled(model, golden / "models" / "full_slowfast_r50_8x8_ava.npz")

"""Backbones and action head, filled by the public code's own keys, against that code's outputs.

What made them, and by which rule the weights are filled: `tests/golden/PROVENANCE.md`.
"""

import json
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stad_models import weights, zoo
from stad_models.backbones.i3d import ENDPOINTS
from stad_models.backbones.pathway import Pathway, PathwayShape
from stad_models.backbones.resnet3d import SlowOnly
from stad_models.heads.action import LinearAction

KINETICS = {"strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1)}
MMACTION2 = {"dilations": (1, 1, 1, 1)}


class Classifier(nn.Module):
    """Trunk and action head, as the public detection models are."""

    def __init__(self, backbone: nn.Module, num_classes: int, *, aligned: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = LinearAction(
            backbone.channels["clip"],
            num_classes,
            stride=backbone.strides["clip"],
            aligned=aligned,
        )


def golden_clips(meta: dict) -> torch.Tensor:
    shape = (1, 3, meta["T"], meta["S"], meta["S"])
    noise = np.random.default_rng(zlib.crc32(b"input")).standard_normal(shape)
    return torch.from_numpy(noise.astype(np.float32))


def kept(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Outputs of modules, filled in as they run."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            found[name] = output[0] if isinstance(output, tuple) else output

        return hook

    for name, module in modules.items():
        module.register_forward_hook(keep(name))
    return found


def stages(backbone: nn.Module) -> dict[str, nn.Module]:
    """The stages of a ResNet's pathways, by "res2.slow" and so on."""
    return {
        f"{stage}.{pathway}": getattr(backbone, pathway).stage(stage)
        for pathway in ("slow", "fast")
        if hasattr(backbone, pathway)
        for stage in ("res2", "res3", "res4", "res5")
    }


def outputs(model: Classifier, meta: dict) -> dict[str, torch.Tensor]:
    """Maps of every stage and pathway, and the head's probabilities, for the golden input."""
    found = kept(stages(model.backbone))
    model.eval()
    with torch.no_grad():
        features = model.backbone(golden_clips(meta))
        if "rois" in meta:
            logits = model.head(features.clip, torch.tensor(meta["rois"]))
            found["head_sigmoid_4rois"] = logits.sigmoid()
    return found


def check_sampled(found: dict[str, torch.Tensor], expected: np.lib.npyio.NpzFile) -> None:
    names = sorted({name.rsplit(".", 1)[0] for name in expected.files if name.endswith(".val")})
    assert names
    for name in names:
        assert list(found[name].shape) == expected[f"{name}.shape"].tolist(), name
        values = found[name].flatten()[torch.from_numpy(expected[f"{name}.idx"])].numpy()
        largest = expected[f"{name}.stats"][2]
        np.testing.assert_allclose(
            values, expected[f"{name}.val"], rtol=0, atol=1e-4 * largest, err_msg=name
        )
        assert found[name].abs().max().item() == pytest.approx(largest, rel=1e-4)


def test_small_slowonly_agrees_with_public_outputs_in_full(golden: Path):
    expected = np.load(golden / "models" / "small_slowonly_r50_w8.npz")
    trunk = SlowOnly(Pathway(PathwayShape(stem_width=8, widths=(8, 16, 32, 64))))
    model = Classifier(trunk, 10)
    path = golden / "models" / "small_slowonly_r50_w8.weights.npz"
    report = weights.load(model, path, require="all")
    assert (report.layout, report.skipped, report.mismatched) == ("pyslowfast", (), ())
    assert {one.key for one in report.loaded} == set(np.load(path).files)
    found = outputs(model, json.loads(str(expected["meta"])))
    for name in ("res2.slow", "res3.slow", "res4.slow", "res5.slow", "head_sigmoid_4rois"):
        largest = np.abs(expected[name]).max()
        np.testing.assert_allclose(
            found[name].numpy(), expected[name], rtol=0, atol=1e-4 * largest, err_msg=name
        )


RESNETS = {
    "slowfast_r101_nl_8x8_ava": (
        "pyslowfast_SLOWFAST_8x8_R101_50_50_NL_AVA",
        zoo.slowfast_r101_nl_8x8,
    ),
    "slow_r50_pytorchvideo": ("pytorchvideo_slow_r50", partial(zoo.slowonly_r50_8x8, **KINETICS)),
    "slowfast_r50_pytorchvideo": (
        "pytorchvideo_slowfast_r50",
        partial(zoo.slowfast_r50_8x8, **KINETICS),
    ),
    "slowonly_r50_mmaction2": (
        "mmaction2_slowonly_r50_ava_backbone",
        partial(zoo.slowonly_r50_4x16, **MMACTION2),
    ),
    "slowfast_r50_8x8_mmaction2": (
        "mmaction2_slowfast_r50_8x8_ava_backbone",
        partial(zoo.slowfast_r50_8x8, laterals="plain", **MMACTION2),
    ),
}
FURTHER = {
    "slowonly_r50_4x16_ava": ("pyslowfast_SLOWONLY_4x16_R50_AVA", zoo.slowonly_r50_4x16),
    "slowfast_r50_8x8_ava": ("pyslowfast_SLOWFAST_8x8_R50_AVA", zoo.slowfast_r50_8x8),
    "slowfast_r101_8x8_ava": (
        "pyslowfast_SLOWFAST_8x8_R101_50_50_noNL_AVA",
        zoo.slowfast_r101_8x8,
    ),
    "slowfast_r101_pytorchvideo": (
        "pytorchvideo_slowfast_r101",
        partial(zoo.slowfast_r101_8x8, temporal_res4=23, **KINETICS),
    ),
}


def check_resnet(golden: Path, public, name: str, layout: str, builder) -> None:
    expected = np.load(golden / "models" / f"full_{name}.npz")
    meta = json.loads(str(expected["meta"]))
    with torch.device("meta"):
        model = Classifier(builder(), 80, aligned=meta.get("aligned", True))
    model.to_empty(device="cpu")
    weights.load(model, public(layout), require="all" if "rois" in meta else "backbone")
    check_sampled(outputs(model, meta), expected)


@pytest.mark.parametrize("name", RESNETS)
def test_residual_networks_agree_with_public_outputs(golden: Path, public, name: str):
    check_resnet(golden, public, name, *RESNETS[name])


def test_i3d_agrees_with_public_outputs(golden: Path, public):
    expected = np.load(golden / "models" / "full_i3d_rgb_8x224.npz")
    with torch.device("meta"):
        trunk = zoo.i3d()
    trunk.to_empty(device="cpu")
    weights.load(trunk, public("i3d_rgb"), require="all")
    trunk.eval()
    with torch.no_grad():
        maps = trunk.endpoints(golden_clips({"T": 8, "S": 224}), ENDPOINTS)
    kinds = {"conv": "Conv3d", "pool": "MaxPool3d"}
    found = {}
    for name in {name.rsplit(".", 1)[0] for name in expected.files if "." in name}:
        kind, place = name.lower().replace("3d", "").split("_")[:2]
        ours = f"{kind.removeprefix('max')}_{place}"
        assert name.startswith(kinds.get(ours[:4], "Mixed"))
        found[name] = maps[ours]
    assert len(found) == len(ENDPOINTS)
    check_sampled(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", FURTHER)
def test_further_residual_networks_agree_with_public_outputs(golden: Path, public, name: str):
    check_resnet(golden, public, name, *FURTHER[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layout", "builder"),
    [
        ("full_mvit_v1_b_16x4", "pyslowfast_MVIT_B_16x4", zoo.mvit_v1_b),
        ("full_mvit_v2_s_16x4", "pyslowfast_MVITv2_S_16x4", zoo.mvit_v2_s),
    ],
)
def test_multiscale_transformers_agree_with_public_outputs(
    golden: Path, public, name: str, layout: str, builder
):
    expected = np.load(golden / "models" / f"{name}.npz")
    model = builder(last_stride=32).eval()
    weights.load(model, public(layout))
    ends = zip(("res2", "res3", "res4"), model.last_blocks, strict=False)
    tokens = kept({stage: model.transformer.blocks[end] for stage, end in ends})
    with torch.no_grad():
        features = model(golden_clips(json.loads(str(expected["meta"]))))
    found = {
        stage: value[:, 1:].transpose(1, 2).reshape(expected[f"{stage}.shape"].tolist())
        for stage, value in tokens.items()
    }
    check_sampled({**found, "clip": features.clip[0]}, expected)

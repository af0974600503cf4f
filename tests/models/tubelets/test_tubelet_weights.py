"""Public checkpoints of MOC, CenterNet and 3D-ResNets-PyTorch, by their keys and shapes."""

import json

import pytest
import torch

from stad_models import weights, zoo
from stad_models.backbones.dla import Dla
from stad_models.backbones.resnext3d import ResNext3d, ResNext3dShape

R3D_18 = ResNext3dShape(
    block="basic", cardinality=1, widths=(64, 128, 256, 512), depths=(2, 2, 2, 2)
)
R3D_50 = ResNext3dShape(cardinality=1, expansion=4, widths=(64, 128, 256, 512), depths=(3, 4, 6, 3))


@pytest.fixture
def checkpoint(golden):
    """Tensors of one number each, told apart by it, under the keys of a layout file."""

    def make(name):
        path = golden / "models" / "layouts" / f"{name}.json"
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: torch.full(shape, float(place % 1000)).to(getattr(torch, kind))
            for place, (key, (shape, kind)) in enumerate(listed.items())
        }

    return make


def check(model, report, tensors):
    """Every tensor of the model has the value of the key that the report names for it."""
    state = model.state_dict()
    assert {one.name for one in report.loaded} == set(state)
    assert len({one.key for one in report.loaded}) == len(state)
    assert not report.mismatched
    for one in report.loaded:
        assert torch.equal(state[one.name], tensors[one.key])


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("moc_dla34_K5_ucf24", {"tubelet_length": 5}),
        ("moc_dla34_K7_ucf24", {"tubelet_length": 7}),
        ("moc_dla34_K5_flow5", {"tubelet_length": 5, "channels_in": 15}),
    ],
)
def test_moc_checkpoints_fill_the_whole_detector(checkpoint, name, numbers):
    model, tensors = zoo.moc_dla34(24, **numbers), checkpoint(name)
    saved = {"epoch": 7, "state_dict": {f"module.{key}": value for key, value in tensors.items()}}
    report = weights.load(model, saved, require="all")
    assert report.layout == "moc"
    check(model, report, tensors)
    assert {one.reason for one in report.skipped if one.key.startswith("backbone")} == {
        "a layer that the public code never uses"
    }


def test_moc_checkpoints_fill_a_trunk_alone(checkpoint):
    trunk, tensors = Dla(), checkpoint("moc_dla34_K5_ucf24")
    report = weights.load(trunk, tensors)
    check(trunk, report, tensors)


def test_moc_checkpoints_fill_stmas_2d_trunk(checkpoint):
    model, tensors = zoo.stma_dla34_resnext101(24), checkpoint("moc_dla34_K5_ucf24")
    before = model.clip_backbone.stem[0].weight.clone()
    report = weights.load(model.backbone, tensors)
    check(model.backbone, report, tensors)
    assert torch.equal(model.clip_backbone.stem[0].weight, before)


def test_centernet_checkpoints_fill_the_trunk_and_sizes(checkpoint):
    moc = checkpoint("moc_dla34_K5_ucf24")
    tensors = {
        key.removeprefix("backbone.").removeprefix("branch."): value
        for key, value in moc.items()
        if not key.startswith(("branch.hm", "branch.mov"))
    }
    tensors |= {
        "hm.0.weight": torch.zeros(256, 64, 3, 3),
        "hm.2.weight": torch.zeros(80, 256, 1, 1),
    }
    model = zoo.moc_dla34(24, tubelet_length=5)
    report = weights.load(model, tensors)
    assert report.layout == "moc"
    names = {one.name for one in report.loaded}
    assert {name for name in model.state_dict() if name.startswith("backbone.")} <= names
    assert "tubelet_head.sizes.0.weight" in names
    assert [one.name for one in report.mismatched] == [
        "tubelet_head.centers.0.weight",
        "tubelet_head.centers.2.weight",
    ]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnext101_yowo", ResNext3dShape()),
        ("r3d_18_kenshohara", R3D_18),
        ("r3d_50_kenshohara", R3D_50),
    ],
)
def test_3d_resnets_fill_a_trunk(checkpoint, name, shape):
    trunk, tensors = ResNext3d(shape), checkpoint(name)
    report = weights.load(trunk, tensors)
    assert report.layout == "resnets3d"
    check(trunk, report, tensors)
    assert {one.key for one in report.skipped} <= {"fc.weight", "fc.bias"}


def test_another_depth_is_refused(checkpoint):
    with pytest.raises(weights.WeightsError, match="have no place in this backbone"):
        weights.load(ResNext3d(R3D_18), checkpoint("r3d_50_kenshohara"))


def test_colour_does_not_pass_for_flow(checkpoint):
    model = zoo.moc_dla34(24, tubelet_length=5, channels_in=15)
    with pytest.raises(weights.WeightsError, match=r"stem\.0\.weight"):
        weights.load(model, checkpoint("moc_dla34_K5_ucf24"))

"""What `weights.load` asks for, reports and leaves alone."""

import json

import pytest
import torch
from torch import nn

from stad_models import freeze_batch_norm, weights, zoo
from stad_models.backbones.pathway import Pathway, PathwayShape
from stad_models.backbones.resnet3d import SlowOnly

NARROW = PathwayShape(stem_width=4, widths=(4, 4, 4, 8), depths=(1, 1, 1, 1))


def trunk(**changes) -> SlowOnly:
    return SlowOnly(Pathway(PathwayShape(**{**vars(NARROW), **changes})))


def detector(num_classes: int = 5) -> nn.Module:
    return zoo.se_stad_tiny(num_classes, trunk=NARROW, channels=8, depth=1)


def pyslowfast(model: nn.Module) -> dict[str, torch.Tensor]:
    """A narrow trunk's values under PySlowFast's names, written down by hand."""
    letters = {"1": "a", "2": "b", "3": "c"}
    found = {}
    for name, value in model.state_dict().items():
        _, stage, *rest = name.split(".")
        kind = rest[-1]
        if stage == "stem":
            key = f"s1.pathway0_stem.{'conv' if rest[0] == 'conv' else 'bn'}.{kind}"
        else:
            place, norm = f"s{stage[-1]}.pathway0_res{rest[1]}.", "norm" in name
            if rest[2] == "shortcut":
                key = f"{place}branch1{'_bn' if norm else ''}.{kind}"
            else:
                key = f"{place}branch2.{letters[rest[2][-1]]}{'_bn' if norm else ''}.{kind}"
        found[key] = value.clone()
    return found


@pytest.fixture
def donor() -> SlowOnly:
    model = trunk()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return model


def assert_same(a: nn.Module, b: nn.Module) -> None:
    state = b.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("wrap", [None, "model_state", "state_dict", "model"])
def test_tensors_are_found_where_checkpoints_keep_them(donor, wrap):
    tensors = {f"module.{key}": value for key, value in pyslowfast(donor).items()}
    source = tensors if wrap is None else {"epoch": 3, "cfg": "text", wrap: tensors}
    model = trunk()
    report = weights.load(model, source)
    assert_same(donor, model)
    assert (report.layout, report.source) == ("pyslowfast", "tensors")
    assert len(report.loaded) == len(donor.state_dict())


def test_arrays_and_half_precision_are_taken(donor):
    tensors = pyslowfast(donor)
    model = trunk()
    weights.load(model, {key: value.numpy() for key, value in tensors.items()})
    assert_same(donor, model)
    swapped = {
        key: value.numpy().astype(value.numpy().dtype.newbyteorder())
        for key, value in tensors.items()
    }
    weights.load(model, swapped)
    assert_same(donor, model)
    weights.load(model, {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()})
    assert all(v.dtype != torch.float16 for v in model.state_dict().values())
    torch.testing.assert_close(
        model.slow.stem.conv.weight, donor.slow.stem.conv.weight, rtol=1e-3, atol=1e-3
    )


def test_detection_strides_and_dilation_take_classification_weights(donor):
    kinetics = trunk(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
    kinetics.load_state_dict(donor.state_dict())
    model = trunk()
    weights.load(model, pyslowfast(kinetics))
    assert_same(donor, model)
    assert kinetics.strides["clip"] == 2 * model.strides["clip"]


def test_frozen_batch_norm_is_filled_too(donor):
    model = freeze_batch_norm(trunk())
    report = weights.load(model, pyslowfast(donor))
    assert report.missing == ()
    clips = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(clips).clip[0], donor.eval()(clips).clip[0])


def test_kernels_without_time_are_inflated(donor):
    tensors = pyslowfast(donor)
    flat = {key: value.mean(dim=2) if value.ndim == 5 else value for key, value in tensors.items()}
    model = trunk()
    report = weights.load(model, flat)
    notes = {one.name: one.note for one in report.loaded if one.note}
    assert notes == {
        f"slow.{stage}.blocks.0.conv1.weight": "inflated over 3 times" for stage in ("res4", "res5")
    }
    kernel = model.slow.res4.blocks[0].conv1.weight
    source = flat["s4.pathway0_res0.branch2.a.weight"]
    assert torch.equal(kernel, source[:, :, None].expand_as(kernel) / 3)
    # A still picture, repeated over time, gives what the flat kernel gives.
    torch.testing.assert_close(kernel.sum(dim=2), source)


def test_a_fresh_head_is_for_training_only(donor):
    model = detector()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tensors = pyslowfast(donor) | {
        "head.projection.weight": torch.zeros(400, 32),
        "head.projection.bias": torch.zeros(400),
    }
    with pytest.raises(weights.WeightsError, match="Inference needs every tensor") as caught:
        weights.load(model, tensors, require="all")
    assert "of neck" in str(caught.value)
    assert "400x32 for 5x32" in str(caught.value)
    assert caught.value.report is not None
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in before.items())
    report = weights.load(model, tensors)
    assert_same(donor, model.backbone)
    assert [(one.name, one.expected, one.found) for one in report.mismatched] == [
        ("action_head.projection.weight", (5, 32), (400, 32)),
        ("action_head.projection.bias", (5,), (400,)),
    ]
    assert {report.part(name) for name in report.missing} == {"neck", "localisation_head"}
    with pytest.raises(weights.WeightsError):
        report.require("all")
    report.require("backbone")


def test_a_head_of_the_same_classes_is_taken(donor):
    model = detector(num_classes=5)
    head = {
        "head.projection.weight": torch.rand(5, 32),
        "head.projection.bias": torch.rand(5),
    }
    report = weights.load(model, pyslowfast(donor) | head)
    assert torch.equal(model.action_head.projection.weight, head["head.projection.weight"])
    assert torch.equal(model.action_head.projection.bias, head["head.projection.bias"])
    assert report.skipped == report.mismatched == ()


def mmaction2(model: nn.Module) -> dict[str, torch.Tensor]:
    """A narrow trunk's values as a whole mmaction2 detector keeps them."""
    found = {}
    for name, value in model.state_dict().items():
        parts = name.replace("norm", "bn").split(".")[1:]
        kind = parts[-1]
        if parts[0] == "stem":
            found[f"backbone.conv1.{parts[1]}.{kind}"] = value
            continue
        layer = f"backbone.layer{int(parts[0][-1]) - 1}.{parts[2]}"
        if parts[3] == "shortcut":
            found[f"{layer}.downsample.{parts[4]}.{kind}"] = value
        else:
            found[f"{layer}.conv{parts[3][-1]}.{parts[3][:-1]}.{kind}"] = value
    return found


def test_the_background_class_of_mmaction2_is_cut(donor):
    head = {
        "roi_head.bbox_head.fc_cls.weight": torch.rand(6, 32),
        "roi_head.bbox_head.fc_cls.bias": torch.rand(6),
    }
    model = detector(num_classes=5)
    report = weights.load(model, {"meta": {}, "state_dict": mmaction2(donor) | head})
    assert report.layout == "mmaction2"
    assert_same(donor, model.backbone)
    expected = head["roi_head.bbox_head.fc_cls.weight"][1:]
    assert torch.equal(model.action_head.projection.weight, expected)
    assert "background" in str(report)


def test_plain_laterals_are_asked_for_where_they_lack():
    source = zoo.slowfast_r50_8x8(laterals="plain").state_dict()
    with torch.device("meta"):
        model = zoo.slowfast_r50_8x8()
    model.to_empty(device="cpu")
    with pytest.raises(weights.WeightsError, match="laterals='plain'"):
        weights.load(model, source, "stad")


def test_the_report_prints_as_a_table_and_reads_as_json(donor):
    tensors = pyslowfast(donor) | {"odd.key": torch.zeros(2)}
    report = weights.load(detector(), tensors)
    lines = str(report).splitlines()
    assert lines[0] == "weights from tensors (layout pyslowfast)"
    assert lines[1].split() == ["part", "tensors", "loaded"]
    count = sum(not name.endswith("num_batches_tracked") for name in donor.state_dict())
    assert lines[2].split() == ["backbone", str(count), str(count)]
    assert "skipped 1: not a key of the layout pyslowfast (odd.key)" in lines
    necks = sum(name.startswith("neck.") for name in report.missing)
    assert any(line.startswith(f"missing {necks}: neck, not in the file (") for line in lines)
    plain = json.loads(json.dumps(report.to_plain()))
    assert plain["skipped"] == [
        {
            "key": "odd.key",
            "shape": [2],
            "reason": "not a key of the layout pyslowfast",
            "of_backbone": False,
        }
    ]
    assert len(plain["loaded"]) == len(donor.state_dict())


def test_nothing_required_loads_what_fits(donor):
    tensors = pyslowfast(donor)
    half = {key: tensors[key] for key in list(tensors)[::2]}
    model = trunk()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = weights.load(model, half, require="nothing")
    filled = {one.name for one in report.loaded}
    for name, value in model.state_dict().items():
        source = donor.state_dict()[name] if name in filled else before[name]
        assert torch.equal(value, source), name
    assert set(report.missing) == {
        name for name in before if name not in filled and not name.endswith("num_batches_tracked")
    }


class TestOwnFiles:
    def test_a_model_comes_back_whole(self, tmp_path):
        source, target = detector(), detector()
        source.backbone.to(memory_format=torch.channels_last_3d)
        weights.save(source, tmp_path / "all.safetensors")
        report = weights.load(target, tmp_path / "all.safetensors", require="all")
        assert report.layout == "stad"
        assert (report.skipped, report.missing) == ((), ())
        assert_same(source, target)
        assert [path.name for path in tmp_path.iterdir()] == ["all.safetensors"]

    def test_a_backbones_file_fits_a_detector_and_the_reverse(self, donor, tmp_path):
        weights.save(donor, tmp_path / "trunk.safetensors")
        model = detector()
        weights.load(model, tmp_path / "trunk.safetensors")
        assert_same(donor, model.backbone)
        weights.save(model, tmp_path / "whole.safetensors")
        again = trunk()
        report = weights.load(again, tmp_path / "whole.safetensors")
        assert_same(donor, again)
        assert {one.reason for one in report.skipped} == {"the model has no tensor of this name"}

    def test_chosen_tensors_only(self, tmp_path):
        model = detector()
        names = [name for name in model.state_dict() if name.startswith("neck.")]
        weights.save(model, tmp_path / "neck.safetensors", names=names)
        other = detector()
        report = weights.load(other, tmp_path / "neck.safetensors", require="nothing")
        assert {one.name for one in report.loaded} == set(names)
        assert_same(model.neck, other.neck)

    def test_tensors_that_share_memory_are_written_each(self, tmp_path):
        model = nn.Module()
        model.a = nn.Linear(3, 3)
        model.b = model.a
        weights.save(model, tmp_path / "tied.safetensors")
        report = weights.load(model, tmp_path / "tied.safetensors")
        assert {one.name for one in report.loaded} == {"a.weight", "a.bias", "b.weight", "b.bias"}

    def test_a_run_of_our_own_is_read(self, donor, tmp_path):
        model = detector()
        state = {"format": "stad-checkpoint", "version": 1, "model": model.state_dict()}
        torch.save(state, tmp_path / "best.pt")
        other = detector()
        weights.load(other, tmp_path / "best.pt", require="all")
        assert_same(model, other)

    def test_another_ending_and_another_name_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"must end in \.safetensors, found 'a\.pt'"):
            weights.save(trunk(), tmp_path / "a.pt")
        with pytest.raises(ValueError, match="has no tensor 'x'"):
            weights.save(trunk(), tmp_path / "a.safetensors", names=["x"])
        assert not list(tmp_path.iterdir())

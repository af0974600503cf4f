"""`stad models load` and `stad train --weights` with weights that another program made."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from stad_models import weights, zoo


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Path:
    """A small SlowOnly network as mmaction2 would keep it, with a head of 400 classes."""
    heads = {"weight": torch.zeros(400, 96), "bias": torch.ones(400)}
    found = {f"cls_head.fc_cls.{name}": value for name, value in heads.items()}
    parts = {"conv": "conv", "norm": "bn"}
    for name, value in zoo.se_stad_tiny(5).backbone.state_dict().items():
        _, stage, *rest = name.split(".")
        if stage == "stem":
            key = f"conv1.{parts[rest[0]]}.{rest[1]}"
        elif rest[2] == "shortcut":
            key = f"layer{int(stage[-1]) - 1}.{rest[1]}.downsample.{parts[rest[3]]}.{rest[4]}"
        else:
            kind, number = rest[2][:-1], rest[2][-1]
            key = f"layer{int(stage[-1]) - 1}.{rest[1]}.conv{number}.{parts[kind]}.{rest[3]}"
        found[f"backbone.{key}"] = value
    path = tmp_path_factory.mktemp("public") / "slowonly_small.pth"
    torch.save({"meta": {"epoch": 3}, "state_dict": found}, path)
    return path


def test_the_report_is_a_table(stad, public):
    outcome = stad("models", "load", "se_stad_tiny", "--from", public)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == f"weights from {public} (layout mmaction2)"
    part, count, loaded = lines[2].split()
    assert part == "backbone"
    assert count == loaded
    head = "action_head.projection.weight is 80x96, cls_head.fc_cls.weight is 400x96"
    assert f"mismatched: {head}" in lines


def test_the_report_as_json_and_the_converted_file(stad, public, tmp_path):
    out = tmp_path / "small.safetensors"
    outcome = stad(
        "models", "load", "se_stad_tiny", "--from", public, "--layout", "mmaction2",
        "--classes", "21", "--out", out, "--json",
    )  # fmt: skip
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert (report["model"], report["layout"]) == ("se_stad_tiny", "mmaction2")
    assert {one["found"][0] for one in report["mismatched"]} == {400}
    assert {one["expected"][0] for one in report["mismatched"]} == {21}
    assert {name.split(".")[0] for name in report["missing"]} == {"neck", "localisation_head"}
    model = zoo.se_stad_tiny(5).backbone
    assert len(report["loaded"]) == len(model.state_dict())
    assert weights.load(model, out, require="all").layout == "stad"
    source = torch.load(public, weights_only=True)["state_dict"]
    assert torch.equal(model.slow.stem.conv.weight, source["backbone.conv1.conv.weight"])


def test_inference_refuses_a_file_without_heads(stad, public):
    outcome = stad("models", "load", "se_stad_tiny", "--from", public, "--inference")
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Inference needs every tensor" in outcome.err
    assert str(public) in outcome.err


def test_another_number_of_classes_is_for_training_alone(stad, tmp_path):
    path = tmp_path / "five.safetensors"
    weights.save(zoo.se_stad_tiny(5), path)

    def load(*options):
        return stad("models", "load", "se_stad_tiny", "--from", path, *options)

    assert load("--classes", 5, "--inference").code == 0
    refused = load("--classes", 3, "--inference")
    assert (refused.code, refused.out) == (2, "")
    assert "action_head.projection.weight (5x96 for 3x96)" in refused.err
    taken = load("--classes", 3)
    assert taken.code == 0
    assert "mismatched: action_head.projection.weight is 3x96" in taken.out


@pytest.mark.parametrize(
    ("model", "source", "options", "words"),
    [
        ("se_stad_small", "public", (), ("does not fit", "16x3x3x3x3 for 24x3x3x3x3")),
        ("se_stad_tiny", "folder", (), ("is a folder",)),
        ("se_stad_tiny", "gone.pth", (), ("does not exist",)),
        ("se_stad_tiny", "empty.pth", (), ("is empty",)),
        ("se_stad_tiny", "text.pth", (), ("cannot be read",)),
        ("se_stad_tiny", "odd.npz", (), ("layout", "is not known", "'odd'")),
        ("se_stad_tiny", "public", ("--layout", "mmaction"), ("do you mean 'mmaction2'",)),
        ("se_stad_tiny", "public", ("--out", "a.pt"), ("must end in .safetensors",)),
        ("slowonly_r50", "public", (), ("no model of this name", "slowonly_r50_4x16")),
    ],
)
def test_wrong_input_is_the_users_to_mend(stad, public, tmp_path, model, source, options, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("weights")
    np.savez(tmp_path / "odd.npz", odd=np.zeros(3))
    path = public if source == "public" else tmp_path / source
    outcome = stad("models", "load", model, "--from", path, *options)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err, outcome.err


def test_a_transformer_is_listed_with_its_own_clip(stad):
    cost = json.loads(stad("models", "flops", "mvit_v2_s", "--size", "224", "--json").out)
    shorter = json.loads(stad("models", "flops", "mvit_v2_s", "--size", "224", "--frames", "16",
                              "--json").out)  # fmt: skip
    assert cost == shorter


TINY = """
[model]
name = "se_stad_tiny"
[model.options]
channels = 8
depth = 1
[model.options.trunk]
stem_width = 4
widths = [4, 8, 8, 8]
[data]
dataset = "synthetic"
size = [64, 48]
[clip]
length = 4
stride = 2
[optim]
lr = 1e-9
weight_decay = 0
ema = 0
steps = 1
batch = 1
[eval]
every = 0
[run]
workers = 0
"""


def test_training_begins_with_public_weights(stad, tiny_ava, tmp_path):
    from stad_cli.config import load_recipe
    from stad_cli.engine import checkpoint
    from stad_cli.engine.detector import build_detector
    from stad_data import ActionClasses

    (tmp_path / "tiny.toml").write_text(TINY)
    recipe = load_recipe(tmp_path / "tiny.toml")
    classes = ActionClasses(names=("a", "b"), ids=(1, 2), exclusive=False)
    torch.manual_seed(5)
    donor = build_detector(recipe.model, recipe.clip, classes).backbone
    weights.save(donor, tmp_path / "donor.safetensors")
    run = tmp_path / "run"
    outcome = stad(
        "train", tmp_path / "tiny.toml", "--data", tiny_ava, "--out", run, "--device", "cpu",
        "--weights", tmp_path / "donor.safetensors",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "donor.safetensors (layout stad)" in outcome.err
    assert "localisation_head, not in the file" in outcome.err
    trained = checkpoint.load(run / "checkpoints" / "last.pt")["model"]
    weight = donor.slow.stem.conv.weight
    torch.testing.assert_close(trained["backbone.slow.stem.conv.weight"], weight, atol=1e-6, rtol=0)


def evil(path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(path.with_name("pwned")),)

    path.write_bytes(pickle.dumps({"blobs": Evil()}))


@pytest.mark.parametrize("kind", ["another backbone", "half of one", "hostile", "cut short"])
def test_training_refuses_weights_that_it_cannot_use(stad, public, tiny_ava, tmp_path, kind):
    (tmp_path / "tiny.toml").write_text(TINY)
    run, path = tmp_path / "run", tmp_path / "weights.pth"
    path.write_bytes(public.read_bytes()[: 999 if kind == "cut short" else None])
    if kind == "hostile":
        evil(path)
    if kind == "half of one":
        whole = list(torch.load(public, weights_only=True)["state_dict"].items())
        torch.save({"state_dict": dict(whole[: len(whole) // 2])}, path)
    outcome = stad(
        "train", tmp_path / "tiny.toml", "--data", tiny_ava, "--out", run, "--device", "cpu",
        "--weights", path,
    )  # fmt: skip
    assert outcome.code == 2
    words = {
        "another backbone": "have another shape",
        "half of one": "it lacks",
        "hostile": "mkdir",
        "cut short": "cut short",
    }
    assert words[kind] in outcome.err
    assert str(path) in outcome.err
    assert not run.exists()
    assert not (tmp_path / "pwned").exists()


def test_a_recipe_names_a_transformer_and_its_numbers():
    from stad_cli.config import ClipSection, ModelSection
    from stad_cli.engine.detector import build_detector
    from stad_data import ActionClasses

    numbers = {"width": 16, "heads": 2, "spatial_depth": 1, "temporal_depth": 1, "size": 64}
    section = ModelSection(name="se_stad_vivit_small", options={"trunk": numbers})
    classes = ActionClasses(names=("a", "b"), ids=(1, 2), exclusive=True)
    model = build_detector(section, ClipSection(length=8, stride=2), classes)
    assert model.backbone.channels == {"res3": 8, "res4": 16, "clip": 16}
    assert (model.clip_length, model.clip_stride, model.num_classes) == (8, 2, 2)

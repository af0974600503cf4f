"""Exported graphs find what the detector finds, and what cannot be exported is said."""

import importlib.util
import json
from dataclasses import fields

import pytest
import torch
from torch import nn

from stad_cli.engine import checkpoint as checkpoints
from stad_cli.export.graphs import cut, join
from stad_cli.export.running import load_exported
from stad_eval import InputError
from stad_models import SeStadOptions, zoo
from stad_models.structures import Detections
from stad_models.zoo.tubelets import moc_tiny

ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not ONNX, reason="needs the extra stad-cli[export]")


def alike(found, wanted, *, atol=1e-4):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is type(other)
        for field in fields(other):
            value = getattr(other, field.name)
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(getattr(one, field.name), value, atol=atol, rtol=1e-4)
            else:
                assert getattr(one, field.name) == value


def eager(graph):
    """A graph's network itself, running as an opened file would."""
    return lambda *tensors: dict(zip(graph.outputs, graph.module(*tensors), strict=True))


def rejoined(build, clips):
    """The detector with weights, and one without around the first one's graphs."""
    torch.manual_seed(0)
    model = build().eval()
    graphs = cut(model, clips)
    with torch.device("meta"):
        empty = build().eval()
    return model, join(empty, {graph.name: eager(graph) for graph in graphs}, clips.shape[1:])


@pytest.mark.parametrize(
    ("localisation", "action"),
    [
        ("fcos", "linear"),
        ("fcos_original", "acrn"),
        ("retinanet", "scene"),
        ("gfocal_v2", "linear"),
        ("rpn_rcnn", "linear"),
    ],
)
def test_se_stad_is_cut_and_joined_without_a_change(localisation, action):
    options = SeStadOptions(test_score=0.0, max_actors=4, test_vote=0.5)

    def build():
        return zoo.se_stad_tiny(3, localisation=localisation, action=action, options=options)

    clips = torch.randn(2, 3, 4, 48, 64, generator=torch.Generator().manual_seed(1))
    model, other = rejoined(build, clips)
    for batch in (clips, clips[:1], torch.cat((clips, clips + 0.1, clips - 0.2))):
        with torch.no_grad():
            wanted = model(batch)
            alike(other(batch), wanted, atol=0)
        assert sum(map(len, wanted)) > 0


def test_nobody_found_is_nobody_found():
    clips = torch.zeros(2, 3, 4, 48, 64)
    options = SeStadOptions(test_score=0.999)
    model, other = rejoined(lambda: zoo.se_stad_tiny(3, options=options), clips)
    with torch.no_grad():
        assert [len(one) for one in model(clips)] == [0, 0]
        assert [one.scores.shape for one in other(clips)] == [(0, 3), (0, 3)]


def test_moc_is_cut_and_joined_without_a_change():
    clips = torch.randn(2, 3, 5, 48, 64, generator=torch.Generator().manual_seed(1))
    model, other = rejoined(lambda: moc_tiny(3, tubelet_length=3, clip_length=5), clips)
    for batch in (clips, clips[:1]):
        with torch.no_grad():
            wanted = model(batch)
            alike(other(batch), wanted, atol=0)
        assert sum(map(len, wanted)) > 0


class Brightest(nn.Module):
    """A detector of somebody's own: one actor, as wide as the frame is bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def raw(self, clips):
        return {"bright": (clips.mean(dim=(1, 2, 3, 4)) * self.scale).sigmoid()}

    def finish(self, raw, size):
        width, height = size
        return [
            Detections(
                boxes=torch.stack([0 * x, 0 * x, width * x, 0 * x + height])[None],
                actor_scores=x[None],
                scores=x[None, None],
            )
            for x in raw["bright"]
        ]

    def forward(self, clips):
        return self.finish(self.raw(clips), (clips.shape[4], clips.shape[3]))


def test_a_detector_that_says_where_to_cut_it_is_exported_too():
    clips = torch.randn(2, 3, 4, 48, 64)
    model, other = rejoined(Brightest, clips)
    with torch.no_grad():
        alike(other(clips), model(clips), atol=0)
    with pytest.raises(InputError, match=r"Linear cannot be exported.*raw and finish"):
        cut(nn.Linear(1, 1), clips)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    from stad_cli.main import main

    out = tmp_path_factory.mktemp("exported") / "pt2"
    assert main(["export", str(checkpoint), "--out", str(out), "--format", "pt2"]) == 0
    return out


def test_a_checkpoint_exported_by_torch_finds_what_it_found(exported, checkpoint, stad):
    assert sorted(path.name for path in exported.iterdir()) == [
        "classify.pt2",
        "export.json",
        "localise.pt2",
    ]
    about = json.loads((exported / "export.json").read_text())
    assert about["shape"] == [3, 4, 48, 64]
    assert about["graphs"]["classify"]["inputs"] == ["clip.0", "rois"]
    with pytest.raises(InputError, match=r"may run code.*trust=True"):
        load_exported(exported, "pt2")
    detector = load_exported(exported, "pt2", trust=True)
    assert detector.classes.names == ("walk", "wave", "sit")
    model = checkpoints.build_model(checkpoint).model
    for count in (1, 2, 5):
        clips = torch.randn(count, *detector.shape)
        with torch.no_grad():
            wanted = model(clips)
        alike(detector(clips), wanted)
        assert all(len(one) == 3 for one in wanted)
    with pytest.raises(InputError, match=r"not of the exported form.*\[N, 3, 4, 48, 64\].*--size"):
        detector(torch.zeros(1, 3, 4, 48, 48))
    with pytest.raises(InputError, match=r"no onnx graphs.*pt2"):
        load_exported(exported, "onnx")


def test_what_an_export_lacks_is_said(exported, tmp_path):
    import shutil

    with pytest.raises(InputError, match="no export"):
        load_exported(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(exported, broken)
    (broken / "classify.pt2").write_bytes(b"PK\x03\x04 no graph")
    with pytest.raises(InputError, match=r"classify\.pt2: this graph cannot be read"):
        load_exported(broken, "pt2", trust=True)
    (broken / "classify.pt2").unlink()
    with pytest.raises(InputError, match=r"classify\.pt2: a graph of this export is missing"):
        load_exported(broken, "pt2", trust=True)
    (broken / "export.json").write_text('{"format": "stad-export", "version": 9}')
    with pytest.raises(InputError, match=r"version 1.*found 'stad-export', 9"):
        load_exported(broken)
    (broken / "export.json").write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        load_exported(broken)


@needs_onnx
def test_a_checkpoint_exported_to_onnx_finds_what_it_found(checkpoint, stad, tmp_path):
    outcome = stad("export", checkpoint, "--out", tmp_path / "out", "--format", "onnx", "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert set(content["differences"]) == {"localise.onnx", "classify.onnx"}
    assert all(difference < 1e-4 for difference in content["differences"].values())
    detector = load_exported(tmp_path / "out", "onnx")
    model = checkpoints.build_model(checkpoint).model
    for count in (1, 4):
        clips = torch.randn(count, *detector.shape)
        with torch.no_grad():
            alike(detector(clips), model(clips), atol=1e-3)


@pytest.mark.skipif(ONNX, reason="the extra stad-cli[export] is installed")
def test_onnx_without_its_packages_is_one_message(checkpoint, stad, tmp_path):
    outcome = stad("export", checkpoint, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "stad-cli[export]" in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["se_stad_tiiny"], ["no file and no model", "se_stad_tiny"]),
        (["gone.pt"], ["no such checkpoint"]),
        (["se_stad_tiny"], ["--size"]),
        (["se_stad_tiny", "--size", "64", "48", "--format", "onyx"], ["pt2 or onnx", "onyx"]),
    ],
)
def test_the_users_mistakes_end_in_one_message(arguments, words, stad, tmp_path):
    outcome = stad("export", *arguments, "--out", tmp_path / "out")
    assert outcome.code == 2
    for word in words:
        assert word in outcome.err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(exported, checkpoint, stad):
    before = {path: path.stat().st_mtime_ns for path in exported.iterdir()}
    outcome = stad("export", checkpoint, "--out", exported, "--format", "pt2")
    assert outcome.code == 2
    assert "another --out" in outcome.err
    assert {path: path.stat().st_mtime_ns for path in exported.iterdir()} == before

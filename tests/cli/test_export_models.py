"""Every kind of detector as graphs: by torch.export, and to ONNX where its packages are installed.

What is compared: each graph with the network that it was made of, on a batch of another size
(`export_detector` does it), and what the detector around the graphs finds with what it found.
"""

import importlib.util
import json
from dataclasses import fields

import pytest
import torch

from stad_cli.config import ClipSection, ModelSection
from stad_cli.engine.detector import build_detector
from stad_cli.export.exporting import Source, export_detector
from stad_cli.export.graphs import cut, join
from stad_cli.export.running import load_exported
from stad_data import ActionClasses

ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not ONNX, reason="needs the extra stad-cli[export]")

CLASSES = ActionClasses(names=("walk", "wave", "sit"), ids=(1, 2, 3), exclusive=False)
SIZE = (64, 48)
KEYFRAME = ClipSection(length=4, stride=2)
TUBELET = ClipSection(form="tubelet", length=8, tubelet=3)
SMALL = {"channels": 8, "depth": 1, "test_score": 0.0, "max_actors": 4}
NARROW = {"trunk": {"stem_width": 4, "widths": [4, 8, 8, 8]}, **SMALL}
NARROW_DLA = {"trunk": {"widths": [4, 4, 6, 8, 8]}, "hidden": 8}
NARROW_STMA = {
    **NARROW_DLA,
    "clip_trunk": {"stem_width": 4, "widths": [4, 6, 8, 8]},
    "coarse": [8, 8],
    "width": 12,
}
MODELS = {
    "fcos": ("se_stad_tiny", KEYFRAME, NARROW),
    "fcos_original": ("se_stad_tiny", KEYFRAME, {**NARROW, "localisation": "fcos_original"}),
    "rpn_rcnn": ("se_stad_tiny", KEYFRAME, {**NARROW, "localisation": "rpn_rcnn"}),
    "retinanet": ("se_stad_tiny", KEYFRAME, {**NARROW, "localisation": "retinanet"}),
    "gfocal_v2": ("se_stad_tiny", KEYFRAME, {**NARROW, "localisation": "gfocal_v2"}),
    "acrn": ("se_stad_tiny", KEYFRAME, {**NARROW, "action": "acrn"}),
    "moc": ("moc_tiny", TUBELET, NARROW_DLA),
    "moc_two_stream": ("moc_tiny_two_stream", TUBELET, NARROW_DLA),
    "stma": ("stma_tiny", TUBELET, NARROW_STMA),
    "stma_without_clips": ("stma_tiny", TUBELET, {**NARROW_STMA, "aggregation": False}),
}
QUICK = ("fcos", "rpn_rcnn", "stma")
EXPORTED = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS
]
GRAPHS = {
    "rpn_rcnn": {"localise", "regions", "classify"},
    "moc": {"points"},
    "moc_two_stream": {"colour", "flow"},
    "stma": {"frames", "points", "clip", "actions"},
    "stma_without_clips": {"frames", "points", "actions"},
}


def source(name: str) -> Source:
    builder, clip, options = MODELS[name]
    section = ModelSection(name=builder, options=options)
    torch.manual_seed(0)
    model = build_detector(section, clip, CLASSES).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh heads say the same of every place
            if weight.ndim == 4:
                weight.mul_(1.5)
    return Source(model=model, section=section, clip=clip, classes=CLASSES, size=SIZE)


def clips_of(given: Source, count: int) -> torch.Tensor:
    channels = getattr(given.model, "channels_in", 3)
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, channels, given.clip.length, SIZE[1], SIZE[0], generator=generator)


def alike(found, wanted, *, atol: float) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is type(other)
        for field in fields(other):
            value = getattr(other, field.name)
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(getattr(one, field.name), value, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(("moc", "stma"))])
def test_tubelets_are_cut_and_joined_without_a_change(name):
    given = source(name)
    graphs = cut(given.model, clips_of(given, 2))
    assert {graph.name for graph in graphs} == GRAPHS[name]
    with torch.device("meta"):
        empty = build_detector(given.section, given.clip, CLASSES).eval()

    def eager(graph):
        return lambda *tensors: dict(zip(graph.outputs, graph.module(*tensors), strict=True))

    shape = tuple(clips_of(given, 1).shape[1:])
    joined = join(empty, {graph.name: eager(graph) for graph in graphs}, shape)
    for count in (1, 3):
        clips = clips_of(given, count)
        with torch.no_grad():
            wanted = given.model(clips)
            alike(joined(clips), wanted, atol=0)
        assert sum(map(len, wanted)) > 0


@pytest.mark.parametrize("name", EXPORTED)
def test_torch_export_finds_what_the_detector_finds(name, tmp_path):
    given = source(name)
    made = export_detector(given, tmp_path / "out", ["pt2"])
    assert max(made.differences.values()) < 1e-4
    about = json.loads((made.folder / "export.json").read_text())
    assert set(about["graphs"]) == GRAPHS.get(name, {"localise", "classify"})
    detector = load_exported(made.folder, "pt2", trust=True)
    for count in (1, 3):
        clips = clips_of(given, count)
        with torch.no_grad():
            wanted = given.model(clips)
        alike(detector(clips), wanted, atol=1e-4)
        assert sum(map(len, wanted)) > 0


@needs_onnx
@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_computes_what_the_detector_computes(name, tmp_path):
    given = source(name)
    made = export_detector(given, tmp_path / "out", ["onnx"])
    assert {path.stem for path in made.files if path.suffix == ".onnx"} == GRAPHS.get(
        name, {"localise", "classify"}
    )
    assert max(made.differences.values()) < 1e-4
    detector = load_exported(made.folder, "onnx")
    clips = clips_of(given, 2)
    with torch.no_grad():
        wanted = given.model(clips)
    assert [len(one) for one in detector(clips)] == [len(one) for one in wanted]

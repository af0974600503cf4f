"""Files that are no checkpoint, or not this one: refused, with a reason; the model is unharmed."""

import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from stad_models import weights
from stad_models.backbones.pathway import Pathway, PathwayShape
from stad_models.backbones.resnet3d import SlowOnly

NARROW = PathwayShape(stem_width=4, widths=(4, 4, 4, 4), depths=(1, 1, 1, 1))


@pytest.fixture
def model() -> SlowOnly:
    return SlowOnly(Pathway(NARROW))


class Evil:
    """What runs a command where a pickle is read freely."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(model, source, *words, **options) -> str:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(weights.WeightsError) as caught:
        weights.load(model, source, **options)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in before.items())
    message = str(caught.value)
    for word in (*words, *([str(source)] if isinstance(source, Path) else [])):
        assert word in message, message
    return message


def test_a_path_that_is_no_file(model, tmp_path):
    refused(model, tmp_path, "is a folder")
    refused(model, tmp_path / "gone.pth", "does not exist")
    (tmp_path / "empty.pth").touch()
    refused(model, tmp_path / "empty.pth", "is empty")


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_checkpoint_cut_short(model, tmp_path, old):
    path = tmp_path / "cut.pth"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=not old)
    weights.load(model, path)
    whole = path.read_bytes()
    for kept in (len(whole) - 1, len(whole) // 2, 30):
        path.write_bytes(whole[:kept])
        refused(model, path, "damaged, cut short, or no checkpoint")


def test_safetensors_cut_short_or_odd(model, tmp_path):
    path = tmp_path / "cut.safetensors"
    weights.save(model, path)
    whole = path.read_bytes()
    for kept in (len(whole) - 1, len(whole) // 2, 40):
        path.write_bytes(whole[:kept])
        refused(model, path, "damaged, cut short")
    path.write_bytes(struct.pack("<Q", 2**60) + whole[8:])
    refused(model, path, "damaged")


@pytest.mark.parametrize(
    "content",
    [b"weights", b"\x80", b"PK\x03\x04" + b"\0" * 40, b"<html>not found</html>", bytes(200)],
    ids=["text", "pickle", "zip", "html", "zeros"],
)
def test_something_else_than_a_checkpoint(model, tmp_path, content):
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    refused(model, path, "damaged, cut short, or no checkpoint")


def test_a_bit_that_flipped_in_a_file(model, tmp_path):
    path = tmp_path / "flipped.pth"
    torch.save(model.state_dict(), path)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        offset = archive.getinfo(name).header_offset
    content = bytearray(path.read_bytes())
    start = content.index(b"OrderedDict", offset)
    content[start : start + 11] = b"OrderedDirt"
    path.write_bytes(content)
    refused(model, path)


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle"])
def test_hostile_files_are_refused_by_name(model, tmp_path, kind):
    path, done = tmp_path / "evil.pkl", tmp_path / "pwned"
    if kind == "pickle":
        blobs = {"conv1_w": np.zeros(3, np.float32), "evil": Evil(done)}
        path.write_bytes(pickle.dumps({"blobs": blobs}))
    else:
        content = {"model_state": model.state_dict(), "evil": Evil(done)}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    refused(model, path, "was refused: it asks for", "mkdir", "save its state_dict alone")
    assert not done.exists()


def test_arrays_of_objects_in_an_npz_are_refused(model, tmp_path):
    path, done = tmp_path / "evil.npz", tmp_path / "pwned"
    np.savez(path, weight=np.array([Evil(done)], dtype=object))
    refused(model, path, "cannot be read")
    assert not done.exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([1, 2], "holds a list"),
        ({}, "holds no tensors"),
        ({"epoch": 3, "cfg": "text"}, "holds no tensors, but epoch, cfg"),
    ],
)
def test_files_without_weights(model, tmp_path, content, word):
    path = tmp_path / "none.pth"
    torch.save(content, path)
    refused(model, path, word)


def test_half_of_a_checkpoint(model):
    state = model.state_dict()
    half = {name: state[name] for name in list(state)[: len(state) // 2]}
    message = refused(model, half, "it lacks", "of backbone")
    assert "Take a checkpoint of the same architecture" in message


def test_a_checkpoint_of_another_width_or_depth(model):
    wider = SlowOnly(Pathway(PathwayShape(**{**vars(NARROW), "widths": (8, 8, 8, 8)})))
    refused(model, wider.state_dict(), "have another shape", "8x4x1x1x1 for 4x4x1x1x1")
    deeper = SlowOnly(Pathway(PathwayShape(**{**vars(NARROW), "depths": (1, 2, 1, 1)})))
    refused(
        model, deeper.state_dict(), "have no place in this backbone", "slow.res3.blocks.1.conv1"
    )


def test_a_backbone_that_has_non_local_blocks(model):
    shape = PathwayShape(**{**vars(NARROW), "nonlocal_after": ((), (), (0,), ())})
    state = SlowOnly(Pathway(shape)).state_dict()
    refused(model, state, "Build the trunk that has these non-local blocks")


def test_values_that_are_not_finite(model):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["slow.res4.blocks.0.norm2.weight"][1] = float("nan")
    refused(model, state, "slow.res4.blocks.0.norm2.weight", "not finite")


def test_a_layout_that_nobody_knows(model):
    tensors = {f"net.{index}.weight": torch.zeros(3) for index in range(9)}
    message = refused(model, tensors, "9 keys are like 'net.0.weight'", "nearest")
    for name in weights.layout_names():
        assert name in message
    tensors["s1.pathway0_stem.conv.weight"] = torch.zeros(4, 3, 1, 7, 7)
    refused(model, tensors, "1 of its 10 keys are of the nearest, 'pyslowfast'", "'net.0.weight'")


def test_a_layout_that_could_be_two(model):
    tensors = {"blocks.0.norm1.weight": torch.zeros(3), "blocks.0.norm1.bias": torch.zeros(3)}
    refused(model, tensors, "could be of the layout", "name the layout")


def test_a_wrong_name_of_a_layout_or_a_requirement(model):
    with pytest.raises(ValueError, match="do you mean 'pyslowfast'"):
        weights.load(model, model.state_dict(), "pyslowfest")
    with pytest.raises(ValueError, match="found 'heads'"):
        weights.load(model, model.state_dict(), require="heads")
    refused(model, model.state_dict(), "it lacks", layout="caffe2")


def test_a_model_without_memory():
    with torch.device("meta"):
        model = SlowOnly(Pathway(NARROW))
    with pytest.raises(weights.WeightsError, match="to_empty"):
        weights.load(model, SlowOnly(Pathway(NARROW)).state_dict())

import errno
import os
import pickle
import resource

import pytest
import torch
from torch import nn

from stad_cli.engine import checkpoint
from stad_cli.engine.detector import build_detector
from stad_data import ActionClasses
from stad_eval import InputError

CLASSES = ActionClasses(names=("walk", "jump"), ids=(1, 2), exclusive=True)


@pytest.fixture
def state(recipe):
    chosen = recipe()
    torch.manual_seed(0)
    model = build_detector(chosen.model, chosen.clip, CLASSES)
    return {
        "kind": "inference",
        "step": 7,
        "classes": checkpoint.classes_table(CLASSES),
        "recipe": chosen.model_dump(exclude_none=True),
        "protocol": "keyframes",
        "fps": None,
        "model": model.state_dict(),
        "metrics": {"frame_mAP": 0.5},
    }


def test_a_model_comes_back_with_its_weights_classes_and_recipe(state, recipe, tmp_path):
    path = tmp_path / "checkpoints" / "best.pt"
    checkpoint.save(path, state)
    model, classes, found = checkpoint.build_model(path)
    assert (classes, found) == (CLASSES, recipe())
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, state["model"][name])
    assert sorted(path.parent.iterdir()) == [path]  # no temporary file is left
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.fixture
def file_size_limit():
    """`file_size_limit(bytes)`: the kernel refuses real writes beyond it, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_write_leaves_the_checkpoint_before_it(tmp_path, file_size_limit):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1, "model": {"w": torch.ones(10)}})
    file_size_limit(100_000)
    with pytest.raises(OSError, match=r"the one before it is whole.*--resume") as caught:
        checkpoint.save(path, {"step": 2, "model": {"w": torch.ones(1_000_000)}})
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert checkpoint.load(path)["step"] == 1
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="none before it"):
        checkpoint.save(tmp_path / "new.pt", {"model": {"w": torch.ones(1_000_000)}})
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_that_is_no_write_leaves_no_temporary_file(tmp_path):
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save(tmp_path / "last.pt", {"step": lambda: 1})
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".last.pt.abc123.tmp").write_bytes(b"half")
    (tmp_path / "last.pt").write_bytes(b"whole")
    checkpoint.remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_hostile_pickle_is_refused_and_not_run(state, tmp_path):
    target = tmp_path / "pwned"
    hostile = {**state, "format": checkpoint.FORMAT, "version": 1, "x": Hostile(target)}
    torch.save(hostile, tmp_path / "archive.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Hostile(target)))
    for name in ("archive", "bare"):
        with pytest.raises(InputError, match=rf"{name}\.pt.*refused"):
            checkpoint.load(tmp_path / f"{name}.pt")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + b"\0" * 64])
def test_other_files_are_refused_with_one_sentence(content, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pt"):
        checkpoint.load(path)


def test_a_truncated_checkpoint_is_refused(state, tmp_path):
    path = tmp_path / "best.pt"
    checkpoint.save(path, state)
    whole = path.read_bytes()
    for size in (len(whole) // 3, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"best\.pt"):
            checkpoint.load(path)


def test_missing_foreign_and_newer_files(state, tmp_path):
    with pytest.raises(InputError, match=r"gone\.pt.*no such checkpoint"):
        checkpoint.load(tmp_path / "gone.pt")
    foreign = tmp_path / "foreign.pt"
    torch.save(nn.Linear(2, 2).state_dict(), foreign)
    with pytest.raises(InputError, match="something else than a checkpoint"):
        checkpoint.load(foreign)
    torch.save([1, 2], foreign)
    with pytest.raises(InputError, match="something else than a checkpoint"):
        checkpoint.load(foreign)
    torch.save({"format": checkpoint.FORMAT, "version": 99}, foreign)
    with pytest.raises(InputError, match=r"version 1.*version 99"):
        checkpoint.load(foreign)


def test_weights_that_do_not_fit_are_named(state, tmp_path):
    first = next(iter(state["model"]))
    missing = {**state, "model": {k: v for k, v in state["model"].items() if k != first}}
    with pytest.raises(InputError, match=rf"1 missing, 0 left over.*{first}"):
        checkpoint.build_model(missing)
    odd = {**state, "model": {**state["model"], first: torch.zeros(1)}}
    with pytest.raises(InputError, match=r"1 of another shape"):
        checkpoint.build_model(odd)


def test_another_model_or_other_classes_are_told_apart(state, recipe, tmp_path):
    path = tmp_path / "last.pt"
    other = recipe("model.name=se_stad_small")
    with pytest.raises(InputError, match=r"another model.*se_stad_small.*se_stad_tiny"):
        checkpoint.require_same(state, other, CLASSES, path=path)
    renamed = ActionClasses(names=("walk", "run"), ids=(1, 2), exclusive=True)
    with pytest.raises(InputError, match=r"other classes.*'run'.*'jump'"):
        checkpoint.require_same(state, recipe(), renamed, path=path)
    fewer = ActionClasses(names=("walk",), ids=(1,), exclusive=True)
    with pytest.raises(InputError, match=r"1 classes.*2 classes"):
        checkpoint.require_same(state, recipe(), fewer, path=path)

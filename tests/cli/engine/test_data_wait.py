"""How long the loop waits for data, and what it does about videos that are not there."""

import shutil

import pytest

from stad_cli.engine import loop
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_eval import InputError


def test_the_share_of_time_that_data_took(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def batches():
        while True:
            now[0] += 3.0
            yield "batch"

    clock, source = loop._Clock(5), batches()
    for _ in range(2):
        assert clock.next(source) == "batch"
        now[0] += 1.0
    assert clock.read(7) == (2 / 8, 6 / 8)
    now[0] += 4.0
    assert clock.read(8) == (1 / 4, 0.0)
    with pytest.raises(StopIteration):
        clock.next(iter(()))


def test_every_line_of_the_log_says_how_long_data_was_waited_for(dataset, recipe, tmp_path):
    outcome = train(recipe("optim.steps=4"), data=dataset, out=tmp_path / "run", device="cpu")
    waits = [entry["wait"] for entry in read_log(outcome.run) if "loss" in entry]
    assert len(waits) == 2
    assert all(0 < wait < 1 for wait in waits)


def test_training_goes_on_without_absent_videos_only_when_asked_to(dataset, recipe, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(dataset, root)
    (root / "videos" / "walk" / "v0.mp4").unlink()
    with pytest.raises(InputError, match="1 of 6 annotated videos have no file"):
        dataset_of(recipe(), root)
    left = dataset_of(recipe('data.missing="skip"'), root)
    assert [annotation.video for annotation in left.train] == ["jump/v0", "jump/v1", "walk/v1"]
    (root / "videos" / "walk" / "v1.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"v1\.mp4"):
        train(
            recipe('data.missing="skip"', "optim.steps=1"),
            data=root,
            out=tmp_path / "run",
            device="cpu",
        )

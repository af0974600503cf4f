"""`stad study` as a user meets it: one real run in a process of its own, tables, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stad_cli.study.slots import make_slots
from stad_eval import InputError


def test_one_run_from_the_command_line(stad, study_file, tmp_path, monkeypatch):
    from stad_data.synthetic import make

    monkeypatch.chdir(tmp_path)
    made = make("set", videos=1, test_videos=1, seconds=(4, 4), size=(64, 48), layouts=("ava",),
                workers=1)  # fmt: skip
    path = study_file()
    common = (
        path,
        "--device",
        "cpu",
        "--data",
        made.root / "ava",
        "--only",
        "slow",
        "--seeds",
        "1",
    )
    before = stad("study", *common, "--dry-run")
    assert (before.code, before.out.splitlines()[0]) == (0, "slow-seed1: not begun")
    assert not (tmp_path / "runs").exists()
    first = stad("study", *common)
    assert first.code == 0, first.err
    assert "slow-seed1: begun" in first.err
    assert "| slow | 1 |" in first.out
    result = json.loads((tmp_path / "rates" / "results" / "slow-seed1.json").read_text())
    assert result["steps"] == 4
    assert result["machine"]["cpu"]
    assert result["versions"]["torch"]
    run = tmp_path / "runs" / "studies" / "rates" / "slow-seed1"
    assert (run / "run" / "checkpoints" / "last.pt").is_file()
    assert "step 4: test frame_mAP" in (run / "log.txt").read_text()
    assert str(tmp_path) not in (tmp_path / "rates" / "table.md").read_text()
    again = stad("study", *common, "--json")
    assert (again.code, json.loads(again.out)["finished"]) == (0, [])
    assert "begun" not in again.err


def test_tables_alone(stad, study_file, finished, tmp_path, monkeypatch):
    from stad_cli.study.study_file import load_study

    monkeypatch.chdir(tmp_path)
    path = study_file()
    study = load_study(path)
    for seed in (0, 1, 2):
        finished(study, "slow", seed, frame_mAP=0.2, actor_AP=0.3)
    finished(study, "fast", 0, frame_mAP=0.3, actor_AP=0.3)
    (study.results / "other-seed0.json").write_text("{}")
    outcome = stad("study", path, "--table")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "rates" / "table.md").read_text().strip() == outcome.out.strip()
    assert "2 runs have no result yet: fast-seed1, fast-seed2" in outcome.err
    assert "other-seed0.json: left out, the study has no such run" in outcome.err
    assert not (tmp_path / "runs").exists()
    plan = stad("study", path, "--dry-run", "--jobs", "2").out.splitlines()
    assert plan[:2] == ["fast-seed1: not begun, about 1 min", "fast-seed2: not begun, about 1 min"]
    assert plan[-1] == "2 of 6 runs to do, 2 at a time, about 1 min"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.toml"], ["gone.toml", "no such study file"]),
        (["STUDY", "--only", "slwo"], ["no row 'slwo'", "slow"]),
        (["STUDY", "--seeds", "0,9"], ["no seed 9"]),
        (["STUDY", "--seeds", "a"], ["--seeds is no list of seeds"]),
        (["STUDY", "--budget", "90"], ["90m"]),
        (["STUDY", "--jobs", "0"], ["--jobs from 1"]),
        (["STUDY", "--data", "gone"], ["no such data folder"]),
    ],
)
def test_the_users_mistakes_end_in_one_message(
    arguments, words, stad, study_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = study_file()
    outcome = stad("study", *(path if word == "STUDY" else word for word in arguments))
    assert outcome.code == 2
    for word in words:
        assert word in outcome.err
    assert not (tmp_path / "rates").exists()


def test_slots_share_the_cores(monkeypatch):
    monkeypatch.setattr("stad_cli.study.slots.usable_cores", lambda: 6)
    assert [slot.threads for slot in make_slots(None, "cpu")] == [6]
    assert [slot.threads for slot in make_slots(4, "cpu")] == [1, 1, 1, 1]
    slot = make_slots(3, "cpu")[0]
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert slot.environment()["OMP_NUM_THREADS"] == "2"
    assert "WORLD_SIZE" not in slot.environment()
    assert "CUDA_VISIBLE_DEVICES" not in slot.environment() or os.environ["CUDA_VISIBLE_DEVICES"]


def test_jobs_take_turns_on_the_devices_that_are_visible(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [slot.visible for slot in make_slots(None, "auto")] == ["5", "7"]
    assert [slot.visible for slot in make_slots(3, "cuda")] == ["5", "7", "5"]
    assert make_slots(3, "cuda")[1].environment()["CUDA_VISIBLE_DEVICES"] == "7"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        make_slots(1, "cuda")


@pytest.mark.slow
def test_ctrl_c_saves_what_runs_and_ends_with_130(study_file, tmp_path):
    path = study_file("optim.steps=4", "optim.steps=4000")
    command = [sys.executable, "-m", "stad_cli", "study", str(path), "--device", "cpu"]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=err, stdout=subprocess.DEVNULL)
    log = tmp_path / "runs" / "studies" / "rates" / "slow-seed0" / "run" / "log.jsonl"
    end = time.monotonic() + 240
    while not log.exists() and time.monotonic() < end:
        assert process.poll() is None, (tmp_path / "err").read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    said = (tmp_path / "err").read_text()
    assert "slow-seed0: stopped at step" in said
    assert Path(log.parent / "checkpoints" / "last.pt").is_file()

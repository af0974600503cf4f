import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_eval import InputError


def same(a, b, place="state"):
    """Equal to the bit, wherever tensors hide."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            if key not in ("seconds", "name"):
                same(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            same(one, other, f"{place}[{number}]")
    else:
        assert a == b, place


def same_runs(a: Path, b: Path) -> None:
    for name in ("last.pt", "best.pt"):
        one, other = (checkpoint.load(run / "checkpoints" / name) for run in (a, b))
        same(one, other, name)
    logs = [
        [
            {k: v for k, v in entry.items() if k not in ("clips_per_s", "wait")}
            for entry in read_log(run)
        ]
        for run in (a, b)
    ]
    assert logs[0] == logs[1]
    assert (a / "detections" / "test.json").read_bytes() == (
        b / "detections" / "test.json"
    ).read_bytes()
    left = [file.name for file in (b / "checkpoints").iterdir()]
    assert sorted(left) == ["best.pt", "last.pt"]


def test_a_run_killed_at_its_worst_moments_or_out_of_disk_resumes_to_the_bit(
    dataset, recipe_file, tmp_path
):
    points = ["write:40", "sync:2", "rename:5", "update:8", "log:7", "full:40000"]
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, str(script), str(recipe_file), str(dataset), str(tmp_path), *points]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert ends.pop("undisturbed") == [0], done.stderr
    full, resumed = ends.pop("full:40000")
    assert (os.waitstatus_to_exitcode(full), resumed) == (1, 0)
    assert "last.pt" in done.stderr
    assert "this checkpoint was not written, there was none before it" in done.stderr
    same_runs(tmp_path / "undisturbed", tmp_path / "full-40000")
    for point, (first, second) in ends.items():
        assert os.WIFSIGNALED(first), (point, done.stderr)
        assert os.WTERMSIG(first) == signal.SIGKILL
        assert second == 0, (point, done.stderr)
        same_runs(tmp_path / "undisturbed", tmp_path / point.replace(":", "-"))


@pytest.mark.slow
def test_a_command_killed_again_and_again_at_random_ends_as_the_undisturbed_one(
    dataset, recipe_file, tmp_path
):
    command = [sys.executable, "-m", "stad_cli", "train", str(recipe_file), "--data", str(dataset)]
    command += ["--device", "cpu", "--set", "optim.steps=60", "--set", "run.workers=2"]

    def start(out: Path, *options: str) -> subprocess.Popen:
        with (tmp_path / "stderr").open("w") as errors:
            arguments = [*command, "--out", str(out), *options]
            return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors)

    def time_of_first_line(process: subprocess.Popen, out: Path) -> float:
        """Wait until this process has written to the log, or has ended."""
        began = time.time()
        while process.poll() is None:
            log = out / "log.jsonl"
            if log.exists() and log.stat().st_mtime > began and log.stat().st_size:
                break
            time.sleep(0.01)
        return time.monotonic()

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = start(whole)
    began = time_of_first_line(process, whole)
    assert process.wait(120) == 0, (tmp_path / "stderr").read_text()
    length = time.monotonic() - began
    chance = random.Random(0)
    kills = 0
    process = start(parts)
    while kills < 5:
        time_of_first_line(process, parts)
        try:
            process.wait(chance.uniform(0.0, 0.3) * length)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        process = start(parts, "--resume")
    assert process.wait(240) == 0, (tmp_path / "stderr").read_text()
    assert kills >= 3
    same_runs(whole, parts)


def test_a_finished_run_resumes_to_itself(dataset, recipe, tmp_path):
    chosen = recipe("optim.steps=3", "eval.every=0")
    first = train(chosen, data=dataset, out=tmp_path / "run", device="cpu")
    before = checkpoint.load(first.last)
    log = read_log(tmp_path / "run")
    again = train(chosen, data=dataset, out=tmp_path / "run", resume=True, device="cpu")
    same(before, checkpoint.load(again.last))
    assert read_log(tmp_path / "run") == log
    assert again.evaluation.metrics() == first.evaluation.metrics()


def test_what_exists_is_never_overwritten(dataset, recipe, tmp_path):
    chosen = recipe("optim.steps=3", "eval.every=0")
    run = tmp_path / "run"
    train(chosen, data=dataset, out=run, device="cpu")
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    with pytest.raises(InputError, match=r"--resume.*--out"):
        train(chosen, data=dataset, out=run, device="cpu")
    with pytest.raises(InputError, match=r"optim\.lr differs.*0\.005.*0\.5"):
        train(recipe("optim.steps=3", "eval.every=0", "optim.lr=0.5"), data=dataset, out=run,
              resume=True, device="cpu")  # fmt: skip
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no run"):
        train(chosen, data=dataset, out=other, resume=True, device="cpu")
    with pytest.raises(InputError, match=r"is a file"):
        train(chosen, data=dataset, out=other / "photo.jpg", device="cpu")
    assert [file.name for file in other.iterdir()] == ["photo.jpg"]


def test_what_changes_no_result_may_differ_in_a_resumed_run(dataset, recipe, tmp_path):
    train(recipe("optim.steps=3", "eval.every=0"), data=dataset, out=tmp_path / "run", device="cpu")
    changed = recipe("optim.steps=3", "eval.every=0", "run.workers=1", "run.log_every=7")
    train(changed, data=dataset, out=tmp_path / "run", resume=True, device="cpu")


def test_a_checkpoint_of_another_run_is_refused(dataset, recipe, tmp_path):
    chosen = recipe("optim.steps=3", "eval.every=0")
    outcome = train(chosen, data=dataset, out=tmp_path / "run", device="cpu")
    state = checkpoint.load(outcome.last)
    inference = {key: value for key, value in state.items() if key != "training"}
    checkpoint.save(outcome.last, {**inference, "kind": "inference"})
    with pytest.raises(InputError, match="for inference"):
        train(chosen, data=dataset, out=tmp_path / "run", resume=True, device="cpu")
    checkpoint.save(outcome.last, {**state, "training": {**state["training"], "ranks": 2}})
    with pytest.raises(InputError, match="another number of processes"):
        train(chosen, data=dataset, out=tmp_path / "run", resume=True, device="cpu")

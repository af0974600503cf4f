import subprocess
import sys

import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine.distributed import processes
from stad_cli.engine.run_log import read_log
from stad_eval import InputError

# Plain SGD without dropout: what is left between the two runs is the order of sums.
EQUAL = (
    "optim.name=sgd", "optim.lr=0.02", "optim.steps=8", "optim.accumulate=2", "eval.every=0",
    "model.batch_norm=frozen", "model.options.dropout=0.0", "run.log_every=1",
)  # fmt: skip


def launch(count, recipe_file, dataset, out, *arguments):
    command = [sys.executable, "-m"]
    if count > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"]
    command += ["stad_cli", "train", str(recipe_file), "--data", str(dataset), "--out", str(out)]
    command += ["--device", "cpu", *arguments]
    for override in EQUAL:
        command += ["--set", override]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(recipe_file, dataset, tmp_path):
    done = launch(2, recipe_file, dataset, tmp_path / "two", "--set", "optim.batch=1")
    launch(1, recipe_file, dataset, tmp_path / "one", "--set", "optim.batch=2")
    one, two = (checkpoint.load(tmp_path / n / "checkpoints" / "last.pt") for n in ("one", "two"))
    for part in (lambda state: state["model"], lambda state: state["training"]["network"]):
        assert part(one).keys() == part(two).keys()
        for name, value in part(one).items():
            torch.testing.assert_close(part(two)[name], value, rtol=1e-4, atol=1e-5, msg=name)
    logs = [
        [entry["loss"] for entry in read_log(tmp_path / name) if "loss" in entry]
        for name in ("one", "two")
    ]
    assert len(logs[0]) == 8
    for a, b in zip(*logs, strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    finals = [read_log(tmp_path / name)[-1]["eval"] for name in ("one", "two")]
    assert finals[0] == pytest.approx(finals[1], abs=0.02)
    assert done.stderr.count("step 8: test") == 1  # rank 0 alone speaks

    # As if both had been killed after the checkpoint of step 8 and before its evaluation.
    best = tmp_path / "two" / "checkpoints" / "best.pt"
    best.unlink()
    again = launch(2, recipe_file, dataset, tmp_path / "two", "--set", "optim.batch=1", "--resume")
    assert "resumed at step 8 of 8" in again.stderr
    assert read_log(tmp_path / "two")[-1]["eval"] == finals[1]
    for name, value in checkpoint.load(best)["model"].items():
        assert torch.equal(value, two["model"][name])


def test_alone_without_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with processes("cpu") as group:
        assert (group.rank, group.ranks, group.device.type) == (0, 1, "cpu")
        assert group.leads
        group.barrier()
        assert group.gather("x") == ["x"]


def test_bad_environment_and_missing_cuda(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(InputError, match=r"WORLD_SIZE.*'many'.*torchrun"), processes("cpu"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "1")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"--device cpu"), processes("cuda"):
            pass

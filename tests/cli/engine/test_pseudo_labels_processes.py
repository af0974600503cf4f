"""Several processes with a teacher each are one process with the batch of all."""

import subprocess
import sys

import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine.run_log import read_log

# Plain SGD without dropout: what is left between the two runs is the order of sums.
EQUAL = (
    "optim.name=sgd", "optim.lr=0.02", "optim.steps=6", "optim.accumulate=2", "optim.ema=0",
    "eval.every=0", "model.batch_norm=frozen", "model.options.dropout=0.0",
    "run.log_every=1", "data.every_nth_frame=3", "method.name=pseudo_labels", "method.burn_in=2",
    "method.momentum=0.5", "method.proposal_score=0.05", "method.proposal_limit=4",
)  # fmt: skip


def launch(count, recipe_file, dataset, out, *overrides):
    command = [sys.executable, "-m"]
    if count > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"]
    command += ["stad_cli", "train", str(recipe_file), "--data", str(dataset), "--out", str(out)]
    command += ["--device", "cpu"]
    for override in (*EQUAL, *overrides):
        command += ["--set", override]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [entry for entry in read_log(out) if "loss" in entry]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("method.strategy=tla", "method.proposal_nms=0.5"),
        # Most clips get no label and are left out, in one process or the other all of them.
        ("method.strategy=threshold", "method.threshold=0.6"),
        ("method.strategy=class_threshold",),
    ],
    ids=["tla", "threshold", "class_threshold"],
)
def test_two_processes_equal_one_with_twice_the_batch(settings, recipe_file, dataset, tmp_path):
    one = launch(1, recipe_file, dataset, tmp_path / "one", "optim.batch=2", *settings)
    two = launch(2, recipe_file, dataset, tmp_path / "two", "optim.batch=1", *settings)
    states = [checkpoint.load(tmp_path / n / "checkpoints" / "last.pt") for n in ("one", "two")]
    for part in (
        lambda state: state["training"]["network"],
        lambda state: state["training"]["method"]["teacher"]["model"],
    ):
        first, second = (part(state) for state in states)
        assert first.keys() == second.keys()
        for name, value in first.items():
            torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5, msg=name)
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
        assert ("pseudo_labels" in a) == ("pseudo_labels" in b) == (a["step"] > 2)
        if "pseudo_labels" in a:
            assert a["pseudo_labels"]["clips"] == b["pseudo_labels"]["clips"] == 4
            assert a["pseudo_labels"] == b["pseudo_labels"]

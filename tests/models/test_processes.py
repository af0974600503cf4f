"""Two processes with half a batch each against one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import torch

from stad_models import SeStadOptions, freeze_batch_norm, zoo
from stad_models.processes import shared_normaliser
from stad_models.zoo.heads import LocalisationName

HALF = """
import sys
from pathlib import Path

import torch
from stad_models import SeStadOptions, Targets, freeze_batch_norm, zoo

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
)
given = torch.load(folder / "given.pt")
ours = slice(2 * rank, 2 * rank + 2)
found = {}
for head, state in given["states"].items():
    options = SeStadOptions(**given["options"])
    model = zoo.se_stad_tiny(5, localisation=head, dropout=0.0, options=options)
    freeze_batch_norm(model)
    model.load_state_dict(state)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    for case, (boxes, labels) in enumerate(given["targets"]):
        model.zero_grad()
        losses = parallel(given["clips"][ours], Targets(boxes=boxes[ours], labels=labels[ours]))
        sum(losses.values()).backward()
        found[head, case] = {
            "losses": {name: loss.detach() for name, loss in losses.items()},
            "grads": {name: weight.grad.clone() for name, weight in model.named_parameters()},
        }
torch.save(found, folder / f"found{rank}.pt")
torch.distributed.destroy_process_group()
"""
OPTIONS = {"train_score": 0.01, "positive_iou": 0.05}


# In the second case one process has nobody to learn from.
COUNTS = ((2, 1, 1, 3), (2, 1, 0, 0))


def test_two_halves_give_the_losses_and_gradients_of_the_whole(tmp_path: Path, make_targets):
    cases = [make_targets(counts, size=(64, 48)) for counts in COUNTS]
    models = {head: fresh(head) for head in get_args(LocalisationName)}
    clips = torch.randn(4, 3, 4, 48, 64)
    given = {
        "options": OPTIONS,
        "states": {head: model.state_dict() for head, model in models.items()},
        "clips": clips,
        "targets": [(targets.boxes, targets.labels) for targets in cases],
    }
    torch.save(given, tmp_path / "given.pt")
    found = run_two(tmp_path)
    for head, model in models.items():
        for case, targets in enumerate(cases):
            model.zero_grad()
            losses = model(clips, targets)
            sum(losses.values()).backward()
            first, second = found[0][head, case], found[1][head, case]
            for name, loss in losses.items():
                halves = (first["losses"][name] + second["losses"][name]) / 2
                torch.testing.assert_close(halves, loss.detach(), rtol=1e-5, atol=1e-6)
            for name, weight in model.named_parameters():
                torch.testing.assert_close(first["grads"][name], weight.grad, rtol=1e-3, atol=1e-5)


def fresh(head: str) -> torch.nn.Module:
    """A model whose residual branches do something."""
    options = SeStadOptions(**OPTIONS)
    model = zoo.se_stad_tiny(5, localisation=head, dropout=0.0, options=options)
    for name, buffer in freeze_batch_norm(model).named_buffers():
        if name.endswith("weight"):  # residual branches start at zero, which would hide them
            torch.nn.init.uniform_(buffer, 0.5, 1.0)
    return model


def run_two(folder: Path) -> list:
    """What each of two gloo processes saved."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", HALF, str(rank), str(folder)],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        )
        for rank in range(2)
    ]
    try:
        assert [run.wait(timeout=180) for run in runs] == [0, 0]
    finally:
        for run in runs:
            run.kill()
    return [torch.load(folder / f"found{rank}.pt") for rank in range(2)]


def test_a_single_process_divides_by_its_own_count():
    assert shared_normaliser(torch.tensor(7.0)).item() == 7
    assert shared_normaliser(torch.tensor(0.0)).item() == 1

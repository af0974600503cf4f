"""The loop and the optimiser, driven by a Method of its own: what any later method relies on."""

from itertools import repeat

import pytest
import torch
from torch import nn

from stad_cli.engine import loop
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods import Supervised, freeze_statistics
from stad_cli.engine.optimisation import Optimisation, learning_rate, parameter_groups
from stad_eval import InputError

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))


class Regression:
    """A Method that owes nothing to detection."""

    def __init__(self, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)
        self.updates: list[int] = []

    def step(self, batch):
        inputs, targets = batch
        residual = self.network(inputs) - targets
        return {"square": residual.square().mean(), "size": 0.1 * residual.abs().mean()}

    def after_update(self, step):
        self.updates.append(step)

    def report(self):
        return {"noted": 7.0}


def batches(size: int):
    generator = torch.Generator().manual_seed(1)
    while True:
        inputs = torch.randn(4, 3, generator=generator)
        for part in inputs.split(size):
            yield part, part.sum(dim=1, keepdim=True)


def train(recipe, method, stream, *, start=0, saved=None, stop=lambda: False):
    lines, evaluated, saved = [], [], [] if saved is None else saved
    events = loop.Events(
        log=lambda step, entry: lines.append((step, entry)),
        evaluate=evaluated.append,
        save=saved.append,
        stop=stop,
    )
    loop.run(
        recipe,
        method,
        Optimisation(recipe.optim, method.network, torch.device("cpu")),
        stream,
        ALONE,
        start=start,
        window=loop.LossWindow(),
        events=events,
    )
    return lines, evaluated, saved


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_accumulation_equals_the_larger_batch(recipe, rule):
    common = (f"optim.name={rule}", "optim.steps=8", "optim.lr=0.05")
    whole, parts = Regression(), Regression()
    one, _, _ = train(recipe(*common, "optim.batch=4"), whole, batches(4))
    two, _, _ = train(recipe(*common, "optim.batch=2", "optim.accumulate=2"), parts, batches(2))
    for a, b in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for (_, a), (_, b) in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


def test_events_come_when_the_recipe_says(recipe):
    method = Regression()
    chosen = recipe("optim.steps=12")  # log 2, eval 5, checkpoint 3
    lines, evaluated, saved = train(chosen, method, batches(4))
    assert [step for step, _ in lines] == [2, 4, 6, 8, 10, 12]
    assert evaluated == [5, 10]
    assert saved == [3, 6, 9, 12]
    assert method.updates == list(range(1, 13))
    _, entry = lines[0]
    assert entry["loss"]["total"] == pytest.approx(entry["loss"]["square"] + entry["loss"]["size"])
    assert entry["noted"] == 7.0
    assert lines[-1][1]["loss"]["total"] < lines[0][1]["loss"]["total"]


def test_a_run_that_is_asked_to_stop_saves_itself_after_the_update(recipe):
    for stop, steps in ((2, [2]), (3, [3]), (5, [3, 5])):  # checkpoints come every 3 steps
        method, saved = Regression(), []
        with pytest.raises(loop.Stopped) as stopped:
            train(recipe("optim.steps=12"), method, batches(4), saved=saved,
                  stop=lambda method=method, stop=stop: len(method.updates) == stop)  # fmt: skip
        assert stopped.value.step == stop
        assert saved == steps
    method = Regression()
    _, _, saved = train(recipe("optim.steps=12"), method, batches(4),
                        stop=lambda: len(method.updates) == 12)  # fmt: skip
    assert saved == [3, 6, 9, 12]  # the last step ends the run as it is


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(recipe):
    saved = []
    method = Regression()
    bad = torch.full((4, 3), float("nan"))
    events = loop.Events(log=lambda *_: None, evaluate=lambda _: None, save=saved.append)
    chosen = recipe("run.log_every=100", "run.checkpoint_every=3")
    with pytest.raises(InputError, match=r"diverged by step 3.*optim\.lr"):
        loop.run(
            chosen,
            method,
            Optimisation(chosen.optim, method.network, torch.device("cpu")),
            repeat((bad, torch.zeros(4, 1))),
            ALONE,
            start=0,
            window=loop.LossWindow(),
            events=events,
        )
    assert saved == []


def test_learning_rate_by_hand(recipe):
    cosine = recipe(
        "optim.lr=1.0", "optim.warm_up=10", "optim.warm_up_from=0.2", "optim.steps=110"
    ).optim
    assert learning_rate(cosine, 0) == pytest.approx(0.2)
    assert learning_rate(cosine, 5) == pytest.approx(0.6)
    assert learning_rate(cosine, 10) == pytest.approx(1.0)
    assert learning_rate(cosine, 60) == pytest.approx(0.5)
    assert learning_rate(cosine, 110) == pytest.approx(0.0)
    steps = recipe(
        "optim.lr=1.0",
        "optim.warm_up=0",
        "optim.schedule=step",
        "optim.milestones=[4, 8]",
        "optim.factor=0.5",
    ).optim
    assert [learning_rate(steps, step) for step in (3, 4, 7, 8)] == [1.0, 0.5, 0.5, 0.25]


PLATEAU = (
    "optim.name=adam",
    "optim.lr=1.0",
    "optim.warm_up=0",
    "optim.schedule=plateau",
    "optim.period=2",
    "optim.patience=2",
    "optim.factor=0.5",
)


def rates_of(optimisation, network, losses, *, start=0):
    """The rates of the updates whose backward passes have these losses."""
    rates = []
    for step, loss in enumerate(losses, start):
        optimisation.backward(network.weight.sum() * 0 + loss)
        optimisation.update(step)
        rates.append(optimisation.rate)
    return rates


def test_the_rate_drops_where_the_loss_no_longer_falls(recipe):
    chosen = recipe(*PLATEAU).optim
    network = nn.Linear(2, 1, bias=False)
    made = Optimisation(chosen, network, torch.device("cpu"))
    # Means of periods: 4, 3, 3 (no better), 5 (no better: drop), 2, 2, 2 (drop).
    losses = [5.0, 3.0, 3.0, 3.0, 2.0, 4.0, 5.0, 5.0, 2.0, 2.0, 2.0, 2.0, 3.0, 1.0]
    rates = rates_of(made, network, [*losses, 0.0])
    assert rates == [1.0] * 8 + [0.5] * 6 + [0.25]


def test_a_plateau_is_resumed_where_it_was(recipe):
    chosen = recipe(*PLATEAU).optim
    losses = [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 0.0]
    network = nn.Linear(2, 1, bias=False)
    whole = rates_of(Optimisation(chosen, network, torch.device("cpu")), network, losses)
    assert whole[-1] == 0.5
    first = Optimisation(chosen, network, torch.device("cpu"))
    before = rates_of(first, network, losses[:5])  # in the middle of a period
    second = Optimisation(chosen, network, torch.device("cpu"))
    second.load_state_dict(first.state_dict())
    assert before + rates_of(second, network, losses[5:], start=5) == whole


def test_adam_decays_by_the_gradient_and_adamw_apart_from_it(recipe):
    moved = {}
    for name in ("adam", "adamw"):
        chosen = recipe(f"optim.name={name}", "optim.lr=0.1", "optim.warm_up=0",
                        "optim.weight_decay=0.5", "optim.clip_grad=0.0").optim  # fmt: skip
        network = nn.Linear(2, 1, bias=False)
        nn.init.constant_(network.weight, 2.0)
        made = Optimisation(chosen, network, torch.device("cpu"))
        made.backward(network.weight.sum() * 0.0)
        made.update(0)
        moved[name] = float(network.weight.detach()[0, 0])
    # The gradient is 0: Adam sees the penalty's alone, of size 1; AdamW shrinks by lr * decay.
    assert moved["adam"] == pytest.approx(2.0 - 0.1, abs=1e-4)
    assert moved["adamw"] == pytest.approx(2.0 * (1 - 0.05), abs=1e-4)


@pytest.mark.parametrize("override", ["optim.schedule=plateau", "optim.period=3"])
def test_a_plateau_needs_its_period(override, recipe):
    with pytest.raises(InputError, match="period = steps goes with"):
        recipe(override)


def test_norms_and_biases_do_not_decay_unless_asked(recipe):
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    network[2].weight.requires_grad_(False)
    decaying, others = parameter_groups(network, recipe("optim.weight_decay=0.1").optim)
    assert [tuple(p.shape) for p in decaying["params"]] == [(4, 3)]
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 4
    (every,) = parameter_groups(network, recipe("optim.decay_all=true").optim)
    assert len(every["params"]) == 5


def test_gradient_norm_is_limited(recipe):
    chosen = recipe(
        "optim.name=sgd", "optim.lr=1.0", "optim.momentum=0.0", "optim.warm_up=0",
        "optim.clip_grad=0.25", "optim.weight_decay=0.0",
    )  # fmt: skip
    network = nn.Linear(3, 1, bias=False)
    before = network.weight.detach().clone()
    optimisation = Optimisation(chosen.optim, network, torch.device("cpu"))
    optimisation.backward(100 * network(torch.ones(1, 3)).sum())
    optimisation.update(0)
    assert (network.weight - before).norm().item() == pytest.approx(0.25, rel=1e-4)
    assert network.weight.grad is None


def test_mixed_precision(recipe):
    with pytest.raises(InputError, match="fp16 needs a CUDA device"):
        Optimisation(recipe("optim.amp=fp16").optim, nn.Linear(1, 1), torch.device("cpu"))
    seen = []

    class Watching(Regression):
        def step(self, batch):
            seen.append(self.network(batch[0]).dtype)
            return super().step(batch)

    lines, _, _ = train(recipe("optim.amp=bf16"), Watching(), batches(4))
    assert set(seen) == {torch.bfloat16}
    assert lines[-1][1]["loss"]["total"] < lines[0][1]["loss"]["total"]


def test_nothing_that_learns_is_refused(recipe):
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(InputError, match="no parameter"):
        Optimisation(recipe().optim, frozen, torch.device("cpu"))


def test_window_state_survives():
    window, other = loop.LossWindow(), loop.LossWindow()
    window.add({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    other.load_state_dict(window.state_dict(), torch.device("cpu"))
    for each in (window, other):
        each.add({"a": torch.tensor(3.0), "b": torch.tensor(2.0)})
    assert other.means(ALONE) == window.means(ALONE) == {"total": 4.0, "a": 2.0, "b": 2.0}
    window.clear()
    assert window.means(ALONE) == {}


def test_supervised_averages_weights_and_freezes_statistics():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4))
    method = Supervised(model, ALONE, ema=0.5, freeze_batch_norm=True)
    assert model.training
    assert not model[1].training
    (name,) = method.evaluated()
    assert name == "ema"
    with torch.no_grad():
        model[0].weight.add_(1.0)
    method.after_update(1)
    averaged = method.evaluated()["ema"]
    assert not torch.equal(averaged[0].weight, model[0].weight)
    other = Supervised(model, ALONE, ema=0.5)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.evaluated()["ema"][0].weight, averaged[0].weight)
    assert Supervised(model, ALONE).evaluated() == {"model": model}
    freeze_statistics(model)
    assert not model[1].training

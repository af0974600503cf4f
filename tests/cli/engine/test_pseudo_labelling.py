"""Training with pseudo labels, on videos of which every third frame counts as annotated."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stad_cli.config import load_recipe
from stad_cli.engine import checkpoint, loop
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods import PseudoLabelling, pseudo_labels
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_cli.method_section import MethodSection
from stad_eval import InputError
from stad_models.structures import Detections

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))

SPARSE = ("optim.ema=0", "data.every_nth_frame=3", "eval.every=0", "run.log_every=1")
# A network this young finds nothing that it is sure of.
PSEUDO = (
    *SPARSE, "method.name=pseudo_labels", "method.burn_in=2", "method.proposal_score=0.05",
    "method.proposal_limit=4", "method.momentum=0.5",
)  # fmt: skip


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


def entries(run: Path) -> list[dict]:
    return [
        {key: value for key, value in entry.items() if key not in ("clips_per_s", "wait")}
        for entry in read_log(run)
    ]


def losses(run: Path) -> list[dict]:
    return [entry["loss"] for entry in read_log(run) if "loss" in entry]


@pytest.fixture(scope="module")
def assigned(dataset, recipe_text, tmp_path_factory):
    """A run with TLA, looked at from several sides."""
    folder = tmp_path_factory.mktemp("assigned")
    (folder / "small.toml").write_text(recipe_text)
    chosen = load_recipe(folder / "small.toml", [*PSEUDO, "optim.steps=8", "eval.every=4"])
    return train(chosen, data=dataset, out=folder / "run", device="cpu"), chosen


@pytest.mark.parametrize("burn_in", [0, 3])
def test_weight_zero_is_supervised_training_to_the_bit(burn_in, recipe, dataset, tmp_path):
    steps = ("optim.steps=6", "optim.accumulate=2")
    plain = train(recipe(*SPARSE, *steps), data=dataset, out=tmp_path / "plain", device="cpu")
    pseudo = train(
        recipe(*PSEUDO, *steps, "method.unsup_weight=0", f"method.burn_in={burn_in}"),
        data=dataset, out=tmp_path / "pseudo", device="cpu",
    )  # fmt: skip
    one, other = (checkpoint.load(run.last)["training"] for run in (plain, pseudo))
    for part in ("network", "optimisation", "random", "window"):
        same(one[part], other[part], part)
    assert losses(tmp_path / "plain") == losses(tmp_path / "pseudo")
    student = {name: value for name, value in pseudo.metrics.items() if name.startswith("student/")}
    assert student == {f"student/{name}": value for name, value in plain.metrics.items()}


def test_the_burn_in_is_supervised_and_ends_with_a_copy(recipe, dataset, tmp_path):
    plain = train(recipe(*SPARSE, "optim.steps=4"), data=dataset, out=tmp_path / "a", device="cpu")
    burnt = train(
        recipe(*PSEUDO, "optim.steps=4", "method.burn_in=4"),
        data=dataset, out=tmp_path / "b", device="cpu",
    )  # fmt: skip
    one, other = (checkpoint.load(run.last)["training"] for run in (plain, burnt))
    same(one["network"], other["network"])
    same(other["network"], other["method"]["teacher"]["model"])
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert burnt.metrics["frame_mAP"] == burnt.metrics["student/frame_mAP"]


def test_both_losses_add_up_and_the_log_tells_what_was_labelled(assigned):
    found, _ = assigned
    told = [entry for entry in read_log(found.run) if "loss" in entry]
    assert [entry["step"] for entry in told] == list(range(1, 9))
    for entry in told:
        names = set(entry["loss"]) - {"total"}
        ours = {name for name in names if name.startswith("unsup_")}
        assert names - ours == {"actor_class", "actor_box", "actor_centerness", "action"}
        after = entry["step"] > 2
        assert ours == ({f"unsup_{name}" for name in names - ours} if after else set())
        assert entry["loss"]["total"] == pytest.approx(
            sum(value for name, value in entry["loss"].items() if name != "total")
        )
        assert ("pseudo_labels" in entry) is after
    counts = [entry["pseudo_labels"] for entry in told[2:]]
    assert all(count["clips"] == 2 for count in counts)
    boxes = sum(count["boxes"]["given"] for count in counts)
    assert boxes > 0
    # Every actor does one thing: a label per box, and they are those of the classes together.
    assert boxes == sum(count["labels"]["given"] for count in counts)
    for count in counts:
        assert set(count["by_class"]) == {"jump", "walk"}
        by_class = sum(one["given"] for one in count["by_class"].values())
        assert by_class == count["labels"]["given"]
        assert 0 <= count["boxes"]["recall"] <= 1  # the truth of every frame is known


def test_teacher_and_student_are_scored_side_by_side_and_the_teacher_is_kept(assigned):
    found, _ = assigned
    scored = [entry for entry in read_log(found.run) if "eval" in entry]
    assert [entry["step"] for entry in scored] == [4, 8]
    for entry in scored:
        assert {"frame_mAP", "actor_AP", "student/frame_mAP", "student/actor_AP"} == set(
            entry["eval"]
        )
    assert found.to_plain()["student/frame_mAP"] == found.metrics["student/frame_mAP"]
    last = checkpoint.load(found.last)
    teacher = last["training"]["method"]["teacher"]["model"]
    same(last["model"], teacher)
    network = last["training"]["network"]
    assert any(not torch.equal(value, network[name]) for name, value in teacher.items())


@pytest.mark.parametrize(
    "strategy", ["none", "ema", "interpolation", "threshold", "class_threshold", "tla"]
)
def test_every_strategy_trains(strategy, recipe, dataset, tmp_path):
    chosen = recipe(
        *PSEUDO, "optim.steps=4", f"method.strategy={strategy}", "method.threshold=0.3",
        "method.background=negative", "optim.amp=bf16", "method.ratio=0.5",
        "method.strong.scale=[0.8, 1.2]", "clip.length=8",
    )  # fmt: skip
    found = train(chosen, data=dataset, out=tmp_path / "run", device="cpu")
    last = losses(found.run)[-1]
    unlabelled = strategy not in ("none", "ema")
    assert any(name.startswith("unsup_") for name in last) is unlabelled
    assert all(value == value for value in last.values())
    assert ("student/frame_mAP" in found.metrics) is (strategy != "none")
    told = [entry["pseudo_labels"] for entry in read_log(found.run) if "pseudo_labels" in entry]
    assert [count["clips"] for count in told] == ([1, 1] if unlabelled else [])
    if strategy == "interpolation":  # people who move in a straight line
        assert all(count["boxes"]["precision"] == 1 for count in told)
        assert all(count["labels"]["recall"] == 1 for count in told)


def test_pseudo_labels_change_what_is_learned(assigned, recipe, dataset, tmp_path):
    found, _ = assigned
    plain = train(recipe(*SPARSE, "optim.steps=8"), data=dataset, out=tmp_path / "a", device="cpu")
    one, other = (checkpoint.load(run.last)["training"]["network"] for run in (plain, found))
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
    assert losses(plain.run)[:2] == losses(found.run)[:2]


def test_hidden_truth_is_counted_and_never_learned_from(assigned, dataset, tmp_path, monkeypatch):
    found, chosen = assigned
    from stad_cli.engine.methods import unlabelled_clips

    monkeypatch.setattr(unlabelled_clips, "hidden_truth", lambda *_: {})
    blind = train(chosen, data=dataset, out=tmp_path / "blind", device="cpu")
    one, other = (checkpoint.load(run.last)["training"] for run in (found, blind))
    for part in ("network", "optimisation", "random"):
        same(one[part], other[part], part)
    assert losses(found.run) == losses(blind.run)
    for entry in read_log(blind.run):
        for count in (entry["pseudo_labels"],) if "pseudo_labels" in entry else ():
            assert set(count["boxes"]) == {"given"}  # nothing to judge by


@pytest.mark.parametrize("strategy", ["tla", "class_threshold"])
def test_a_run_that_was_stopped_resumes_to_the_bit(strategy, recipe, dataset, tmp_path):
    chosen = recipe(
        *PSEUDO, "optim.steps=7", f"method.strategy={strategy}", "run.log_every=3",
        "eval.every=4", "optim.accumulate=2",
    )  # fmt: skip
    whole = train(chosen, data=dataset, out=tmp_path / "whole", device="cpu")
    parts = tmp_path / "parts"
    # In the burn-in, at its end, and between two lines of the log.
    done = 0
    for stops in (1, 2, 5):
        updates = iter(range(done + 1, 100))
        with pytest.raises(loop.Stopped) as stopped:
            train(
                chosen, data=dataset, out=parts, resume=done > 0, device="cpu",
                stop=lambda updates=updates, stops=stops: next(updates) >= stops,
            )  # fmt: skip
        done = stopped.value.step
        assert done == stops
    train(chosen, data=dataset, out=parts, resume=True, device="cpu")
    for name in ("last.pt", "best.pt"):
        one, other = (checkpoint.load(run / "checkpoints" / name) for run in (whole.run, parts))
        same(one, other, name)
    assert entries(whole.run) == entries(parts)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_bit(recipe, dataset, tmp_path):
    path = tmp_path / "pseudo.toml"
    path.write_text(recipe(*PSEUDO, "optim.steps=8", "method.proposal_nms=0.5").to_toml())
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, str(script), str(path), str(dataset), str(tmp_path), "update:6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert ends["undisturbed"] == [0], done.stderr
    first, second = ends["update:6"]
    assert os.WTERMSIG(first) == signal.SIGKILL
    assert second == 0, done.stderr
    one, other = (
        checkpoint.load(tmp_path / run / "checkpoints" / "last.pt")
        for run in ("undisturbed", "update-6")
    )
    same(one, other)
    assert entries(tmp_path / "undisturbed") == entries(tmp_path / "update-6")


class Finding(torch.nn.Module):
    """A detector without `propose`, that finds what it is told."""

    def __init__(self, boxes, actor_scores, scores) -> None:
        super().__init__()
        self.found = Detections(
            boxes=torch.tensor(boxes),
            actor_scores=torch.tensor(actor_scores),
            scores=torch.tensor(scores),
        )

    def forward(self, clips, targets=None):
        return [self.found for _ in clips]


def proposals_of(detector, recipe, dataset, **settings):
    from stad_cli.engine.batches import training_batches
    from stad_cli.engine.dataset import dataset_of
    from stad_cli.engine.methods.teacher_proposals import teacher_proposals

    batch = next(
        training_batches(recipe(), dataset_of(recipe(), dataset), ALONE, start=0, caches={})
    )
    section = MethodSection(name="pseudo_labels", **settings)
    return teacher_proposals(detector, batch, section, torch.device("cpu"))


def test_any_detector_with_detections_can_teach(recipe, dataset):
    boxes = [[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [-5.0, 20.0, 90.0, 40.0]]
    finding = Finding(boxes, [0.5, 0.8, 0.6], [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    first, second = proposals_of(finding, recipe, dataset)
    # Best first, and cut at the borders of the 64 x 48 clip.
    assert first.boxes.tolist() == [boxes[1], [0.0, 20.0, 64.0, 40.0], boxes[0]]
    assert torch.equal(first.scores, finding.found.scores[[1, 2, 0]])
    assert torch.equal(first.boxes, second.boxes)
    fewer = proposals_of(finding, recipe, dataset, proposal_nms=0.5, proposal_score=0.55)
    assert torch.equal(fewer[0].scores, finding.found.scores[[1, 2]])
    (only, _) = proposals_of(finding, recipe, dataset, proposal_limit=1)
    assert torch.equal(only.scores, finding.found.scores[[1]])
    (nobody, _) = proposals_of(finding, recipe, dataset, proposal_score=0.9)
    assert nobody.boxes.shape == (0, 4)
    assert nobody.scores.shape == (0, 2)


def test_a_teacher_that_diverged_ends_the_run_with_one_message(recipe, dataset):
    for boxes, scores in (
        ([[0.0, 0.0, float("nan"), 1.0]], [[0.5, 0.5]]),
        ([[0.0, 0.0, 1.0, 1.0]], [[0.5, float("nan")]]),
    ):
        with pytest.raises(InputError, match=r"training diverged.*optim\.lr"):
            proposals_of(Finding(boxes, [0.9], scores), recipe, dataset)


def test_a_clip_whose_actors_nobody_found_is_left_out(recipe, dataset, tmp_path):
    chosen = recipe(*PSEUDO, "optim.steps=3", "method.burn_in=0", "method.proposal_score=1.0")
    found = train(chosen, data=dataset, out=tmp_path / "blind", device="cpu")
    for entry in losses(found.run):
        ours = [value for name, value in entry.items() if name.startswith("unsup_")]
        assert ours == [0.0] * 4
    told = [entry["pseudo_labels"] for entry in read_log(found.run) if "pseudo_labels" in entry]
    assert [(count["left_out"], count["boxes"]["given"]) for count in told] == [(2, 0)] * 3
    assert all(count["boxes"]["recall"] == 0 for count in told)


def test_steps_without_batches_are_a_programmers_mistake(recipe, dataset):
    method = PseudoLabelling(torch.nn.Linear(1, 1), ALONE, MethodSection(name="pseudo_labels"))
    assert method.report() == {}
    with pytest.raises(RuntimeError, match="batches come before"):
        method._strategy()
    assert pseudo_labels.PseudoLabelling is PseudoLabelling


def test_a_set_without_gaps_is_refused(recipe, dataset, tmp_path):
    with pytest.raises(InputError, match=r"no frame between two annotated.*every_nth_frame"):
        train(
            recipe(*PSEUDO, "data.every_nth_frame=1", "method.burn_in=0"),
            data=dataset, out=tmp_path / "run", device="cpu",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.ema=0.9", ["optim.ema must be 0", "method.momentum"]),
        ("method.ratio=0.3", ["ratio", "whole number"]),
        ("method.strategy=best", ["method.strategy", "'best'"]),
        ("method.unsup_weight=-1", ["method.unsup_weight", "-1"]),
        ("method.cost=[1, 1]", ["method.cost"]),
        ("method.burn_inn=1", ["method.burn_inn", "burn_in"]),
        ("method.strong.huue=0.1", ["huue", "hue"]),
        ("method.strong.scale=[2, 1]", ["scale must be [low, high]"]),
        ("method.strong.cutout_area=[0.5, 2]", ["cutout_area"]),
        ("method.name=supervised", ["goes with name", "pseudo_labels"]),
    ],
)
def test_settings_that_cannot_be_are_named(override, words, recipe):
    with pytest.raises(InputError) as caught:
        recipe(*PSEUDO, override)
    for word in words:
        assert word in str(caught.value)


def test_the_published_recipe_has_the_papers_values():
    recipe, plain = (
        load_recipe("se_stad_tla_slowfast_r50_ava"),
        load_recipe("se_stad_slowfast_r50_ava"),
    )
    method, optim = recipe.method, recipe.optim
    assert (method.burn_in, optim.steps - method.burn_in) == (20_000, 40_000)
    assert (method.strategy, method.unsup_weight, method.ratio) == ("tla", 0.5, 1.0)
    assert (method.proposal_score, method.proposal_limit, method.proposal_nms) == (0.3, 100, 1.0)
    assert method.cost == (1.0, 1.0, 1.0)
    assert optim.batch * 8 == 48
    for same_in_both in ("model", "clip", "augment"):
        assert getattr(recipe, same_in_both) == getattr(plain, same_in_both)
    assert optim.model_copy(update={"steps": plain.optim.steps}) == plain.optim


@pytest.mark.parametrize(
    ("tla", "plain"),
    [("synthetic", "demo"), ("jhmdb", "jhmdb")],
)
def test_the_small_recipes_train_the_models_of_the_supervised_ones(tla, plain):
    ours, theirs = load_recipe(f"se_stad_tla_tiny_{tla}"), load_recipe(f"se_stad_tiny_{plain}")
    assert ours.model == theirs.model
    assert ours.augment == theirs.augment
    assert (ours.clip, ours.data.size) == (theirs.clip, theirs.data.size)
    assert ours.method.burn_in < ours.optim.steps

"""Training by consistency and the baselines beside it: what a step adds up, and what it equals."""

import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods import Consistency, TrainingData, build_method
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_eval import InputError

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
STILL = (
    "method.strong.brightness=0.0",
    "method.strong.contrast=0.0",
    "method.strong.saturation=0.0",
    "method.strong.hue=0.0",
    "method.strong.cutout=0",
)
SUPERVISED = {"class", "cross_entropy", "dice"}


@pytest.fixture
def built(half_recipe, dataset):
    """A method and its stream of batches."""

    def make(*overrides, seed=0):
        recipe = half_recipe(*overrides)
        whole = dataset_of(recipe, dataset)
        torch.manual_seed(seed)
        model = build_detector(recipe.model, recipe.clip, whole.classes)
        method = build_method(recipe, model, ALONE)
        data = TrainingData(recipe=recipe, dataset=whole, root=dataset, group=ALONE, caches={})
        return method, method.batches(data, start=0)

    return make


def weights_of(outcome):
    return checkpoint.load(outcome.last)["training"]["network"]


@pytest.fixture(scope="module")
def trained(half_recipe, dataset, tmp_path_factory):
    """A run by consistency to its end."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = half_recipe("method.burn_in=1", "method.strong.flip=0.5")
    return train(recipe, data=dataset, out=folder / "run", device="cpu")


def test_at_weight_zero_it_is_supervised_training_bit_for_bit(
    map_recipe, half_recipe, dataset, tmp_path
):
    plain = train(map_recipe("data.labelled=0.5"), data=dataset, out=tmp_path / "a", device="cpu")
    weightless = train(
        half_recipe("method.unsup_weight=0.0"), data=dataset, out=tmp_path / "b", device="cpu"
    )
    one, other = weights_of(plain), weights_of(weightless)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [
        [entry["loss"] for entry in read_log(run.run) if "loss" in entry]
        for run in (plain, weightless)
    ]
    assert losses[0] == losses[1]
    assert plain.metrics == pytest.approx(weightless.metrics, abs=0, nan_ok=True)


@pytest.mark.parametrize("attention", ["none", "variance", "gradient"])
def test_views_that_are_the_same_cost_nothing(built, attention):
    method, batches = built(f"method.consistency.attention={attention}", *STILL)
    losses = method.step(next(batches))
    assert set(losses) == SUPERVISED | {"unsup_class", "unsup_map"}
    assert float(losses["unsup_map"].detach()) < 1e-10
    assert float(losses["unsup_class"].detach()) < 1e-7


VIEWS = {
    "plain": ("attention=none",),
    "classes": ("attention=none", "localisation=0.0"),
    "maps": ("attention=none", "classification=0.0"),
    "variance": ("attention=variance", "cyclic=false", "l2=false"),
    "cyclic": ("attention=variance", "l2=false"),
    "gradient": ("attention=gradient", "l2=false"),
    "co_ssd": ("approach=co_ssd",),
    "pseudo_label": ("approach=pseudo_label", "threshold=0.0"),
    "mixmatch": ("approach=mixmatch",),
}
NAMES = {
    "classes": {"unsup_class"},
    "maps": {"unsup_map"},
    "pseudo_label": {f"unsup_{name}" for name in SUPERVISED},
}


@pytest.mark.parametrize("form", VIEWS)
def test_every_approach_adds_its_losses_and_they_pull(built, form):
    chosen = [f"method.consistency.{key}" for key in VIEWS[form]]
    method, batches = built(*chosen, "method.strong.flip=1.0", "method.burn_in=0")
    losses = method.step(next(batches))
    added = NAMES.get(form, {"unsup_class", "unsup_map"})
    assert set(losses) == SUPERVISED | added
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    assert all(values[name] >= 0 and values[name] == values[name] for name in values)
    assert sum(values[name] for name in added) > 0
    sum(losses[name] for name in added).backward()
    weight = method.network.get_parameter("backbone.conv_1a.conv.weight")
    assert float(weight.grad.abs().sum()) > 0


def test_weights_scale_what_they_weigh(built):
    base = ("method.consistency.attention=none", "method.strong.flip=1.0")
    found = []
    for weight, share in ((0.5, 0.3), (1.0, 0.6)):
        method, batches = built(
            *base,
            f"method.unsup_weight={weight}",
            f"method.consistency.classification={share}",
        )
        found.append({k: float(v.detach()) for k, v in method.step(next(batches)).items()})
    assert found[1]["dice"] == pytest.approx(found[0]["dice"])
    assert found[1]["unsup_map"] == pytest.approx(2 * found[0]["unsup_map"], rel=1e-4)
    assert found[1]["unsup_class"] == pytest.approx(4 * found[0]["unsup_class"], rel=1e-3)


def test_attention_takes_over_as_training_goes_on(built):
    method, _ = built("method.consistency.attention=variance", "optim.steps=10", "method.burn_in=2")
    shares = []
    for step in (1, 2, 6, 10):
        method.after_update(step)
        shares.append(method.report()["attention_share"])
    assert shares[0] == shares[1] == 0.0
    assert 0.0 < shares[2] < 0.2
    assert shares[3] == 1.0


def test_the_burn_in_sees_labelled_clips_alone(built):
    _, batches = built("method.burn_in=2")
    kinds = [next(batches).unlabelled is not None for _ in range(4)]
    assert kinds == [False, False, True, True]


def test_pseudo_labels_are_made_anew_in_every_round(built):
    method, batches = built(
        "method.consistency.approach=pseudo_label",
        "method.consistency.rounds=2",
        "method.consistency.threshold=1.0",
        "optim.steps=4",
    )
    assert isinstance(method, Consistency)
    losses = method.step(next(batches))
    # Nobody is sure: the same losses, at weight 0.
    assert float(losses["unsup_dice"].detach()) == 0.0
    assert method.report() == {"pseudo_clips": {"judged": 1, "sure": 0}}
    labels = lambda: method.state_dict()["labeller"]["model"]  # noqa: E731
    name = "capsules.beta_activation"
    with torch.no_grad():
        method.network.get_parameter(name).add_(1.0)
    method.after_update(1)
    assert not torch.equal(labels()[name], method.network.state_dict()[name])
    method.after_update(2)  # the second round begins
    assert torch.equal(labels()[name], method.network.state_dict()[name])


def test_a_run_that_was_stopped_ends_the_same(half_recipe, trained, dataset, tmp_path):
    from stad_cli.engine.loop import Stopped

    recipe = half_recipe("method.burn_in=1", "method.strong.flip=0.5")
    asked = iter([False, True, True])
    with pytest.raises(Stopped):
        train(recipe, data=dataset, out=tmp_path / "run", device="cpu", stop=lambda: next(asked))
    again = train(recipe, data=dataset, out=tmp_path / "run", device="cpu", resume=True)
    one, other = weights_of(trained), weights_of(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_ends_with_numbers_of_frames_and_tubes(trained):
    assert {"frame_mAP", "actor_AP", "video_mAP@0.2", "video_mAP@0.5"} <= {*trained.metrics}
    logged = [entry["loss"] for entry in read_log(trained.run) if "loss" in entry]
    assert "unsup_map" not in logged[0]
    assert {"unsup_map", "unsup_class"} <= {*logged[-1]}


def test_the_commands_score_and_run_a_checkpoint(trained, dataset, tmp_path, capsys):
    import json

    from stad_cli.main import main
    from stad_eval import read_tubes_json

    assert main(["eval", str(trained.run), "--data", str(dataset), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert {"0.2", "0.5"} <= set(scored["tubes"]["video_mAP"])
    video = next((dataset / "videos").rglob("*.mp4"))
    options = ["--checkpoint", str(trained.run), "--out", str(tmp_path), "--min-score", "0"]
    assert main(["detect", str(video), *options]) == 0
    assert (tmp_path / f"{video.stem}.mp4").is_file()
    assert read_tubes_json(tmp_path / f"{video.stem}.json").tubes.videos == (video.stem,)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("clip.form=keyframe",), 'form = "map"'),
        (("data.size=null",), "size"),
        (("method.strategy=ema",), 'goes with name = "pseudo_labels"'),
        (("method.name=supervised", "method.unlabelled_frames=actors"), '"consistency"'),
        (("method.ratio=0.3",), "whole number"),
        (("method.consistency.classification=0", "method.consistency.localisation=0"), "above 0"),
        (("method.consistency.attentions=none",), "attention"),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides, message, half_recipe):
    with pytest.raises(InputError, match=message):
        half_recipe(*overrides)


def test_a_detector_without_maps_and_too_few_steps_are_refused(half_recipe, recipe):
    model = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="localisation maps"):
        build_method(half_recipe(), model, ALONE)
    many = half_recipe("method.consistency.approach=pseudo_label", "method.consistency.rounds=9")
    detector = build_detector(many.model, many.clip, _classes())
    with pytest.raises(InputError, match="rounds"):
        build_method(many, detector, ALONE)
    with pytest.raises(InputError, match=r"strong\.flip"):
        recipe("method.name=pseudo_labels", "method.strong.flip=0.5", "optim.ema=0.0")


def _classes():
    from stad_data import ActionClasses

    return ActionClasses(names=("jump", "walk"), ids=(1, 2), exclusive=True)

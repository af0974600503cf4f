"""Training to follow objects: by labels, by consistency, and the commands around it."""

import json

import numpy as np
import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine.batches import training_batches
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods import TrainingData, build_method
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_cli.main import main
from stad_eval import InputError, read_mask_png

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
STILL = tuple(
    f"method.strong.{name}=0.0" for name in ("brightness", "contrast", "saturation", "hue")
)
SUPERVISED = {"cross_entropy", "dice"}


def data_of(recipe, root):
    return TrainingData(
        recipe=recipe, dataset=dataset_of(recipe, root), root=root, group=ALONE, caches={}
    )


@pytest.fixture
def built(half_recipe, vos):
    """A method and its stream of batches."""

    def make(*overrides):
        recipe = half_recipe(*overrides)
        data = data_of(recipe, vos)
        torch.manual_seed(0)
        model = build_detector(recipe.model, recipe.clip, data.dataset.classes)
        method = build_method(recipe, model, ALONE)
        return method, method.batches(data, start=0)

    return make


@pytest.fixture(scope="module")
def trained(half_recipe, vos, tmp_path_factory):
    """A run by consistency to its end."""
    recipe = half_recipe("method.burn_in=1", "method.consistency.attention=variance")
    return train(recipe, data=vos, out=tmp_path_factory.mktemp("whole") / "run", device="cpu")


def weights_of(outcome):
    return checkpoint.load(outcome.last)["training"]["network"]


def test_a_batch_holds_the_given_mask_and_the_others_to_be_found(object_recipe, vos):
    recipe = object_recipe("optim.batch=6")
    data = data_of(recipe, vos)
    batches = training_batches(recipe, data.dataset, ALONE, start=0, caches={})
    batch = next(batches)
    assert batch.clips.shape == (6, 3, 5, 40, 48)
    assert batch.given.flatten(1).any(dim=1).all()
    assert batch.masks.shape == (6, 5, 40, 48)
    assert (batch.masks[:, 1] == 1).flatten(1).any(dim=1).all()


def test_of_unlabelled_objects_the_first_mask_is_known_alone(built):
    _, batches = built()
    batch = next(batches)
    masks = batch.unlabelled.first.masks
    assert batch.unlabelled.first.given.any()
    assert not masks[:, 1:].any()
    assert batch.labelled.first.masks[:, 1:].any()
    names = [
        {info.video for info in (one.labelled if labelled else one.unlabelled).first.clips_info}
        for labelled in (True, False)
        for one in [batch, *(next(batches) for _ in range(5))]
    ]
    assert not set.union(*names[:6]) & set.union(*names[6:])


@pytest.mark.parametrize("attention", ["none", "variance", "gradient"])
def test_views_that_are_the_same_cost_nothing(built, attention):
    chosen = f"method.consistency.attention={attention}"
    method, batches = built(chosen, *STILL, "method.strong.cutout=0")
    losses = method.step(next(batches))
    assert set(losses) == SUPERVISED | {"unsup_map"}
    assert float(losses["unsup_map"].detach()) < 1e-10


@pytest.mark.parametrize("attention", ["none", "variance", "gradient"])
def test_views_that_differ_pull(built, attention):
    chosen = [f"method.consistency.{key}" for key in (f"attention={attention}", "l2=false")]
    method, batches = built(*chosen, "method.strong.flip=1.0", "method.strong.scale=[0.8, 1.2]")
    losses = method.step(next(batches))
    assert float(losses["unsup_map"].detach()) > 0
    losses["unsup_map"].backward()
    for name in ("backbone.conv_1a.conv.weight", "matching.encoder.layers.0.0.weight"):
        assert float(method.network.get_parameter(name).grad.abs().sum()) > 0


def test_at_weight_zero_it_is_supervised_training_bit_for_bit(
    object_recipe, half_recipe, vos, tmp_path
):
    plain = train(object_recipe("data.labelled=0.5"), data=vos, out=tmp_path / "a", device="cpu")
    weightless = half_recipe("method.unsup_weight=0.0")
    other = train(weightless, data=vos, out=tmp_path / "b", device="cpu")
    one, two = weights_of(plain), weights_of(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert plain.metrics == other.metrics


def test_a_run_ends_with_j_and_f_and_its_masks(trained):
    assert set(trained.metrics) >= {"J&F", "J", "F", "J_seen", "J_unseen"}
    assert all(0 <= value <= 1 for value in trained.metrics.values())
    written = sorted((trained.run / "detections" / "test_masks" / "a").glob("*.png"))
    assert [path.stem for path in written] == [f"{5 * frame:05d}" for frame in range(10)]
    assert read_mask_png(written[0]).shape == (37, 45)
    scores = [entry["eval"] for entry in read_log(trained.run) if "eval" in entry]
    assert len(scores) == 2
    losses = [entry["loss"] for entry in read_log(trained.run) if "loss" in entry]
    assert set(losses[-1]) == SUPERVISED | {"total", "unsup_map"}


def test_a_run_that_was_stopped_ends_the_same(half_recipe, trained, vos, tmp_path):
    from stad_cli.engine.loop import Stopped

    recipe = half_recipe("method.burn_in=1", "method.consistency.attention=variance")
    asked = iter([False, True, True])
    with pytest.raises(Stopped):
        train(recipe, data=vos, out=tmp_path / "run", device="cpu", stop=lambda: next(asked))
    again = train(recipe, data=vos, out=tmp_path / "run", device="cpu", resume=True)
    one, other = weights_of(trained), weights_of(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_anything_to_score_the_newest_weights_are_kept(object_recipe, vos, tmp_path):
    import shutil

    root = shutil.copytree(vos, tmp_path / "vos")
    for path in (root / "valid" / "Annotations").glob("[ab]/*.png"):
        if path.stem != "00000":
            path.unlink()
    run = train(object_recipe(), data=root, out=tmp_path / "run", device="cpu")
    assert np.isnan(run.metrics["J&F"])
    best, last = checkpoint.load(run.best), checkpoint.load(run.last)
    assert best["step"] == 4
    assert all(torch.equal(best["model"][name], last["model"][name]) for name in best["model"])


def test_the_commands_score_write_masks_and_report(trained, vos, tmp_path, capsys):
    found = tmp_path / "found"
    options = ["eval", str(trained.run), "--data", str(vos)]
    assert main([*options, "--masks", str(found), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    best = checkpoint.load(trained.best)
    if best["step"] == 4:
        assert scored["J&F"] == pytest.approx(trained.metrics["J&F"])
    assert {"J_seen", "F_unseen", "per_object"} <= set(scored)
    assert len(list(found.rglob("*.png"))) == 10 + 4 + 2
    assert main(options) == 0
    assert "J&F" in capsys.readouterr().out.splitlines()[-1]
    assert main(["report", str(trained.run), "--data", str(vos)]) == 0
    page = (trained.run / "report.html").read_text()
    assert "<h2>Objects</h2>" in page
    assert "<h2>Score while training</h2>" in page


def test_objects_of_other_classes_and_layouts_are_followed_too(trained, vos, tmp_path, capsys):
    folder = vos / "train"
    options = ["--data", str(folder), "--part", "train", "--masks", str(tmp_path / "out")]
    assert main(["eval", str(trained.run), *options]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["t0", "t1", "t2", "t3"]
    capsys.readouterr()


def test_a_plain_video_is_refused_and_so_are_masks_of_other_files(trained, tmp_path, capsys):
    video = tmp_path / "street.mp4"
    video.write_bytes(b"")
    assert main(["detect", str(video), "--checkpoint", str(trained.run)]) == 2
    message = capsys.readouterr().err
    assert "follows objects from their masks" in message
    assert "--masks" in message
    assert main(["eval", str(tmp_path / "boxes.json"), "--masks", str(tmp_path / "out")]) == 2
    assert "stad-eval masks" in capsys.readouterr().err


def test_a_dataset_without_a_second_mask_cannot_be_trained_on(object_recipe, vos, tmp_path):
    import shutil

    root = shutil.copytree(vos, tmp_path / "vos")
    for path in (root / "train" / "Annotations").rglob("*.png"):
        if path.stem != "00000":
            path.unlink()
    with pytest.raises(InputError, match="annotated on two frames"):
        train(object_recipe(), data=root, out=tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("method.consistency.classification=0.3",), "not classified"),
        (("method.consistency.approach=mixmatch",), "not classified"),
        (("method.unlabelled_frames=actors",), "unlabelled_frames"),
        (("data.external=FOLDER",), "which object is meant"),
        (("augment.mix=0.5",), "mix"),
        (("clip.repeat_keyframe=true",), "repeat_keyframe"),
        (("clip.form=keyframe",), 'form = "map" or "object"'),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides, message, half_recipe):
    with pytest.raises(InputError, match=message):
        half_recipe(*overrides)


@pytest.mark.parametrize("change", ["clip.form=map", "model.name=video_capsule_tiny"])
def test_the_network_and_its_clips_go_together(change, object_recipe, vos, tmp_path):
    changes = [change, "model.options={}", "clip.length=8"]
    with pytest.raises(InputError, match='form "object"'):
        train(object_recipe(*changes), data=vos, out=tmp_path / "run", device="cpu")

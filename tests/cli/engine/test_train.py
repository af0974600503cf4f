import numpy as np
import pytest
import torch

from stad_cli.config import load_recipe
from stad_cli.engine import checkpoint
from stad_cli.engine.batches import training_batches
from stad_cli.engine.dataset import dataset_of, frame_caches, open_dataset, part_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.evaluate import evaluate, inference
from stad_cli.engine.model_input import normalise
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_eval import InputError, actor_ap, detections_json, frame_map
from stad_models.structures import Detections, Targets

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))


def with_eval(recipe, **changes):
    return recipe.model_copy(update={"eval": recipe.eval.model_copy(update=changes)})


@pytest.fixture(scope="module")
def outcome(dataset, recipe_text, tmp_path_factory):
    """One short training, looked at from several sides."""
    folder = tmp_path_factory.mktemp("outcome")
    (folder / "small.toml").write_text(recipe_text)
    said = []
    recipe = load_recipe(folder / "small.toml")
    found = train(recipe, data=dataset, out=folder / "run", device="cpu", say=said.append)
    return found, recipe, said


def test_a_run_folder_holds_what_it_should(outcome):
    found, recipe, said = outcome
    assert load_recipe(found.run / "recipe.toml") == recipe
    assert found.best == found.run / "checkpoints" / "best.pt"
    assert list((found.run / "tensorboard").iterdir())
    entries = read_log(found.run)
    losses = [entry for entry in entries if "loss" in entry]
    assert [entry["step"] for entry in losses] == [2, 4, 6, 8, 10, 12]
    for entry in losses:
        parts = [value for name, value in entry["loss"].items() if name != "total"]
        assert entry["loss"]["total"] == pytest.approx(sum(parts))
    marks = [(entry["step"], entry.get("final", False)) for entry in entries if "eval" in entry]
    assert marks == [(5, False), (10, False), (12, True)]
    assert entries[-1]["eval"] == pytest.approx(found.evaluation.metrics(), nan_ok=True)
    assert any("frame_mAP" in line for line in said)
    plain = found.to_plain()
    assert plain["steps"] == 12
    assert plain["frame_mAP"] == found.evaluation.result.mean


def test_the_final_number_counts_every_annotated_frame(outcome, dataset):
    found, recipe, _ = outcome
    frames = sum(len(annotation.keyframes) for annotation in open_dataset("jhmdb", dataset).test)
    assert found.evaluation.clips == found.evaluation.result.counts["frames"] == frames == 16
    sparse = evaluate(
        checkpoint.build_model(found.best).model,
        dataset_of(recipe, dataset),
        "test",
        with_eval(recipe, every_nth_frame=4),
        ALONE,
        thin=True,
    )
    assert sparse.clips == sparse.result.counts["frames"] == 4
    assert sparse.actor_result.counts["truths"] == 4


def test_a_part_of_the_frames_scores_alike_whether_cut_before_or_after(outcome, dataset):
    from stad_data.sampling import keyframe_samples

    found, recipe, _ = outcome
    whole = dataset_of(recipe, dataset)
    model = checkpoint.build_model(found.last).model
    recipe = with_eval(recipe, every_nth_frame=3)
    before = evaluate(model, whole, "test", recipe, ALONE, thin=True)
    after = found.evaluation.on(keyframe_samples(whole.test, every=3))
    assert before.metrics() == pytest.approx(after.metrics(), nan_ok=True)
    assert len(before.found) == len(after.found)
    np.testing.assert_allclose(before.actors.box, after.actors.box, atol=1e-3)


def test_detections_on_disk_score_as_the_outcome_says(outcome):
    found, _, _ = outcome
    read = detections_json.read(found.run / "detections" / "test.json")
    evaluation = found.evaluation
    again = frame_map(evaluation.truth, read.found, evaluation.protocol)
    assert again.mean == evaluation.result.mean
    actors = actor_ap(evaluation.actor_truth, read.actors)
    assert actors.mean == evaluation.actor_result.mean
    assert len(read.actors) == len(evaluation.actors) > 0
    assert (read.actors.box[:, 2:] <= [64, 48]).all()
    assert (read.actors.box[:, :2] >= 0).all()


def test_best_and_last_give_the_averaged_weights(outcome):
    found, recipe, _ = outcome
    last = checkpoint.load(found.last)
    model, classes, of = checkpoint.build_model(found.last)
    assert classes.names == ("jump", "walk")
    assert of == recipe
    averaged = last["training"]["method"]["teacher"]["model"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, averaged[name])
    learned = last["training"]["network"]
    assert any(not torch.equal(value, learned[name]) for name, value in averaged.items())
    best = checkpoint.load(found.best)
    assert best["kind"] == "inference"
    assert "training" not in best
    scores = [entry["eval"]["frame_mAP"] for entry in read_log(found.run) if "eval" in entry]
    assert best["metrics"]["frame_mAP"] == pytest.approx(max(scores), nan_ok=True) or (
        best["step"] == 12
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(outcome, dataset, tmp_path):
    found, recipe, _ = outcome
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    weights = [checkpoint.load(found.last)["model"]]
    for seed in (0, 1):
        again = load_recipe(tmp_path / "r.toml", [f"run.seed={seed}"])
        run = train(again, data=dataset, out=tmp_path / str(seed), device="cpu")
        weights.append(checkpoint.load(run.last)["model"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())


def test_training_begins_with_weights_of_the_same_model_only(outcome, recipe, dataset, tmp_path):
    found, _, _ = outcome
    begun = train(
        recipe("optim.steps=1", "optim.lr=1e-9", "optim.weight_decay=0", "optim.ema=0",
               "eval.every=0", "model.batch_norm=frozen"),
        data=dataset, out=tmp_path / "begun", weights=found.best, device="cpu",
    )  # fmt: skip
    before, after = checkpoint.load(found.best)["model"], checkpoint.load(begun.last)["model"]
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="another model"):
        train(
            recipe("model.name=se_stad_small", "model.options={}"),
            data=dataset, out=tmp_path / "other", weights=found.best, device="cpu",
        )  # fmt: skip
    with pytest.raises(InputError, match="of another network"):
        train(
            recipe("model.options.channels=16"),
            data=dataset, out=tmp_path / "other", weights=found.best, device="cpu",
        )  # fmt: skip
    with pytest.raises(InputError, match="no such checkpoint"):
        train(
            recipe(), data=dataset, out=tmp_path / "other", weights=tmp_path / "gone", device="cpu"
        )
    assert not (tmp_path / "other").exists()


def test_bf16_and_accumulation_train_the_detector(recipe, dataset, tmp_path):
    steps = ("optim.steps=4", "optim.accumulate=2", "eval.every=0")
    chosen = recipe(*steps, "optim.amp=bf16", "clip.length=8")
    found = train(chosen, data=dataset, out=tmp_path / "run", device="cpu")
    losses = [entry["loss"] for entry in read_log(found.run) if "loss" in entry]
    assert len(losses) == 2
    weights = checkpoint.load(found.last)["training"]["network"]
    assert all(value.dtype != torch.bfloat16 for value in weights.values())


def test_without_averaged_weights_evaluation_does_not_disturb_training(recipe, dataset, tmp_path):
    ends = []
    for every in (0, 1):
        chosen = recipe("optim.steps=3", "optim.ema=0", f"eval.every={every}")
        found = train(chosen, data=dataset, out=tmp_path / str(every), device="cpu")
        ends.append(checkpoint.load(found.last)["model"])
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name])


def test_repeating_the_keyframe_takes_all_motion_from_what_the_model_sees(recipe, dataset):
    for repeat, moves in (("false", True), ("true", False)):
        chosen = recipe(f"clip.repeat_keyframe={repeat}", "augment.mix=0")
        batch = next(
            training_batches(chosen, dataset_of(chosen, dataset), ALONE, start=0, caches={})
        )
        middle = batch.clips[:, :, 2:3]
        assert batch.clips.shape == (2, 3, 4, 48, 64)
        assert bool((batch.clips == middle).all()) is not moves


def test_workers_ranks_and_caches_do_not_change_what_is_drawn(recipe, dataset):
    def drawn(*overrides, ranks=1, rank=0, start=0, count=4):
        chosen = recipe(*overrides)
        data = dataset_of(chosen, dataset)
        caches = frame_caches(data.train, chosen.data)
        group = Processes(rank=rank, ranks=ranks, local_ranks=ranks, device=torch.device("cpu"))
        batches = training_batches(chosen, data, group, start=start, caches=caches)
        return [next(batches) for _ in range(count)]

    whole = drawn("optim.batch=4")
    for other in (
        drawn("optim.batch=4", "run.workers=2"),
        [None, None, *drawn("optim.batch=4", start=2, count=2)],
    ):
        for a, b in zip(whole, other, strict=True):
            assert b is None or torch.equal(a.clips, b.clips)
    first, second = (drawn("optim.batch=2", ranks=2, rank=rank) for rank in (0, 1))
    for a, b, c in zip(whole, first, second, strict=True):
        assert torch.equal(a.clips, torch.cat([b.clips, c.clips]))
        for boxes, parts in zip(a.boxes, b.boxes + c.boxes, strict=True):
            assert torch.equal(boxes, parts)


def test_balanced_draws_meet_rare_classes_more_often(recipe, dataset):
    from dataclasses import replace

    chosen = recipe("data.balance=1.0", "optim.batch=10", "augment.mix=0")
    data = dataset_of(chosen, dataset)
    walk = [a for a in data.train if a.video.startswith("walk")]
    long_tailed = replace(data, train=(*[a for a in data.train if a not in walk], walk[0]))
    batch = next(training_batches(chosen, long_tailed, ALONE, start=0, caches={}))
    even = recipe("optim.batch=24", "augment.mix=0")
    plain = next(training_batches(even, long_tailed, ALONE, start=0, caches={}))
    share = torch.cat(batch.labels)[:, 1].mean()
    assert torch.cat(plain.labels)[:, 1].mean() == pytest.approx(1 / 3)
    assert share > 0.4


def test_as_many_clips_without_actors_are_drawn_as_wanted(recipe, dataset):
    from dataclasses import replace

    data = dataset_of(recipe(), dataset)
    (track,) = data.train[0].tracks
    short = replace(track, frames=track.frames[:2], boxes=track.boxes[:2], labels=track.labels[:2])
    leaving = replace(data, train=(replace(data.train[0], tracks=(short,)), *data.train[1:]))
    shares = []
    for wanted in ("data.balance=0.0", "data.empty=0.5"):
        chosen = recipe("data.skip_empty=false", "optim.batch=32", "augment.mix=0", wanted)
        batch = next(training_batches(chosen, leaving, ALONE, start=0, caches={}))
        shares.append(sum(len(boxes) == 0 for boxes in batch.boxes) / 32)
    assert shares == [6 / 32, 16 / 32]
    with pytest.raises(InputError, match=r"empty is a share of samples that skip_empty leaves out"):
        recipe("data.empty=0.2")
    with pytest.raises(InputError, match=r"empty.*less than 1"):
        recipe("data.empty=1.0", "data.skip_empty=false")


def test_videos_can_be_chosen_and_unknown_ones_are_named(recipe, dataset):
    chosen = dataset_of(recipe('data.videos=["walk/v0", "jump/v2"]'), dataset)
    assert [a.video for a in chosen.train] == ["walk/v0"]
    assert [a.video for a in chosen.test] == ["jump/v2"]
    with pytest.raises(InputError, match=r"'walk/v9'.*did you mean"):
        dataset_of(recipe('data.videos=["walk/v9"]'), dataset)
    nothing = dataset_of(recipe('data.videos=["walk/v0"]'), dataset)
    with pytest.raises(InputError, match=r"test part .* no annotated frame"):
        part_of(nothing, "test")


def test_bad_data_folders_are_named(dataset, tmp_path):
    with pytest.raises(InputError, match=r"gone.*--data"):
        open_dataset("jhmdb", tmp_path / "gone")
    with pytest.raises(InputError, match="jhmdb"):
        open_dataset("jhmbd", dataset)
    with pytest.raises(InputError, match=r"no lists of split 7"):
        open_dataset("jhmdb", dataset, split=7)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_video_that_cannot_be_read_is_one_message(workers, recipe, dataset, tmp_path):
    import shutil

    broken = tmp_path / "data"
    shutil.copytree(dataset, broken)
    video = broken / "videos" / "walk" / "v0.mp4"
    video.write_bytes(b"no video")
    with pytest.raises(InputError, match=r"v0\.mp4") as caught:
        train(
            recipe("data.cache=false", f"run.workers={workers}"),
            data=broken, out=tmp_path / "run", device="cpu",
        )  # fmt: skip
    assert "Traceback" not in str(caught.value)


def test_frames_are_normalised_as_the_public_weights_expect():
    frames = torch.tensor([0, 255], dtype=torch.uint8)
    expected = torch.tensor([-0.45 / 0.225, (1 - 0.45) / 0.225])
    torch.testing.assert_close(normalise(frames), expected)


class Oracle(torch.nn.Module):
    """Knows the truth of one video by the position of its bright box; finds nothing elsewhere."""

    def forward(self, clips, targets=None):
        found = []
        for clip in clips:
            red, green, _ = clip[:, clip.shape[1] // 2]
            bright = red > 1.0
            ys, xs = bright.nonzero(as_tuple=True)
            box = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).float()
            label = int(green[bright].mean() > 0)
            scores = torch.zeros(1, 2)
            scores[0, label] = 0.9
            sure = torch.tensor([0.8])
            found.append(Detections(boxes=box[None], actor_scores=sure, scores=scores))
        return found


def test_boxes_are_scored_where_the_annotation_is_whatever_size_the_model_sees(recipe, dataset):
    oracle = Oracle()
    for size in ("[64, 48]", "[96, 96]", "[128, 48]"):
        chosen = recipe(f"data.size={size}", "data.cache=false")
        found = evaluate(oracle, dataset_of(chosen, dataset), "test", chosen, ALONE)
        assert found.metrics() == {"frame_mAP": 1.0, "actor_AP": 1.0}, size
        assert found.clips == 16


def test_evaluation_leaves_modes_and_gradients_as_they_were():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    model[0].eval()
    with inference(model):
        assert not model.training
        assert not model(torch.ones(2, 2)).requires_grad
    assert (model.training, model[0].training, model[1].training) == (True, False, True)


def test_targets_fit_the_detector(recipe, dataset):
    from stad_cli.engine.model_input import to_device

    chosen = recipe()
    batch = next(training_batches(chosen, dataset_of(chosen, dataset), ALONE, start=0, caches={}))
    clips, targets = to_device(batch, torch.device("cpu"))
    assert clips.dtype == torch.float32
    assert isinstance(targets, Targets)
    assert all(labels.shape[1] == 2 for labels in targets.labels)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], ["unknown recipe 'nope'"]),
        (["RECIPE", "--set", "optim.lrr=1"], ["optim.lrr", "lr"]),
        (["RECIPE", "--device", "cuda"], ["CUDA"]),
        (["RECIPE", "--data", "/nowhere"], ["/nowhere"]),
        (["RECIPE", "--weights", "/nowhere.pt"], ["/nowhere.pt"]),
    ],
)
def test_the_users_mistakes_end_in_one_message(
    arguments, words, stad, recipe_file, dataset, tmp_path
):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    arguments = [recipe_file if word == "RECIPE" else word for word in arguments]
    out = tmp_path / "run"
    data = [] if "--data" in arguments else ["--data", dataset]
    outcome = stad("train", *arguments, *data, "--out", out)
    assert outcome.code == 2
    for word in words:
        assert word in outcome.err
    assert "Traceback" not in outcome.err
    assert not out.exists()

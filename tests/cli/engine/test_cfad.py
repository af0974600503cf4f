"""CFAD through the program: two phases of training, evaluation of tubes, and a video of its own."""

import json

import numpy as np
import pytest
import torch

from stad_cli.config import load_recipe
from stad_cli.engine.batches import training_batches
from stad_cli.engine.checkpoint import build_model
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods.building import build_method
from stad_cli.engine.methods.method import TrainingData
from stad_cli.engine.model_input import targets_of
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_cli.main import main
from stad_data import ActionClasses
from stad_data.datasets import jhmdb
from stad_eval import InputError, read_tubes_json

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
SMALL = (
    "model.options.hidden=8",
    'model.options.trunk={width=0.06, last="mixed_3b"}',
    "model.options.samples=4",
    "model.options.proposal_steps=2",
    "data.size=[64, 48]",
    "model.options.anchors=[[10, 16], [14, 24]]",
    "clip.length=16",
    "augment.flip_pairs=[]",  # four videos do not have all of the classes
    "optim.steps=4",
    "optim.batch=2",
    "optim.warm_up=1",
    "optim.amp=none",
    "run.threads=1",
    "run.log_every=1",
    "run.checkpoint_every=3",
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Untrimmed synthetic videos in UCF101-24's layout."""
    from stad_data.synthetic import make

    root = tmp_path_factory.mktemp("synthetic")
    make(
        root / "set",
        videos=4,
        test_videos=2,
        size=(64, 48),
        seconds=(4, 5),
        layouts=("ucf24",),
        workers=1,
    )
    return root / "set" / "ucf24"


@pytest.fixture(scope="module")
def outcome(videos, tmp_path_factory):
    recipe = load_recipe("cfad_tiny_synthetic", SMALL)
    out = tmp_path_factory.mktemp("cfad") / "run"
    return train(recipe, data=videos, out=out, device="cpu")


def losses_of(run):
    return [set(entry["loss"]) for entry in read_log(run) if "loss" in entry]


PROPOSALS = {"total", "span_class", "span_shape"}
TUBES = {"tube_class", "tube_shape", "importance", "box_class", "box_shape"}


def test_proposals_are_trained_first_and_then_everything(outcome):
    assert losses_of(outcome.run) == [PROPOSALS] * 2 + [PROPOSALS | TUBES] * 2


def test_training_ends_with_numbers_of_tubes(outcome):
    plain = outcome.to_plain()
    wanted = {f"video_mAP@{iou}" for iou in ("0.2", "0.3", "0.5", "0.75", "0.5:0.95")}
    assert wanted | {"frame_mAP", "v_MABO"} <= {*plain}
    assert outcome.evaluation.clips == 2
    assert len(outcome.evaluation.tubes) <= 2 * 7
    types = outcome.evaluation.tube_types
    assert sum(types.counts.values()) == len(outcome.evaluation.tubes)
    assert len(build_model(outcome.last).classes) >= 1


def test_a_run_goes_on_in_the_phase_that_it_was_in(videos):
    recipe = load_recipe("cfad_tiny_synthetic", [*SMALL, "optim.accumulate=2"])
    dataset = dataset_of(recipe, videos)
    model = build_detector(recipe.model, recipe.clip, dataset.classes)
    data = TrainingData(recipe=recipe, dataset=dataset, root=videos, group=ALONE, caches={})
    # Two backward passes per update, and two updates of the first phase.
    for start, expected in ((0, set()), (3, set()), (4, TUBES)):
        method = build_method(recipe, model, ALONE)
        losses = method.step(next(method.batches(data, start=start)))
        assert set(losses) == {"span_class", "span_shape"} | expected


def test_a_checkpoint_is_scored_and_run_by_the_commands(outcome, videos, tmp_path, capsys):
    assert main(["eval", str(outcome.run), "--data", str(videos), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert set(scored["tubes"]["video_mAP"]) == {"0.2", "0.3", "0.5", "0.75", "0.5:0.95"}
    counts = scored["tube_types"]["counts"]
    assert set(counts) >= {"true positive", "wrong class", "bad localisation", "duplicate"}
    assert main(["eval", str(outcome.run), "--data", str(videos)]) == 0
    assert "detections by type" in capsys.readouterr().out
    video = next(path for path in videos.rglob("*") if path.suffix in (".avi", ".mp4"))
    options = ["--checkpoint", str(outcome.run), "--out", str(tmp_path), "--min-score", "0"]
    assert main(["detect", str(video), *options]) == 0
    found = read_tubes_json(tmp_path / f"{video.stem}.json")
    assert found.tubes.videos == (video.stem,)


def test_a_video_shows_several_actions_one_after_the_other(videos):
    recipe = load_recipe("cfad_tiny_synthetic", [*SMALL, "optim.batch=4", "augment.flip=0.0"])
    batch = next(training_batches(recipe, dataset_of(recipe, videos), ALONE, start=0, caches={}))
    tracks = targets_of(batch).tracks
    assert all(one.boxes.shape[1:] == (16, 4) for one in tracks)
    assert any((~one.present).any() for one in tracks)  # untrimmed: nobody acts all the time
    assert np.all([len(one) >= 1 for one in tracks])


def test_a_recipe_of_another_form_is_refused(videos, tmp_path):
    recipe = load_recipe("cfad_tiny_synthetic", [*SMALL, "clip.form=keyframe"])
    with pytest.raises((InputError, ValueError), match='form = "video"'):
        train(recipe, data=videos, out=tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    ("anchors", "word"),
    [
        ("[]", "at least one"),
        ("[[0, 5]]", "above 0"),
        ("[[nan, 5]]", "finite"),
        ("[[9]]", "anchors"),
    ],
)
def test_degenerate_anchors_are_refused(anchors, word, videos, tmp_path):
    def run():
        recipe = load_recipe("cfad_tiny_synthetic", [*SMALL, f"model.options.anchors={anchors}"])
        train(recipe, data=videos, out=tmp_path / "run", device="cpu")

    with pytest.raises(InputError, match=word):
        run()


def test_videos_shorter_than_a_clip_are_trained_on_and_scored(short_videos, tmp_path):
    recipe = load_recipe("cfad_tiny_jhmdb", [*SMALL, "optim.steps=6", "run.workers=0"])
    outcome = train(recipe, data=short_videos, out=tmp_path / "run", device="cpu")
    assert losses_of(outcome.run)[-1] == PROPOSALS | TUBES
    frames = {each.video: each.num_frames for each in jhmdb.read(short_videos).test}
    assert frames["walk/single"] == 1
    tubes = outcome.evaluation.tubes
    assert {tubes.videos[number] for number in tubes.video} == set(frames)
    for tube in tubes:
        assert tube.frames[-1] < frames[tube.video]


@pytest.mark.parametrize(
    ("name", "length", "samples", "order"),
    [("cfad_ucf24", 96, 16, 4), ("cfad_jhmdb", 32, 6, 2), ("cfad_ucfsports", 32, 8, 2)],
)
def test_published_recipes_have_the_papers_numbers(name, length, samples, order):
    recipe = load_recipe(name)
    classes = ActionClasses(names=("walk", "sit"), ids=(1, 2), exclusive=True)
    with torch.device("meta"):
        model = build_detector(recipe.model, recipe.clip, classes)
    assert (recipe.clip.form, recipe.clip.length, model.samples) == ("video", length, samples)
    assert (model.heads.coarse.order, len(model.heads.coarse.sizes)) == (order, 6)
    options = model.options
    assert (options.segment, options.key_overlap, options.search) == (6, 0.8, 0.8)
    assert (options.max_tubes, options.tube_nms) == (3, 0.2)
    assert recipe.optim.name == "sgd"
    assert 0 < options.proposal_steps < recipe.optim.steps
    assert model.backbone.shape.last == "mixed_5b"

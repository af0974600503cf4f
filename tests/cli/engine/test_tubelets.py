"""A tubelet detector through the same loop, evaluation, report and command as any other."""

import json

import numpy as np
import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine import predictions as passes
from stad_cli.engine.batches import training_batches
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Processes
from stad_cli.engine.evaluate import evaluate
from stad_cli.engine.model_input import MEAN, SPREAD, to_device
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_cli.run_report import write_report
from stad_data.datasets import jhmdb
from stad_eval import InputError, read_tubes_json
from stad_models import weights

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
SMALL = (
    "clip.form=tubelet",
    "clip.stride=1",
    "clip.tubelet=3",
    "augment.stride=[1,1]",
    "augment.mix=0.0",
    "eval.every_nth_video=2",
    "eval.min_tube=3",
    "optim.steps=4",
    "eval.every=2",
)
MODELS = {
    "moc": ("model.name=moc_tiny", "model.options={hidden=8}", "clip.length=4"),
    "stma": ("model.name=stma_tiny", "model.options={hidden=8}", "clip.length=6"),
}
BOTH_STREAMS = ("model.name=moc_tiny_two_stream", "model.options={hidden=8}", "clip.length=11")


@pytest.fixture(scope="module")
def recipe_of(recipe_text, tmp_path_factory):
    from stad_cli.config import load_recipe

    path = tmp_path_factory.mktemp("tubelets") / "small.toml"
    path.write_text(recipe_text)
    return lambda *overrides: load_recipe(path, [*SMALL, *overrides])


@pytest.fixture(scope="module", params=MODELS)
def small(request):
    """What makes the recipe one for a tiny detector."""
    return MODELS[request.param]


@pytest.fixture(scope="module")
def outcome(small, recipe_of, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tubelets")
    return train(recipe_of(*small), data=dataset, out=folder / "run", device="cpu")


def test_training_ends_with_numbers_of_frames_and_tubes(outcome):
    plain = outcome.to_plain()
    assert {"frame_mAP", "actor_AP", "video_mAP@0.5", "video_mAP@0.5:0.95", "v_MABO"} <= {*plain}
    assert outcome.evaluation.clips == 2 * 6  # two videos of 8 frames, K = 3
    assert len(outcome.evaluation.found) > 0
    written = read_tubes_json(outcome.run / "detections" / "test_tubes.json")
    assert len(written.tubes) == len(outcome.evaluation.tubes)
    assert set(written.frame_counts.values()) == {8}


def test_the_report_tells_of_tubes(outcome, dataset):
    page = write_report(outcome.run, data=dataset).read_text()
    assert "video-mAP at 0.5:0.95" in page
    assert "v-MABO" in page


def both_passes(model, recipe, folder, monkeypatch):
    """The evaluation in one pass over every video, and clip by clip."""
    whole = dataset_of(recipe, folder)
    stream = evaluate(model, whole, "test", recipe, ALONE)
    monkeypatch.setattr(passes, "is_streamable", lambda _: False)
    return stream, evaluate(model, whole, "test", recipe, ALONE)


def check_same(stream, naive):
    assert len(stream.found) == len(naive.found) > 0
    assert np.array_equal(stream.found.frame, naive.found.frame)
    assert np.abs(stream.found.box - naive.found.box).max() < 1e-3
    assert stream.metrics() == pytest.approx(naive.metrics(), abs=1e-6)


def test_the_streaming_pass_finds_what_clip_by_clip_finds(
    outcome, small, recipe_of, dataset, monkeypatch
):
    model = checkpoint.build_model(outcome.last).model
    check_same(*both_passes(model, recipe_of(*small, "eval.batch=3"), dataset, monkeypatch))


def test_two_streams_learn_from_flow_and_find_the_same_in_one_pass(
    recipe_of, dataset, known_flow, tmp_path, monkeypatch
):
    recipe = recipe_of(*BOTH_STREAMS, f"data.flow={known_flow}", "optim.steps=2", "eval.every=0")
    outcome = train(recipe, data=dataset, out=tmp_path / "run", device="cpu")
    losses = next(entry["loss"] for entry in read_log(outcome.run) if "loss" in entry)
    assert {"colour_center", "flow_center", "flow_movement", "flow_size"} < {*losses}
    model = checkpoint.build_model(outcome.last).model
    check_same(*both_passes(model, recipe, dataset, monkeypatch))


def test_flow_reaches_the_model_as_stacked_images(recipe_of, dataset, known_flow):
    recipe = recipe_of(
        *BOTH_STREAMS, f"data.flow={known_flow}", "augment.scale=[1,1]", "augment.flip=1.0"
    )
    whole = dataset_of(recipe, dataset)
    batch = next(training_batches(recipe, whole, ALONE, start=0, caches={}))
    clips, targets = to_device(batch, torch.device("cpu"))
    assert clips.shape[1] == 18
    info, box = batch.clips_info[0], targets.boxes[0][0].int().tolist()
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    across = -3 if info.video.startswith("walk") else 0  # a mirrored walk goes left
    level = (128 + 16 * across) / 255
    middle = recipe.clip.length // 2
    # Three images per step of time, from the keyframe's own on.
    assert clips[0, 3, middle, y, x].item() == pytest.approx((level - MEAN) / SPREAD, abs=0.05)
    still = clips[0, 3:, middle, 0, 0]
    assert still.tolist() == pytest.approx([(128 / 255 - MEAN) / SPREAD] * 15, abs=1e-5)


def test_flow_that_is_not_there_is_told(recipe_of, dataset, known_flow, tmp_path):
    absent = recipe_of(*BOTH_STREAMS, f"data.flow={tmp_path}")
    with pytest.raises(InputError, match="has no flow"):
        train(absent, data=dataset, out=tmp_path / "a", device="cpu")
    with pytest.raises(InputError, match="moc_tiny_two_stream needs optical flow"):
        train(recipe_of(*BOTH_STREAMS), data=dataset, out=tmp_path / "b", device="cpu")
    for_colour = recipe_of(*MODELS["moc"], f"data.flow={known_flow}", "clip.length=11")
    with pytest.raises(InputError, match="moc_tiny takes no optical flow"):
        train(for_colour, data=dataset, out=tmp_path / "c", device="cpu")


def test_videos_shorter_than_a_clip_or_a_tubelet_are_trained_around_and_tested(
    small, recipe_of, short_videos, tmp_path
):
    # Frames of odd sides, too.
    recipe = recipe_of(*small, "data.size=[61, 43]", "optim.steps=2", "eval.every=0")
    outcome = train(recipe, data=short_videos, out=tmp_path / "run", device="cpu")
    evaluation = outcome.evaluation
    tubes, boxes = evaluation.tubes, evaluation.found
    frames = {a.video: a.num_frames for a in jhmdb.read(short_videos).test}
    assert frames["walk/single"] == 1
    for table in (tubes, boxes):
        for number, video in enumerate(table.videos):
            of_video = table.select(table.video == number)
            assert len(of_video) > 0
            last = (
                max(int(tube.frames[-1]) for tube in of_video)
                if table is tubes
                else int(of_video.frame.max())
            )
            assert last < frames[video]
    assert all((box[:, 2:] > box[:, :2]).all() for box in (tube.boxes for tube in tubes))


def test_a_training_part_without_a_whole_tubelet_is_told(small, recipe_of, short_videos, tmp_path):
    recipe = recipe_of(*small, 'data.videos=["walk/one", "walk/two", "walk/single"]')
    with pytest.raises(InputError, match="no 3 annotated frames in a row"):
        train(recipe, data=short_videos, out=tmp_path / "run", device="cpu")


def test_the_3d_trunk_begins_with_weights_of_its_own(recipe_of, dataset, tmp_path):
    recipe = recipe_of(*MODELS["stma"], "optim.steps=1", "eval.every=0", "optim.lr=1e-9")
    classes = dataset_of(recipe, dataset).classes
    given = build_detector(recipe.model, recipe.clip, classes).clip_backbone
    weights.save(given, tmp_path / "trunk.safetensors")
    outcome = train(
        recipe,
        data=dataset,
        out=tmp_path / "run",
        clip_weights=tmp_path / "trunk.safetensors",
        device="cpu",
    )
    trained = checkpoint.build_model(outcome.last).model.clip_backbone
    torch.testing.assert_close(trained.stem[0].weight, given.stem[0].weight, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="Moc has no 3D trunk"):
        train(
            recipe_of(*MODELS["moc"]),
            data=dataset,
            out=tmp_path / "other",
            clip_weights=tmp_path / "trunk.safetensors",
            device="cpu",
        )


def test_a_checkpoint_is_scored_and_run_by_the_commands(outcome, dataset, tmp_path, capsys):
    from stad_cli.main import main

    assert main(["eval", str(outcome.run), "--data", str(dataset), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert set(scored["tubes"]["video_mAP"]) == {"0.2", "0.3", "0.5", "0.75", "0.5:0.95"}
    video = next((dataset / "videos").rglob("*.mp4"))
    options = ["--checkpoint", str(outcome.run), "--out", str(tmp_path), "--min-score", "0"]
    assert main(["detect", str(video), *options]) == 0
    assert (tmp_path / f"{video.stem}.mp4").is_file()
    found = read_tubes_json(tmp_path / f"{video.stem}.json")
    assert found.tubes.videos == (video.stem,)

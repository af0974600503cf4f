"""A tubelet detector through the same loop, evaluation, report and command as any other."""

import json

import numpy as np
import pytest
import torch

from stad_cli.engine import checkpoint
from stad_cli.engine import predictions as passes
from stad_cli.engine.data import dataset_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.evaluate import evaluate
from stad_cli.engine.train import train
from stad_cli.run_report import write_report
from stad_eval import read_tubes_json

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
MOC = (
    "model.name=moc_tiny",
    "model.options={hidden=8}",
    "clip.form=tubelet",
    "clip.length=4",
    "clip.stride=1",
    "clip.tubelet=3",
    "augment.stride=[1,1]",
    "augment.mix=0.0",
    "eval.every_nth_video=2",
    "eval.min_tube=3",
    "optim.steps=4",
    "eval.every=2",
)


@pytest.fixture(scope="module")
def recipe_of(recipe_text, tmp_path_factory):
    from stad_cli.config import load_recipe

    path = tmp_path_factory.mktemp("moc") / "small.toml"
    path.write_text(recipe_text)
    return lambda *overrides: load_recipe(path, [*MOC, *overrides])


@pytest.fixture(scope="module")
def outcome(recipe_of, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tubelets")
    return train(recipe_of(), data=dataset, out=folder / "run", device="cpu")


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


def test_the_streaming_pass_finds_what_clip_by_clip_finds(outcome, recipe_of, dataset, monkeypatch):
    model = checkpoint.build_model(outcome.last).model
    recipe = recipe_of("eval.batch=3")
    whole = dataset_of(recipe, dataset)
    stream = evaluate(model, whole, "test", recipe, ALONE)
    monkeypatch.setattr(passes, "is_streamable", lambda _: False)
    naive = evaluate(model, whole, "test", recipe, ALONE)
    assert len(stream.found) == len(naive.found) > 0
    assert np.array_equal(stream.found.frame, naive.found.frame)
    assert np.abs(stream.found.box - naive.found.box).max() < 1e-3
    assert stream.metrics() == pytest.approx(naive.metrics(), abs=1e-6)


def test_a_checkpoint_is_scored_and_run_by_the_commands(outcome, dataset, tmp_path, capsys):
    from stad_cli.main import main

    assert main(["eval", str(outcome.run), "--data", str(dataset), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert set(scored["tubes"]["video_mAP"]) == {"0.2", "0.5", "0.75", "0.5:0.95"}
    video = next((dataset / "videos").rglob("*.mp4"))
    options = ["--checkpoint", str(outcome.run), "--out", str(tmp_path), "--min-score", "0"]
    assert main(["detect", str(video), *options]) == 0
    assert (tmp_path / f"{video.stem}.mp4").is_file()
    found = read_tubes_json(tmp_path / f"{video.stem}.json")
    assert found.tubes.videos == (video.stem,)

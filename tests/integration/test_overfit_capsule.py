"""VideoCapsule can learn: from real videos to maps, boxes and tubes, on four clips of training."""

import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_data.datasets import jhmdb

CLASSES = ("brush_hair", "golf", "pullup", "walk")
SETTING = (
    'method={name="supervised"}',
    "data.labelled=1.0",
    "data.size=[96, 72]",
    "eval.part=train",
    "eval.every=0",
    "eval.map_threshold=0.3",  # thin limbs, which boxes end at, are the last that maps are sure of
    "augment.flip=0.0",
    "augment.scale=[1.0, 1.0]",
    "augment.brightness=0.0",
    "augment.contrast=0.0",
    "augment.saturation=0.0",
    "augment.hue=0.0",
    "model.options.margin_steps=200",
    "optim.steps=150",
    "optim.batch=8",  # one of four is often of a single video, whose statistics BatchNorm then has
    "optim.warm_up=20",
    "optim.ema=0.9",
    "optim.lr=0.004",
    "optim.weight_decay=0.0",
    "run.threads=1",
    "run.log_every=10",
    "run.channels_last=true",
)


@pytest.mark.slow
def test_tiny_video_capsule_overfits_four_real_clips(real_data, tmp_path):
    folder = real_data / "jhmdb"
    training = jhmdb.read(folder).train
    chosen = [next(a for a in training if a.video.startswith(f"{name}/")) for name in CLASSES]
    videos = [annotation.video for annotation in chosen]
    recipe = load_recipe("video_capsule_tiny_jhmdb", [*SETTING, f"data.videos={videos}"])
    outcome = train(recipe, data=folder, out=tmp_path / "run", device="cpu")
    metrics = outcome.evaluation.metrics()
    assert metrics["frame_mAP"] >= 0.95, metrics
    assert metrics["video_mAP@0.5"] >= 0.95, metrics
    tubes = outcome.evaluation.tubes
    assert {tubes.videos[number] for number in tubes.video} == {*videos}
    losses = [entry["loss"] for entry in read_log(outcome.run) if "loss" in entry]
    assert set(losses[0]) == {"total", "class", "cross_entropy", "dice"}
    assert losses[-1]["dice"] < losses[0]["dice"] / 3

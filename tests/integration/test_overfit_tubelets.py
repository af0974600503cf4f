"""Tubelet detectors can learn: from real videos to linked tubes, on four clips seen in training."""

import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train

SETTING = [
    "eval.part=train",
    "eval.every=0",
    "data.size=[128, 96]",
    "augment.flip=0.0",
    "augment.scale=[1.0, 1.0]",
    "augment.stretch=0.0",
    "augment.brightness=0.0",
    "augment.contrast=0.0",
    "augment.saturation=0.0",
    "augment.hue=0.0",
    "optim.batch=8",
    "optim.warm_up=20",
    "optim.ema=0.9",
    "optim.lr=0.004",
    "optim.weight_decay=0.0",
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("moc_tiny_jhmdb", 120), ("stma_tiny_jhmdb", 120)])
def test_tiny_tubelet_detectors_overfit_four_real_clips(
    name, steps, real_data, four_clips, tmp_path
):
    folder = real_data / "jhmdb"
    videos = [annotation.video for annotation in four_clips]
    recipe = load_recipe(name, [*SETTING, f"data.videos={videos}", f"optim.steps={steps}"])
    outcome = train(recipe, data=folder, out=tmp_path / "run", device="cpu")
    metrics = outcome.evaluation.metrics()
    assert metrics["frame_mAP"] >= 0.95
    assert metrics["video_mAP@0.5"] >= 0.95
    tubes = outcome.evaluation.tubes
    assert {tubes.videos[number] for number in tubes.video} == {*videos}
    losses = [entry["loss"]["center"] for entry in read_log(outcome.run) if "loss" in entry]
    assert losses[-1] < losses[0] / 4

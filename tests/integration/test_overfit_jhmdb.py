"""It can learn: the whole way from real videos to frame-mAP, on four clips seen in training."""

import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.checkpoint import build_model
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train


@pytest.mark.slow
def test_tiny_se_stad_overfits_four_real_clips(real_data, four_clips, tmp_path):
    folder = real_data / "jhmdb"
    videos = [annotation.video for annotation in four_clips]
    recipe = load_recipe(
        "se_stad_tiny_jhmdb",
        [
            f"data.videos={videos}",
            "eval.part=train",
            "eval.every=0",
            "augment.scale=[1.0, 1.0]",
            "augment.stretch=0.0",
            "augment.stride=[3, 3]",
            "augment.mix=0.0",
            "augment.flip=0.0",
            "augment.brightness=0.0",
            "augment.contrast=0.0",
            "augment.saturation=0.0",
            "augment.hue=0.0",
            "model.options.label_smoothing=0.0",
            "model.options.dropout=0.0",
            "optim.steps=120",
            "optim.batch=8",
            "optim.warm_up=20",
            "optim.ema=0.95",
            "run.workers=0",
        ],
    )
    outcome = train(recipe, data=folder, out=tmp_path / "run", device="cpu")
    evaluation = outcome.evaluation
    assert evaluation.clips == sum(annotation.num_frames for annotation in four_clips)
    assert evaluation.metrics()["frame_mAP"] >= 0.95
    assert evaluation.metrics()["actor_AP"] >= 0.95
    losses = [entry["loss"]["action"] for entry in read_log(outcome.run) if "loss" in entry]
    assert losses[-1] < losses[0] / 4
    assert len(build_model(outcome.best).classes) == 21

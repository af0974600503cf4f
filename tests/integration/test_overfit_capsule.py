"""It can learn: the whole way from real videos to maps, boxes and tubes, on four clips."""

import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train


@pytest.mark.slow
def test_tiny_video_capsule_overfits_four_real_clips(real_data, four_clips, tmp_path):
    folder = real_data / "jhmdb"
    videos = [annotation.video for annotation in four_clips]
    recipe = load_recipe(
        "video_capsule_tiny_jhmdb",
        [
            'method={name="supervised"}',
            f"data.videos={videos}",
            "data.labelled=1.0",
            "eval.part=train",
            "eval.map_threshold=0.3",  # thin limbs, which decide the boxes, are never sure
            "augment.flip=0.0",
            "augment.scale=[1.0, 1.0]",
            "augment.brightness=0.0",
            "augment.contrast=0.0",
            "augment.saturation=0.0",
            "augment.hue=0.0",
            "model.options.margin_steps=200",
            "optim.batch=8",  # a batch of fewer is of one video now and then
            "optim.steps=200",
            "optim.lr=0.004",
            "optim.weight_decay=0.0",
            "optim.warm_up=20",
            "optim.ema=0.95",
            "run.log_every=20",
        ],
    )
    outcome = train(recipe, data=folder, out=tmp_path / "run", device="cpu")
    metrics = outcome.evaluation.metrics()
    assert metrics["frame_mAP"] >= 0.95
    assert metrics["video_mAP@0.5"] >= 0.95
    losses = [entry["loss"]["dice"] for entry in read_log(outcome.run) if "loss" in entry]
    assert losses[-1] < losses[0] / 3

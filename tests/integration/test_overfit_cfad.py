"""CFAD can learn: whole tubes of four real clips, seen in training."""

import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train

VIDEOS = (
    "brush_hair/Aussie_Brunette_Brushing_Long_Hair_brush_hair_u_nm_np1_ba_med_3",
    "golf/Ariya_Swing_golf_f_cm_np1_fr_bad_0",
    "pullup/100_pullups_pullup_f_nm_np1_fr_med_1",
    "walk/20060723sfjffkillerskiss_walk_f_cm_np1_fr_med_1",
)
PLAIN = (
    "eval.part=train",
    "eval.every=0",
    "augment.stretch=0.0",
    "augment.scale=[1.0, 1.0]",
    "augment.flip=0.0",
    "augment.flip_pairs=[]",
    "augment.brightness=0.0",
    "augment.contrast=0.0",
    "augment.saturation=0.0",
    "augment.hue=0.0",
    "run.workers=0",
    "run.threads=1",
    "run.log_every=10",
    "optim.batch=4",
    "optim.warm_up=10",
    "optim.ema=0.9",
    "optim.weight_decay=0.0",
    "optim.lr=0.003",
    "model.options.train_spans=1",
)


@pytest.mark.slow
def test_tiny_cfad_overfits_four_real_clips(real_data, tmp_path):
    overrides = [
        *PLAIN,
        f"data.videos={list(VIDEOS)}",
        "optim.steps=120",
        "model.options.proposal_steps=10",
    ]
    recipe = load_recipe("cfad_tiny_jhmdb", overrides)
    outcome = train(recipe, data=real_data / "jhmdb", out=tmp_path / "run", device="cpu")
    numbers = outcome.evaluation.metrics()
    assert numbers["video_mAP@0.5"] >= 0.9, numbers
    assert outcome.evaluation.clips == len(VIDEOS)
    losses = [entry["loss"] for entry in read_log(outcome.run) if "loss" in entry]
    assert set(losses[0]) == {"total", "span_class", "span_shape"}
    assert losses[-1]["span_class"] < losses[0]["span_class"] / 2

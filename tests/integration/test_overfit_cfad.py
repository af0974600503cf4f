"""CFAD can learn: tubes of four real clips, and of four untrimmed videos, seen in training."""

import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.run_log import read_log
from stad_cli.engine.train import train
from stad_data.datasets import ucf24

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
)
UNTRIMMED = (
    "data.size=[96, 72]",
    "clip.length=24",
    "model.options.anchors="
    "[[14.6, 33.1], [23.0, 27.9], [19.6, 39.1], [32.0, 30.5], [26.6, 40.1], [39.2, 41.2]]",
    "model.options.proposal_steps=30",
    "optim.steps=160",
)


def check(outcome):
    numbers = outcome.evaluation.metrics()
    assert numbers["video_mAP@0.5"] >= 0.9, numbers
    assert outcome.evaluation.clips == 4
    losses = [entry["loss"] for entry in read_log(outcome.run) if "loss" in entry]
    assert set(losses[0]) == {"total", "span_class", "span_shape"}
    assert losses[-1]["span_class"] < losses[0]["span_class"] / 2


@pytest.mark.slow
def test_tiny_cfad_overfits_four_real_clips(real_data, tmp_path):
    overrides = [
        *PLAIN,
        f"data.videos={list(VIDEOS)}",
        "optim.steps=120",
        "model.options.proposal_steps=10",
        "model.options.train_spans=1",
    ]
    recipe = load_recipe("cfad_tiny_jhmdb", overrides)
    check(train(recipe, data=real_data / "jhmdb", out=tmp_path / "run", device="cpu"))


@pytest.mark.slow
def test_tiny_cfad_overfits_four_untrimmed_videos(tmp_path):
    from stad_data.synthetic import make

    folder = tmp_path / "set"
    make(
        folder,
        videos=4,
        test_videos=1,
        size=(96, 72),
        seconds=(5, 7),
        layouts=("ucf24",),
        workers=1,
    )
    videos = ucf24.read(folder / "ucf24").train
    # Every video has more frames than any of its tubes, and most have several tubes.
    assert all(len(track) < each.num_frames for each in videos for track in each.tracks)
    assert sum(len(each.tracks) for each in videos) == 7
    recipe = load_recipe("cfad_tiny_synthetic", [*PLAIN, *UNTRIMMED])
    check(train(recipe, data=folder / "ucf24", out=tmp_path / "run", device="cpu"))

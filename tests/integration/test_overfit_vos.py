"""Following objects can be learned: masks of synthetic videos, beyond copying the given one."""

import numpy as np
import pytest

from stad_cli.config import load_recipe
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.object_evaluation import protocol_of, score_video
from stad_cli.engine.train import train
from stad_data.synthetic import make
from stad_eval import combine_masks

PLAIN = (
    "method={}",
    "data.labelled=1.0",
    "eval.part=train",
    "eval.every=0",
    "augment={}",
    "run.threads=1",
    "optim.batch=4",
    "optim.ema=0.9",
    "optim.weight_decay=0.0",
    "optim.warm_up=10",
    "optim.lr=0.006",
    "optim.steps=150",
    "data.size=[96, 72]",
)


def copied(dataset):
    """J&F of every object's first mask, kept on all later frames."""
    protocol, parts = protocol_of(dataset), []
    for video in dataset.train:
        held, found = np.zeros(video.size[::-1], np.uint8), {}
        for frame in video.keyframes.tolist():
            for track in video.tracks:
                if frame == track.frames[0]:
                    held[video.masks.read([frame])[0] == track.actor + 1] = track.actor + 1
            found[frame] = held.copy()
        parts.append(score_video(video, found, dataset.classes, protocol))
    whole = combine_masks(parts, protocol)
    return (whole.region.mean + whole.boundary.mean) / 2


@pytest.mark.slow
def test_tiny_network_learns_to_follow_the_objects_of_a_few_videos(tmp_path):
    made = make(tmp_path / "set", videos=3, test_videos=1, seconds=(4, 5), layouts=("youtube-vos",))
    root = made.root / "youtube-vos"
    recipe = load_recipe("vos_tiny_synthetic", PLAIN)
    outcome = train(recipe, data=root, out=tmp_path / "run", device="cpu")
    numbers = outcome.metrics
    baseline = copied(dataset_of(recipe, root))
    assert numbers["J&F"] >= baseline + 0.35, (numbers, baseline)
    assert numbers["J&F"] >= 0.65, numbers

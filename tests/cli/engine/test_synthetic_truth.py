"""A synthetic set keeps the truth of every frame: to count against, or to train on."""

import pytest
import torch

from stad_cli.engine.clip_forms import training_samples
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods import TrainingData
from stad_cli.engine.methods.annotated_frames import annotated_videos, hidden_truth
from stad_cli.engine.methods.unlabelled_clips import unlabelled_batches
from stad_eval import InputError
from stad_ssl import Proposals, assign_temporal_labels

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
SYNTHETIC = (
    "data.dataset=synthetic", "data.cache=false", "optim.ema=0", "method.name=pseudo_labels",
    "augment.mix=0", "augment.scale=[1.0, 1.0]", "optim.batch=16",
)  # fmt: skip


@pytest.fixture
def data(recipe, tiny_ava):
    chosen = recipe(*SYNTHETIC)
    return TrainingData(
        recipe=chosen,
        dataset=dataset_of(chosen, tiny_ava),
        root=tiny_ava,
        group=ALONE,
        caches={},
    )


def test_frames_between_keyframes_are_known_and_far_more(data):
    videos = annotated_videos(data)
    assert videos == data.dataset.train
    hidden = hidden_truth(data, videos)
    for video in videos:
        assert len(hidden[video.video].keyframes) == video.num_frames
        assert len(video.keyframes) < 8


def test_perfect_boxes_take_the_hidden_labels_wherever_the_action_does_not_change(data):
    batches = unlabelled_batches(data, start=0)
    unchanged = 0
    for _ in range(3):
        batch = next(batches)
        for near, truth in zip(batch.neighbours, batch.hidden, strict=True):
            # The teacher knows where everybody is, and nothing of what they do.
            blank = Proposals(boxes=truth.boxes, scores=torch.full(truth.labels.shape, 0.5))
            (pseudo,) = assign_temporal_labels([blank], [near], background="negative")
            assert torch.equal(pseudo.boxes, truth.boxes)
            for row, person in enumerate(truth.persons):
                around = [frame.labels[frame.persons == person] for frame in near.keyframes]
                same = [len(one) and torch.equal(one[0], truth.labels[row]) for one in around]
                if all(same):
                    assert torch.equal(pseudo.labels[row] > 0, truth.labels[row])
                    unchanged += 1
    assert unchanged > 10


def test_dense_training_takes_every_frame(data, recipe, tiny_ava, dataset):
    chosen = recipe(*SYNTHETIC, "data.dense=true", "data.skip_empty=false")
    dense = dataset_of(chosen, tiny_ava)
    frames = sum(video.num_frames for video in dense.train)
    assert len(training_samples(chosen, dense.train)) == frames
    for before, after in zip(data.dataset.test, dense.test, strict=True):
        assert before.keyframes.tolist() == after.keyframes.tolist()
    with pytest.raises(InputError, match="no frame between two annotated"):
        next(
            unlabelled_batches(
                TrainingData(recipe=chosen, dataset=dense, root=tiny_ava, group=ALONE, caches={}),
                start=0,
            )
        )
    with pytest.raises(InputError, match="does not keep the truth of every frame"):
        dataset_of(recipe("data.dense=true"), dataset)


def test_the_small_recipe_runs_from_data_to_report(tiny_ava, stad, tmp_path):
    import json

    short = ("optim.steps=2", "method.burn_in=1", "optim.batch=1", "eval.every=0", "run.threads=1")
    short += ("run.log_every=1", "data.cache=false", "method.proposal_score=0.01")
    sets = [word for override in short for word in ("--set", override)]
    out = tmp_path / "run"
    done = stad(
        "train", "se_stad_tla_tiny_synthetic", "--data", tiny_ava, "--out", out, "--json", *sets
    )
    assert done.code == 0, done.err
    assert {"frame_mAP", "student/frame_mAP"} <= json.loads(done.out).keys()
    (entry,) = [
        entry
        for line in (out / "log.jsonl").read_text().splitlines()
        if "pseudo_labels" in (entry := json.loads(line))
    ]
    assert entry["pseudo_labels"]["clips"] == 1
    assert (out / "report.html").is_file()

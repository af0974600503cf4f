"""Batches of clips in two views: which clips, how changed, and the way back."""

import numpy as np
import pytest
import torch

from stad_cli.engine.batches import training_batches
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.distributed import Processes
from stad_cli.engine.labelled_videos import labelled_videos
from stad_cli.engine.methods import TrainingData
from stad_cli.engine.methods.clip_pairs import (
    labelled_pairs,
    unlabelled_pairs,
    unlabelled_samples,
)
from stad_cli.engine.methods.map_views import carried_maps
from stad_cli.engine.model_input import targets_of
from stad_eval import InputError

ALONE = Processes(rank=0, ranks=1, local_ranks=1, device=torch.device("cpu"))
MOVED = ("method.strong.flip=1.0", "method.strong.cutout=0")


@pytest.fixture
def data_of(half_recipe, dataset):
    def make(*overrides, group=ALONE):
        recipe = half_recipe("data.cache=false", *overrides)
        return TrainingData(
            recipe=recipe,
            dataset=dataset_of(recipe, dataset),
            root=dataset,
            group=group,
            caches={},
        )

    return make


def test_first_views_are_the_clips_of_supervised_training(data_of):
    data = data_of("optim.batch=2")
    plain = training_batches(data.recipe, data.dataset, ALONE, start=1, caches={})
    pairs = labelled_pairs(data, start=1)
    for _ in range(3):
        batch, pair = next(plain), next(pairs)
        assert torch.equal(batch.clips, pair.first.clips)
        assert torch.equal(batch.masks, pair.first.masks)
        assert not torch.equal(pair.first.clips, pair.second.clips)
        assert pair.chances.shape[0] == 2


def test_unlabelled_clips_are_of_other_videos_and_tell_nothing(data_of):
    data = data_of("optim.batch=2")
    labelled = {v.video for v in labelled_videos(data.recipe.data, data.dataset.train)}
    pairs = unlabelled_pairs(data, unlabelled_samples(data), start=0)
    seen = set()
    for _ in range(8):
        pair = next(pairs)
        seen |= {info.video for info in pair.first.clips_info}
        assert all(len(boxes) == 0 for boxes in pair.first.boxes)
        assert pair.first.masks is None
    assert seen == {video.video for video in data.dataset.train} - labelled


def test_two_processes_draw_together_what_one_draws(data_of):
    group = [Processes(rank=r, ranks=2, local_ranks=2, device=ALONE.device) for r in (0, 1)]
    one = data_of("optim.batch=2")
    whole = next(unlabelled_pairs(one, unlabelled_samples(one), start=2))
    parts = []
    for each in group:
        data = data_of("optim.batch=1", group=each)
        parts.append(next(unlabelled_pairs(data, unlabelled_samples(data), start=2)))
    assert torch.equal(whole.second.clips, torch.cat([part.second.clips for part in parts]))
    assert torch.equal(whole.chances, torch.cat([part.chances for part in parts]))


@pytest.mark.parametrize(
    "moves", [(), ("method.strong.scale=[1.0,1.4]",), ("method.strong.scale=[0.7,0.9]",)]
)
def test_masks_of_the_second_view_come_back_to_the_first(data_of, moves):
    pair = next(labelled_pairs(data_of("optim.batch=2", *MOVED, *moves), start=0))
    first, second = targets_of(pair.first).masks, targets_of(pair.second).masks
    assert not torch.equal(first, second)
    back, seen = carried_maps(second, pair.second.clips_info, pair.first.clips_info)
    assert back.shape == first.shape
    agree = ((back >= 0.5) == (first >= 0.5)) | ~seen
    assert float(agree.float().mean()) > (0.97 if moves else 0.999)
    if not moves:
        assert bool(seen.all())


def test_carrying_lets_gradients_through(data_of):
    pair = next(labelled_pairs(data_of(*MOVED), start=0))
    maps = torch.rand(1, 8, 48, 64, requires_grad=True)
    back, seen = carried_maps(maps, pair.second.clips_info, pair.first.clips_info)
    (back * seen).sum().backward()
    assert torch.allclose(maps.grad, torch.ones_like(maps), atol=1e-5)


def test_trimmed_and_untrimmed_frames(data_of):
    data = data_of()
    videos, untrimmed = unlabelled_samples(data)
    assert len(untrimmed) == 8 * len(videos) == 16
    assert all(len(video.keyframes) == 0 for video in videos)
    _, trimmed = unlabelled_samples(data_of("method.unlabelled_frames=actors"))
    assert np.array_equal(trimmed, untrimmed)  # somebody is in every frame of these
    folder = str(data.root / "videos")
    more, samples = unlabelled_samples(data_of(f"data.external={folder!r}"))
    assert len(more) == 2 + 6
    assert len(samples) == 16 + 6 * 8
    assert set(samples[:, 0].tolist()) == set(range(8))


def test_no_unlabelled_video_is_refused(data_of):
    with pytest.raises(InputError, match=r"data\.labelled below 1"):
        unlabelled_samples(data_of("data.labelled=1.0"))

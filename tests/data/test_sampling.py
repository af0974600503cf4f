"""Samples and their order: pure functions of seed and step, alike for any number of processes."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import Track
from stad_data.sampling import (
    EpochBatches,
    balanced_weights,
    epoch_order,
    keyframe_samples,
    shard,
)
from stad_eval import InputError


def test_every_keyframe_is_a_sample(annotation):
    other = replace(annotation, tracks=(), keyframes=np.array([3, 8]))
    rows = keyframe_samples([annotation, other])
    assert rows.tolist() == [[0, frame] for frame in range(20)] + [[1, 3], [1, 8]]
    assert keyframe_samples([]).shape == (0, 2)


def test_only_keyframes_with_actors(annotation):
    rows = keyframe_samples([replace(annotation, tracks=()), annotation], empty=False)
    assert rows.tolist() == [[1, frame] for frame in range(2, 10)]


@pytest.mark.parametrize(
    ("count", "every", "expected"),
    [(20, 8, [4, 12]), (20, 1, list(range(20))), (4, 8, [2]), (1, 8, [0]), (0, 8, [])],
)
def test_each_so_manyth_keyframe(annotation, count, every, expected):
    video = replace(annotation, tracks=(), keyframes=np.arange(count))
    assert keyframe_samples([video], every=every)[:, 1].tolist() == expected


def test_a_step_below_one_is_refused(annotation):
    with pytest.raises(InputError):
        keyframe_samples([annotation], every=0)


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4))


@settings(deadline=None, max_examples=50)
@given(shape=SHAPES, seed=st.integers(0, 1000), steps=st.integers(0, 12), shuffle=st.booleans())
def test_ranks_share_out_what_one_process_would_draw(shape, seed, steps, shuffle):
    size, batch, ranks = shape
    one = EpochBatches(size=size, batch=batch * ranks, seed=seed, stop=steps, shuffle=shuffle)
    parts = [
        list(
            EpochBatches(
                size=size,
                batch=batch,
                seed=seed,
                rank=rank,
                ranks=ranks,
                stop=steps,
                shuffle=shuffle,
            )
        )
        for rank in range(ranks)
    ]
    assert len(one) == steps
    for step, whole in enumerate(one):
        assert [key for part in parts for key in part[step]] == whole


@settings(deadline=None, max_examples=50)
@given(shape=SHAPES, seed=st.integers(0, 1000), drop_last=st.booleans(), start=st.integers(0, 30))
def test_resuming_draws_what_would_have_come(shape, seed, drop_last, start):
    size, batch, ranks = shape
    if drop_last and size < batch * ranks:
        return
    sampler = EpochBatches(
        size=size, batch=batch, seed=seed, rank=ranks - 1, ranks=ranks, drop_last=drop_last
    )
    undisturbed = list(islice(sampler, start + 5))
    resumed = list(islice(replace(sampler, start=start), 5))
    assert resumed == undisturbed[start:]
    assert [sampler.keys(step) for step in range(start, start + 5)] == resumed
    assert sampler.epoch(start) <= resumed[0][0][0]


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 40), batch=st.integers(1, 9), seed=st.integers(0, 99))
def test_an_epoch_draws_every_sample_once(size, batch, seed):
    keys = [k for keys in EpochBatches(size=size, batch=batch, seed=seed, stop=60) for k in keys]
    whole = len(keys) // size
    for epoch in range(min(whole, 3)):
        rows = [row for e, row in keys if e == epoch]
        assert sorted(rows) == list(range(size))
    assert [e for e, _ in keys] == sorted(e for e, _ in keys)


def test_drop_last_leaves_the_rest_of_an_epoch_out():
    sampler = EpochBatches(size=10, batch=4, seed=1, stop=4, drop_last=True)
    keys = [key for keys in sampler for key in keys]
    assert [e for e, _ in keys] == [0] * 8 + [1] * 8
    assert len({row for e, row in keys if e == 0}) == 8
    left_out = [set(range(10)) - {r for e, r in keys if e == epoch} for epoch in (0, 1)]
    assert left_out[0] != left_out[1]


def test_seed_and_epoch_change_the_order():
    orders = {tuple(epoch_order(30, seed=s, epoch=e)) for s in range(3) for e in range(3)}
    assert len(orders) == 9
    assert epoch_order(30, seed=1, epoch=2).tolist() == epoch_order(30, seed=1, epoch=2).tolist()


def test_an_endless_sampler_has_no_length():
    with pytest.raises(TypeError, match="for ever"):
        len(EpochBatches(size=3, batch=1, seed=0))
    assert len(EpochBatches(size=3, batch=1, seed=0, start=2, stop=7)) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"batch": 0},
        {"rank": 2, "ranks": 2},
        {"rank": -1},
        {"start": 5, "stop": 4},
        {"start": -1},
        {"drop_last": True, "batch": 99},
        {"weights": np.ones(3)},
        {"weights": np.zeros(10)},
        {"weights": np.full(10, -1.0)},
        {"weights": np.ones(10), "shuffle": False},
    ],
)
def test_samplers_that_cannot_be_are_refused(changes):
    with pytest.raises(InputError):
        EpochBatches(**{"size": 10, "batch": 2, "seed": 0, **changes})


@settings(deadline=None, max_examples=50)
@given(
    weights=st.lists(st.floats(0, 10), min_size=1, max_size=30).filter(lambda w: sum(w) > 0.1),
    seed=st.integers(0, 99),
)
def test_weighted_draws_are_floor_or_ceiling_of_their_share(weights, seed):
    values = np.array(weights)
    order = epoch_order(len(values), seed=seed, epoch=0, weights=values)
    assert len(order) == len(values)
    expected = values / values.sum() * len(values)
    counts = np.bincount(order, minlength=len(values))
    assert (counts >= np.floor(expected - 1e-9)).all()
    assert (counts <= np.ceil(expected + 1e-9)).all()


def test_rare_classes_are_drawn_more_often(annotation):
    """90 frames of class 0, 10 of class 1, none of class 2, and 20 frames without actors."""
    labels = np.zeros((100, 3), bool)
    labels[:90, 0] = True
    labels[90:, 1] = True
    track = Track(
        actor=0, frames=np.arange(100), boxes=np.tile([0.0, 0, 9, 9], (100, 1)), labels=labels
    )
    video = replace(annotation, num_frames=120, tracks=(track,), keyframes=np.arange(120))
    samples = keyframe_samples([video])
    weights = balanced_weights([video], samples)
    assert weights.mean() == pytest.approx(1)
    assert weights[95] / weights[5] == pytest.approx(3)  # the root of 90 / 10
    assert weights[110] == weights[5]
    alike = balanced_weights([video], samples, power=1.0)
    assert alike[:90].sum() == pytest.approx(alike[90:100].sum())
    np.testing.assert_allclose(balanced_weights([video], samples, power=0.0), 1.0)
    assert balanced_weights([video], samples[:0]).shape == (0,)
    for power in (0.0, 0.5):
        fewer = balanced_weights([video], samples, power=power, empty=0.1)
        assert fewer.mean() == pytest.approx(1)
        assert fewer[100:].sum() / fewer.sum() == pytest.approx(0.1)
        assert fewer[95] / fewer[5] == pytest.approx(9**power)
    assert not balanced_weights([video], samples, empty=0.0)[100:].any()
    np.testing.assert_allclose(
        balanced_weights([video], samples[:90], power=0.0, empty=0.3), np.ones(90)
    )
    empty = replace(video, tracks=(), num_classes=3)
    np.testing.assert_allclose(balanced_weights([empty], samples), 1.0)
    np.testing.assert_allclose(balanced_weights([empty], samples, empty=0.3), 1.0)


@given(size=st.integers(0, 50), ranks=st.integers(1, 9))
def test_shards_are_a_partition(size, ranks):
    shards = [shard(size, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert [row for part in shards for row in part] == list(range(size))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1

"""Labelled and unlabelled samples in one batch: each once per epoch, over all processes."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data.mixed_batches import MixedBatches, shares
from stad_data.sampling import EpochBatches
from stad_eval import InputError


def mixed(sizes, batches, *, rank=0, ranks=1, start=0, stop=40, drop_last=False):
    parts = [
        EpochBatches(
            size=size,
            batch=batch,
            seed=seed,
            rank=rank,
            ranks=ranks,
            start=start,
            stop=stop,
            drop_last=drop_last,
        )
        for seed, (size, batch) in enumerate(zip(sizes, batches, strict=True))
    ]
    return MixedBatches(labelled=parts[0], unlabelled=parts[1])


SIZES = st.tuples(st.integers(1, 20), st.integers(1, 40))
BATCHES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, batches=BATCHES, ranks=st.integers(1, 4))
def test_every_clip_comes_once_per_epoch_over_all_processes(sizes, batches, ranks):
    drawn: Counter = Counter()
    for rank in range(ranks):
        sampler = mixed(sizes, batches, rank=rank, ranks=ranks)
        for keys in sampler:
            kinds = [row >= sizes[0] for _, row in keys]
            assert kinds == [False] * batches[0] + [True] * batches[1]
            drawn.update(keys)
    assert set(drawn.values()) == {1}
    for first, size, batch in ((0, sizes[0], batches[0]), (sizes[0], sizes[1], batches[1])):
        whole = 40 * batch * ranks // size
        for epoch in range(whole):
            assert {row for e, row in drawn if e == epoch and first <= row < first + size} == set(
                range(first, first + size)
            )


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, batches=BATCHES, start=st.integers(0, 39), drop_last=st.booleans())
def test_resuming_in_mid_epoch_draws_what_would_have_come(sizes, batches, start, drop_last):
    if drop_last and any(size < batch for size, batch in zip(sizes, batches, strict=True)):
        return
    undisturbed = mixed(sizes, batches, drop_last=drop_last)
    resumed = mixed(sizes, batches, start=start, drop_last=drop_last)
    assert list(resumed) == list(undisturbed)[start:]
    assert len(resumed) == 40 - start
    assert [undisturbed.keys(step) for step in range(40)] == list(undisturbed)
    assert undisturbed.epoch(start) == undisturbed.labelled.epoch(start)


def test_the_labelled_half_is_what_supervised_training_draws():
    sampler = mixed((7, 30), (2, 2))
    assert [keys[:2] for keys in sampler] == list(sampler.labelled)


def test_parts_of_other_processes_or_steps_are_refused():
    sampler = mixed((7, 30), (2, 2))
    for changes in ({"start": 3}, {"stop": None}, {"ranks": 2}):
        with pytest.raises(InputError, match="do not go together"):
            replace(sampler, unlabelled=replace(sampler.unlabelled, **changes))


def test_a_batch_is_shared_out_at_a_ratio():
    assert shares(8, (1, 1)) == (4, 4)
    assert shares(16, (1, 7)) == (2, 14)
    for batch, ratio in ((7, (1, 1)), (0, (1, 1)), (8, (0, 1)), (8, (1, 0)), (8, (-1, 2))):
        with pytest.raises(InputError, match="ratio"):
            shares(batch, ratio)

"""Rounds of iterated pseudo labels, and the labels of each."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stad_ssl import class_pseudo_labels, map_pseudo_labels, round_starts


def test_rounds_by_hand():
    assert round_starts(100, burn_in=40, rounds=3) == (40, 60, 80)
    assert round_starts(10, burn_in=0, rounds=1) == (0,)


@given(burn_in=st.integers(0, 50), rounds=st.integers(1, 9), more=st.integers(0, 200))
def test_rounds_share_the_steps_evenly(burn_in, rounds, more):
    steps = burn_in + rounds + more
    starts = round_starts(steps, burn_in=burn_in, rounds=rounds)
    lengths = [stop - start for start, stop in zip(starts, (*starts[1:], steps), strict=True)]
    assert starts[0] == burn_in
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


def test_too_few_steps_are_refused():
    with pytest.raises(ValueError, match="3 rounds"):
        round_starts(12, burn_in=10, rounds=3)


def test_the_best_class_is_the_label_where_it_is_sure():
    scores = torch.tensor([[0.2, 0.9, 0.1], [0.4, 0.3, 0.1]], requires_grad=True)
    labels, sure = class_pseudo_labels(scores, 0.5)
    assert labels.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert sure.tolist() == [True, False]
    assert not labels.requires_grad
    none, sure = class_pseudo_labels(torch.zeros(0, 3), 0.5)
    assert none.shape == (0, 3)
    assert sure.shape == (0,)
    with pytest.raises(ValueError, match=r"\[N, C\]"):
        class_pseudo_labels(torch.zeros(3), 0.5)


def test_maps_become_masks():
    found = map_pseudo_labels(torch.tensor([0.2, 0.5, 0.7]))
    assert found.tolist() == [0.0, 1.0, 1.0]

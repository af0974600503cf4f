"""Consistency of two views: 0 where they agree, symmetric, bounded, with right gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from stad_ssl import (
    class_divergence,
    jensen_shannon,
    localisation_consistency,
    seen_mean,
    squared_difference,
)

seeds = st.integers(0, 10_000)


def rows(seed, *, clips=3, features=6, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return [
        scale * torch.randn(clips, features, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]


def maps(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*(shape or (2, 5, 3, 4)), generator=generator, dtype=torch.float64)


def test_divergence_by_hand():
    # p = (1/2, 1/2), q = (1/4, 3/4), m = (3/8, 5/8).
    first, second = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3.0)]])
    p, q, m = (0.5, 0.5), (0.25, 0.75), (0.375, 0.625)
    expected = 0.5 * sum(
        a * math.log(a / c) + b * math.log(b / c) for a, b, c in zip(p, q, m, strict=True)
    )
    assert float(jensen_shannon(first, second)) == pytest.approx(expected, rel=1e-5)
    scores = torch.tensor([[0.4, 0.4]]), torch.tensor([[0.2, 0.6]])
    assert float(class_divergence(*scores)) == pytest.approx(expected, rel=1e-5)


@given(seed=seeds, scale=st.floats(0.1, 60.0))
@settings(deadline=None, max_examples=30)
def test_divergence_is_symmetric_bounded_and_blind_to_a_constant(seed, scale):
    first, second = rows(seed, scale=scale)
    found = float(jensen_shannon(first, second))
    assert -1e-9 <= found <= math.log(2) + 1e-9
    assert found == pytest.approx(float(jensen_shannon(second, first)), abs=1e-12)
    assert found == pytest.approx(float(jensen_shannon(first + 5.0, second - 2.0)), abs=1e-9)
    assert found > 0
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    assert found == pytest.approx(float(jensen_shannon(first[:, order], second[:, order])))


def test_distributions_apart_reach_the_bound():
    first, second = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    assert float(jensen_shannon(first, second)) == pytest.approx(math.log(2), rel=1e-5)


@given(seed=seeds)
@settings(deadline=None, max_examples=20)
def test_identical_views_cost_nothing_and_pull_nowhere(seed):
    first = rows(seed)[0].requires_grad_()
    loss = jensen_shannon(first, first.detach().clone())
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, first)
    assert float(gradient.abs().max()) < 1e-12
    same = maps(seed)
    assert float(localisation_consistency(same, same.clone())) == 0.0
    scores = maps(seed, 3, 4)
    assert float(class_divergence(scores, scores.clone())) == pytest.approx(0.0, abs=1e-12)


def test_gradients():
    first, second = rows(1)
    assert gradcheck(jensen_shannon, (first.requires_grad_(), second.requires_grad_()))
    scores = [maps(seed, 2, 4).requires_grad_() for seed in (1, 2)]
    assert gradcheck(class_divergence, scores)
    a, b = maps(1).requires_grad_(), maps(2).requires_grad_()
    seen = torch.rand(2, 1, 3, 4) < 0.6
    assert gradcheck(lambda x, y: localisation_consistency(x, y, seen), (a, b))


def test_only_what_both_views_show_counts():
    first, second = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    second[..., 0] = 0.5
    seen = torch.tensor([[True, False], [True, False]])
    assert float(localisation_consistency(first, second, seen)) == pytest.approx(0.25)
    assert float(localisation_consistency(first, second)) == pytest.approx((0.25 + 1) / 2)
    values = torch.ones(1, 2, 2, 2, requires_grad=True)
    nothing = seen_mean(values, torch.zeros(2, 2, dtype=torch.bool))
    assert float(nothing.detach()) == 0.0
    nothing.backward()
    assert values.grad is not None


@given(seed=seeds)
@settings(deadline=None, max_examples=20)
def test_maps_may_be_turned_in_time_and_mirrored_together(seed):
    first, second = maps(seed), maps(seed + 1)
    found = float(localisation_consistency(first, second))
    assert 0 < found <= 1
    assert found == pytest.approx(float(localisation_consistency(second, first)))
    for axis in (1, 2, 3):
        turned = localisation_consistency(first.flip(axis), second.flip(axis))
        assert found == pytest.approx(float(turned))


def test_no_clips_give_zero_with_gradients():
    for loss in (jensen_shannon, class_divergence):
        empty = torch.zeros(0, 4, requires_grad=True)
        found = loss(empty, torch.zeros(0, 4))
        found.backward()
        assert float(found.detach()) == 0.0
    assert float(localisation_consistency(torch.zeros(0, 2, 3, 3), torch.zeros(0, 2, 3, 3))) == 0.0


def test_half_precision_is_computed_in_float32():
    first, second = (each.to(torch.bfloat16) for each in rows(3))
    assert jensen_shannon(first, second).dtype == torch.float32
    assert squared_difference(maps(1).bfloat16(), maps(2).bfloat16()).dtype == torch.float32


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        jensen_shannon(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"\[N, C\]"):
        class_divergence(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1))
    with pytest.raises(ValueError, match="one shape"):
        squared_difference(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))

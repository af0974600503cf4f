"""Attention over time: it vanishes where nothing happens, and is as it was written by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from stad_ssl import (
    attended,
    consistency_objective,
    cyclic_clip,
    cyclic_variance_attention,
    exponential_ramp_up,
    gradient_attention,
    squared_difference,
    variance_attention,
)

seeds = st.integers(0, 10_000)
lengths = st.integers(5, 9)


def maps(seed, length=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, length, 3, 4, generator=generator, dtype=torch.float64)


def pixel(*values):
    """A map of one pixel over time."""
    return torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1)


def series(found):
    return found.reshape(-1).tolist()


def test_variance_by_hand():
    # Windows of the 1st to 5th frame: 0 0 1; 0 0 1 1; all; 0 1 1 0; 1 1 0.
    found = series(variance_attention(pixel(0, 0, 1, 1, 0)))
    assert found == pytest.approx([2 / 9, 1 / 4, 6 / 25, 1 / 4, 2 / 9])


@given(seed=seeds, length=lengths, past=st.integers(0, 2), future=st.integers(0, 2))
@settings(deadline=None, max_examples=30)
def test_variance_is_numpys_over_every_window(seed, length, past, future):
    given_maps = maps(seed, length)
    found = variance_attention(given_maps, past=past, future=future).numpy()
    around = variance_attention(given_maps, past=past, future=future, cyclic=True).numpy()
    for frame in range(length):
        window = given_maps[:, max(0, frame - past) : frame + future + 1].numpy()
        assert np.allclose(found[:, frame], window.var(axis=1))
        places = [(frame + step) % length for step in range(-past, future + 1)]
        assert np.allclose(around[:, frame], given_maps[:, places].numpy().var(axis=1))


@given(seed=seeds, length=lengths, constant=st.floats(0, 1), shift=st.floats(-3, 3))
@settings(deadline=None, max_examples=30)
def test_where_attention_vanishes_and_what_it_does_not_see(seed, length, constant, shift):
    still = torch.full((1, length, 3, 2), constant, dtype=torch.float64)
    assert float(variance_attention(still).max()) < 1e-15
    assert float(cyclic_variance_attention(still, still).max()) < 1e-15
    # A picture that does not move vanishes too.
    picture = maps(seed, 1).expand(-1, length, -1, -1)
    assert float(variance_attention(picture).max()) < 1e-15
    frame = torch.arange(length, dtype=torch.float64)[None, :, None, None]
    linear = maps(seed, 1) + frame * maps(seed + 1, 1)
    assert float(gradient_attention(linear).abs().max()) < 1e-12
    moving = maps(seed, length)
    assert torch.allclose(variance_attention(moving + shift), variance_attention(moving))
    assert torch.allclose(gradient_attention(moving + linear), gradient_attention(moving))


@given(seed=seeds, length=lengths)
@settings(deadline=None, max_examples=30)
def test_attention_is_bounded_and_turns_with_the_maps(seed, length):
    moving, others = maps(seed, length), maps(seed + 1, length)
    for attend in (variance_attention, gradient_attention):
        found = attend(moving)
        assert float(found.min()) >= 0
        for axis in (1, 2, 3):
            assert torch.allclose(attend(moving.flip(axis)), found.flip(axis))
    assert float(variance_attention(moving).max()) <= 0.25
    assert float(gradient_attention(moving).max()) <= 1.0
    signed = gradient_attention(moving, absolute=False)
    assert float(signed.min()) < 0 < float(signed.max())
    assert torch.equal(signed.abs(), gradient_attention(moving))
    # Round the circle the other way: time runs backwards in both views.
    found = cyclic_variance_attention(moving, others)
    back = cyclic_variance_attention(moving.flip(1), others.flip(1))
    assert torch.allclose(back, found.flip(1))


def test_a_circle_has_no_frame_twice():
    first, second = pixel(0.1, 0.2, 0.3, 0.4), pixel(0.5, 0.6, 0.7, 0.8)
    assert series(cyclic_clip(first, second)) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.7, 0.6])
    # First frame of the circle with two on either side: 0.7, 0.6, 0.1, 0.2, 0.3.
    found = series(cyclic_variance_attention(first, second))
    assert len(found) == 4
    assert found[0] == pytest.approx(np.var([0.7, 0.6, 0.1, 0.2, 0.3]))
    assert found[3] == pytest.approx(np.var([0.2, 0.3, 0.4, 0.7, 0.6]))


def test_second_difference_by_hand():
    # First differences of t^2: 1, 2, 4, 6, 8, 9; inside their central difference is 2.
    values = pixel(*(frame**2 for frame in range(6)))
    assert series(gradient_attention(values)) == pytest.approx([1, 1.5, 2, 2, 1.5, 1])
    spike = pixel(0, 0, 0, 1, 0, 0, 0)
    expected = [0, 0.25, 0, -0.5, 0, 0.25, 0]
    assert series(gradient_attention(spike, absolute=False)) == pytest.approx(expected)


def test_no_gradient_flows_through_attention_unless_asked():
    moving = maps(1).requires_grad_()
    for attend in (variance_attention, gradient_attention):
        assert not attend(moving).requires_grad
        assert attend(moving, detach=False).requires_grad
    assert not cyclic_variance_attention(moving, moving).requires_grad


def coherence(first, second, *, detach, share):
    attention = cyclic_variance_attention(second, first, detach=detach)
    return attended(squared_difference(first, second), attention, share).mean()


def smoothness(first, second, *, detach, absolute):
    attention = gradient_attention(first, detach=detach, absolute=absolute)
    return attended(squared_difference(first, second), attention).mean()


def test_gradients():
    first, second = maps(1).requires_grad_(), maps(2).requires_grad_()
    assert gradcheck(
        lambda a, b: coherence(a, b, detach=False, share=0.4), (first, second), atol=1e-6
    )
    for absolute in (False, True):
        assert gradcheck(
            lambda a, b, absolute=absolute: smoothness(a, b, detach=False, absolute=absolute),
            (first, second),
            atol=1e-6,
        )


@given(seed=seeds, share=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_attended_losses_vanish_for_equal_views_and_still_attention(seed, share):
    first, second = maps(seed), maps(seed + 1)
    difference = squared_difference(first, second)
    attention = variance_attention(second)
    found = attended(difference, attention, share)
    assert torch.allclose(found, share * attention * difference + (1 - share) * difference)
    assert float(attended(squared_difference(first, first), attention, share).max()) == 0.0
    assert torch.equal(attended(difference, attention, 0.0), difference)
    still = maps(seed, 1).expand(-1, 6, -1, -1)
    moved = squared_difference(still, still + 0.1)
    assert float(attended(moved, variance_attention(still)).max()) < 1e-15
    assert float(attended(moved, gradient_attention(still)).max()) < 1e-15


def test_the_objective_weighs_both_parts():
    one, two = torch.tensor(2.0), torch.tensor(3.0)
    assert float(consistency_objective(one, two)) == pytest.approx(0.3 * 2 + 0.7 * 3)
    assert float(consistency_objective(one, two, shares=(0.0, 1.0))) == 3.0


def test_the_ramp_begins_at_nothing_and_rises_late():
    assert exponential_ramp_up(0, 100) == 0.0
    assert exponential_ramp_up(50, 100) == pytest.approx(
        (np.exp(2.5) - 1) / (np.exp(5) - 1), rel=1e-12
    )
    assert exponential_ramp_up(100, 100) == exponential_ramp_up(500, 100) == 1.0
    assert exponential_ramp_up(3, 0) == 1.0
    with pytest.raises(ValueError, match="positive"):
        exponential_ramp_up(1, 2, rate=0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: variance_attention(torch.zeros(2, 3, 4)), r"\[N, T, H, W\]"),
        (lambda: variance_attention(torch.zeros(1, 4, 2, 2, dtype=torch.int64)), "floating"),
        (lambda: variance_attention(torch.zeros(1, 4, 2, 2), cyclic=True), "fit into"),
        (lambda: variance_attention(torch.zeros(1, 4, 2, 2), past=-1), "at least 0"),
        (lambda: gradient_attention(torch.zeros(1, 1, 2, 2)), "at least 2 frames"),
        (lambda: cyclic_clip(torch.zeros(1, 4, 2, 2), torch.zeros(1, 5, 2, 2)), "one shape"),
        (lambda: attended(torch.zeros(2), torch.zeros(2), 1.5), "share"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

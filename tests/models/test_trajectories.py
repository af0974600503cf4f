"""Curves of tubes: inverses, splines against SciPy, and greedy against exhaustive selection."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_models import trajectories as curves

finite = st.floats(-1.5, 1.5, allow_nan=False)


def random_tube(seed, frames, *, wild=1.0):
    """A box that drifts and grows along smooth curves of random shape, `[F, 4]`."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.linspace(0, 1, frames, dtype=torch.float64)
    bends = torch.randn((4, 3), generator=generator, dtype=torch.float64) * wild
    waves = torch.stack([torch.sin((n + 1) * 3 * times) for n in range(3)])
    move = (bends @ waves).T
    centre, sides = 50 + 20 * move[:, :2], 20 * torch.exp(0.3 * move[:, 2:])
    return times, torch.cat((centre - sides / 2, centre + sides / 2), dim=1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[finite] * 4), min_size=1, max_size=5),
    st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(2, 60), st.floats(2, 60)),
)
def test_changes_of_anchors_and_boxes_are_inverse(rows, anchor):
    changes = torch.tensor([rows], dtype=torch.float64)
    x, y, w, h = anchor
    anchors = torch.tensor([[x, y, x + w, y + h]], dtype=torch.float64)
    boxes = curves.decode_tube(changes, anchors)
    assert torch.allclose(curves.encode_tube(boxes, anchors), changes, atol=1e-9)
    again = curves.decode_tube(curves.encode_tube(boxes, anchors), anchors)
    assert torch.allclose(again, boxes, atol=1e-9)


@settings(deadline=None)
@given(st.floats(0, 50), st.floats(1.5, 60), st.integers(2, 9))
def test_times_and_frames_are_inverse(start, length, count):
    spans = torch.tensor([[start, start + length]], dtype=torch.float64)
    times = torch.linspace(0, 1, count, dtype=torch.float64)
    frames = curves.frames_at(times, spans)
    assert frames[0, 0] == pytest.approx(start)
    assert frames[0, -1] == pytest.approx(start + length - 1)
    assert torch.allclose(curves.normalised_times(frames[0], spans)[0], times, atol=1e-9)


def test_a_span_of_one_frame_has_time_zero():
    spans = torch.tensor([[4.0, 5.0], [4.0, 4.5], [2.0, 7.0]])
    found = curves.normalised_times(torch.arange(10.0), spans)
    assert found[2].tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert found[0, 4] == found[1, 4] == 0
    assert curves.frames_at(torch.tensor([0.0, 1.0]), spans)[0].tolist() == [4, 4]
    assert bool(found.isfinite().all())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4), st.integers(0, 10_000))
def test_a_fit_finds_the_polynomial_that_made_the_points(order, seed):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn((order + 1, 4), generator=generator, dtype=torch.float64)
    times = torch.linspace(0, 1, 12, dtype=torch.float64)
    values = curves.polynomial(made, times)
    assert torch.allclose(curves.fit_polynomial(times, values, order), made, atol=1e-6)


def test_a_fit_is_never_worse_for_a_higher_order():
    times, boxes = random_tube(3, 40)
    errors = [
        float(
            (curves.polynomial(curves.fit_polynomial(times, boxes, k), times) - boxes)
            .square()
            .sum()
        )
        for k in range(7)
    ]
    assert all(after <= before + 1e-9 for before, after in pairwise(errors))
    expected = np.polynomial.polynomial.polyfit(times.numpy(), boxes.numpy(), 3)
    assert np.allclose(curves.fit_polynomial(times, boxes, 3).numpy(), expected, atol=1e-7)


def test_a_fit_of_one_point_is_that_point():
    found = curves.fit_polynomial(torch.zeros(1), torch.tensor([[3.0, 4.0]]), 4)
    assert curves.polynomial(found, torch.zeros(1)).tolist() == [[3, 4]]
    with pytest.raises(ValueError, match="needs order >= 0 and a point"):
        curves.fit_polynomial(torch.zeros(0), torch.zeros(0, 4), 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 10_000))
def test_splines_are_scipys_natural_ones(knots, seed):
    # SciPy is none of this package's dependencies.
    reference = pytest.importorskip("scipy.interpolate").CubicSpline
    generator = torch.Generator().manual_seed(seed)
    gaps = 0.1 + torch.rand((2, knots), generator=generator, dtype=torch.float64)
    times = gaps.cumsum(dim=1)
    values = torch.randn((2, knots, 3), generator=generator, dtype=torch.float64)
    at = torch.linspace(float(times.min()) - 0.2, float(times.max()) + 0.2, 31).double()
    found = curves.spline(times, values, at)
    for row in range(2):
        kind = "natural" if knots > 2 else "not-a-knot"
        expected = reference(times[row].numpy(), values[row].numpy(), bc_type=kind)
        assert np.allclose(found[row].numpy(), expected(at.numpy()), atol=1e-8)


def test_gradients_pass_through_a_spline():
    times = torch.tensor([[0.0, 0.3, 0.6, 1.0]], dtype=torch.float64)
    values = torch.randn((1, 4, 2), dtype=torch.float64, requires_grad=True)
    at = torch.linspace(0, 1, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: curves.spline(times, y, at), (values,))
    with pytest.raises(ValueError, match="at least 2 knots"):
        curves.spline(times[:, :1], values[:, :1], at)


def test_lines_go_through_their_knots_and_stay_at_the_ends():
    times, values = torch.tensor([0.2, 0.4, 0.8]), torch.tensor([[1.0], [3.0], [1.0]])
    found = curves.linear(times, values, torch.tensor([0.0, 0.3, 0.4, 0.6, 0.9]))
    assert torch.allclose(found[:, 0], torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0]))
    alone = curves.linear(times[:1], values[:1], torch.tensor([0.0, 0.9]))
    assert alone.tolist() == [[1.0], [1.0]]


def exhaustive(times, boxes, count, chosen):
    """The best mean IoU of all ways to choose so many timestamps, the ends among them."""
    best = 0.0
    for inner in combinations(range(1, count - 1), chosen - 2):
        keys = torch.zeros(count, dtype=torch.bool)
        keys[[0, *inner, count - 1]] = True
        best = max(best, chosen_iou(times, boxes, count, keys))
    return best


def chosen_iou(times, boxes, count, keys):
    """Mean IoU of the spline through these timestamps."""
    stamps = torch.linspace(0, 1, count, dtype=boxes.dtype)
    at_stamps = curves.linear(times, boxes, stamps)
    return float(curves.mean_iou(curves.interpolated(at_stamps, keys, times), boxes))


def lost(times, boxes, count):
    """How much more IoU exhaustive search for as many timestamps reaches."""
    keys = curves.key_timestamps(times, boxes, count=count, threshold=0.8)
    best = exhaustive(times, boxes, count, int(keys.sum()))
    return best - chosen_iou(times, boxes, count, keys)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 4), st.integers(0, 10_000), st.floats(0.1, 1.5))
def test_of_up_to_four_timestamps_greedy_selection_finds_the_best(count, seed, wild):
    assert abs(lost(*random_tube(seed, 24, wild=wild), count)) < 1e-9


def test_of_five_timestamps_greedy_selection_rarely_loses_a_hundredth():
    for wild in (0.3, 1.0):
        losses = np.array([lost(*random_tube(seed, 24, wild=wild), 5) for seed in range(40)])
        assert losses.min() > -1e-9
        assert losses.mean() < 0.01
        assert (losses > 0.01).mean() < 0.05


@pytest.mark.parametrize("count", [6, 7])
def test_greedy_selection_takes_at_most_one_timestamp_more_than_needed(count):
    for seed in range(12):
        times, boxes = random_tube(seed, 24)
        taken = int(curves.key_timestamps(times, boxes, count=count, threshold=0.8).sum())
        needed = next(
            n for n in range(2, count + 1) if n == count or exhaustive(times, boxes, count, n) > 0.8
        )
        assert needed <= taken <= needed + 1


def test_selection_stops_as_soon_as_the_threshold_is_passed():
    for seed in range(8):
        times, boxes = random_tube(seed, 30)
        before = 2
        for threshold in (0.3, 0.6, 0.8, 0.9, 0.999):
            keys = curves.key_timestamps(times, boxes, count=9, threshold=threshold)
            assert keys[0]
            assert keys[-1]
            assert int(keys.sum()) >= before
            before = int(keys.sum())
            assert keys.all() or chosen_iou(times, boxes, 9, keys) > threshold


def test_a_tube_that_stands_still_needs_its_ends_alone():
    boxes = torch.tensor([[10.0, 10, 30, 50]]).repeat(20, 1)
    keys = curves.key_timestamps(torch.linspace(0, 1, 20), boxes, count=6)
    assert keys.tolist() == [True, False, False, False, False, True]
    one = curves.key_timestamps(torch.zeros(1), boxes[:1], count=6)
    assert one.tolist() == keys.tolist()


def test_selection_needs_timestamps_and_boxes():
    with pytest.raises(ValueError, match="needs 2 timestamps and a box"):
        curves.key_timestamps(torch.zeros(1), torch.zeros(1, 4), count=1)
    with pytest.raises(ValueError, match="0 boxes"):
        curves.key_timestamps(torch.zeros(0), torch.zeros(0, 4), count=4)


def test_mean_overlap_by_hand():
    a = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 10]]])
    b = torch.tensor([[[5.0, 0, 15, 10], [20, 0, 10, 10]]])
    assert curves.mean_iou(a, b).tolist() == pytest.approx([1 / 6])

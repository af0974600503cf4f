import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_models.heads.fcos_targets import assign
from stad_models.heads.locations import boxes_from_distances

STRIDES = (8, 16)
RANGES = ((0.0, 32.0), (32.0, math.inf))
RADIUS = 1.5


def grid(width=96, height=64):
    points, strides, ranges = [], [], []
    for stride, bounds in zip(STRIDES, RANGES, strict=True):
        for y in range(height // stride):
            for x in range(width // stride):
                points.append(((x + 0.5) * stride, (y + 0.5) * stride))
                strides.append(float(stride))
                ranges.append(bounds)
    return torch.tensor(points), torch.tensor(strides), torch.tensor(ranges)


def run(boxes, radius=RADIUS):
    points, strides, ranges = grid()
    return assign(
        boxes, points_L2=points, strides_L=strides, ranges_L2=ranges, center_radius=radius
    )


def one_location(boxes, point, stride, bounds):
    """The rule, location by location and box by box: (row, distances) or None."""
    best = None
    for row, (x1, y1, x2, y2) in enumerate(boxes):
        sides = (point[0] - x1, point[1] - y1, x2 - point[0], y2 - point[1])
        centre = ((x1 + x2) / 2, (y1 + y2) / 2)
        off = max(abs(point[0] - centre[0]), abs(point[1] - centre[1]))
        if min(sides) <= 0 or off >= RADIUS * stride:
            continue
        if not bounds[0] <= max(sides) < bounds[1]:
            continue
        area = (x2 - x1) * (y2 - y1)
        if best is None or area < best[0]:
            best = (area, row, [side / stride for side in sides])
    return best and best[1:]


# Quarters of a pixel are exact in float32, so that reference and code see the same numbers.
quarters = st.integers(-40, 480).map(lambda n: n / 4)
sides = st.integers(1, 360).map(lambda n: n / 4)
box = st.tuples(quarters, quarters, sides, sides).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(st.lists(box, max_size=5), min_size=1, max_size=3))
@settings(deadline=None, max_examples=50)
def test_assignment_equals_the_rule_applied_one_by_one(clips):
    points, strides, ranges = grid()
    wanted, positive, row = run([torch.tensor(boxes).reshape(-1, 4) for boxes in clips])
    for n, boxes in enumerate(clips):
        for i, (point, stride, bounds) in enumerate(
            zip(points.tolist(), strides.tolist(), ranges.tolist(), strict=True)
        ):
            expected = one_location(boxes, point, stride, bounds)
            assert positive[n, i].item() == (expected is not None)
            if expected is not None:
                assert row[n, i].item() == expected[0]
                assert wanted[n, i].tolist() == pytest.approx(expected[1])


@given(st.lists(box, min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_decoding_targets_gives_the_boxes_back(boxes):
    points, strides, _ = grid()
    wanted, positive, row = run([torch.tensor(boxes)])
    hit = positive[0]
    decoded = boxes_from_distances(points[hit], wanted[0][hit], strides[hit])
    torch.testing.assert_close(decoded, torch.tensor(boxes)[row[0][hit]], rtol=0, atol=1e-3)


def test_of_two_boxes_the_smaller_wins_and_of_equals_the_first():
    inner, outer = [28.0, 20.0, 52.0, 44.0], [22.0, 14.0, 58.0, 50.0]
    _, positive, row = run([torch.tensor([outer, inner, inner])])
    at_centre = (grid()[0] == torch.tensor([36.0, 36.0])).all(dim=1)
    assert positive[0, at_centre].all()
    assert row[0, at_centre].tolist() == [1]


def test_clips_without_boxes_have_no_positives():
    none = torch.zeros((0, 4))
    _, positive, _ = run([none, none])
    assert not positive.any()
    _, positive, _ = run([none, torch.tensor([[20.0, 20, 60, 60]])])
    assert positive.any(dim=1).tolist() == [False, True]


def test_every_actor_wider_than_a_cell_has_a_location_whatever_its_size():
    # The last range is open: even a box far larger than the clip's levels are made for counts.
    for side in (12.0, 40.0, 90.0, 500.0):
        low = 48 - side / 2
        _, positive, _ = run([torch.tensor([[low, low - 16, low + side, low - 16 + side]])])
        assert positive.any(), side

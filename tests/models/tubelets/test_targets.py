"""Targets of tubelet detectors against values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stad_models import Targets
from stad_models.heads.tubelet_targets import (
    area_radii,
    cells_of,
    center_heat,
    gaussian_areas,
    gaussians,
    grid_actors,
    grid_of,
    heat_radii,
)

SIZE = (64, 48)  # 12 x 16 cells of stride 4


def moving(offset: float, *, left=8.0, top=4.0, side=32.0):
    return (left + offset, top, left + offset + side, top + side)


def test_actors_lie_on_the_grid(make_tracks, make_track_targets):
    targets = make_track_targets(make_tracks([[moving(-4), moving(2), moving(4)]]))
    actors = grid_actors(targets, stride=4, size=SIZE)
    assert actors.grid == (12, 16)
    assert actors.key == 1
    assert actors.centers.tolist() == [[[5.0, 5.0], [6.5, 5.0], [7.0, 5.0]]]
    assert actors.cells.tolist() == [[[5, 5], [6, 5], [7, 5]]]
    assert actors.sides.tolist() == [[[8.0, 8.0]] * 3]
    assert actors.clips.tolist() == [0]


def test_only_actors_that_the_keyframe_shows_count(make_tracks, make_track_targets):
    here, gone = [True, True, True], [True, False, True]
    first = make_tracks([[moving(0)] * 3, [moving(4)] * 3], present=[here, gone])
    outside = make_tracks([[moving(-40)] * 3, [moving(0)] * 3])  # a center left of the frame
    actors = grid_actors(make_track_targets(first, outside), stride=4, size=SIZE)
    assert actors.clips.tolist() == [0, 1]
    assert actors.labels.argmax(dim=1).tolist() == [0, 1]


def test_an_actor_that_leaves_is_absent_or_outside(make_tracks, make_track_targets):
    boxes = [[moving(-36), moving(0), moving(0)]]
    actors = grid_actors(
        make_track_targets(make_tracks(boxes, present=[[True, True, False]])), stride=4, size=SIZE
    )
    assert actors.present.tolist() == [[True, True, False]]
    assert actors.inside.tolist() == [[False, True, False]]


def test_targets_without_tracks_are_refused():
    targets = Targets(boxes=(torch.zeros(0, 4),), labels=(torch.zeros(0, 3),))
    with pytest.raises(ValueError, match="give tracks over the K frames"):
        grid_actors(targets, stride=4, size=SIZE)


@pytest.mark.parametrize(("size", "grid"), [((64, 48), (12, 16)), ((65, 47), (12, 17))])
def test_grids_cover_the_frame(size, grid):
    assert grid_of(size, 4) == grid


def test_centers_on_the_far_edge_belong_to_the_last_cell():
    points = torch.tensor([[16.0, 12.0], [15.99, 0.0], [-0.5, 3.0]])
    assert cells_of(points, (12, 16)).tolist() == [[15, 11], [15, 0], [0, 3]]


def test_heat_by_hand(make_tracks, make_track_targets):
    targets = make_track_targets(make_tracks([[moving(0)] * 3], labels=[2]))
    actors = grid_actors(targets, stride=4, size=SIZE)
    # Sides 8 and 8: sqrt(11.2^2 + 0.84 * 64) - 11.2 = 2.19; deviation 5 / 6.
    assert heat_radii(torch.tensor([[8.0, 8.0]])).tolist() == [2.0]
    heat = center_heat(actors, by_class=True)
    assert heat.shape == (1, 3, 12, 16)
    assert heat[0, :2].count_nonzero() == 0
    assert heat[0, 2].count_nonzero() == 25
    assert heat[0, 2, 5, 6].item() == 1.0
    assert heat[0, 2, 5, 7].item() == pytest.approx(math.exp(-0.72))
    assert heat[0, 2, 7, 4].item() == pytest.approx(math.exp(-8 * 0.72))
    assert torch.equal(center_heat(actors, by_class=False)[0, 0], heat[0, 2])


def test_heat_takes_the_larger_of_two_actors(make_tracks, make_track_targets):
    boxes = [[moving(0)], [moving(8)]]
    actors = grid_actors(make_track_targets(make_tracks(boxes)), stride=4, size=SIZE)
    heat = center_heat(actors, by_class=False)[0, 0]
    assert (heat == 1).sum() == 2
    assert heat[5, 7].item() == pytest.approx(math.exp(-0.72))
    apart = center_heat(actors, by_class=True)[0]
    assert torch.equal(heat, apart[:2].amax(dim=0))


def test_heat_without_actors_is_zero(random_targets):
    actors = grid_actors(random_targets((0, 0)), stride=4, size=SIZE)
    assert center_heat(actors, by_class=True).shape == (2, 3, 12, 16)
    assert center_heat(actors, by_class=True).count_nonzero() == 0
    assert center_heat(actors, by_class=False).count_nonzero() == 0


@pytest.mark.parametrize(
    ("sides", "radius"), [((8, 8), 2), ((8, 20), 2), ((3, 3), 0), ((30, 8), 2)]
)
def test_areas_grow_with_the_shorter_side(sides, radius):
    assert area_radii(torch.tensor([sides], dtype=torch.float32)).tolist() == [radius]


def areas_of(cells, sides, maps=None, *, grid=(12, 16)):
    cells = torch.tensor(cells)
    maps = torch.zeros(len(cells), dtype=torch.long) if maps is None else torch.tensor(maps)
    return gaussian_areas(
        cells, torch.tensor(sides), maps, map_count=int(maps.max()) + 1, grid=grid
    )


def test_an_area_by_hand():
    areas = areas_of([[6, 5]], [[8.0, 20.0]])
    assert len(areas.points) == 25
    assert sorted(zip(areas.x.tolist(), areas.y.tolist(), strict=True))[0] == (4, 3)
    assert areas.weights.sum().item() == pytest.approx(1.0)
    row = [math.exp(-0.72 * away**2) for away in (-2, -1, 0, 1, 2)]
    middle = areas.weights[(areas.x == 6) & (areas.y == 5)]
    assert middle.item() == pytest.approx(1 / sum(row) ** 2)


def test_an_area_at_the_edge_keeps_its_weight():
    areas = areas_of([[0, 11]], [[8.0, 8.0]])
    assert len(areas.points) == 9
    assert areas.weights.sum().item() == pytest.approx(1.0)


def test_areas_that_overlap_share_by_the_higher_gaussian():
    areas = areas_of([[5, 5], [7, 5]], [[8.0, 8.0], [30.0, 30.0]])
    claimed = list(zip(areas.x.tolist(), areas.y.tolist(), areas.points.tolist(), strict=True))
    assert (5, 5, 0) in claimed
    assert (7, 5, 1) in claimed
    assert len({(x, y) for x, y, _ in claimed}) == len(claimed)
    for point in (0, 1):
        assert areas.weights[areas.points == point].sum().item() == pytest.approx(1.0)


def test_areas_of_different_maps_do_not_meet():
    areas = areas_of([[5, 5], [5, 5]], [[8.0, 8.0], [8.0, 8.0]], maps=[0, 1])
    assert (areas.points == 0).sum() == 25
    assert (areas.points == 1).sum() == 25


@given(
    x=st.integers(0, 15),
    y=st.integers(0, 11),
    radius=st.integers(0, 6),
)
def test_gaussians_are_bounded_and_symmetric(x, y, radius):
    bell = gaussians(torch.tensor([[x, y]]), torch.tensor([float(radius)]), (12, 16))[0]
    assert bell[y, x] == 1
    assert bell.max() == 1
    assert bell.min() >= 0
    assert (bell == 1).sum() == 1
    for away in range(1, radius + 1):
        if x - away >= 0 and x + away < 16:
            assert bell[y, x - away] == bell[y, x + away] > 0
    if x + radius + 1 < 16:
        assert bell[y, x + radius + 1] == 0

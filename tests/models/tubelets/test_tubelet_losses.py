import math

import pytest
import torch
from torch.autograd import gradcheck

from stad_models.heads import tubelet_losses as losses
from stad_models.heads.tubelet_boxes import DISTANCE_UNIT
from stad_models.heads.tubelet_targets import GridActors, center_heat, grid_actors

SIZE, K = (64, 48), 3


@pytest.fixture
def actors(random_targets) -> GridActors:
    return grid_actors(random_targets((2, 0, 1), length=K, size=SIZE), stride=4, size=SIZE)


def maps(*channels, scale=1.0):
    shape = (3, *channels, 12, 16)
    return (torch.randn(shape, dtype=torch.float64) * scale).requires_grad_()


def check_gradient(loss, x):
    """`gradcheck` of a loss along a hundred random entries, since maps are large."""
    places = torch.randperm(x.numel())[:100]
    flat = x.detach().flatten()

    def along(part):
        return loss(flat.index_copy(0, places, part).view_as(x))

    assert gradcheck(along, flat[places].clone().requires_grad_())


def at_centers(x, actors):
    """Values of a map in the keyframe's cells of the actors."""
    cells = actors.cells[:, actors.key]
    return x[actors.clips, ..., cells[:, 1], cells[:, 0]]


def test_center_focal_by_hand():
    logits = torch.zeros(3)
    heat = torch.tensor([1.0, 0.0, 0.5])
    # p = 1/2: (1/2)^2 ln 2 for the center; (1/2)^2 ln 2 for cold; times (1/2)^4 near a center.
    expected = 0.25 * math.log(2) * (1 + 1 + 1 / 16)
    assert losses.center_focal(logits, heat).item() == pytest.approx(expected)


def test_center_focal_is_stable_at_both_ends():
    logits = torch.tensor([80.0, -80.0], requires_grad=True)
    right = losses.center_focal(logits, torch.tensor([1.0, 0.0]))
    wrong = losses.center_focal(logits, torch.tensor([0.0, 1.0]))
    assert right.item() == pytest.approx(0.0, abs=1e-6)
    assert wrong.item() == pytest.approx(160.0)
    wrong.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("by_class", [True, False])
def test_center_gradient(actors, by_class):
    heat = center_heat(actors, by_class=by_class)[:, :, :6, :6].double()
    logits = torch.randn_like(heat).requires_grad_()
    assert gradcheck(lambda x: losses.center_focal(x, heat), logits)


def test_centers_are_averaged_over_actors(actors):
    logits = torch.zeros(3, 1, 12, 16)
    total = losses.center_focal(logits, center_heat(actors, by_class=False))
    assert losses.center_loss(logits, actors, by_class=False).item() == pytest.approx(
        total.item() / 3
    )


def perfect_movement(actors):
    """A map that tells the right movement in every cell of the keyframe, of one actor per clip."""
    wanted = losses.movements(actors)
    movement = torch.zeros(3, K, 2, 12, 16)
    for clip, target in zip(actors.clips, wanted, strict=True):
        movement[clip] = target[..., None, None]
    return movement


def test_movement_by_hand(make_tracks, make_track_targets):
    boxes = [[(4, 4, 36, 36), (10, 4, 42, 36), (12, 8, 44, 40)]]
    targets = make_track_targets(make_tracks(boxes))
    actors = grid_actors(targets, stride=4, size=SIZE)
    assert losses.movements(actors).tolist() == [[[-1.0, 0.0], [0.5, 0.0], [1.0, 1.0]]]
    zeros = torch.zeros(1, K, 2, 12, 16)
    for loss in (losses.point_movement_loss, losses.area_movement_loss):
        assert loss(zeros, actors).item() == pytest.approx((1 + 0.5 + 2) / 6)


@pytest.mark.parametrize("loss", [losses.point_movement_loss, losses.area_movement_loss])
def test_right_movement_costs_nothing(random_targets, loss):
    actors = grid_actors(random_targets((1, 0, 1), length=K, size=SIZE), stride=4, size=SIZE)
    assert loss(perfect_movement(actors), actors).item() == pytest.approx(0, abs=1e-6)


def test_points_read_the_center_and_areas_read_around_it(actors):
    for loss, cells in ((losses.point_movement_loss, 3), (losses.area_movement_loss, 4)):
        movement = maps(K, 2)
        loss(movement, actors).backward()
        touched = movement.grad.abs().sum(dim=(1, 2)) > 0
        if loss is losses.point_movement_loss:
            assert touched.sum() == cells
        else:
            assert touched.sum() > cells


@pytest.mark.parametrize("loss", [losses.point_movement_loss, losses.area_movement_loss])
def test_movement_gradient(actors, loss):
    check_gradient(lambda x: loss(x, actors), maps(K, 2))
    movement = maps(K, 2)
    loss(movement, actors).backward()
    assert (at_centers(movement.grad, actors) != 0).all()


def test_sides_by_hand(make_tracks, make_track_targets):
    boxes = [[(4, 4, 36, 36), (10, 4, 42, 44), (12, 8, 44, 40)]]
    actors = grid_actors(make_track_targets(make_tracks(boxes)), stride=4, size=SIZE)
    sizes = torch.full((1, K, 2, 12, 16), 8.0)
    assert losses.point_size_loss(sizes, actors).item() == pytest.approx(2 / 6)


def test_distances_by_hand(make_tracks, make_track_targets):
    # Every cell of the area, which reaches 2 cells, finds 5 x 5 cells around itself: all within
    # the box of 10 x 10 around the middle of its cell, so the IoU is 1/4 and the hull the box.
    box = (6.0, 6.0, 46.0, 46.0)
    actors = grid_actors(make_track_targets(make_tracks([[box] * K])), stride=4, size=(64, 64))
    assert actors.sides[:, 0].tolist() == [[10.0, 10.0]]
    raw = math.log(math.expm1(2.5 / DISTANCE_UNIT))
    sizes = torch.full((1, K, 4, 16, 16), raw)
    assert losses.area_size_loss(sizes, actors).item() == pytest.approx(0.75, abs=1e-4)


def test_right_distances_cost_nothing(make_tracks, make_track_targets):
    boxes = [[(8, 4, 40, 36)] * K]
    actors = grid_actors(make_track_targets(make_tracks(boxes)), stride=4, size=SIZE)
    y, x = torch.meshgrid(torch.arange(12.0) + 0.5, torch.arange(16.0) + 0.5, indexing="ij")
    distances = torch.stack((x - 2, y - 1, 10 - x, 9 - y)).clamp(min=0.05)
    raw = torch.log(torch.expm1(distances / DISTANCE_UNIT)).expand(1, K, 4, 12, 16)
    assert losses.area_size_loss(raw, actors).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "channels"), [(losses.point_size_loss, 2), (losses.area_size_loss, 4)]
)
def test_size_gradient(actors, loss, channels):
    check_gradient(lambda x: loss(x, actors), maps(K, channels))
    sizes = maps(K, channels)
    loss(sizes, actors).backward()
    frames = torch.arange(K)
    cells = actors.cells
    touched = sizes.grad[actors.clips[:, None], frames, :, cells[..., 1], cells[..., 0]]
    assert (touched.abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize(
    ("loss", "channels"),
    [
        (losses.point_movement_loss, 2),
        (losses.area_movement_loss, 2),
        (losses.point_size_loss, 2),
        (losses.area_size_loss, 4),
    ],
)
def test_nobody_costs_nothing_but_has_a_gradient(random_targets, loss, channels):
    nobody = grid_actors(random_targets((0, 0, 0), length=K), stride=4, size=SIZE)
    x = maps(K, channels)
    found = loss(x, nobody)
    assert found.item() == 0
    found.backward()
    assert x.grad.count_nonzero() == 0


@pytest.mark.parametrize("loss", [losses.point_movement_loss, losses.area_movement_loss])
def test_frames_without_the_actor_do_not_count(make_tracks, make_track_targets, loss):
    boxes = [[(4, 4, 36, 36), (8, 4, 40, 36), (0, 0, 0, 0)]]
    tracks = make_tracks(boxes, present=[[True, True, False]])
    actors = grid_actors(make_track_targets(tracks), stride=4, size=SIZE)
    zeros = torch.zeros(1, K, 2, 12, 16)
    assert loss(zeros, actors).item() == pytest.approx(1 / 4)
    for size_loss, channels in ((losses.point_size_loss, 2), (losses.area_size_loss, 4)):
        sizes = torch.zeros(1, K, channels, 12, 16, requires_grad=True)
        size_loss(sizes, actors).backward()
        assert sizes.grad[0, 2].count_nonzero() == 0
        assert sizes.grad[0, 0].count_nonzero() > 0


def test_large_and_small_actors_weigh_the_same(make_tracks, make_track_targets):
    small, large = [(4, 4, 20, 20)] * K, [(24, 4, 64, 48)] * K
    actors = grid_actors(make_track_targets(make_tracks([small, large])), stride=4, size=SIZE)
    sizes = torch.zeros(1, K, 4, 12, 16, requires_grad=True)
    movement = torch.full((1, K, 2, 12, 16), 7.0, requires_grad=True)
    losses.area_movement_loss(movement, actors).backward()
    weight = movement.grad[0, 0, 0]
    assert weight[:, :6].sum().item() == pytest.approx(weight[:, 6:].sum().item())
    losses.area_size_loss(sizes, actors).backward()
    assert sizes.grad.isfinite().all()

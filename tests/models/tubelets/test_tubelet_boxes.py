import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_models.heads.tubelet_boxes import (
    DISTANCE_UNIT,
    FoundPoints,
    background_cells,
    found_points,
    middle_of,
    peaks,
    tubelets_of,
)
from stad_models.heads.tubelet_losses import movements
from stad_models.heads.tubelet_targets import center_heat, grid_actors
from stad_models.structures import Targets, TrackTargets

SIZE, STRIDE = (64, 48), 4


def encoded(actors, length, extent):
    """The maps that tell the actors exactly, at the cells where they are read."""
    height, width = actors.grid
    heat = center_heat(actors, by_class=True)
    movement = torch.zeros(actors.clip_count, length, 2, height, width)
    sizes = torch.zeros(actors.clip_count, length, 2 if extent == "sides" else 4, height, width)
    for row, clip in enumerate(actors.clips):
        x, y = actors.cells[row, actors.key]
        movement[clip, :, :, y, x] = movements(actors)[row]
        for frame in range(length):
            x, y = actors.cells[row, frame]
            left, top, right, bottom = actors.boxes[row, frame]
            column, line = middle_of(actors.cells[row, frame])
            if extent == "sides":
                sizes[clip, frame, :, y, x] = actors.sides[row, frame]
            else:
                away = torch.stack((column - left, line - top, right - column, bottom - line))
                sizes[clip, frame, :, y, x] = torch.log(torch.expm1(away / DISTANCE_UNIT))
    return heat, movement, sizes


def decoded(maps, extent, *, limit=4) -> FoundPoints:
    return found_points(*maps, extent=extent, limit=limit, stride=STRIDE, size=SIZE)


@pytest.mark.parametrize("extent", ["sides", "distances"])
@pytest.mark.parametrize("length", [1, 3, 5, 7])
@given(
    side=st.tuples(st.floats(9, 20), st.floats(9, 20)),
    start=st.tuples(st.floats(0, 20), st.floats(0, 16)),
    drift=st.tuples(st.floats(-2, 2), st.floats(-1, 1)),
)
@settings(max_examples=15, deadline=None)
def test_decoding_undoes_encoding(length, extent, side, start, drift):
    away = torch.arange(length)[:, None] - length // 2
    low = torch.tensor(start) + 8 + away * torch.tensor(drift)
    boxes = torch.cat((low, low + torch.tensor(side)), dim=1)[None]
    tracks = TrackTargets(
        boxes=boxes,
        present=torch.ones((1, length), dtype=torch.bool),
        labels=torch.eye(3)[None, 1].expand(1, length, 3),
    )
    targets = Targets(boxes=(boxes[:, 0],), labels=(torch.eye(3)[1:2],), tracks=(tracks,))
    actors = grid_actors(targets, stride=STRIDE, size=SIZE)
    found = decoded(encoded(actors, length, extent), extent)
    assert found.scores[0, 0] == 1
    assert found.kinds[0, 0] == 1
    limits = torch.tensor((*SIZE, *SIZE), dtype=torch.float32)
    torch.testing.assert_close(
        found.boxes[0, 0], boxes[0].clamp(min=0).minimum(limits), rtol=0, atol=1e-3
    )


def test_two_actors_come_best_first(make_tracks, make_track_targets):
    boxes = [[(4, 4, 24, 24)] * 3, [(36, 16, 60, 44)] * 3]
    targets = make_track_targets(make_tracks(boxes, labels=[2, 0]))
    actors = grid_actors(targets, stride=STRIDE, size=SIZE)
    heat, movement, sizes = encoded(actors, 3, "sides")
    heat[0, 2] *= 0.5
    found = decoded((heat, movement, sizes), "sides")
    assert found.scores[0].tolist() == [1.0, 0.5, 0.0, 0.0]
    assert found.kinds[0, :2].tolist() == [0, 2]
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([[36.0, 16, 60, 44]] * 3))
    torch.testing.assert_close(found.boxes[0, 1], torch.tensor([[4.0, 4, 24, 24]] * 3))


def test_peaks_are_local_maxima():
    heat = torch.zeros(1, 2, 5, 6)
    heat[0, 0, 1, 1], heat[0, 0, 1, 2] = 0.9, 0.8  # the second is no peak
    heat[0, 0, 4, 5] = 0.7
    heat[0, 1, 1, 2] = 0.6  # another kind of center
    scores, kinds, cells = peaks(heat, 3)
    assert scores[0].tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert kinds[0].tolist() == [0, 0, 1]
    assert cells[0].tolist() == [[1, 1], [5, 4], [2, 1]]


def test_there_are_no_more_peaks_than_cells():
    scores, kinds, cells = peaks(torch.rand(2, 1, 2, 3), 10)
    assert scores.shape == kinds.shape == (2, 6)
    assert cells.shape == (2, 6, 2)


@pytest.mark.parametrize("extent", ["sides", "distances"])
def test_boxes_stay_on_the_frame(extent):
    maps = (torch.rand(2, 3, 12, 16), torch.randn(2, 5, 2, 12, 16) * 20)
    sizes = torch.randn(2, 5, 2 if extent == "sides" else 4, 12, 16) * 20
    boxes = decoded((*maps, sizes), extent, limit=50).boxes
    assert boxes.isfinite().all()
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor((*SIZE, *SIZE))).all()
    assert (boxes[..., 2:] >= boxes[..., :2]).all()


def test_sizes_are_read_where_the_center_has_moved():
    heat = torch.zeros(1, 1, 12, 16)
    heat[0, 0, 5, 4] = 1
    movement = torch.zeros(1, 3, 2, 12, 16)
    movement[0, 1, :, 5, 4] = torch.tensor((1.5, 0.5))  # the keyframe's is read at the peak itself
    movement[0, 2, :, 5, 4] = torch.tensor((3.25, -1.5))
    sizes = torch.full((1, 3, 2, 12, 16), 2.0)
    sizes[0, 1, :, 5, 4] = torch.tensor((4.0, 2.0))
    sizes[0, 2, :, 3, 7] = torch.tensor((6.0, 4.0))
    found = decoded((heat, movement, sizes), "sides", limit=1)
    assert found.boxes[0, 0, 0].tolist() == [12.0, 16.0, 20.0, 24.0]
    assert found.boxes[0, 0, 1].tolist() == [14.0, 18.0, 30.0, 26.0]
    assert found.boxes[0, 0, 2].tolist() == [17.0, 6.0, 41.0, 22.0]


def test_tubelets_need_a_score_of_their_own():
    found = FoundPoints(
        scores=torch.tensor([[0.9, 0.2, 0.0]]),
        kinds=torch.zeros((1, 3), dtype=torch.long),
        cells=torch.zeros((1, 3, 2), dtype=torch.long),
        boxes=torch.rand(1, 3, 5, 4),
    )
    scores = torch.rand(1, 3, 4)
    for limit, count in ((0.0, 2), (0.5, 1), (0.95, 0)):
        (tubelets,) = tubelets_of(found, scores, min_score=limit, first=6)
        assert len(tubelets) == count
        assert tubelets.first == 6
        assert torch.equal(tubelets.boxes, found.boxes[0, :count])
        assert torch.equal(tubelets.scores, scores[0, :count])


def test_background_cells_are_the_best_maxima_outside_boxes(make_tracks, make_track_targets):
    heat = torch.zeros(2, 1, 6, 8)
    for y, x, value in ((1, 1, 0.9), (1, 3, 0.8), (4, 6, 0.7), (4, 1, 0.6)):
        heat[0, 0, y, x] = value
    heat[0, 0, 4, 7] = 0.65  # beside a higher one, so no maximum
    heat[1, 0, 0, 0] = 0.2
    # One actor on cells x 0 to 2 and y 0 to 2 of the first clip, in pixels of stride 4.
    track = make_tracks([[[0.0, 0.0, 12.0, 12.0]]])
    nobody = TrackTargets(
        boxes=torch.zeros(0, 1, 4),
        present=torch.zeros((0, 1), dtype=torch.bool),
        labels=torch.zeros(0, 1, 3),
    )
    actors = grid_actors(make_track_targets(track, nobody), stride=4, size=(32, 24))
    clips, cells = background_cells(heat, actors, 2)
    assert clips.tolist() == [0, 0, 1]
    assert cells.tolist() == [[3, 1], [6, 4], [0, 0]]
    # A cell whose neighbour in the box is higher is no maximum, though it lies outside.
    heat[0, 0, 1, 2] = 0.95
    clips, cells = background_cells(heat, actors, 2)
    assert cells[clips == 0].tolist() == [[6, 4], [1, 4]]
    clips, cells = background_cells(torch.zeros(2, 1, 6, 8), actors, 2)
    assert clips.shape == (0,)
    assert cells.shape == (0, 2)

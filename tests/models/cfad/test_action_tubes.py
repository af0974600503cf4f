"""Tubes of annotated tracks, what a span shows of them, and which anchors belong to which."""

import pytest
import torch

from stad_models.heads.action_tubes import action_tubes, span_iou, tubes_of_span
from stad_models.heads.tube_matching import match_tubes
from stad_models.structures import TrackTargets

STILL = (10, 10, 30, 50)


def test_every_run_of_an_action_is_a_tube(make_tracks):
    tracks = make_tracks(
        (STILL, STILL, ((2, 0, 4), (2, 6, 8), (0, 2, 4))),
        ((50, 10, 60, 20), (90, 10, 100, 20), ((1, 3, 9),)),
        frames=10,
        classes=3,
    )
    tubes = action_tubes(tracks)
    assert tubes.labels.tolist() == [0, 2, 2, 1]
    assert tubes.actors.tolist() == [0, 0, 0, 1]
    assert tubes.spans.tolist() == [[2, 4], [0, 4], [6, 8], [3, 9]]
    assert tubes.present.sum(dim=1).tolist() == [2, 4, 2, 6]
    assert torch.equal(tubes.boxes[3, 3:9], tracks.boxes[1, 3:9])


def test_nobody_gives_no_tube(make_tracks):
    tubes = action_tubes(make_tracks(frames=7, classes=3))
    assert len(tubes) == 0
    assert tubes.spans.shape == (0, 2)
    assert len(tubes_of_span(tubes, torch.tensor([0.0, 7.0]))) == 0


def test_a_box_without_area_is_as_if_absent(make_tracks):
    tracks = make_tracks((STILL, STILL, ((0, 0, 6),)), frames=6, classes=2)
    boxes = tracks.boxes.clone()
    boxes[0, 2, 2] = boxes[0, 2, 0]
    cut = TrackTargets(boxes=boxes, present=tracks.present, labels=tracks.labels)
    assert action_tubes(cut).spans.tolist() == [[0, 2], [3, 6]]


def test_a_span_shows_the_tubes_that_fill_half_of_it_together(make_tracks):
    tracks = make_tracks(
        (STILL, STILL, ((0, 2, 8), (1, 2, 8))),
        (STILL, STILL, ((2, 0, 3),)),
        frames=10,
        classes=3,
    )
    shown = tubes_of_span(action_tubes(tracks), torch.tensor([3.6, 9.0]))
    assert len(shown) == 2
    assert shown.classes.tolist() == [[1, 1, 0], [1, 1, 0]]
    # The middle of frame 3 lies before the span.
    assert shown.present[0].nonzero()[:, 0].tolist() == [4, 5, 6, 7]
    assert shown.times[4:8].tolist() == pytest.approx([(t - 3.6) / 4.4 for t in range(4, 8)])
    assert len(tubes_of_span(action_tubes(tracks), torch.tensor([7.0, 10.0]))) == 0


def test_overlap_in_time_by_hand():
    a, b = torch.tensor([[0.0, 4.0], [2.0, 2.0]]), torch.tensor([[2.0, 6.0], [2.0, 2.0]])
    assert span_iou(a, b).tolist() == [[pytest.approx(1 / 3), 0], [0, 0]]


def matched(tracks, anchors, **numbers):
    frames = tracks.present.shape[1]
    shown = tubes_of_span(action_tubes(tracks), torch.tensor([0.0, frames]))
    return match_tubes(torch.tensor(anchors, dtype=torch.float32), [shown], **numbers)


def test_positives_are_matched_by_the_first_frames_and_negatives_by_all(make_tracks):
    # The box jumps from left to right at frame 6.
    tracks = make_tracks((STILL, STILL, ((0, 0, 12),)), frames=12, classes=1)
    boxes = tracks.boxes.clone()
    boxes[0, 6:, 0::2] += 60
    moved = TrackTargets(boxes=boxes, present=tracks.present, labels=tracks.labels)
    anchors = [STILL, (70, 10, 90, 50), (150, 10, 170, 50), (10, 10, 30, 26)]
    found = matched(moved, anchors)
    assert found.positive_NA.tolist() == [[True, False, False, False]]
    # The second anchor lies on the second segment: no positive, no negative. The last overlaps the
    # first segment by 0.4.
    assert found.negative_NA.tolist() == [[False, False, True, False]]


def test_the_nearest_anchor_is_positive_whatever_its_overlap(make_tracks):
    tracks = make_tracks(((0, 0, 10, 10), (0, 0, 10, 10), ((0, 0, 8),)), frames=8, classes=1)
    found = matched(tracks, [(0, 0, 40, 10), (0, 0, 50, 10)])
    assert found.positive_NA.tolist() == [[True, False]]
    far = matched(tracks, [(100, 0, 120, 10)])
    assert not far.positive_NA.any()
    assert far.negative_NA.all()


def test_of_two_tubes_an_anchor_takes_the_one_it_overlaps_more(make_tracks):
    tracks = make_tracks(
        (STILL, STILL, ((0, 0, 8),)),
        ((12, 10, 32, 50), (12, 10, 32, 50), ((1, 0, 8),)),
        frames=8,
        classes=2,
    )
    found = matched(tracks, [(13, 10, 33, 50), (9, 10, 29, 50)])
    assert found.row_NA.tolist() == [[1, 0]]
    assert found.positive_NA.all()


@pytest.mark.parametrize("frames", [1, 5, 6, 11, 13])
def test_tubes_of_any_length_match(frames, make_tracks):
    tracks = make_tracks((STILL, STILL, ((0, 0, frames),)), frames=frames, classes=1)
    found = matched(tracks, [STILL, (60, 10, 80, 50)])
    assert found.positive_NA.tolist() == [[True, False]]
    assert found.negative_NA.tolist() == [[False, True]]


def test_a_span_without_tubes_has_negatives_alone(make_tracks):
    tracks = make_tracks(frames=8, classes=1)
    found = matched(tracks, [STILL])
    assert found.negative_NA.tolist() == [[True]]

"""Refinement: importance of timestamps, boxes found there, and the search near a coarse tube."""

import pytest
import torch

from stad_models.heads.action_tubes import action_tubes, tubes_of_span
from stad_models.heads.refine_tube import (
    ClassProposals,
    FoundBoxes,
    TimestampSelector,
    box_losses,
    importance_loss,
    local_search,
)

STILL = (10, 10, 30, 50)


def shown(tracks, span):
    return tubes_of_span(action_tubes(tracks), torch.tensor(span, dtype=torch.float32))


@pytest.mark.parametrize("count", [3, 6, 7, 16])
def test_the_selector_takes_any_number_of_features(count):
    selector = TimestampSelector(4, hidden=8)
    assert selector(torch.randn(2, 4, count, 3, 5)).shape == (2, count)


def test_importance_is_learned_from_key_timestamps(make_tracks):
    still = shown(make_tracks((STILL, STILL, ((0, 0, 8),)), frames=8, classes=1), (0, 8))
    nobody = shown(make_tracks(frames=8, classes=1), (0, 8))
    ends = torch.tensor([[20.0, -20, -20, 20], [5.0, 5, 5, 5]])
    assert importance_loss(ends, [still, nobody], threshold=0.8) < 1e-6
    assert importance_loss(-ends, [still, nobody], threshold=0.8) > 10
    assert importance_loss(ends[1:], [nobody], threshold=0.8) == 0


def test_the_search_takes_the_best_box_whose_centre_is_near():
    coarse = torch.tensor([[10.0, 10, 30, 50]] * 3)
    far, near, nearer = [80.0, 10, 90, 50], [22, 30, 46, 66], [12, 12, 32, 52]
    boxes = torch.tensor([[far, near, nearer]] * 3)
    scores = torch.tensor([[0.9, 0.6, 0.5], [0.9, 0.2, 0.5], [0.9, 0.6, 0.5]])
    found, best, there = local_search(coarse[:2], boxes[:2], scores[:2], reach=0.8)
    assert found.tolist() == [near, nearer]
    assert best.tolist() == pytest.approx([0.6, 0.5])
    assert there.all()
    # The centre of the coarse box is (20, 30), that of `near` (34, 48): 0.7 widths, 0.45 heights.
    found, _, _ = local_search(coarse[:1], boxes[:1], scores[:1], reach=0.6)
    assert found.tolist() == [nearer]
    lonely, score, there = local_search(coarse[:1], boxes[:1, :1], scores[:1, :1], reach=0.8)
    assert torch.equal(lonely, coarse[:1])
    assert (score.tolist(), there.tolist()) == ([0], [False])


def test_boxes_are_trained_at_every_timestamp(make_tracks):
    tracks = make_tracks((STILL, (20, 10, 40, 50), ((1, 0, 8),)), frames=8, classes=2)
    span = shown(tracks, (0, 8))
    anchors = torch.tensor([[10.0, 10, 30, 50], [20, 10, 40, 50]])
    right = torch.full((3, 2, 3), -20.0)
    right[..., 2] = 20
    for stamp, anchor in ((0, 0), (2, 1)):
        right[stamp, anchor] = torch.tensor([-20.0, 20, -20])
    # In the middle the box lies between the anchors and overlaps both by 0.6.
    right[1] = torch.tensor([-20.0, 20, -20])
    changes = torch.zeros(3, 2, 4)
    changes[1, :, 0] = torch.tensor([0.25, -0.25])
    output = FoundBoxes(logits=right, changes=changes, anchors=anchors)
    good = box_losses(output, [span], exclusive=True)
    assert good["box_class"] < 1e-6
    assert good["box_shape"] < 1e-6
    assert torch.allclose(output.boxes[1], torch.tensor([[15.0, 10, 35, 50]] * 2))
    bad = FoundBoxes(logits=-right, changes=changes + 1, anchors=anchors)
    assert box_losses(bad, [span], exclusive=True)["box_class"] > 5
    assert box_losses(bad, [span], exclusive=True)["box_shape"] > 1


def test_a_tube_that_is_over_has_no_box(make_tracks):
    tracks = make_tracks((STILL, STILL, ((0, 0, 6),)), frames=8, classes=1)
    span = shown(tracks, (0, 8))
    anchors = torch.tensor([[10.0, 10, 30, 50]])
    logits = torch.tensor([[20.0, -20], [20, -20], [-20, 20]])[:, None]
    output = FoundBoxes(logits=logits, changes=torch.zeros(3, 1, 4), anchors=anchors)
    assert box_losses(output, [span], exclusive=True)["box_class"] < 1e-6


def test_a_tube_of_one_frame_and_nobody_at_all(make_tracks):
    network = ClassProposals(4, outputs=2, stride=8, anchors=((20, 40),), hidden=8)
    output = network(torch.randn(6, 4, 4, 5))
    one = shown(make_tracks((STILL, STILL, ((0, 3, 4),)), frames=8, classes=1), (3, 4))
    nobody = shown(make_tracks(frames=8, classes=1), (0, 8))
    found = box_losses(output, [one, nobody], exclusive=True)
    assert all(bool(loss.isfinite()) for loss in found.values())
    assert bool(importance_loss(torch.zeros(2, 3), [one, nobody], threshold=0.8).isfinite())

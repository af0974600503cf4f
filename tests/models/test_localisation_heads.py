"""What every localisation head of SE-STAD's Table 3 owes to a detector."""

import math
from typing import get_args

import pytest
import torch
from torch.nn.functional import unfold
from torchvision.ops import box_iou

from stad_models.heads.localisation import suppress
from stad_models.zoo.heads import HeadSize, LocalisationName, localisation_head

NAMES = get_args(LocalisationName)
SMALL = HeadSize(depth=1, distance="exp", anchor_scale=0.5, candidates=64, regions=24, width=32)
SIZE = (96, 64)
LOSSES = {
    "fcos": {"actor_class", "actor_box", "actor_centerness"},
    "fcos_original": {"actor_class", "actor_box", "actor_centerness"},
    "retinanet": {"actor_class", "actor_box"},
    "rpn_rcnn": {"region_class", "region_box", "actor_class", "actor_box"},
    "gfocal_v2": {"actor_class", "actor_box", "actor_sides"},
}


def make(name, *, channels=16, size=SMALL):
    ranges = ((0.0, 32.0), (32.0, math.inf))
    return localisation_head(name, channels, (8, 16), ranges=ranges, size=size)


def levels_of(count, *, channels=16, width=96, height=64):
    return [torch.randn(count, channels, -(-height // s), -(-width // s)) for s in (8, 16)]


BOXES = [torch.tensor([[8.0, 6, 36, 50], [50, 10, 74, 58]]), torch.zeros(0, 4)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("boxes", [BOXES, BOXES[::-1], [torch.zeros(0, 4)] * 2])
def test_every_parameter_gets_a_gradient_whatever_is_annotated(name, boxes):
    head = make(name)
    found = head.losses(head(levels_of(2), SIZE), boxes)
    assert set(found) == LOSSES[name]
    assert all(loss.isfinite() and loss.ndim == 0 for loss in found.values())
    sum(found.values()).backward()
    assert [key for key, weight in head.named_parameters() if weight.grad is None] == []
    if not any(len(rows) for rows in boxes):
        assert all(not loss for key, loss in found.items() if not key.endswith("_class"))


@pytest.mark.parametrize("name", NAMES)
def test_proposals_are_the_best_above_a_threshold_within_the_clip_and_detached(name):
    head = make(name)
    output = head(levels_of(3), SIZE)
    everything = head.proposals(output, threshold=0.0, limit=1000)
    assert (everything.clips.diff() >= 0).all()
    for clip in range(3):
        scores = everything.scores[everything.clips == clip]
        assert len(scores) > 3
        assert (scores.diff() <= 0).all()
    middle = everything.scores.median().item()
    fewer = head.proposals(output, threshold=middle, limit=1000)
    assert 0 < len(fewer) < len(everything)
    assert (fewer.scores > middle).all()
    few = head.proposals(output, threshold=0.0, limit=3)
    assert few.clips.bincount(minlength=3).tolist() == [3, 3, 3]
    boxes = everything.boxes
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor(SIZE)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert not boxes.requires_grad
    assert not everything.scores.requires_grad
    assert len(head.proposals(output, threshold=1.0, limit=10)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_does_not_depend_on_the_others(name):
    head = make(name)
    levels = levels_of(3, width=93, height=61)
    together = head.proposals(head(levels, (93, 61)), threshold=0.0, limit=20)
    for clip in range(3):
        alone = head.proposals(
            head([x[clip : clip + 1] for x in levels], (93, 61)), threshold=0.0, limit=20
        )
        mine = together.clips == clip
        torch.testing.assert_close(alone.boxes, together.boxes[mine], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(alone.scores, together.scores[mine], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_low_precision_gives_losses_and_boxes_in_single_precision(name):
    head = make(name)
    with torch.autocast("cpu", torch.bfloat16):
        output = head(levels_of(2), SIZE)
        losses = head.losses(output, BOXES)
        found = head.proposals(output, threshold=0.0, limit=5)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    sum(losses.values()).backward()


def scene():
    """Four clips of filled rectangles; the features are random projections of their pixels."""
    boxes = [
        torch.tensor([[8.0, 6, 36, 50], [50, 10, 74, 58]]),
        torch.tensor([[30.0, 20, 54, 44]]),
        torch.zeros(0, 4),
        torch.tensor([[60.0, 8, 88, 40], [10, 20, 30, 60]]),
    ]
    image = torch.zeros(4, 1, 64, 96)
    for clip, rows in enumerate(boxes):
        for x1, y1, x2, y2 in rows.long().tolist():
            image[clip, 0, y1:y2, x1:x2] = 1
    levels = []
    for stride in (8, 16):
        patches = unfold(image, stride, stride=stride).unflatten(2, (64 // stride, 96 // stride))
        mix = torch.randn(32, stride**2) / stride
        levels.append(torch.einsum("npij,cp->ncij", patches, mix))
    return levels, boxes


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_where_actors_are(name):
    levels, boxes = scene()
    size = HeadSize(depth=2, distance="exp", anchor_scale=0.5, candidates=128, regions=32, width=64)
    head = make(name, channels=32, size=size)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(160 if name == "rpn_rcnn" else 100):
        optimizer.zero_grad()
        sum(head.losses(head(levels, SIZE), boxes).values()).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        dense = head.proposals(head(levels, SIZE), threshold=0.3, limit=100)
    found = suppress(dense, iou=0.3, limit=10)
    for clip, rows in enumerate(boxes):
        mine = found.boxes[found.clips == clip]
        assert len(mine) == len(rows), f"clip {clip}"
        if len(rows):
            assert (box_iou(rows, mine).amax(dim=1) > 0.7).all(), f"clip {clip}"


def test_an_unknown_head_is_named():
    with pytest.raises(ValueError, match=r"retinanet.*found 'yolo'"):
        make("yolo")

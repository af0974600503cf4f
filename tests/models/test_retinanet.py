import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

from stad_models import losses
from stad_models.heads.anchors import AnchorShapes, decode, encode
from stad_models.heads.matching import match
from stad_models.heads.retinanet import RetinaNet, RetinaNetOutput

quarters = st.integers(0, 360).map(lambda n: n / 4)
sides = st.integers(8, 240).map(lambda n: n / 4)
box = st.tuples(quarters, quarters, sides, sides).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(box, min_size=1, max_size=4), st.lists(box, min_size=1, max_size=12))
@settings(deadline=None, max_examples=50)
def test_matching_is_the_published_one(boxes, anchors):
    boxes, anchors = torch.tensor(boxes), torch.tensor(anchors)
    wanted = Matcher(0.5, 0.4, allow_low_quality_matches=True)(box_iou(boxes, anchors))
    found = match([boxes], anchors, positive=0.5, negative=0.4, nobody_left_out=True)
    touched = box_iou(boxes, anchors).amax(dim=1) > 0
    if touched.all():  # the reference also matches a box to anchors that do not touch it
        assert torch.equal(found.positive_NA[0], wanted >= 0)
        assert torch.equal(found.negative_NA[0], wanted == Matcher.BELOW_LOW_THRESHOLD)
        positive = found.positive_NA[0]
        assert torch.equal(found.row_NA[0][positive], wanted[positive])


@given(st.lists(st.tuples(box, box), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_changes_are_the_published_ones(pairs):
    boxes, anchors = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    wanted = coder.encode_single(boxes, anchors)
    found = encode(boxes, anchors, (10.0, 5.0))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        decode(wanted, anchors, (10.0, 5.0)), coder.decode_single(wanted, anchors)
    )


@pytest.fixture
def head():
    shapes = AnchorShapes(scale=4.0, steps=1, ratios=(1.0,))
    return RetinaNet(8, strides=(8,), shapes=shapes, depth=1)


def test_actors_start_out_rare(head):
    output = head([torch.zeros(1, 8, 4, 4)], (32, 32))
    torch.testing.assert_close(output.actor_NA.sigmoid(), torch.full((1, 16), 0.01))


def test_ignored_anchors_have_no_say_and_losses_are_means_over_positive_ones(head):
    box = torch.tensor([[6.0, 4, 38, 36]])
    output = head([torch.randn(2, 8, 6, 6)], (48, 48))
    boxes = [box, torch.zeros(0, 4)]
    iou = box_iou(output.anchors_A4, box)[:, 0]
    positive, ignored = iou >= 0.5, (iou >= 0.4) & (iou < 0.5)
    assert positive.sum() > 1
    assert ignored.any()
    found = head.losses(output, boxes)
    logits = output.actor_NA
    wanted = losses.focal(logits[0][~ignored], positive[~ignored].float())
    wanted = wanted + losses.focal(logits[1], torch.zeros(36))
    torch.testing.assert_close(found["actor_class"], wanted / positive.sum())
    changes = encode(box.expand(36, 4), output.anchors_A4)[positive]
    wanted = losses.smooth_l1(output.changes_NA4[0][positive], changes, beta=head.beta)
    torch.testing.assert_close(found["actor_box"], wanted / positive.sum())


def test_an_anchor_that_is_told_its_change_becomes_the_box(head):
    box = torch.tensor([[3.0, 5, 40, 30]])
    output = head([torch.zeros(1, 8, 6, 6)], (48, 48))
    told = RetinaNetOutput(
        actor_NA=torch.full((1, 36), -9.0).index_fill(1, torch.tensor([14]), 9.0),
        changes_NA4=encode(box.expand(36, 4), output.anchors_A4)[None],
        anchors_A4=output.anchors_A4,
        size=(48, 48),
    )
    found = head.proposals(told, threshold=0.5, limit=5)
    torch.testing.assert_close(found.boxes, box)
    assert found.scores.item() == pytest.approx(torch.tensor(9.0).sigmoid().item())

import pytest
import torch
from torchvision.ops import box_iou

from stad_models.heads.matching import Match, chosen, draw_weights, match, overlap, padded

ANCHORS = torch.tensor(
    [[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4.5], [0, 0, 10, 3], [50, 50, 60, 60]]
)


def run(boxes, *, positive=0.5, negative=0.4, nobody_left_out=False, anchors=ANCHORS):
    return match(
        boxes, anchors, positive=positive, negative=negative, nobody_left_out=nobody_left_out
    )


def test_thresholds_split_anchors_into_positive_ignored_and_negative():
    found = run([torch.tensor([[0.0, 0, 10, 10]])])  # IoU 1, 0.6, 0.45, 0.3, 0
    assert found.positive_NA.tolist() == [[True, True, False, False, False]]
    assert found.negative_NA.tolist() == [[False, False, False, True, True]]


def test_an_anchor_belongs_to_the_box_it_overlaps_most():
    box, lower = torch.tensor([0.0, 0, 10, 10]), torch.tensor([0.0, 0, 10, 5])
    found = run([torch.stack((box, lower)), lower[None]])
    assert found.row_NA[0, :4].tolist() == [0, 1, 1, 1]
    assert found.row_NA[1].tolist() == [0] * 5
    expected = torch.stack((box, *[lower] * 7))
    assert torch.equal(chosen([torch.stack((box, lower)), lower[None]], found), expected)


def test_nobody_is_left_out_where_asked():
    far = torch.tensor([[55.0, 55, 75, 75]])  # overlaps the last anchor by 25 / 475 alone
    assert not run([far]).positive_NA.any()
    found = run([far], nobody_left_out=True)
    assert found.positive_NA.tolist() == [[False] * 4 + [True]]
    assert found.negative_NA.tolist() == [[True] * 4 + [False]]
    nowhere = torch.tensor([[200.0, 200, 210, 210]])
    assert not run([nowhere], nobody_left_out=True).positive_NA.any()


def test_clips_without_boxes_are_all_background():
    none = torch.zeros(0, 4)
    for boxes in ([none, none], [none, ANCHORS[:1]]):
        found = run(boxes, nobody_left_out=True)
        assert not found.positive_NA[0].any()
        assert found.negative_NA[0].all()
    assert chosen([none], run([none])).shape == (0, 4)


def test_every_clip_may_have_anchors_of_its_own():
    boxes = [torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[50.0, 50, 60, 60]])]
    found = run(boxes, anchors=torch.stack((ANCHORS, ANCHORS.flip(0))))
    assert found.positive_NA.tolist() == [[True, True, False, False, False], [True] + [False] * 4]
    real = torch.tensor([[False, True, True, True, True], [True] * 5])
    assert found.among(real).positive_NA.sum(dim=1).tolist() == [1, 1]
    assert found.among(~real).negative_NA.sum().item() == 0


def test_overlap_is_the_iou_of_all_pairs():
    a, b = torch.rand(7, 4), torch.rand(5, 4)
    a[:, 2:] += a[:, :2]
    b[:, 2:] += b[:, :2]
    torch.testing.assert_close(overlap(a, b), box_iou(a, b))
    both = overlap(a, torch.stack((b, b.flip(0))))
    torch.testing.assert_close(both[1], box_iou(a, b.flip(0)))
    assert overlap(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


def test_padding_tells_what_is_real():
    boxes, real = padded([ANCHORS[:2], ANCHORS[:0]], torch.zeros((), dtype=torch.float64))
    assert boxes.dtype == torch.float64
    assert boxes.shape == (2, 2, 4)
    assert real.tolist() == [[True, True], [False, False]]


def draw(positives, negatives, count=10, share=0.5, **numbers):
    flags = torch.zeros(1, positives + negatives + 1, dtype=torch.bool)  # the last is ignored
    yes, no = flags.clone(), flags.clone()
    yes[:, :positives] = True
    no[:, positives : positives + negatives] = True
    found = Match(
        row_NA=torch.zeros_like(flags, dtype=torch.int64), positive_NA=yes, negative_NA=no
    )
    return draw_weights(found, count=count, positives=share, **numbers)[0]


@pytest.mark.parametrize(
    ("positives", "negatives", "each_positive", "each_negative"),
    [
        (2, 100, 1.0, 0.08),  # both positives, 8 of 100 negatives
        (20, 100, 0.25, 0.05),  # 5 of 20 and 5 of 100
        (3, 4, 1.0, 1.0),  # fewer than the draw
        (0, 5, 0.0, 1.0),
        (4, 0, 1.0, 0.0),
    ],
)
def test_a_draw_by_hand(positives, negatives, each_positive, each_negative):
    weights = draw(positives, negatives)
    assert weights[:positives].tolist() == pytest.approx([each_positive] * positives)
    assert weights[positives:-1].tolist() == pytest.approx([each_negative] * negatives)
    assert weights[-1].item() == 0


@pytest.mark.parametrize(
    ("positives", "negatives", "each_positive", "each_negative"),
    [
        (2, 100, 1.0, 0.06),  # three for each
        (0, 100, 0.0, 0.03),  # as if there were one
        (2, 4, 1.0, 1.0),
        (20, 100, 0.5, 0.3),  # 10 of 20, and 30 of 100 fill the draw
    ],
)
def test_a_draw_with_few_negatives_for_each_positive(
    positives, negatives, each_positive, each_negative
):
    weights = draw(positives, negatives, count=40, share=0.25, per_positive=3)
    assert weights[:positives].tolist() == pytest.approx([each_positive] * positives)
    assert weights[positives:-1].tolist() == pytest.approx([each_negative] * negatives)

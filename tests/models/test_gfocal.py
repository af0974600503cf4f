import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from stad_models.heads.gfocal import Gfocal, GfocalOutput, QualityPredictor, expected, joint
from stad_models.heads.gfocal_targets import assign
from stad_models.heads.locations import points_of, spread

STRIDES = (8, 16)
LEVELS = [torch.zeros(1, 1, 8, 12), torch.zeros(1, 1, 4, 6)]
COUNTS = (96, 24)
POINTS, PIXELS = points_of(LEVELS, STRIDES), spread(STRIDES, LEVELS)


def run(boxes, *, scale=4.0, nearest=9):
    return assign(
        boxes,
        points_L2=POINTS,
        strides_L=PIXELS,
        counts=COUNTS,
        scale=scale,
        nearest=nearest,
    )


def one_by_one(boxes, scale=4.0, nearest=9):
    """The published rule, box by box: per location the row of its box, or None."""
    half = scale / 2 * PIXELS[:, None]
    anchors = torch.cat((POINTS - half, POINTS + half), dim=1)
    iou = box_iou(anchors, boxes)
    taken = [None] * len(POINTS)
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        away = (POINTS - torch.tensor([(x1 + x2) / 2, (y1 + y2) / 2])).square().sum(dim=1)
        candidates, first = [], 0
        for count in COUNTS:
            nearby = away[first : first + count].topk(min(nearest, count), largest=False).indices
            candidates += (nearby + first).tolist()
            first += count
        values = iou[candidates, row]
        threshold = values.mean() + values.std()
        for location in candidates:
            x, y = POINTS[location].tolist()
            inside = x1 < x < x2 and y1 < y < y2
            if iou[location, row] < threshold or not inside:
                continue
            if taken[location] is None or iou[location, row] > iou[location, taken[location]]:
                taken[location] = row
    return taken


# Sides that put no two locations at the same distance from a centre, so that ties cannot differ.
corner = st.integers(0, 60).map(lambda n: n + 0.37)
side = st.integers(10, 50).map(lambda n: n + 0.11)
box = st.tuples(corner, corner, side, side).map(
    lambda b: (b[0], b[1] * 0.77, b[0] + b[2], b[1] * 0.77 + b[3])
)


@given(st.lists(box, min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_assignment_equals_the_rule_applied_one_by_one(boxes):
    boxes = torch.tensor(boxes)
    found = run([torch.zeros(0, 4), boxes])
    taken = one_by_one(boxes)
    assert not found.positive_NA[0].any()
    assert found.positive_NA[1].tolist() == [row is not None for row in taken]
    assert torch.equal(found.negative_NA, ~found.positive_NA)
    for location, row in enumerate(taken):
        assert row is None or found.row_NA[1, location] == row


def test_every_ordinary_actor_has_a_location():
    for width, height in ((12, 30), (20, 50), (40, 60), (80, 60)):
        box = torch.tensor([[8.0, 2, 8 + width, 2 + height]])
        assert run([box]).positive_NA.any(), (width, height)


def test_a_distance_is_the_mean_of_its_distribution():
    logits = torch.tensor(
        [[[0.2, 0.3, 0.5], [1e-9, 1e-9, 1.0], [1.0, 1e-9, 1e-9], [1, 1, 1]]]
    ).log()
    assert expected(logits)[0].tolist() == pytest.approx([1.3, 2.0, 0.0, 1.0], abs=1e-6)


def test_quality_sees_the_form_of_distributions_and_not_where_they_lie():
    predictor = QualityPredictor(largest=2, width=8)
    sharp = torch.zeros(1, 4, 6, 1, 1)
    sharp[:, :, 1] = 9.0
    elsewhere, flat = sharp.roll(3, dims=2), torch.zeros_like(sharp)
    torch.testing.assert_close(predictor(sharp), predictor(elsewhere))
    assert not torch.allclose(predictor(sharp), predictor(flat))


def test_a_score_is_actor_times_quality():
    actor, quality = torch.tensor([0.3, -2.0, 30.0]), torch.tensor([1.0, 0.5, 30.0])
    yes, no = joint(actor, quality)
    score = actor.sigmoid() * quality.sigmoid()
    torch.testing.assert_close(yes.exp(), score)
    torch.testing.assert_close(no.exp()[:2], 1 - score[:2])
    assert no[2].item() == pytest.approx(-30 + 0.6931, abs=1e-3)


def told(boxes, *, sure):
    """One level of stride 8 that puts all distances of its locations on the sides of one box."""
    points, strides = points_of(LEVELS[:1], (8,)), torch.full((96,), 8.0)
    sides = torch.cat((points - boxes[:, :2], boxes[:, 2:] - points), dim=1) / 8
    inside = (sides > 0).all(dim=1)
    numbers = torch.arange(17.0)
    # Two neighbours share the probability so that the mean is exact.
    near = (1 - (sides.clamp(0, 16)[..., None] - numbers).abs()).clamp(min=1e-9)
    score = torch.where(inside, sure, -20.0)[None]
    return GfocalOutput(
        actor_NL=score,
        quality_NL=torch.full_like(score, 20.0),
        sides_NL4B=near.log()[None],
        points_L2=points,
        strides_L=strides,
        counts=(96,),
        size=(96, 64),
    )


def test_perfect_output_has_little_loss_and_gives_the_box():
    head = Gfocal(8, strides=(8,), depth=1, scale=4.0)
    box = torch.tensor([[13.0, 9.0, 50.0, 41.0]])
    output = told(box, sure=20.0)
    found = head.losses(output, [box])
    assert found["actor_box"].item() < 1e-4
    # Locations inside that are not chosen are sure of themselves too, which is wrong.
    assert found["actor_class"].item() > 1
    boxes = head.proposals(output, threshold=0.5, limit=3).boxes
    torch.testing.assert_close(boxes, box.expand(3, 4), rtol=0, atol=1e-3)
    # The distributions are as sharp as values between whole numbers let them be.
    sides = output.sides_NL4B[0].softmax(dim=2)
    assert found["actor_sides"].item() <= 0.25 * 0.7
    assert (sides > 0.01).sum(dim=2).max() <= 2


def test_actors_out_of_reach_still_give_finite_losses():
    head = Gfocal(8, strides=(8,), depth=1, reach=3, scale=4.0)
    found = head.losses(
        head([torch.randn(1, 8, 8, 12)], (96, 64)), [torch.tensor([[0.0, 0, 96, 64]])]
    )
    assert all(loss.isfinite() for loss in found.values())
    assert found["actor_box"] > 0


def test_too_short_a_reach_is_refused():
    with pytest.raises(ValueError, match="reach must be at least 3, found 2"):
        Gfocal(8, strides=(8,), reach=2)

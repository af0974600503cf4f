import math

import pytest
import torch

from stad_models import losses
from stad_models.heads.fcos import Fcos, FcosOutput, original_fcos
from stad_models.heads.fcos_targets import assign
from stad_models.heads.localisation import Proposals, suppress, vote


def make_output(scores, distances, *, size=(64, 64)):
    """One level of stride 8; `scores` [N, L] are actor probabilities, centerness is 1."""
    actor = torch.tensor(scores)
    columns = (torch.arange(actor.shape[1]) + 0.5) * 8
    return FcosOutput(
        actor_NL=actor.logit(),
        distances_NL4=torch.tensor(distances),
        centerness_NL=torch.full_like(actor, 50.0),
        points_L2=torch.stack((columns, torch.full_like(columns, 28.0)), dim=1),
        strides_L=torch.full_like(columns, 8.0),
        ranges_L2=torch.tensor([[0.0, math.inf]]).expand(len(columns), 2),
        size=size,
    )


@pytest.fixture
def head():
    return Fcos(16, strides=(8, 16), ranges=((0, 32), (32, math.inf)), depth=1)


def test_output_covers_every_location_of_every_level(head):
    output = head([torch.randn(2, 16, 5, 7), torch.randn(2, 16, 3, 4)], (51, 37))
    assert output.actor_NL.shape == output.centerness_NL.shape == (2, 5 * 7 + 3 * 4)
    assert output.distances_NL4.shape == (2, 47, 4)
    assert (output.distances_NL4 >= 0).all()
    assert output.points_L2[0].tolist() == [4, 4]
    assert output.points_L2[34].tolist() == [52, 36]
    assert output.points_L2[35].tolist() == [8, 8]
    assert output.strides_L.unique_consecutive().tolist() == [8, 16]


def test_actors_start_out_rare(head):
    output = head([torch.zeros(1, 16, 4, 4), torch.zeros(1, 16, 2, 2)], (32, 32))
    torch.testing.assert_close(output.actor_NL.sigmoid(), torch.full((1, 20), 0.01))


def test_proposals_obey_threshold_limit_and_order(head):
    scores = [[0.09, 0.36, 0.25, 0.64], [0.81, 0.04, 0.01, 0.16]]
    output = make_output(scores, [[[1.0, 1, 1, 1]] * 4] * 2)
    found = head.proposals(output, threshold=0.3, limit=2)
    # Scores are square roots of the products.
    assert found.clips.tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.8, 0.6, 0.9, 0.4]))
    assert found.boxes[0].tolist() == [20, 20, 36, 36]


def test_a_score_equal_to_the_threshold_is_not_enough(head):
    output = make_output([[0.5]], [[[1.0, 1, 1, 1]]])
    output.centerness_NL.zero_()  # sqrt(0.5 * 0.5) is 0.5 exactly
    assert len(head.proposals(output, threshold=0.5, limit=1)) == 0
    assert len(head.proposals(output, threshold=0.499, limit=1)) == 1


def test_proposals_are_cut_off_from_the_gradient(head):
    output = head([torch.randn(1, 16, 4, 4), torch.randn(1, 16, 2, 2)], (32, 32))
    found = head.proposals(output, threshold=0.0, limit=20)
    assert output.distances_NL4.requires_grad
    assert len(found) > 0
    assert not found.boxes.requires_grad
    assert not found.scores.requires_grad


def test_proposals_end_at_the_border_and_keep_an_area(head):
    output = make_output([[0.9, 0.9]], [[[9.0, 9, 9, 9], [0.0, 1, 0, 1]]], size=(60, 50))
    found = head.proposals(output, threshold=0.1, limit=10)
    assert found.boxes.tolist() == [[0, 0, 60, 50]]


def test_suppression_stays_within_a_clip_and_within_the_limit():
    box, moved, far = [0.0, 0, 10, 10], [2.0, 0, 12, 10], [40.0, 0, 50, 10]
    found = suppress(
        Proposals(
            boxes=torch.tensor([box, moved, far, moved, far, box]),
            scores=torch.tensor([0.9, 0.8, 0.7, 0.9, 0.6, 0.5]),
            clips=torch.tensor([0, 0, 0, 2, 2, 2]),
        ),
        iou=0.3,
        limit=1,
    )
    assert found.clips.tolist() == [0, 2]
    assert found.boxes.tolist() == [box, moved]
    both = suppress(
        Proposals(
            boxes=torch.tensor([box, moved, far]),
            scores=torch.tensor([0.9, 0.8, 0.7]),
            clips=torch.tensor([1, 1, 1]),
        ),
        iou=0.3,
        limit=5,
    )
    assert both.boxes.tolist() == [box, far]


def test_no_proposals_stay_no_proposals(head):
    output = make_output([[0.01]], [[[1.0, 1, 1, 1]]])
    found = head.proposals(output, threshold=0.4, limit=10)
    assert len(suppress(found, iou=0.3, limit=3)) == 0
    assert found.rois().shape == (0, 5)


def test_a_vote_is_the_mean_of_those_who_agree_weighed_by_squared_scores():
    proposals = Proposals(
        boxes=torch.tensor(
            [[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 3], [0, 0, 10, 10], [50, 50, 60, 60]]
        ),
        scores=torch.tensor([0.8, 0.4, 0.3, 0.9, 0.7]),
        clips=torch.tensor([0, 0, 0, 1, 1]),
    )
    kept = suppress(proposals, iou=0.2, limit=9)
    assert kept.clips.tolist() == [0, 1, 1]
    voted = vote(kept, proposals, iou=0.5)
    # Box 1 overlaps box 0 by 0.8, box 2 by 0.3; the one of clip 1 has no say in clip 0.
    lower = (0.64 * 10 + 0.16 * 8) / 0.8
    expected = torch.tensor([[0, 0, 10, lower], [0, 0, 10, 10], [50, 50, 60, 60]])
    torch.testing.assert_close(voted.boxes, expected)
    assert torch.equal(voted.scores, kept.scores)
    none = Proposals(
        boxes=torch.zeros(0, 4), scores=torch.zeros(0), clips=torch.zeros(0, dtype=torch.int64)
    )
    assert len(vote(none, none, iou=0.5)) == 0


def test_perfect_output_has_almost_no_loss_and_a_wrong_one_has_much(head):
    box = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    levels = [torch.randn(1, 16, 8, 8), torch.randn(1, 16, 4, 4)]
    raw = head(levels, (64, 64))
    at_centre = ((raw.points_L2 - 24).abs().amax(dim=1) < 1.5 * raw.strides_L) & (
        raw.strides_L == 8
    )
    sides = torch.cat((raw.points_L2 - 8, 40 - raw.points_L2), dim=1) / raw.strides_L[:, None]
    perfect = FcosOutput(
        **{
            **vars(raw),
            "actor_NL": torch.where(at_centre, 20.0, -20.0)[None],
            "distances_NL4": sides.clamp(min=0)[None],
        }
    )
    good = head.losses(perfect, [box])
    assert good["actor_class"].item() < 1e-4
    assert good["actor_box"].item() < 1e-4
    bad = head.losses(FcosOutput(**{**vars(perfect), "actor_NL": -perfect.actor_NL}), [box])
    assert bad["actor_class"].item() > 10


def test_boxes_count_by_their_centerness(head):
    box = torch.tensor([[7.0, 6.0, 42.0, 36.0]])
    output = head([torch.randn(1, 16, 8, 8), torch.randn(1, 16, 4, 4)], (64, 64))
    wanted, positive, _ = assign(
        [box],
        points_L2=output.points_L2,
        strides_L=output.strides_L,
        ranges_L2=output.ranges_L2,
        center_radius=head.center_radius,
    )
    found, wanted = output.distances_NL4[positive], wanted[positive]
    weights = losses.centerness(wanted)
    each = [losses.distance_giou(a[None], b[None]) for a, b in zip(found, wanted, strict=True)]
    mean = (torch.stack(each) * weights).sum() / weights.sum()
    assert weights.min() < 0.9 * weights.max()
    torch.testing.assert_close(head.losses(output, [box])["actor_box"], mean)


@pytest.mark.parametrize("distance", ["relu", "exp"])
def test_losses_without_boxes_are_finite(distance):
    head = Fcos(16, strides=(8,), ranges=((0, math.inf),), depth=1, distance=distance)
    found = head.losses(head([torch.randn(2, 16, 4, 4)], (32, 32)), [torch.zeros(0, 4)] * 2)
    assert found["actor_box"].item() == found["actor_centerness"].item() == 0
    assert 0 < found["actor_class"].item() < 1
    sum(found.values()).backward()
    assert all(weight.grad is not None for weight in head.parameters())


def test_the_original_takes_every_location_inside_a_box():
    ranges = ((0, math.inf),)
    box = torch.tensor([[0.0, 0.0, 64.0, 32.0]])
    counts = {}
    for name, head in (
        ("improved", Fcos(8, strides=(8,), ranges=ranges, depth=1)),
        ("original", original_fcos(8, strides=(8,), ranges=ranges, depth=1)),
    ):
        output = head([torch.zeros(1, 8, 8, 8)], (64, 64))
        output.centerness_NL.zero_()
        found = head.losses(output, [box])
        # All logits are 0: the loss per positive location is ln 2 whatever its centerness.
        assert found["actor_centerness"].item() == pytest.approx(math.log(2))
        actor_loss = found["actor_class"].item()
        counts[name] = actor_loss
    # One sure mistake per positive location, divided by their number, is the same for both; what
    # differs is the background, 64 - 9 or 64 - 32 locations for 9 or 32 positive ones.
    yes = 0.25 * 0.99**2 * -math.log(0.01)
    no = 0.75 * 0.01**2 * -math.log(0.99)
    assert counts["improved"] == pytest.approx(yes + no * (64 - 8) / 8, rel=1e-4)
    assert counts["original"] == pytest.approx(yes + no * (64 - 32) / 32, rel=1e-4)


def test_the_original_counts_pixels_and_learns_by_iou():
    head = original_fcos(8, strides=(8,), ranges=((0, math.inf),), depth=1)
    box = torch.tensor([[8.0, 8.0, 24.0, 24.0]])
    output = head([torch.zeros(1, 8, 4, 4)], (32, 32))
    # Raw outputs of 0 are distances of one pixel, an eighth of a stride.
    torch.testing.assert_close(output.distances_NL4, torch.full((1, 16, 4), 1 / 8))
    # Four locations lie inside, 4 or 12 pixels from the sides; theirs is a box of 2 x 2 pixels.
    found = head.losses(output, [box])["actor_box"].item()
    assert found == pytest.approx(math.log(16 * 16 / 4), rel=1e-4)


def test_the_originals_centerness_comes_from_the_tower_of_actors():
    for head, tower, other in (
        (original_fcos(8, strides=(8,), ranges=((0, 64),), depth=1), "actor_tower", "box_tower"),
        (Fcos(8, strides=(8,), ranges=((0, 64),), depth=1), "box_tower", "actor_tower"),
    ):
        head([torch.randn(1, 8, 4, 4)], (32, 32)).centerness_NL.sum().backward()
        assert all(weight.grad is not None for weight in getattr(head, tower).parameters())
        assert all(weight.grad is None for weight in getattr(head, other).parameters())


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="one range per pyramid level"):
        Fcos(16, strides=(8, 16, 32), ranges=((0, 64),))
    with pytest.raises(ValueError, match="'relu' or 'exp', found 'softplus'"):
        Fcos(16, strides=(8,), ranges=((0, 64),), distance="softplus")

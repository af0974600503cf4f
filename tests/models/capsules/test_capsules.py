"""Routing by agreement: known clusters are found, and what must not matter does not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from stad_models.heads.capsule import POSE, ClassCapsules, PrimaryCapsules, em_routing


def routed(votes, activations, **options):
    classes = votes.shape[1]
    betas = torch.zeros(classes, votes.shape[3], dtype=votes.dtype)
    chosen = {"iterations": 3, "inverse_temperature": 1.0, **options}
    return em_routing(votes, activations, betas, betas[:, 0], **chosen)


def test_one_iteration_by_hand():
    # Two capsules that count 1 and 1/2 vote 0 and 3 for the one class.
    votes = torch.tensor([0.0, 3.0]).reshape(1, 1, 2, 1)
    means, active = routed(votes, torch.tensor([[1.0, 0.5]]), iterations=1)
    assert float(means) == pytest.approx(1.0, abs=1e-5)
    variance = (1.0 * 1 + 0.5 * 4) / 1.5 + 1e-2
    cost = 0.5 * torch.tensor(variance).log() * (1.5 / 2)
    assert float(active) == pytest.approx(float(torch.sigmoid(-cost)), abs=1e-5)


def test_votes_that_agree_make_a_capsule_active():
    torch.manual_seed(0)
    agreeing = 2.0 + 0.05 * torch.randn(1, 1, 12, 4)
    scattered = 3.0 * torch.randn(1, 1, 12, 4)
    means, active = routed(torch.cat([agreeing, scattered], dim=1), torch.ones(1, 12))
    assert float(active[0, 0]) > 0.8 > 0.6 > float(active[0, 1])
    assert torch.allclose(means[0, 0], torch.full((4,), 2.0), atol=0.1)


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_the_order_of_capsules_and_idle_ones_do_not_matter(seed):
    generator = torch.Generator().manual_seed(seed)
    votes = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    active = torch.rand(2, 5, generator=generator, dtype=torch.float64)
    means, found = routed(votes, active)
    order = torch.tensor([3, 0, 4, 1, 2])
    again = routed(votes[:, :, order], active[:, order])
    assert torch.allclose(means, again[0])
    assert torch.allclose(found, again[1])
    classes = torch.tensor([2, 0, 1])
    turned = routed(votes[:, classes], active)
    assert torch.allclose(means[:, classes], turned[0])
    # A capsule that counts nothing moves no mean.
    active[:, 0] = 0.0
    elsewhere = votes.clone()
    elsewhere[:, :, 0] += 100.0
    assert torch.allclose(routed(votes, active)[0], routed(elsewhere, active)[0])


def test_gradients():
    torch.manual_seed(0)
    votes = torch.randn(2, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    active = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(routed, (votes, active))


def test_cells_are_routed_alone_and_come_back_to_their_place():
    torch.manual_seed(0)
    capsules = ClassCapsules(4, 3)
    poses, active = torch.randn(2, 4, POSE, 3, 5), torch.rand(2, 4, 3, 5)
    found, scores = capsules(poses, active)
    assert found.shape == (2, 3, POSE, 3, 5)
    assert scores.shape == (2, 3, 3, 5)
    one, score = capsules(poses[1:, :, :, 2:, 4:], active[1:, :, 2:, 4:])
    assert torch.allclose(found[1:, :, :, 2:, 4:], one, atol=1e-5)
    assert torch.allclose(scores[1:, :, 2:, 4:], score, atol=1e-5)
    # With a third dimension of one cell nothing changes.
    solid, _ = capsules(poses[:, :, :, None], active[:, :, None])
    assert torch.allclose(solid[:, :, :, 0], found, atol=1e-5)


def test_votes_are_poses_times_matrices():
    capsules = ClassCapsules(1, 1, iterations=1)
    pose = torch.arange(16.0).reshape(1, 1, 16, 1, 1)
    found, _ = capsules(pose, torch.ones(1, 1, 1, 1))
    expected = pose.reshape(4, 4) @ capsules.weights.detach()[0, 0]
    assert torch.allclose(found.reshape(4, 4), expected, atol=1e-4)


def test_primary_capsules_over_two_and_three_dimensions():
    flat, solid = PrimaryCapsules(6, 2, 3), PrimaryCapsules(6, 2, (2, 3, 3), stride=2)
    poses, active = flat(torch.randn(1, 6, 7, 9))
    assert poses.shape == (1, 2, POSE, 5, 7)
    assert active.shape == (1, 2, 5, 7)
    assert bool(((active >= 0) & (active <= 1)).all())
    poses, active = solid(torch.randn(1, 6, 4, 7, 9))
    assert poses.shape == (1, 2, POSE, 3, 3, 4)


def test_routing_needs_an_iteration():
    with pytest.raises(ValueError, match="positive"):
        ClassCapsules(2, 2, iterations=0)
    with pytest.raises(ValueError, match="positive"):
        routed(torch.zeros(1, 1, 1, 1), torch.ones(1, 1), iterations=0)

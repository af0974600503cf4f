"""Spread loss and the losses of maps: by hand, at their ends, and their gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from stad_models.heads.capsule_losses import (
    dice_loss,
    map_cross_entropy,
    margin_at,
    spread_loss,
)


def test_spread_by_hand():
    scores, labels = torch.tensor([[0.7, 0.4, 0.1]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert float(spread_loss(scores, labels, 0.5)) == pytest.approx(0.2**2)
    assert float(spread_loss(scores, labels, 0.9)) == pytest.approx(0.6**2 + 0.3**2)
    both = torch.tensor([[1.0, 1.0, 0.0]])
    assert float(spread_loss(scores, both, 0.9)) == pytest.approx((0.3**2 + 0.6**2) / 2)


def test_clips_without_labels_count_nothing():
    scores = torch.tensor([[0.7, 0.4], [0.2, 0.9]])
    labels = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert float(spread_loss(scores, labels, 0.5)) == pytest.approx(0.8**2 / 2)
    empty = torch.zeros(0, 3, requires_grad=True)
    spread_loss(empty, torch.zeros(0, 3), 0.5).backward()
    assert empty.grad is not None


@given(seed=st.integers(0, 1000), margin=st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=20)
def test_spread_sees_differences_alone(seed, margin):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    labels = torch.eye(5, dtype=torch.float64)[:4]
    found = spread_loss(scores, labels, margin)
    assert torch.allclose(found, spread_loss(scores + 0.3, labels, margin))
    wide = scores.clone()
    wide[labels > 0] = scores.max() + 1.0
    assert float(spread_loss(wide, labels, margin)) == 0.0


def test_the_margin_grows_and_stays():
    found = [float(margin_at(torch.tensor(step), (0.2, 0.9), 10)) for step in (0, 5, 10, 99)]
    assert found == pytest.approx([0.2, 0.55, 0.9, 0.9])
    assert float(margin_at(torch.tensor(0), (0.2, 0.9), 0)) == pytest.approx(0.9)


def test_dice_by_hand():
    masks = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    sure = torch.where(masks > 0, 40.0, -40.0)
    assert float(dice_loss(sure, masks)) == pytest.approx(0.0, abs=1e-6)
    assert float(dice_loss(-sure, masks)) == pytest.approx(1 - 1 / 5)
    # Half a pixel everywhere: 1 - (2 * 1 + 1) / (2 + 2 + 1).
    assert float(dice_loss(torch.zeros(1, 1, 2, 2), masks)) == pytest.approx(0.4)
    nobody = torch.zeros(1, 1, 2, 2)
    assert float(dice_loss(nobody - 40.0, nobody)) == pytest.approx(0.0, abs=1e-6)


def test_gradients():
    torch.manual_seed(0)
    scores = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1.0, 0, 0, 0], [0, 0.7, 0, 0.3], [0, 0, 0, 0]], dtype=torch.float64)
    assert gradcheck(lambda x: spread_loss(x, labels, 0.9), scores)
    logits = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    assert gradcheck(lambda x: dice_loss(x, masks), logits)
    assert gradcheck(lambda x: map_cross_entropy(x, masks), logits)

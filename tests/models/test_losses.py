import math

import pytest
import torch
from torch.autograd import gradcheck

from stad_models import losses


def _double(*shape, low=0.1, high=3.0):
    return (low + (high - low) * torch.rand(shape, dtype=torch.float64)).requires_grad_()


def test_focal_gradient():
    targets = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: losses.focal(x, targets), logits)


def test_distance_giou_gradient():
    wanted = _double(6, 4).detach()
    assert gradcheck(lambda x: losses.distance_giou(x, wanted), _double(6, 4))


def test_centerness_loss_gradient():
    wanted = losses.centerness(_double(6, 4).detach())
    logits = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: losses.binary(x, wanted), logits)


@pytest.mark.parametrize("exclusive", [True, False])
def test_action_gradient(exclusive):
    labels = torch.eye(5, dtype=torch.float64)[:3]
    logits = torch.randn((3, 5), dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: losses.action(x, labels, exclusive=exclusive), logits)


def test_values_by_hand():
    # p = 0.5 on a positive: 0.25 * (1 - 0.5)^2 * ln 2; on a negative: 0.75 * 0.5^2 * ln 2.
    assert losses.focal(torch.zeros(1), torch.ones(1)).item() == pytest.approx(0.0625 * math.log(2))
    assert losses.focal(torch.zeros(1), torch.zeros(1)).item() == pytest.approx(
        0.1875 * math.log(2)
    )
    # A 2 x 2 box inside a 4 x 4 box: IoU 1/4, and the hull is the larger box itself.
    inner, outer = torch.ones(1, 4), torch.full((1, 4), 2.0)
    assert losses.distance_giou(inner, outer).item() == pytest.approx(0.75, abs=1e-6)
    # Left strip against right strip, 3 x 2 and 3 x 2 sharing 2 x 2: IoU 4/8, hull 4 x 2.
    left, right = torch.tensor([[2.0, 1, 1, 1]]), torch.tensor([[1.0, 1, 2, 1]])
    assert losses.distance_giou(left, right).item() == pytest.approx(0.5, abs=1e-6)
    both = (torch.cat((inner, left)), torch.cat((outer, right)))
    weighted = losses.distance_giou(*both, torch.tensor([2.0, 0.5])).item()
    assert weighted == pytest.approx(2 * 0.75 + 0.5 * 0.5, abs=1e-6)
    assert losses.centerness(torch.tensor([[1.0, 1, 3, 1]])).item() == pytest.approx(
        math.sqrt(1 / 3)
    )
    logits, labels = torch.zeros((1, 4)), torch.eye(4)[:1]
    assert losses.action(logits, labels, exclusive=True).item() == pytest.approx(math.log(4))
    assert losses.action(logits, labels, exclusive=False).item() == pytest.approx(math.log(2))


def test_smoothed_labels_by_hand():
    # p = (8, 1, 1) / 10; a label smoothed by 0.3 is (0.8, 0.1, 0.1).
    logits = torch.tensor([[8.0, 1.0, 1.0]]).log()
    smooth = losses.action(logits, torch.eye(3)[:1], exclusive=True, smoothing=0.3).item()
    assert smooth == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.1))
    # Yes and no alike: a yes of 0.9 and a no of 0.1, for p = 1/2 and p = 3/4.
    logits = torch.tensor([[0.0, math.log(3)]])
    smooth = losses.action(logits, torch.eye(2)[:1], exclusive=False, smoothing=0.2).item()
    wanted = (math.log(2) - 0.1 * math.log(0.75) - 0.9 * math.log(0.25)) / 2
    assert smooth == pytest.approx(wanted)


def test_no_rows_give_zero_and_a_gradient():
    raw = torch.ones((3, 4), requires_grad=True)
    none = torch.zeros(3, dtype=torch.bool)
    total = (
        losses.distance_giou(raw[none], torch.ones(3, 4)[none])
        + losses.binary(raw[none][:, 0], losses.centerness(torch.ones(3, 4)[none]))
        + losses.action(raw[none], torch.ones(3, 4)[none], exclusive=True)
        + losses.action(raw[none], torch.ones(3, 4)[none], exclusive=False)
    )
    total.backward()
    assert total.item() == 0
    assert raw.grad is not None
    assert not raw.grad.any()


def test_low_precision_logits_give_single_precision_losses():
    logits = torch.randn((4, 3), dtype=torch.bfloat16)
    for exclusive in (True, False):
        assert losses.action(logits, torch.eye(4, 3), exclusive=exclusive).dtype == torch.float32
    assert losses.focal(logits, torch.eye(4, 3)).dtype == torch.float32

import math

import pytest
import torch
from torch.autograd import gradcheck

from stad_models import losses
from stad_models.heads.gfocal import joint


def _double(*shape, low=0.1, high=3.0):
    return (low + (high - low) * torch.rand(shape, dtype=torch.float64)).requires_grad_()


def test_focal_gradient():
    targets = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: losses.focal(x, targets), logits)


def test_distance_giou_gradient():
    wanted = _double(6, 4).detach()
    assert gradcheck(lambda x: losses.distance_giou(x, wanted), _double(6, 4))


def test_distance_iou_gradient():
    wanted = _double(6, 4).detach()
    assert gradcheck(lambda x: losses.distance_iou(x, wanted), _double(6, 4))


def test_smooth_l1_gradient():
    wanted, weights = _double(6, 4).detach(), _double(6).detach()
    found = _double(6, 4)
    assert gradcheck(lambda x: losses.smooth_l1(x, wanted, beta=0.5, weights=weights), found)


def test_quality_focal_gradient():
    quality = torch.tensor([0.0, 0.3, 0.9, 0.0, 1.0], dtype=torch.float64)
    actor = torch.randn(5, dtype=torch.float64, requires_grad=True)
    good = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a, q: losses.quality_focal(*joint(a, q), quality), (actor, good))


def test_distribution_focal_gradient():
    logits = torch.randn((5, 7), dtype=torch.float64, requires_grad=True)
    wanted = torch.tensor([0.0, 1.25, 3.5, 5.9, 4.0], dtype=torch.float64)
    weights = _double(5).detach()
    assert gradcheck(lambda x: losses.distribution_focal(x, wanted, weights), logits)


def test_weighted_binary_gradient():
    targets, weights = torch.tensor([1.0, 0, 1], dtype=torch.float64), _double(3).detach()
    logits = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: losses.binary(x, targets, weights), logits)


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


def test_values_of_other_heads_losses_by_hand():
    inner, outer = torch.ones(1, 4), torch.full((1, 4), 2.0)
    assert losses.paired_iou(inner, outer).item() == pytest.approx(0.25, abs=1e-6)
    assert losses.distance_iou(inner, outer).item() == pytest.approx(math.log(4), abs=1e-5)
    weighted = losses.distance_iou(inner, outer, torch.tensor([3.0])).item()
    assert weighted == pytest.approx(3 * math.log(4), abs=1e-5)
    # Beyond beta |d| - beta / 2, below it d^2 / (2 beta).
    found, wanted = torch.tensor([[2.0, 0.1]]), torch.zeros(1, 2)
    assert losses.smooth_l1(found, wanted, beta=0.5).item() == pytest.approx(1.75 + 0.01)
    # p = 0.5 for a quality of 0.9: 0.4^2 ln 2; on background 0.5^2 ln 2.
    half = torch.tensor([0.5, 0.5]).log()
    qualities = torch.tensor([0.9, 0.0])
    assert losses.quality_focal(half, half, qualities).item() == pytest.approx(
        (0.16 + 0.25) * math.log(2)
    )
    # 1.25 lies between 1 and 2, three quarters of the way to 1.
    logits = torch.tensor([[0.1, 0.6, 0.2, 0.1]]).log()
    assert losses.distribution_focal(logits, torch.tensor([1.25])).item() == pytest.approx(
        -0.75 * math.log(0.6) - 0.25 * math.log(0.2)
    )
    weights = torch.tensor([2.0, 0.0])
    assert losses.binary(torch.zeros(2), torch.ones(2), weights).item() == pytest.approx(
        2 * math.log(2)
    )


def test_a_sure_mistake_is_punished_however_sure():
    # In single precision 1 - p is 0 here; its logarithm must not be.
    yes, no = joint(torch.tensor([40.0]), torch.tensor([40.0]))
    assert losses.quality_focal(yes, no, torch.zeros(1)).item() == pytest.approx(
        40 - math.log(2), rel=1e-4
    )
    assert losses.quality_focal(yes, no, torch.ones(1)).item() == pytest.approx(0, abs=1e-6)


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
        + losses.distance_iou(raw[none], torch.ones(3, 4)[none])
        + losses.smooth_l1(raw[none], torch.ones(3, 4)[none], beta=1.0)
        + losses.distribution_focal(raw[none], torch.ones(3)[none])
        + losses.quality_focal(raw[none], raw[none], torch.ones(3, 4)[none])
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

"""Motion excitation, channel-wise self-attention, and the branch that holds them."""

import pytest
import torch
from torch.autograd import gradcheck

from stad_models.heads.aggregation import ChannelAttention
from stad_models.heads.location_actions import LocationActions
from stad_models.heads.motion_excitation import MotionExcitation


def test_motion_excitation_by_hand():
    layer = MotionExcitation(1)
    with torch.no_grad():
        layer.mask.weight.fill_(2.0)
        layer.mask.bias.fill_(-1.0)
    x = torch.tensor([1.0, 1.5, 1.0])[None, :, None, None, None].expand(1, 3, 1, 4, 5)
    # Differences to the next frame: 0.5, -0.5, and 0 for the last.
    wanted = torch.sigmoid(torch.tensor([0.0, -2.0, -1.0]))
    torch.testing.assert_close(layer.masks(x)[0, :, 0, 0, 0], wanted)
    torch.testing.assert_close(layer(x), x * (1 + wanted[:, None, None, None]))


def test_motion_excitation_of_one_frame_is_a_mask_without_motion():
    layer = MotionExcitation(3)
    x = torch.randn(2, 1, 3, 4, 4)
    torch.testing.assert_close(
        layer.masks(x), layer.mask.bias.sigmoid()[None, None, :, None, None].expand(2, 1, 3, 1, 1)
    )


def test_motion_excitation_gradient():
    layer = MotionExcitation(2).double()
    x = torch.randn(1, 3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer, x)


def test_channel_attention_starts_as_nothing_and_mixes_what_is_alike():
    layer = ChannelAttention()
    x = torch.zeros(1, 3, 2, 2)
    x[0, 0, 0], x[0, 1, 0], x[0, 2, 1] = 4.0, 4.0, 4.0
    torch.testing.assert_close(layer(x), x)
    with torch.no_grad():
        layer.amount.fill_(1.0)
    # Channels 0 and 1 have products of 32 with one another and 0 with 2; 32 / sqrt(4 cells) = 16.
    like, unlike = torch.tensor([16.0, 16.0, 0.0]).softmax(0)[[0, 2]].tolist()
    mixed = layer(x) - x
    assert mixed[0, 0, 0, 0].item() == pytest.approx(8 * like)
    assert mixed[0, 0, 1, 0].item() == pytest.approx(4 * unlike)


def test_channel_attention_gradient():
    layer = ChannelAttention().double()
    with torch.no_grad():
        layer.amount.fill_(0.5)
    x = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer, x)


@pytest.mark.parametrize("motion", [True, False])
@pytest.mark.parametrize("clip_channels", [0, 6])
def test_the_branch_tells_every_location(motion, clip_channels):
    branch = LocationActions(
        8,
        length=3,
        num_classes=4,
        coarse=(8, 12),
        width=16,
        motion=motion,
        clip_channels=clip_channels,
    )
    assert branch.factor == 4
    frames = branch.frame_maps(torch.randn(6, 8, 16, 24))
    assert frames.shape == (6, 12, 4, 6)
    clip = torch.randn(2, clip_channels, 4, 6) if clip_channels else None
    logits = branch(frames.unflatten(0, (2, 3)), clip)
    assert logits.shape == (2, 4, 4, 6)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in branch.parameters())


def test_what_lies_within_reach_is_read_as_well():
    branch = LocationActions(4, length=2, num_classes=3, coarse=(4,), reach=2, motion=False).eval()
    frames = torch.randn(1, 2, 4, 9, 9)
    before = branch(frames)
    assert before.shape == (1, 3, 9, 9)
    frames[0, :, :, 4, 4] += 9.0
    read = torch.zeros(9, 9, dtype=torch.bool)
    read[2:7:2, 2:7:2] = True  # the place itself and eight around it, two cells away
    assert torch.equal((branch(frames) != before).any(dim=1)[0], read)

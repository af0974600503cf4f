"""A backbone of one's own: it inherits from nothing here, and everything takes it."""

import pytest
import torch
from torch import nn

from stad_models import flops, weights
from stad_models.backbones.features import Backbone, Features
from stad_models.zoo.se_stad import compose


class Pooled(nn.Module):
    """Two convolutions: about the least that a detector can stand on."""

    def __init__(self) -> None:
        super().__init__()
        self.strides = {"res3": 8, "res4": 16, "clip": 16}
        self.channels = {"res3": 16, "res4": 32, "clip": 32}
        self.fine = nn.Conv3d(3, 16, (3, 8, 8), stride=(1, 8, 8), padding=(1, 0, 0))
        self.coarse = nn.Conv3d(16, 32, (3, 2, 2), stride=(1, 2, 2), padding=(1, 0, 0))

    def features(self, clips: torch.Tensor) -> Features:
        fine = self.fine(clips).relu()
        coarse = self.coarse(fine).relu()
        middle = clips.shape[2] // 2
        return Features(
            keyframe={"res3": fine[:, :, middle], "res4": coarse[:, :, middle]}, clip=(coarse,)
        )

    forward = features


@pytest.fixture
def model():
    backbone: Backbone = Pooled()
    return compose(backbone, 3, exclusive=True, clip_length=4, clip_stride=2)


def test_a_detector_learns_on_it(model, make_targets):
    clips = torch.randn(2, 3, 4, 64, 96)
    targets = make_targets((1, 2), size=(96, 64), num_classes=3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(12):
        total = sum(model(clips, targets).values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert min(totals[-3:]) < 0.8 * totals[0]
    with torch.no_grad():
        assert len(model.eval()(clips)) == 2


def test_its_cost_is_counted_and_its_weights_come_back(model, tmp_path):
    cost = flops.count(model, (96, 64), 4)
    by_hand = 4 * 8 * 12 * 16 * 3 * 3 * 64 + 4 * 4 * 6 * 32 * 16 * 3 * 4
    assert cost.macs["backbone"] == by_hand
    weights.save(model.backbone, tmp_path / "own.safetensors")
    other = compose(Pooled(), 3, exclusive=True, clip_length=4, clip_stride=2)
    report = weights.load(other, tmp_path / "own.safetensors")
    assert report.layout == "stad"
    assert torch.equal(other.backbone.fine.weight, model.backbone.fine.weight)

"""Folding batch normalisation changes no output, and nothing in the model that it is made from."""

import pytest
import torch
from torch import nn

from stad_models import fold_batch_norm, freeze_batch_norm, zoo
from stad_models.backbones.pathway import PathwayShape
from stad_models.backbones.resnet3d import SlowFast
from stad_models.zoo.trunks import Laterals, _slowfast

NARROW = PathwayShape(
    stem_width=8,
    widths=(8, 8, 16, 16),
    depths=(1, 2, 2, 1),
    nonlocal_after=((), (0,), (), ()),
)
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def used(model: nn.Module) -> nn.Module:
    """The model with statistics, scales and shifts as training leaves them: none is neutral."""
    generator = torch.Generator().manual_seed(3)
    for norm in model.modules():
        if isinstance(norm, NORMS) and norm.track_running_stats:
            for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5)):
                getattr(norm, name).data.uniform_(low, low + 1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


def trunk(laterals: Laterals = "normalised") -> SlowFast:
    return _slowfast(
        NARROW, alpha=4, fusion_kernel=5, norm=nn.BatchNorm3d, laterals=laterals, thinner=4
    )


@torch.no_grad()
def maps_of(model, clips):
    features = model(clips)
    return [*features.keyframe.values(), *features.clip]


@pytest.mark.parametrize("laterals", ["normalised", "plain"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_folded_trunk_gives_the_same_maps(laterals, frozen):
    model = used(trunk(laterals))
    if frozen:
        freeze_batch_norm(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_batch_norm(model)
    kinds = {type(part).__name__ for part in folded.modules()}
    assert not {kind for kind in kinds if "BatchNorm" in kind}
    clips = torch.randn(2, 3, 8, 64, 64)
    for found, wanted in zip(maps_of(folded, clips), maps_of(model, clips), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
    state = model.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(value, state[name]) for name, value in before.items())


def test_a_folded_detector_finds_the_same():
    model = used(zoo.se_stad_tiny(4))
    folded = fold_batch_norm(model.train())
    assert not any(part.training for part in folded.modules())
    assert all(part.training for part in model.modules())
    clips = torch.randn(2, 3, 8, 48, 64)
    model.eval()
    with torch.no_grad():
        for found, wanted in zip(
            folded.propose(clips, threshold=0.0, limit=5),
            model.propose(clips, threshold=0.0, limit=5),
            strict=True,
        ):
            torch.testing.assert_close(found.boxes, wanted.boxes, rtol=1e-4, atol=1e-3)
            torch.testing.assert_close(found.scores, wanted.scores, rtol=1e-4, atol=1e-5)


def test_neighbours_in_a_row_are_folded_and_others_left_alone():
    class Between(nn.Module):
        """Normalises before it convolves."""

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(4)
            self.conv = nn.Conv2d(4, 4, 3)

        def forward(self, x):
            return self.conv(self.norm(x))

    model = used(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=True),
            nn.BatchNorm2d(4, eps=0.1),
            Between(),
            nn.ReLU(),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 1, bias=False),
            nn.BatchNorm2d(4, track_running_stats=False),
        )
    )
    folded = fold_batch_norm(model)
    kinds = [type(part) for part in folded]
    assert kinds[1] is nn.Identity
    assert kinds[4] is kinds[6] is nn.BatchNorm2d
    assert isinstance(folded[2].norm, nn.BatchNorm2d)
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-5, atol=1e-5)

"""Cheaper arithmetic and other layouts keep the results, within the tolerances stated here."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from stad_models import SeStadOptions, zoo
from stad_models.zoo.heads import LocalisationName

OPEN = SeStadOptions(train_score=0.01, positive_iou=0.05, test_score=0.01, action_threshold=0.0)


@pytest.fixture
def clips():
    return torch.randn(2, 3, 8, 96, 128)


def numbers(model, clips):
    """What the localisation head says of every location, and the actions of two fixed regions."""
    rois = torch.tensor([[0.0, 10, 10, 60, 90], [1, 40, 5, 100, 80]])
    with torch.no_grad():
        features, output = model.localise(clips)
        found = {name: x for name, x in vars(output).items() if name.endswith(("_NL", "_NL4"))}
        return {**found, "action": model.classify(features, rois).float()}


def close(found, wanted, share):
    for name, x in wanted.items():
        furthest = (found[name] - x).abs().max().item()
        assert furthest <= share * x.abs().max().item(), (name, furthest)


@pytest.fixture
def model():
    model = zoo.se_stad_tiny(5, options=OPEN).eval()
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm3d):  # residual branches start at zero
            torch.nn.init.uniform_(part.weight, 0.5, 1.0)
    return model


def test_bfloat16_stays_within_two_per_cent_of_the_largest_value(model, clips):
    wanted = numbers(model, clips)
    with torch.autocast("cpu", torch.bfloat16):
        found = numbers(model, clips)
    assert not torch.equal(found["action"], wanted["action"])
    close(found, wanted, 0.02)


@pytest.mark.parametrize("name", get_args(LocalisationName))
def test_losses_in_bfloat16_stay_within_three_per_cent(make_targets, clips, name):
    # The annotated boxes alone train the action head: proposals may differ by one at a threshold.
    options = replace(OPEN, train_inputs="truth")
    model = zoo.se_stad_tiny(5, localisation=name, options=options, dropout=0.0).train()
    targets = make_targets((2, 1))
    wanted = model(clips, targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(clips, targets)
    for loss, value in wanted.items():
        if name == "rpn_rcnn" and loss.startswith("actor"):
            continue  # which regions survive suppression changes with rounding
        assert found[loss].item() == pytest.approx(value.item(), rel=0.03, abs=0.01), loss


@pytest.mark.parametrize("layout", ["channels_last_3d", "contiguous_format"])
def test_the_layout_in_memory_does_not_matter(model, clips, layout):
    wanted = numbers(model, clips)
    form = getattr(torch, layout)
    model.backbone.to(memory_format=form)
    found = numbers(model, clips.to(memory_format=form))
    close(found, wanted, 1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`create_unbacked_symint`:FutureWarning")  # torchvision's NMS
@pytest.mark.parametrize("name", ["fcos", "rpn_rcnn"])  # without and with suppression in the head
def test_compiling_keeps_detections_and_losses(make_targets, clips, name):
    model = zoo.se_stad_tiny(5, localisation=name, options=OPEN, dropout=0.0).eval()
    targets = make_targets((2, 1))
    with torch.no_grad():
        wanted, losses = model(clips), model(clips, targets)
        model.compile()
        found, compiled = model(clips), model(clips, targets)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.boxes, b.boxes, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(a.actor_scores, b.actor_scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(a.scores, b.scores, rtol=1e-3, atol=1e-4)
    for loss, value in losses.items():
        torch.testing.assert_close(compiled[loss], value, rtol=1e-3, atol=1e-5)

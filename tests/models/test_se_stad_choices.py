"""Heads and pyramids by name, on the published and on the small models."""

from typing import get_args

import pytest
import torch

from stad_models import flops, zoo
from stad_models.heads.acrn import Acrn
from stad_models.heads.fcos import Fcos
from stad_models.heads.gfocal import Gfocal
from stad_models.heads.rcnn import Rcnn
from stad_models.heads.retinanet import RetinaNet
from stad_models.heads.scene_action import SceneAction
from stad_models.zoo.heads import ActionName, LocalisationName
from stad_models.zoo.se_stad import PyramidName

KINDS = {
    "fcos": Fcos,
    "fcos_original": Fcos,
    "retinanet": RetinaNet,
    "rpn_rcnn": Rcnn,
    "gfocal_v2": Gfocal,
}
STRIDES = {"res34": (8, 16, 32), "res345": (8, 16, 16), "res234": (4, 8, 16, 32)}


@pytest.mark.parametrize("localisation", get_args(LocalisationName))
def test_published_models_take_every_localisation_head(localisation):
    with torch.device("meta"):
        model = zoo.se_stad_slowfast_r50_8x8(80, localisation=localisation)
    assert type(model.localisation_head) is KINDS[localisation]
    cost = flops.count(model, 256, 32).macs
    share = cost["localisation_head"] / cost["total"]
    # The paper's point: finding actors costs little. FCOS 7 G; RPN + RCNN look at 512 regions.
    assert 0.05 < share < 0.12
    assert model.localisation_head.strides == model.neck.strides == (8, 16, 32)


def test_published_heads_have_the_published_numbers():
    with torch.device("meta"):
        heads = {
            name: zoo.se_stad_slowonly_r50_4x16(80, localisation=name).localisation_head
            for name in get_args(LocalisationName)
        }
    improved, original = heads["fcos"], heads["fcos_original"]
    assert (improved.center_radius, improved.box_loss, improved.unit) == (1.5, "giou", "stride")
    assert (original.center_radius, original.box_loss, original.unit) == (
        float("inf"),
        "iou",
        "pixel",
    )
    shapes = heads["retinanet"].shapes
    assert (shapes.scale, shapes.count, shapes.ratios) == (4, 9, (0.5, 1, 2))
    assert (heads["gfocal_v2"].scale, heads["gfocal_v2"].reach) == (8, 16)
    first, second = heads["rpn_rcnn"].first, heads["rpn_rcnn"].second
    assert (first.shapes.scale, first.shapes.count) == (8, 3)
    assert second.hidden[0].weight.shape == (1024, 256 * 7 * 7)


@pytest.mark.parametrize("action", get_args(ActionName))
def test_published_models_take_every_action_head(action):
    with torch.device("meta"):
        model = zoo.se_stad_slowfast_r50_8x8(80, action=action)
        single = zoo.se_stad_slowfast_r50_8x8(21, action=action, exclusive=True)
    wide = {"linear": 2304, "scene": 4608, "acrn": 512 + 2304}[action]
    assert model.action_head.projection.weight.shape == (80, wide)
    assert single.action_head.projection.weight.shape == (21, wide)
    assert (model.exclusive, single.exclusive) == (False, True)
    if action == "scene":
        assert isinstance(model.action_head, SceneAction)
        assert model.action_head.resolution == 8
    if action == "acrn":
        assert isinstance(model.action_head, Acrn)
        assert (
            flops.count(model, 256, 32).macs["action_head"] > 5e9
        )  # 3x3 at every place, 10 actors


@pytest.mark.parametrize("pyramid", get_args(PyramidName))
def test_published_models_take_every_pyramid(pyramid):
    with torch.device("meta"):
        model = zoo.se_stad_slowfast_r50_8x8(80, pyramid=pyramid)
    assert model.neck.strides == STRIDES[pyramid]
    assert model.localisation_head.strides == STRIDES[pyramid]


def test_old_names_are_the_same_models():
    for name in ("res345", "res234"):
        with torch.device("meta"):
            named = getattr(zoo, f"se_stad_slowfast_r50_8x8_{name}")(80)
            chosen = zoo.se_stad_slowfast_r50_8x8(80, pyramid=name)
        shapes = [
            {key: value.shape for key, value in model.state_dict().items()}
            for model in (named, chosen)
        ]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize("builder", [zoo.se_stad_tiny, zoo.se_stad_small])
def test_small_models_take_every_choice(builder):
    usual = ("fcos", "linear", "res34")
    combinations = [
        *((name, *usual[1:]) for name in get_args(LocalisationName)),
        *((usual[0], name, usual[2]) for name in get_args(ActionName)),
        *((*usual[:2], name) for name in get_args(PyramidName)),
    ]
    for localisation, action, pyramid in combinations:
        with torch.device("meta"):
            model = builder(5, localisation=localisation, action=action, pyramid=pyramid)
        levels = STRIDES[pyramid][:2] if pyramid == "res34" else STRIDES[pyramid][:3]
        assert model.neck.strides == levels
        assert type(model.localisation_head) is KINDS[localisation]
        assert flops.count(model, (160, 128), 8).macs["total"] > 0


def test_a_range_more_adds_a_level():
    ranges = ((0.0, 24.0), (24.0, 48.0), (48.0, float("inf")))
    model = zoo.se_stad_tiny(5, ranges=ranges)
    assert model.neck.strides == model.localisation_head.strides == (8, 16, 32)
    with pytest.raises(ValueError, match="at least one level per keyframe map"):
        zoo.se_stad_tiny(5, ranges=ranges[:1])


@pytest.mark.parametrize(
    ("localisation", "action", "pyramid"),
    [
        ("retinanet", "acrn", "res234"),
        ("rpn_rcnn", "scene", "res345"),
        ("gfocal_v2", "linear", "res34"),
        ("fcos_original", "acrn", "res34"),
    ],
)
@pytest.mark.parametrize("counts", [(2, 1), (0, 0)])
def test_choices_train_and_detect_together(make_targets, localisation, action, pyramid, counts):
    model = zoo.se_stad_tiny(5, localisation=localisation, action=action, pyramid=pyramid).train()
    losses = model(torch.randn(2, 3, 8, 96, 128), make_targets(counts))
    assert "action" in losses
    sum(losses.values()).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    model.eval()
    with torch.no_grad():
        found = model(torch.randn(2, 3, 8, 75, 117))
    assert [clip.scores.shape[1] for clip in found] == [5, 5]

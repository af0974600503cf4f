"""Multiply-adds against the papers' tables and against figures counted on the public code."""

import pytest
import torch

from stad_models import flops, zoo

KINETICS = {"strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1)}


def giga(builder, size, frames, rule="mac", **arguments) -> float:
    with torch.device("meta"):
        model = builder(**arguments)
    return flops.count(model, size, frames, rule).macs["total"] / 1e9


TRUNKS = [
    (zoo.slowfast_r50_8x8, {}, 32, 97.3),
    (zoo.slowfast_r50_8x8, KINETICS, 32, 66.1),
    (zoo.slowonly_r50_4x16, {}, 4, 41.7),
    (zoo.slowfast_r101_nl_8x8, {}, 32, 147.1),
]


@pytest.mark.parametrize(("builder", "arguments", "frames", "expected"), TRUNKS)
def test_trunks_agree_with_the_public_code(builder, arguments, frames, expected):
    # The reference counts batch normalisation too (2 per element), so it lies between our rules.
    plain = giga(builder, 256, frames, **arguments)
    everything = giga(builder, 256, frames, "paper", **arguments)
    assert plain < expected < everything
    assert everything == pytest.approx(expected, rel=0.005)
    if not arguments:
        assert plain == pytest.approx(expected, rel=0.005)


DETECTORS = [
    (zoo.se_stad_slowfast_r50_8x8, 256, 32, 104.89, 111.26),
    (zoo.se_stad_slowfast_r50_8x8_res345, 256, 32, 106.06, 113.34),
    (zoo.se_stad_slowfast_r50_8x8_res234, 256, 32, 127.02, 152.81),
    (zoo.se_stad_slowfast_r50_8x8, 320, 32, 163.89, 173.84),
    (zoo.se_stad_slowonly_r50_4x16, 256, 4, 49.12, 55.49),
    (zoo.se_stad_slowfast_r101_8x8, 288, 32, 183.6, 192.7),  # the paper's row does not say the size
]


@pytest.mark.parametrize(("builder", "size", "frames", "one_pass", "paper"), DETECTORS)
def test_detectors_agree_with_the_paper(builder, size, frames, one_pass, paper):
    assert giga(builder, size, frames, num_classes=80) == pytest.approx(one_pass, rel=0.01)
    assert giga(builder, size, frames, "paper", num_classes=80) == pytest.approx(paper, rel=0.005)


@pytest.mark.parametrize(
    ("builder", "arguments", "published"),
    [
        (zoo.mvit_v1_b, {"last_stride": 32}, 70.599),
        (zoo.mvit_v2_s, {"last_stride": 32}, 64.224),
        (zoo.swin3d_t, {}, 43.882),
        (zoo.swin3d_s, {}, 82.841),
        (zoo.swin3d_b, {}, 140.667),
    ],
)
def test_transformers_agree_with_torchvisions_figures(builder, arguments, published):
    assert giga(builder, 224, 16, **arguments) == pytest.approx(published, rel=1e-4)


def test_a_transformer_by_hand():
    # 8 times 14 x 14 tokens of 384: 12 blocks over space, 4 over time, patches, the finer map.
    width, places, times = 384, 14 * 14, 8
    tokens = places * times
    linear = 12 * width * width
    space = 12 * (tokens * linear + times * 2 * places**2 * width)
    time = 4 * (tokens * linear + places * 2 * times**2 * width)
    ends = tokens * width * 3 * 2 * 16 * 16 + places * width * (width // 2) * 4
    assert giga(zoo.vivit_small, 224, 16) == (space + time + ends) / 1e9


def test_parts_add_up_and_the_model_is_left_alone():
    model = zoo.se_stad_tiny(10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost = flops.count(model, (128, 96), 8)
    for figures in (cost.macs, cost.params):
        parts = dict(figures)
        assert parts.pop("total") == sum(parts.values())
        assert set(parts) == {"backbone", "neck", "localisation_head", "action_head"}
        assert all(value > 0 for value in parts.values())
    assert cost.params["total"] == sum(weight.numel() for weight in model.parameters())
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_count_by_hand():
    # Levels of 12 x 16 and 6 x 8: two towers of 2 convolutions 64 -> 64, and 64 -> 1 + 4 + 1.
    locations = 12 * 16 + 6 * 8
    by_hand = locations * 9 * 64 * (4 * 64 + 6)
    cost = flops.count(zoo.se_stad_tiny(10), (128, 96), 8, actors=3)
    assert cost.macs["localisation_head"] == by_hand
    assert cost.macs["action_head"] == 3 * 96 * 10
    twice = flops.count(zoo.se_stad_tiny(10), (128, 96), 8, "paper").macs["localisation_head"]
    assert twice == 2 * (by_hand + locations * 4 * 64)  # ReLU after each tower convolution


@pytest.mark.parametrize(
    ("builder", "size", "budget", "parameters"),
    [
        (zoo.se_stad_tiny, (128, 96), 0.25e9, 0.7e6),
        (zoo.se_stad_small, (160, 120), 1.5e9, 3.2e6),
    ],
)
def test_models_for_small_machines_stay_small(builder, size, budget, parameters):
    cost = flops.count(builder(24), size, 8)
    assert cost.macs["total"] < budget
    assert cost.params["total"] < parameters


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'mac' or 'paper', found 'flops'"):
        flops.count(zoo.se_stad_tiny(2), 64, 8, "flops")

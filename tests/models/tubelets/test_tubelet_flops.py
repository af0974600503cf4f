"""Multiply-adds of tubelet detectors against figures counted on the public code."""

import pytest
import torch

from stad_models import flops, zoo
from stad_models.backbones.resnext3d import ResNext3d


@pytest.mark.parametrize(("length", "expected"), [(5, 40.6), (7, 56.9)])
def test_moc_agrees_with_the_public_code(length, expected):
    with torch.device("meta"):
        model = zoo.moc_dla34(24, tubelet_length=length)
    found = flops.count(model, 288, length).macs
    # The public code also runs two projections per frame whose result it drops.
    dropped = length * 2 * 64 * 128 * 36 * 36
    assert (found["total"] + dropped) / 1e9 == pytest.approx(expected, abs=0.05)


def test_resnext101_agrees_with_the_public_code():
    with torch.device("meta"):
        trunk = ResNext3d()
    assert flops.count(trunk, 112, 16).macs["total"] / 1e9 == pytest.approx(9.6, abs=0.05)


def test_parts_of_stma_add_up():
    with torch.device("meta"):
        model = zoo.stma_dla34_resnext101(24)
    cost = flops.count(model, 288, 16)
    parts = ("backbone", "tubelet_head", "action_head", "clip_backbone")
    for figures in (cost.macs, cost.params):
        assert set(figures) == {"total", *parts}
        assert figures["total"] == sum(figures[part] for part in parts)
    assert cost.params["total"] == sum(weight.numel() for weight in model.parameters())


def test_a_head_by_hand():
    cost = flops.count(zoo.moc_tiny(24), (128, 96), 5)
    cells, channels, hidden = 24 * 32, 24, 48
    together = 2 * 5 * channels * 9 * hidden + hidden * (24 + 10)
    alone = 5 * (channels * 9 * hidden + hidden * 2)
    assert cost.macs["tubelet_head"] == cells * (together + alone)


def test_streams_are_counted_each():
    with torch.device("meta"):
        model = zoo.moc_dla34_two_stream(24, tubelet_length=5)
        alone = zoo.moc_dla34(24, tubelet_length=5)
    cost = flops.count(model, 288, 5)
    assert cost.macs["colour"] == flops.count(alone, 288, 5).macs["total"]
    more = 5 * 12 * 49 * 16 * 288 * 288
    assert cost.macs["flow"] == cost.macs["colour"] + more


@pytest.mark.parametrize(
    ("builder", "budget", "parameters"),
    [(zoo.moc_tiny, 0.5e9, 0.7e6), (zoo.stma_tiny, 0.65e9, 1.4e6)],
)
def test_models_for_small_machines_stay_small(builder, budget, parameters):
    model = builder(24)
    cost = flops.count(model, (128, 96), model.clip_length)
    assert cost.macs["total"] < budget
    assert cost.params["total"] < parameters

"""MixMatch's parts: surer targets, and clips mixed in pairs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from stad_ssl import mix_share, mixed, sharpen, sharpen_maps


def test_sharpening_by_hand():
    shares = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    expected = torch.tensor([[2 / 3, 1 / 6, 1 / 6], [0.0, 1.0, 0.0]])
    assert torch.allclose(sharpen(shares, 0.5), expected)
    found = sharpen_maps(torch.tensor([0.8, 0.5, 0.0, 1.0]), 0.5)
    assert torch.allclose(found, torch.tensor([16 / 17, 0.5, 0.0, 1.0]), atol=1e-5)


@given(seed=st.integers(0, 10_000), temperature=st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=30)
def test_sharpening_keeps_the_order_and_makes_surer(seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    shares = shares / shares.sum(dim=1, keepdim=True)
    found = sharpen(shares, temperature)
    assert torch.allclose(found.sum(dim=1), torch.ones(4, dtype=torch.float64))
    assert torch.equal(found.argmax(dim=1), shares.argmax(dim=1))
    assert bool((found.max(dim=1).values >= shares.max(dim=1).values - 1e-9).all())
    assert torch.allclose(sharpen(shares, 1.0), shares)
    maps = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64)
    surer = sharpen_maps(maps, temperature)
    assert bool((((surer - 0.5).abs() + 1e-5) >= (maps - 0.5).abs()).all())
    assert torch.allclose(sharpen_maps(1 - maps, temperature), 1 - surer)


@given(chance=st.floats(0, 1), alpha=st.floats(0.2, 4.0))
@settings(deadline=None, max_examples=40)
def test_the_first_clip_keeps_the_greater_share(chance, alpha):
    share = mix_share(chance, alpha)
    assert 0.5 <= share <= 1.0
    assert share == pytest.approx(mix_share(1 - chance, alpha), abs=1e-6)


def test_shares_follow_the_mirrored_beta():
    # The share is below s where the draw lies between 1 - s and s.
    for chance in (0.6, 0.75, 0.9):
        share = mix_share(chance, 0.75)
        below = beta.cdf(share, 0.75, 0.75) - beta.cdf(1 - share, 0.75, 0.75)
        assert below == pytest.approx(2 * chance - 1, abs=1e-9)
    assert mix_share(0.5) == pytest.approx(0.5)


def test_mixing_weighs_row_by_row():
    first, second = torch.zeros(2, 3, 2), torch.ones(2, 3, 2)
    found = mixed(first, second, torch.tensor([0.75, 1.0]))
    assert torch.equal(found[0], torch.full((3, 2), 0.25))
    assert torch.equal(found[1], first[1])
    assert mixed(first[:0], second[:0], torch.zeros(0)).shape == (0, 3, 2)


def test_what_makes_no_sense_is_refused():
    for call in (
        lambda: sharpen(torch.ones(1, 2), 0.0),
        lambda: sharpen_maps(torch.ones(2), -1.0),
        lambda: mix_share(1.5),
        lambda: mix_share(0.5, 0.0),
        lambda: mix_share(math.nan),
        lambda: mixed(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3)),
    ):
        with pytest.raises(ValueError, match="found"):
            call()

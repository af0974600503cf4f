import pytest
import torch
from torch import nn

from stad_models.backbones.deformable import DeformableConv
from stad_models.backbones.dla import Dla, DlaShape
from stad_models.backbones.dla_aggregation import DepthwiseUpsampling

SMALL = DlaShape(
    stem_kernel=3, widths=(4, 4, 8, 16, 24), depths=(1, 1, 1, 2, 1), strides=(1, 2, 2, 2, 2)
)


def test_maps_have_the_stride_of_the_first_tree():
    trunk = Dla(SMALL)
    assert (trunk.channels, trunk.stride, trunk.multiple) == (8, 4, 16)
    assert trunk(torch.randn(2, 3, 32, 48)).shape == (2, 8, 8, 12)
    with torch.device("meta"):
        full = Dla()
        assert full(torch.empty(1, 3, 288, 288)).shape == (1, 64, 72, 72)
    assert (full.channels_in, full.channels, full.stride, full.multiple) == (3, 64, 4, 32)


def test_a_level_without_convolutions_leaves_the_size_alone():
    shape = DlaShape(stem_stride=2, widths=(4, 9, 8, 16), depths=(0, 0, 1, 1), strides=(1, 2, 2, 2))
    trunk = Dla(shape)
    assert trunk.stride == 4
    assert trunk(torch.randn(1, 3, 16, 16)).shape == (1, 8, 4, 4)


def test_every_weight_is_used():
    trunk = Dla(SMALL)
    trunk(torch.randn(2, 3, 32, 32)).square().sum().backward()
    unused = [name for name, weight in trunk.named_parameters() if weight.grad is None]
    assert not unused


def test_a_frame_does_not_depend_on_the_others_of_its_batch():
    trunk = Dla(SMALL).double().eval()
    frames = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    alone = torch.cat([trunk(frame[None]) for frame in frames])
    torch.testing.assert_close(trunk(frames), alone)


def test_a_deformable_convolution_starts_as_half_a_plain_one():
    layer = DeformableConv(3, 5)
    plain = nn.Conv2d(3, 5, 3, padding=1)
    plain.weight, plain.bias = layer.weight, layer.bias
    x = torch.randn(2, 3, 6, 7)
    bias = layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), (plain(x) - bias) / 2 + bias)


def test_a_deformable_convolution_reads_where_its_offsets_say():
    layer = DeformableConv(1, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 1  # the cell in the middle, the fifth of nine
        layer.bias.zero_()
        layer.offsets.bias[2 * 4] = 1.0  # one row further down
        layer.offsets.bias[2 * 4 + 1] = 2.0  # two columns further right
        layer.offsets.bias[18 + 4] = 100.0  # which counts in full
    x = torch.arange(30.0).reshape(1, 1, 5, 6)
    assert layer(x)[0, 0, 1, 1].item() == x[0, 0, 2, 3].item()


def test_a_deformable_convolution_works_under_autocast():
    layer = DeformableConv(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(torch.randn(1, 3, 6, 6, dtype=torch.bfloat16))
    assert found.shape == (1, 4, 6, 6)
    assert found.isfinite().all()


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_starts_as_bilinear_interpolation(factor):
    up = DepthwiseUpsampling(2, factor)
    slope = torch.arange(8.0).expand(1, 2, 8, 8)
    found = up(slope)[0, 0]
    assert found.shape == (8 * factor, 8 * factor)
    wanted = (torch.arange(8.0 * factor) + 0.5) / factor - 0.5
    inside = slice(factor, -factor)
    torch.testing.assert_close(found[8 * factor // 2, inside], wanted[inside])


def test_upsampling_keeps_the_type_under_autocast():
    up = DepthwiseUpsampling(3, 2)
    x = torch.randn(2, 3, 4, 5).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = up(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, up(x.float()).bfloat16())
    found.sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert up.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"widths": (4, 4, 8)}, "at least 4, found 3, 6 and 6"),
        ({"depths": (1, 1, 1, 2, 2)}, "found 6, 5 and 6"),
        ({"depths": (1, 1, 0, 2, 2, 1)}, "depth of at least 1"),
        ({"strides": (1, 2, 2, 1, 2, 2)}, "need the stride 2"),
        ({"stem_kernel": 4}, "odd, found 4"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        DlaShape(**numbers)

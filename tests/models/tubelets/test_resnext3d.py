from dataclasses import replace

import pytest
import torch

from stad_models.backbones.resnext3d import ResNext3d, ResNext3dShape

SMALL = ResNext3dShape(
    stem_width=8, widths=(8, 16, 16, 32), depths=(1, 2, 1, 1), cardinality=4, stem_kernel=(3, 5, 5)
)
BASIC = ResNext3dShape(
    stem_width=8,
    stem_strides=(2, 2),
    stem_pool=False,
    widths=(8, 12, 16, 20),
    depths=(1, 1, 1, 1),
    strides=(1, 2, 2, 1),
    block="basic",
)
LONG = replace(BASIC, frame_strides=(1, 1, 2, 1))


@pytest.mark.parametrize(
    ("shape", "strides", "frame_stride", "channels"),
    [
        (SMALL, (4, 8, 16, 32), 16, (16, 32, 32, 64)),
        (BASIC, (2, 4, 8, 8), 8, (8, 12, 16, 20)),
        (LONG, (2, 4, 8, 8), 4, (8, 12, 16, 20)),
    ],
)
def test_maps_have_the_strides_and_channels_that_are_told(shape, strides, frame_stride, channels):
    trunk = ResNext3d(shape)
    found = trunk(torch.randn(1, 3, 16, 64, 32))
    names = ("res2", "res3", "res4", "res5")
    assert trunk.strides == {**dict(zip(names, strides, strict=True)), "clip": strides[-1]}
    assert trunk.channels == {**dict(zip(names, channels, strict=True)), "clip": channels[-1]}
    assert trunk.frame_stride == frame_stride
    for name, stride, width in zip(names, strides, channels, strict=True):
        assert found.keyframe[name].shape == (1, width, 64 // stride, 32 // stride)
    assert found.clip[0].shape == (
        1,
        channels[-1],
        16 // frame_stride,
        64 // strides[-1],
        32 // strides[-1],
    )


def test_resnext101_turns_16_frames_into_one():
    with torch.device("meta"):
        trunk = ResNext3d()
        found = trunk(torch.empty(1, 3, 16, 288, 288))
    assert found.clip[0].shape == (1, 2048, 1, 9, 9)
    assert sum(weight.numel() for weight in trunk.parameters()) == 47_521_216


@pytest.mark.parametrize("shape", [SMALL, BASIC])
def test_every_weight_is_used(shape):
    trunk = ResNext3d(shape)
    trunk(torch.randn(2, 3, 16, 32, 32)).clip[0].square().sum().backward()
    assert all(weight.grad is not None for weight in trunk.parameters())


def test_half_a_motion_stem_sees_nothing_in_a_still_scene():
    still = torch.rand(1, 3, 1, 16, 16).expand(-1, -1, 8, -1, -1)
    for moves in (False, True):
        conv = ResNext3d(replace(BASIC, stem_kernel=(3, 5, 5), motion_stem=moves)).stem[0]
        inside = conv(still)[:, :, 1:-1].abs().amax(dim=(0, 2, 3, 4))
        assert (inside < 1e-5).tolist() == [moves, False] * 4


def test_blocks_begin_as_their_shortcut():
    trunk = ResNext3d(SMALL).eval()
    block = trunk.get_submodule("res3.1")
    x = torch.rand(1, 32, 4, 4, 4)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"widths": (8, 16, 30, 32)}, "multiples of the cardinality 32"),
        ({"block": "wide"}, "found 'wide'"),
        ({"depths": (1, 0, 1, 1)}, "must be positive"),
        ({"stem_kernel": (4, 7, 7)}, "must be odd"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        ResNext3dShape(**numbers)

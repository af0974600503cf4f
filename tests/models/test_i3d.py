"""I3D: maps of named layers, SAME padding, and what a shorter or narrower network is."""

import pytest
import torch

from stad_models import flops, weights, zoo
from stad_models.backbones.i3d import ENDPOINTS, I3d, I3dShape, Mixed, SameConv, SamePool, i3d_norm

NARROW = I3dShape(width=0.05)


def test_layers_have_the_strides_and_channels_that_are_told():
    trunk = I3d(NARROW).eval()
    with torch.no_grad():
        found = trunk.endpoints(torch.randn(1, 3, 16, 64, 96), ENDPOINTS)
    assert tuple(found) == ENDPOINTS
    for name, values in found.items():
        over_time, over_space = NARROW.layer_strides(name)
        assert trunk.strides[name] == over_space
        cells = (16 // over_time, 64 // over_space, 96 // over_space)
        assert values.shape == (1, trunk.channels[name], *cells)
    assert (trunk.strides["clip"], trunk.frame_stride) == (32, 8)


def test_the_published_network_has_its_published_channels():
    with torch.device("meta"):
        trunk = zoo.i3d()
    expected = {"conv_2c": 192, "mixed_3c": 480, "mixed_4f": 832, "mixed_5b": 832}
    assert {name: trunk.channels[name] for name in expected} == expected
    assert trunk.channels["clip"] == 1024
    assert {key: trunk.strides[key] for key in ("res2", "res3", "res4", "res5")} == {
        "res2": 4,
        "res3": 8,
        "res4": 16,
        "res5": 32,
    }


def test_multiply_adds_agree_with_the_public_code():
    with torch.device("meta"):
        trunk = zoo.i3d()
    assert flops.count(trunk, 224, 8).macs["total"] / 1e9 == pytest.approx(13.9, abs=0.05)


def test_keyframe_maps_are_the_middle_of_the_layers():
    trunk = I3d(NARROW).eval()
    clips = torch.randn(2, 3, 16, 64, 64)
    with torch.no_grad():
        found, maps = trunk(clips), trunk.endpoints(clips, ("mixed_3c", "mixed_5c"))
    assert set(found.keyframe) == {"res2", "res3", "res4", "res5"}
    assert torch.equal(found.keyframe["res3"], maps["mixed_3c"][:, :, 4])
    assert torch.equal(found.clip[0], maps["mixed_5c"])


def test_same_padding_puts_the_odd_cell_behind():
    conv = SameConv(1, 1, 3, strides=(1, 2), norm=lambda _: torch.nn.Identity())
    torch.nn.init.ones_(conv.conv.weight)
    x = torch.zeros(1, 1, 1, 4, 5)
    x[..., 0, 0] = 1
    # Four rows at stride 2 need one row more, behind: the first window starts at row 0.
    # Five columns need two more, one on each side: the first window starts before column 0.
    assert conv(x)[0, 0, 0].tolist() == [[1, 0, 0], [0, 0, 0]]
    x = torch.zeros(1, 1, 1, 4, 5)
    x[..., 2, 2] = 1
    assert conv(x)[0, 0, 0].tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 7, 9), (5, 4, 11)])
def test_sides_are_divided_and_rounded_up(size):
    pool = SamePool((2, 2, 2), (2, 2))
    found = pool(torch.rand(1, 1, *size))
    assert found.shape[2:] == tuple(-(-side // 2) for side in size)


def test_an_unstrided_pool_keeps_the_map():
    x = torch.rand(1, 2, 3, 4, 5)
    found = SamePool((2, 2, 2))(x)
    assert found.shape == x.shape
    assert found[0, 0, 0, 0, 0] == x[0, 0, :2, :2, :2].max()
    assert found[0, 0, -1, -1, -1] == x[0, 0, -1, -1, -1]
    shape = I3dShape(width=0.05, pool_strides=((1, 2), (1, 2), (1, 1), (1, 1)))
    trunk = I3d(shape)
    assert (trunk.strides["mixed_5c"], trunk.frame_stride) == (8, 2)
    assert trunk(torch.randn(1, 3, 4, 32, 32)).clip[0].shape[2:] == (2, 4, 4)


def test_blocks_join_their_branches_in_the_published_order():
    block = Mixed(4, (1, 2, 3, 4, 5, 6), norm=i3d_norm).eval()
    x = torch.randn(1, 4, 2, 3, 3).relu()
    with torch.no_grad():
        found = block(x)
        assert torch.equal(found[:, :1], block.plain(x))
        assert torch.equal(found[:, 1:4], block.wide(x))
        assert torch.equal(found[:, 4:9], block.narrow(x))
        assert torch.equal(found[:, 9:], block.pooled(x))


def test_a_network_can_end_early_and_take_flow():
    trunk = I3d(I3dShape(width=0.05, channels_in=2, last="mixed_4b"))
    assert not hasattr(trunk, "mixed_4c")
    found = trunk(torch.randn(1, 2, 8, 32, 32))
    assert set(found.keyframe) == {"res2", "res3"}
    assert found.clip[0].shape[1] == trunk.channels["clip"] == trunk.channels["mixed_4b"]
    with pytest.raises(ValueError, match="mixed_5b asked for, but this network ends with mixed_4b"):
        trunk.endpoints(torch.randn(1, 2, 8, 32, 32), ("mixed_5b",))


def test_a_whole_checkpoint_fills_a_network_that_ends_early():
    with torch.device("meta"):
        whole = zoo.i3d()
    names = {"conv_1a": "Conv3d_1a_7x7", "mixed_5c.plain": "Mixed_5c.b0"}
    with torch.device("meta"):
        trunk = zoo.i3d(last="conv_1a")
    trunk.to_empty(device="cpu")
    tensors = {
        f"{theirs}.{'conv3d' if part == 'conv' else 'bn'}.{kind}": torch.full(value.shape, 2.0)
        for ours, theirs in names.items()
        for part, module in whole.get_submodule(ours).named_children()
        for kind, value in module.state_dict().items()
    }
    report = weights.load(trunk, tensors)
    assert report.layout == "i3d"
    assert {one.reason for one in report.skipped} == {"a layer after the last of this backbone"}
    assert bool((trunk.conv_1a.conv.weight == 2).all())


def test_weights_of_colour_begin_a_network_of_colour_and_flow():
    colour, both = (zoo.i3d(channels_in=count, last="conv_1a").eval() for count in (3, 5))
    tensors = {
        f"Conv3d_1a_7x7.{'conv3d' if part == 'conv' else 'bn'}.{kind}": value
        for part, module in colour.conv_1a.named_children()
        for kind, value in module.state_dict().items()
    }
    report = weights.load(both, tensors)
    assert "flow begins at 0" in str(report)
    clips = torch.randn(1, 5, 4, 16, 16)
    found, expected = (trunk(x).clip[0] for trunk, x in ((both, clips), (colour, clips[:, :3])))
    assert torch.allclose(found, expected, atol=1e-5)


def test_weights_of_colour_do_not_pass_for_flow():
    trunk = I3d(I3dShape(last="conv_1a", channels_in=2))
    colour = {"Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 3, 7, 7, 7)}
    with pytest.raises(weights.WeightsError, match="another shape"):
        weights.load(trunk, colour)


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"last": "mixed_6a"}, "last must be one of"),
        ({"pool_strides": ((1, 2),)}, "of the 4 pools"),
        ({"stem_strides": (0, 2)}, "positive"),
        ({"width": 0.0}, "width must be positive"),
        ({"channels_in": 0}, "channels_in"),
        ({"stem_kernel": 0}, "stem_kernel"),
    ],
)
def test_numbers_that_make_no_network_are_refused(numbers, word):
    with pytest.raises(ValueError, match=word):
        I3dShape(**numbers)

import pytest
import torch

from stad_models.necks.fpn import FeaturePyramid

CHANNELS = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 16}


def maps(width=101, height=67):
    return {
        name: torch.randn(2, CHANNELS[name], -(-height // stride), -(-width // stride))
        for name, stride in STRIDES.items()
    }


@pytest.mark.parametrize(
    ("sources", "extra", "strides"),
    [
        (("res3", "res4"), 1, (8, 16, 32)),
        (("res3", "res4", "res5"), 0, (8, 16, 16)),
        (("res2", "res3", "res4"), 1, (4, 8, 16, 32)),
        (("res3", "res4"), 0, (8, 16)),
    ],
)
def test_levels_have_their_strides_at_odd_sizes(sources, extra, strides):
    neck = FeaturePyramid(
        sources, channels_in=CHANNELS, strides_in=STRIDES, channels=12, extra_levels=extra
    )
    assert neck.strides == strides
    levels = neck(maps())
    assert [tuple(level.shape) for level in levels] == [
        (2, 12, -(-67 // stride), -(-101 // stride)) for stride in strides
    ]


def test_fine_levels_see_coarse_maps_but_not_the_other_way():
    neck = FeaturePyramid(("res3", "res4"), channels_in=CHANNELS, strides_in=STRIDES, channels=6)
    before = maps()
    with torch.no_grad():
        levels = neck(before)
        coarse = neck({**before, "res4": before["res4"] + 1})
        fine = neck({**before, "res3": before["res3"] + 1})
    assert not torch.equal(levels[0], coarse[0])
    assert torch.equal(levels[1], fine[1])
    assert torch.equal(levels[2], fine[2])


def test_a_pyramid_on_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one keyframe map"):
        FeaturePyramid((), channels_in=CHANNELS, strides_in=STRIDES)
    with pytest.raises(ValueError, match="at least one level per keyframe map is needed, found 1"):
        FeaturePyramid(("res3", "res4"), channels_in=CHANNELS, strides_in=STRIDES, extra_levels=-1)

import pytest
import torch

from stad_models import zoo
from stad_models.backbones.nonlocal_block import NonLocal
from stad_models.backbones.pathway import Pathway, PathwayShape
from stad_models.backbones.resnet3d import Fusion, SlowFast, slow_frames


@pytest.mark.parametrize("alpha", [2, 4, 8])
def test_slow_frames_are_the_truncated_linspace(alpha):
    for count in range(1, 17):
        length = count * alpha
        assert slow_frames(length, alpha) == torch.linspace(0, length - 1, count).long().tolist()


def test_slow_frames_of_the_public_configuration():
    assert slow_frames(32, 4) == [0, 4, 8, 13, 17, 22, 26, 31]


def test_slow_frames_of_mmaction2_are_every_fourth():
    assert slow_frames(32, 4, spread=False) == [0, 4, 8, 12, 16, 20, 24, 28]


def test_plain_laterals_are_the_convolution_alone():
    fusion = Fusion(2, ratio=2, kernel=5, alpha=4, norm=None)
    assert [name for name, _ in fusion.named_parameters()] == ["conv.weight"]
    fast = torch.randn(1, 2, 8, 3, 3)
    with torch.no_grad():
        assert torch.equal(fusion(fast), fusion.conv(fast))
        assert bool((fusion(fast) < 0).any())
    with torch.device("meta"):
        plain, usual = zoo.slowfast_r50_8x8(laterals="plain"), zoo.slowfast_r50_8x8()
    assert (plain.spread, usual.spread) == (False, True)
    gone = usual.state_dict().keys() - plain.state_dict().keys()
    assert len(gone) == 20
    assert all(name.startswith("fusions.") and ".norm." in name for name in gone)
    with pytest.raises(ValueError, match="'normalised' or 'plain', found 'none'"):
        zoo.slowfast_r50_8x8(laterals="none")


def test_resnet_101_has_temporal_convolutions_in_six_blocks_of_res4_or_in_all():
    with torch.device("meta"):
        ava, kinetics = zoo.slowfast_r101_8x8(), zoo.slowfast_r101_8x8(temporal_res4=23)
    for model, count in ((ava, 6), (kinetics, 23)):
        for pathway in (model.slow, model.fast):
            kernels = [block.conv1.kernel_size[0] for block in pathway.res4.blocks]
            assert kernels == [3] * count + [1] * (23 - count)
    assert not any("nonlocals" in name for name in ava.state_dict())


def test_a_length_that_alpha_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of alpha = 4, found 30"):
        slow_frames(30, 4)


def narrow_slowfast() -> SlowFast:
    slow = PathwayShape(
        stem_width=8,
        widths=(8, 8, 16, 16),
        depths=(1, 1, 2, 1),
        nonlocal_after=((), (), (1,), ()),
    )
    fast = PathwayShape(
        stem_width=4,
        stem_kernel=(5, 7, 7),
        widths=(2, 2, 4, 4),
        depths=(1, 1, 2, 1),
        temporal_kernels=(3, 3, 3, 3),
    )
    sources = (4, 8, 8, 16)
    fusions = [Fusion(channels, ratio=2, kernel=5, alpha=4) for channels in sources]
    return SlowFast(Pathway(slow, fused=(8, 16, 16, 32)), Pathway(fast), fusions, alpha=4)


def test_slowfast_keyframes_join_both_pathways_before_the_fusion():
    model = narrow_slowfast().eval()
    seen = {}
    for pathway in ("slow", "fast"):
        for stage in ("res2", "res3", "res4", "res5"):
            getattr(model, pathway).stage(stage).register_forward_hook(
                lambda _m, _i, out, name=(stage, pathway): seen.update({name: out})
            )
    with torch.no_grad():
        features = model(torch.randn(2, 3, 16, 64, 48))
    for stage in ("res2", "res3", "res4", "res5"):
        slow, fast = seen[stage, "slow"], seen[stage, "fast"]
        assert (slow.shape[2], fast.shape[2]) == (4, 16)
        expected = torch.cat((slow[:, :, 2], fast[:, :, 8]), dim=1)
        assert torch.equal(features.keyframe[stage], expected)
        stride = model.strides[stage]
        assert expected.shape == (2, model.channels[stage], 64 // stride, 48 // stride)
    assert torch.equal(features.clip[0], seen["res5", "slow"])
    assert torch.equal(features.clip[1], seen["res5", "fast"])
    assert model.strides == {"res2": 4, "res3": 8, "res4": 16, "res5": 16, "clip": 16}
    assert model.channels["clip"] == 64 + 16


def test_non_local_blocks_attend_to_every_position():
    block = NonLocal(4, 2).eval()
    torch.nn.init.ones_(block.norm.weight)
    x = torch.randn(1, 4, 2, 4, 4)
    changed = x.clone()
    changed[0, :, 1, 3, 3] += 5
    with torch.no_grad():
        moved = (block(changed) - block(x))[0, :, 0, 0, 0]
    assert moved.abs().max() > 1e-4


def test_maps_smaller_than_the_pool_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) cells .* smaller than the pool"):
        NonLocal(4, 2)(torch.zeros(1, 4, 1, 4, 4))


def test_dilated_detection_trunk_takes_classification_weights():
    kinetics = zoo.slowonly_r50_8x8(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
    detection = zoo.slowonly_r50_8x8()
    shapes = {name: value.shape for name, value in kinetics.state_dict().items()}
    assert {name: value.shape for name, value in detection.state_dict().items()} == shapes
    assert kinetics.strides["res5"] == 32
    assert detection.strides["res5"] == 16


def test_every_block_starts_as_its_shortcut():
    model = narrow_slowfast()
    for pathway in (model.slow, model.fast):
        for stage in ("res2", "res3", "res4", "res5"):
            for block in pathway.stage(stage).blocks:
                assert not block.last_norm.weight.any()


def test_temporal_stride_keeps_the_keyframe_in_place():
    # Frame 4 of 8 is position 2 of 4: a change of that frame alone must reach the keyframe map.
    trunk = zoo.se_stad_tiny(3).backbone.eval()
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.ones_(module.weight)
        if isinstance(module, torch.nn.Conv3d) and module.kernel_size[0] == 3:
            torch.nn.init.zeros_(module.weight[:, :, 0])
            torch.nn.init.zeros_(module.weight[:, :, 2])
    clips = torch.randn(1, 3, 8, 32, 32)
    changed = clips.clone()
    changed[:, :, 4] += 1
    others = clips.clone()
    others[:, :, :4] += 1
    others[:, :, 5:] += 1
    with torch.no_grad():
        before = trunk(clips).keyframe["res4"]
        assert not torch.equal(trunk(changed).keyframe["res4"], before)
        assert torch.equal(trunk(others).keyframe["res4"], before)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="must be odd"):
        PathwayShape(temporal_kernels=(1, 2, 3, 3))
    with pytest.raises(ValueError, match="must be positive"):
        PathwayShape(depths=(1, 0, 1, 1))


def test_a_motion_stem_starts_blind_to_what_stands_still():
    shape = PathwayShape(stem_kernel=(3, 5, 5), motion_stem=True)
    weight = Pathway(shape).stem.conv.weight
    still = weight.sum(dim=2).abs().amax(dim=(1, 2, 3))
    assert still[::2].max() < 1e-5
    assert still[1::2].min() > 1e-2

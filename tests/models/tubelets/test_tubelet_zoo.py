import pytest
import torch

from stad_models import zoo
from stad_models.detectors.moc import Moc
from stad_models.detectors.stma import Stma
from stad_models.detectors.stma_options import StmaOptions

DETECTORS = [name for name in zoo.__all__ if name.startswith(("moc", "stma"))]


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_say_what_clips_they_are_made_for(name):
    with torch.device("meta"):
        model = getattr(zoo, name)(
            7, exclusive=False, tubelet_length=3, clip_length=9, clip_stride=2
        )
    assert (model.num_classes, model.exclusive) == (7, False)
    assert (model.tubelet_length, model.clip_length, model.clip_stride) == (3, 9, 2)
    assert model.channels_in == (18 if "two_stream" in name else 3)


def test_published_models_have_the_papers_numbers():
    with torch.device("meta"):
        stma, moc = zoo.stma_dla34_resnext101(24), zoo.moc_dla34(24)
    assert (stma.clip_length, stma.tubelet_length, stma.options.limit) == (16, 5, 10)
    assert (stma.backbone.stride, stma.clip_backbone.strides["clip"]) == (4, 32)
    assert stma.clip_backbone.frame_stride == 16
    assert (moc.clip_length, moc.tubelet_length) == (7, 7)
    assert moc.tubelet_head.centers[0].weight.shape == (256, 7 * 64, 3, 3)


def test_switches_decide_which_parts_are_built():
    with torch.device("meta"):
        off = StmaOptions(
            class_agnostic=False,
            motion_excitation=False,
            aggregation=False,
            gaussian_size=False,
            gaussian_movement=False,
        )
        base = zoo.stma_dla34_resnext101(24, options=off)
        moc = zoo.moc_dla34(24, tubelet_length=5)
    assert isinstance(base, Stma)
    assert isinstance(moc, Moc)
    assert base.clip_backbone is None
    assert base.action_head is None
    ours = {name: value.shape for name, value in base.state_dict().items()}
    assert ours == {name: value.shape for name, value in moc.state_dict().items()}


@pytest.mark.parametrize("name", ["moc_tiny", "stma_tiny"])
def test_tiny_models_lie_with_channels_last(name):
    model = getattr(zoo, name)(3)
    weight = model.backbone.levels[2].block1.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)

import pytest
import torch

from stad_models import SeStad, zoo

DETECTORS = [name for name in zoo.__all__ if name.startswith("se_stad")]


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_say_what_clips_they_are_made_for(name):
    with torch.device("meta"):
        model = getattr(zoo, name)(7, exclusive=True)
    assert isinstance(model, SeStad)
    assert (model.num_classes, model.exclusive) == (7, True)
    assert model.clip_length >= 4
    assert model.clip_stride >= 1
    assert model.localisation_head.strides == model.neck.strides


TRUNKS = [name for name in zoo.__all__ if name.startswith(("slow", "mvit", "swin3d", "vivit"))]


@pytest.mark.parametrize("name", TRUNKS)
def test_every_trunk_has_its_detector(name):
    with torch.device("meta"):
        trunk, model = getattr(zoo, name)(), getattr(zoo, f"se_stad_{name}")(5)
    mine = {key: value.shape for key, value in model.backbone.state_dict().items()}
    assert mine == {key: value.shape for key, value in trunk.state_dict().items()}
    assert getattr(model.backbone, "alpha", None) == getattr(trunk, "alpha", None)


@pytest.mark.parametrize("name", [name for name in zoo.__all__ if name.startswith("slow")])
def test_trunks_name_their_maps(name):
    with torch.device("meta"):
        trunk = getattr(zoo, name)()
    assert trunk.strides == {"res2": 4, "res3": 8, "res4": 16, "res5": 16, "clip": 16}
    fast = 1 if name.startswith("slowfast") else 0
    assert trunk.channels["res3"] == 512 + 64 * fast
    assert trunk.channels["clip"] == 2048 + 256 * fast


def test_the_full_detector_has_the_papers_parts():
    with torch.device("meta"):
        model = zoo.se_stad_slowfast_r50_8x8(80)
    assert model.neck.strides == (8, 16, 32)
    assert model.neck.channels == 256
    assert (model.clip_length, model.clip_stride) == (32, 2)
    options = model.options
    assert (options.train_score, options.train_proposals, options.positive_iou) == (0.3, 100, 0.5)
    assert (options.test_score, options.test_nms, options.max_actors) == (0.4, 0.3, 10)
    assert (options.action_threshold, options.action_weight) == (0.002, 10.0)

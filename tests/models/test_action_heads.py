"""The scene head and ACRN; the linear head is tested with the detector."""

from typing import get_args

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, conv2d, group_norm
from torchvision.ops import roi_align

from stad_models.heads.acrn import Acrn
from stad_models.heads.action import PRIOR
from stad_models.heads.scene_action import SceneAction
from stad_models.zoo.heads import ActionName, action_head

ROIS = torch.tensor([[1.0, 8, 8, 72, 88], [0, 20, 0, 60, 50], [1, 30, 30, 120, 90]])


def maps(*channels):
    return [torch.randn(2, c, t, 6, 8) for c, t in zip(channels, (2, 4), strict=False)]


@pytest.mark.parametrize("name", get_args(ActionName))
def test_one_row_per_actor_rare_at_first_and_gradients_also_for_nobody(name):
    head = action_head(name, 12, 5, stride=16, width=16)
    clip = [x.requires_grad_() for x in maps(8, 4)]
    logits = head(clip, ROIS)
    assert logits.shape == (3, 5)
    featureless = head([0 * x for x in clip], ROIS)
    torch.testing.assert_close(featureless.sigmoid(), torch.full((3, 5), PRIOR))
    nobody = head(clip, ROIS[:0])
    assert nobody.shape == (0, 5)
    nobody.sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())
    head(clip, ROIS).sum().backward()
    assert all(x.grad.any() for x in clip)


@pytest.mark.parametrize("name", ["scene", "acrn"])
def test_an_actor_does_not_depend_on_the_others(name):
    head = action_head(name, 12, 5, stride=16, width=16).eval()
    clip = maps(8, 4)
    together = head(clip, ROIS)
    for row in range(3):
        torch.testing.assert_close(head(clip, ROIS[row : row + 1])[0], together[row])
    swapped = ROIS.clone()
    swapped[:, 0] = 1 - ROIS[:, 0]
    torch.testing.assert_close(head([x.flip(0) for x in clip], swapped), together)


def test_the_scene_head_is_the_published_one():
    head = SceneAction(12, 5, stride=16).eval()
    assert head.projection.in_features == 24
    clip = maps(8, 4)
    flat = torch.cat([x.mean(dim=2) for x in clip], dim=1)
    actor = roi_align(flat, ROIS, 8, spatial_scale=1 / 16, sampling_ratio=0, aligned=True)
    scene = adaptive_avg_pool2d(flat, 8)[[1, 0, 1]]
    pooled = torch.cat((actor.amax((2, 3)), scene.amax((2, 3))), dim=1)
    torch.testing.assert_close(head(clip, ROIS), head.projection(pooled))


def test_dropout_comes_before_the_maximum_over_cells():
    head = SceneAction(4, 2, stride=16, dropout=0.5).train()
    clip = [torch.ones(2, 4, 1, 6, 8)]
    # Of 64 equal cells some survive, scaled by 2: the maximum is 2 whatever was dropped.
    wanted = head.projection(torch.full((3, 8), 2.0))
    torch.testing.assert_close(head(clip, ROIS), wanted)


def test_acrn_is_a_convolution_of_actor_beside_scene():
    head = Acrn(12, 5, stride=16, width=16).eval()
    clip = maps(8, 4)
    flat = torch.cat([x.mean(dim=2) for x in clip], dim=1)
    cells = roi_align(flat, ROIS, 7, spatial_scale=1 / 16, sampling_ratio=0, aligned=True)
    own = cells.amax((2, 3))
    tiled = own[:, :, None, None].expand(-1, -1, 6, 8)
    beside = torch.cat((tiled, flat[[1, 0, 1]]), dim=1)  # [R, 2 C, H, W]
    weight = torch.cat((head.of_actor.weight[:, :, None, None], head.of_scene.weight), dim=1)
    relation = group_norm(conv2d(beside, weight), 1).relu()
    gathered = group_norm(conv2d(relation, head.gather[0].weight, padding=1), 1).relu()
    wanted = head.projection(torch.cat((gathered.amax((2, 3)), own), dim=1))
    torch.testing.assert_close(head(clip, ROIS), wanted, rtol=1e-4, atol=1e-5)


def test_acrns_relations_keep_all_that_is_known_of_the_actor():
    # On an even scene every place holds the same sum of actor and scene. Two actors whose parts
    # differ by the mean of a few neighbouring channels alone must still differ in their relation.
    head = Acrn(96, 5, stride=16, width=96).eval()
    torch.nn.init.eye_(head.of_actor.weight)
    torch.nn.init.zeros_(head.of_scene.weight)
    base = torch.randn(96, 1, 1)
    raised = base.clone()
    raised[:3] += 1.0
    clip = [torch.stack((base, raised)).expand(2, 96, 6, 8)[:, :, None]]
    relation = []
    head.gather[0].register_forward_pre_hook(lambda _, x: relation.append(x[0]))
    head(clip, torch.tensor([[0.0, 0, 0, 90, 70], [1, 0, 0, 90, 70]]))
    difference = (relation[0][1] - relation[0][0])[:3, 2, 3]
    assert difference.max() > 0.5


def test_acrn_sees_what_lies_far_outside_the_box():
    clip = [torch.randn(1, 12, 2, 6, 8)]
    roi = torch.tensor([[0.0, 0, 0, 32, 32]])
    other = [clip[0].clone()]
    other[0][..., 5, 7] += 3.0
    blind = action_head("linear", 12, 5, stride=16).eval()
    torch.testing.assert_close(blind(other, roi), blind(clip, roi))
    for name in ("scene", "acrn"):
        seeing = action_head(name, 12, 5, stride=16, width=16).eval()
        assert not torch.allclose(seeing(other, roi), seeing(clip, roi)), name


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"belong to the linear action head.*found grid = 3"):
        action_head("acrn", 12, 5, stride=16, grid=3)
    with pytest.raises(ValueError, match=r"linear.*scene.*acrn.*found 'lfb'"):
        action_head("lfb", 12, 5, stride=16)

import math

import pytest
import torch
from torchvision.ops import box_iou, roi_align

from stad_models.heads.anchors import AnchorShapes
from stad_models.heads.pyramid_pooling import pool_from_pyramid
from stad_models.heads.rcnn import Rcnn, RegionClassifier
from stad_models.heads.rpn import RegionProposals

SIZE = (96, 64)


@pytest.fixture
def first():
    shapes = AnchorShapes(scale=4.0, steps=1)
    return RegionProposals(8, strides=(8, 16), shapes=shapes, candidates=40, regions=12)


@pytest.fixture
def head(first):
    return Rcnn(first, RegionClassifier(8, resolution=3, width=16))


def levels_of(count):
    return [torch.randn(count, 8, 8, 12), torch.randn(count, 8, 4, 6)]


def test_regions_are_the_best_boxes_and_hardly_overlap_on_their_level(first):
    torch.nn.init.normal_(first.box.weight, std=0.3)
    found = first(levels_of(2), SIZE)
    assert found.boxes_NR4.shape == (2, 12, 4)
    assert found.real_NR.all()
    assert not found.boxes_NR4.requires_grad
    assert (found.boxes_NR4 >= 0).all()
    assert (found.boxes_NR4[..., 2:] <= torch.tensor(SIZE)).all()
    alone = RegionProposals(8, strides=(8,), shapes=first.shapes, candidates=40, regions=12)
    boxes = alone([torch.randn(1, 8, 8, 12)], SIZE).boxes_NR4[0]
    assert box_iou(boxes, boxes).fill_diagonal_(0).max() <= 0.7


def test_clips_with_fewer_regions_are_filled_up(first):
    first.regions = 500
    found = first(levels_of(2), SIZE)
    assert found.boxes_NR4.shape[1] == 40 + 40  # candidates of both levels
    counts = found.real_NR.sum(dim=1)
    assert ((counts > 5) & (counts < 80)).all()
    for clip, count in enumerate(counts.tolist()):  # what is real comes first
        assert found.real_NR[clip, :count].all()


def test_boxes_are_pooled_from_the_level_that_suits_their_size():
    # Every level holds its own number everywhere, so the pooled value tells where it came from.
    strides = (4, 8, 16, 32)
    levels = [torch.full((2, 1, 512 // s, 512 // s), float(s)) for s in strides]
    sizes = [20.0, 111.0, 113.0, 223.0, 225.0, 447.0, 449.0, 500.0]
    rois = torch.tensor([[n % 2, 1.0, 1.0, 1.0 + size, 1.0 + size] for n, size in enumerate(sizes)])
    pooled = pool_from_pyramid(levels, rois, strides=strides, resolution=2)
    assert pooled.shape == (8, 1, 2, 2)
    wanted = [4 * 2 ** (min(max(math.floor(4 + math.log2(s / 224)), 2), 5) - 2) for s in sizes]
    assert pooled[:, 0, 0, 0].tolist() == wanted


def test_pooling_is_roi_align_of_that_level_and_passes_gradients():
    levels = [torch.randn(2, 3, 16, 16, requires_grad=True), torch.randn(2, 3, 8, 8)]
    rois = torch.tensor([[1.0, 10, 20, 70, 90], [0, 30, 5, 60, 50]])
    pooled = pool_from_pyramid(levels, rois, strides=(8, 16), resolution=4)
    wanted = roi_align(levels[0], rois, 4, spatial_scale=1 / 8, sampling_ratio=2, aligned=True)
    torch.testing.assert_close(pooled, wanted)
    pooled.sum().backward()
    assert levels[0].grad.any()
    assert pool_from_pyramid(levels, rois[:0], strides=(8, 16), resolution=4).shape == (0, 3, 4, 4)


def test_annotated_boxes_train_the_second_stage_even_if_no_region_meets_them(head):
    output = head(levels_of(1), SIZE)
    nowhere = torch.tensor([[1.0, 1, 5, 4]])
    assert box_iou(nowhere, output.regions.boxes_NR4[0]).max() < 0.5
    found = head.losses(output, [nowhere])
    assert found["actor_box"].item() == pytest.approx(0, abs=1e-3)  # it is there already
    found["actor_class"].backward()
    # One positive among the negatives: pushed up alone.
    assert head.second.actor.bias.grad.item() == pytest.approx(0.5 - 1 / 13, abs=0.02)


def test_the_first_stages_losses_are_averages_over_a_draw(head):
    output = head(levels_of(2), SIZE)
    boxes = [torch.tensor([[8.0, 8, 40, 40]]), torch.zeros(0, 4)]
    flat = output.regions.objectness_NA.detach().zero_()
    found = head.first.losses(output.regions, boxes)
    assert flat.shape[1] == 3 * (96 + 24)
    # All logits are 0 now, and 256 anchors of either clip are drawn: the mean is ln 2.
    assert found["region_class"].item() == pytest.approx(math.log(2))


def test_scores_are_the_second_stages_and_filled_up_regions_are_no_proposals(head):
    head.first.regions = 500
    output = head(levels_of(2), SIZE)
    found = head.proposals(output, threshold=0.0, limit=1000)
    assert len(found) == output.regions.real_NR.sum()
    wanted = output.actor_NR.sigmoid()[output.regions.real_NR].sort().values
    torch.testing.assert_close(found.scores.sort().values, wanted)

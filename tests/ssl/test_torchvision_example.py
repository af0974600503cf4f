"""The example for torchvision's detectors: what it says of unannotated frames is right."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from stad_ssl import PseudoLabels, count_pseudo_labels

torchvision = pytest.importorskip("torchvision", reason="the example is about torchvision")

SIDE, FRAMES, EVERY = 96, 33, 8


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "examples" / "teach_torchvision.py"
    spec = importlib.util.spec_from_file_location("teach_torchvision", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def film() -> tuple[torch.Tensor, dict[int, dict[str, torch.Tensor]]]:
    """A red box that goes right (1) and a green one that goes up (2), and all that is true."""
    frames = torch.rand(3, SIDE, SIDE).mul(0.3).repeat(FRAMES, 1, 1, 1)
    truth = {}
    for t in range(FRAMES):
        boxes = [[4 + t, 10, 28 + t, 40], [60, 60 - t // 2, 80, 88 - t // 2]]
        for colour, (left, top, right, bottom) in enumerate(boxes):
            frames[t, colour, top:bottom, left:right] = 1.0
        truth[t] = {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor([1, 2])}
    return frames, truth


def backbone() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    found = nn.Sequential(*layers)
    found.out_channels = 64
    return found


def fcos() -> nn.Module:
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    points = AnchorGenerator(((8,),), ((1.0,),))
    return FCOS(backbone(), 3, min_size=SIDE, anchor_generator=points, nms_thresh=0.3)


def faster_rcnn() -> nn.Module:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    return FasterRCNN(
        backbone(),
        min_size=SIDE,
        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),)),
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=50,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=4, sampling_ratio=2),
        box_head=TwoMLPHead(64 * 16, 128),
        box_predictor=FastRCNNPredictor(128, 3),
        box_nms_thresh=0.3,
    )


@pytest.mark.parametrize("make", [fcos, faster_rcnn])
def test_a_detector_learns_what_lies_between_annotated_frames(make, example):
    torch.manual_seed(0)
    random.seed(0)
    frames, truth = film()
    annotated = {t: truth[t] for t in range(0, FRAMES, EVERY)}
    teacher = example.train(make(), frames, annotated, classes=3, steps=50, burn_in=40, batch=2)
    assert teacher.updates == 10
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    between = [t for t in range(FRAMES) if t % EVERY]
    found = teacher([frames[t] for t in between])
    targets = example.pseudo_targets(found, between, annotated, (SIDE, SIDE), 3)
    nothing = [torch.zeros(len(target["boxes"]), dtype=torch.int64) for target in targets]
    pseudo = [
        PseudoLabels(
            boxes=target["boxes"],
            labels=one_hot(target["labels"], 3).float(),
            proposal=none,
            annotation=none,
            known=True,
        )
        for target, none in zip(targets, nothing, strict=True)
    ]
    counts = count_pseudo_labels(pseudo, [example.keyframe(truth[t], 3) for t in between])
    assert counts.recall[0] > 0.9
    assert counts.precision[0] > 0.8
    assert counts.precision[2:].min() > 0.8  # each of the two actions

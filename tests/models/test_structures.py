import pytest
import torch

from stad_models import Detections, Targets


def test_targets_move_and_count():
    targets = Targets(boxes=(torch.tensor([[0.0, 0, 1, 1]]),), labels=(torch.ones(1, 2),))
    assert len(targets) == 1
    assert targets.to("meta").boxes[0].device.type == "meta"


def test_detections_move_and_count():
    found = Detections(
        boxes=torch.zeros(2, 4), actor_scores=torch.zeros(2), scores=torch.zeros(2, 3)
    )
    assert len(found) == 2
    assert found.to("meta").scores.device.type == "meta"


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        ([[0.0, 0, 1, 1]], [[1.0], [0.0]], r"one row per box\), found \[2, 1\]"),
        ([[0.0, 0, 1]], [[1.0]], r"must be \[N, 4\], found \[1, 3\]"),
        ([[0.0, 0, 1, 1], [5.0, 2, 5, 9]], [[1.0], [1.0]], r"box 1 of clip 0 .* \[5.0, 2.0, 5.0"),
        ([[0.0, 0, float("inf"), 1]], [[1.0]], "must be finite"),
    ],
)
def test_wrong_targets_are_refused(boxes, labels, message):
    with pytest.raises(ValueError, match=message):
        Targets(boxes=(torch.tensor(boxes),), labels=(torch.tensor(labels),))


def test_boxes_and_labels_need_the_same_clips():
    with pytest.raises(ValueError, match="boxes of 1 clips but labels of 0"):
        Targets(boxes=(torch.zeros(0, 4),), labels=())

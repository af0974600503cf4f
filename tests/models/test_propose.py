"""What a teacher's pseudo labels are made from: dense proposals with plain probabilities."""

from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from stad_models import SeStadOptions, zoo

# A fresh head scores every location at about 0.07.
OPEN = SeStadOptions(test_score=0.05, test_nms=0.4, max_actors=6, action_threshold=0.0)


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.randn(2, 3, 8, 96, 128)


def test_after_nms_they_are_what_the_detector_finds_but_scored_by_the_action_alone(clips):
    model = zoo.se_stad_tiny(5, options=OPEN).eval()
    with torch.no_grad():
        plain = model(clips)
        proposed = model.propose(clips, threshold=0.05, limit=6, nms=0.4)
        model.options = replace(OPEN, score="action*actor^2", action_threshold=0.5)
        again = model.propose(clips, threshold=0.05, limit=6, nms=0.4)
    for one, other, third in zip(plain, proposed, again, strict=True):
        assert len(one) == 6
        for name in ("boxes", "actor_scores", "scores"):
            assert torch.equal(getattr(one, name), getattr(other, name))
            assert torch.equal(getattr(one, name), getattr(third, name))


def test_dense_they_are_the_best_that_score_enough(clips):
    model = zoo.se_stad_tiny(5, exclusive=True, options=OPEN).eval()
    with torch.no_grad():
        for found in model.propose(clips, threshold=0.0, limit=100):
            assert len(found) == 100
            assert (found.actor_scores.diff() <= 0).all()
            torch.testing.assert_close(found.scores.sum(dim=1), torch.ones(100))
            least = found.actor_scores[39].item()
            close = box_iou(found.boxes, found.boxes).fill_diagonal_(0)
            assert close.max() > 0.4  # nothing was suppressed
            break
        (fewer, _) = model.propose(clips, threshold=least, limit=100)
        assert torch.equal(fewer.boxes, found.boxes[:39])
        nobody = model.propose(clips, threshold=0.99, limit=100)
    assert [len(found) for found in nobody] == [0, 0]
    assert nobody[0].scores.shape == (0, 5)


def test_a_wrong_batch_is_refused():
    model = zoo.se_stad_tiny(5)
    with pytest.raises(ValueError, match=r"\[N, 3, T, H, W\]"):
        model.propose(torch.zeros(3, 8, 96, 128), threshold=0.3, limit=100)

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_ssl import Keyframe, Proposals, calibrate_thresholds, class_thresholds


def f1(scores, labels, missed, threshold) -> float:
    given_labels = scores >= threshold
    both = (given_labels & (labels > 0)).sum().item()
    return 2 * both / max(given_labels.sum().item() + labels.sum().item() + missed, 1)


def test_thresholds_by_hand():
    scores = torch.tensor([[0.9, 0.9, 0.2], [0.7, 0.5, 0.1], [0.6, 0.5, 0.3], [0.1, 0.2, 0.0]])
    labels = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 1]])
    # Class 0: F1 is 2/3, 1/2, 4/5, 2/3. Class 1: 1/2, (a tie cannot be parted), 2/3, 6/7.
    # Class 2: its only actor scores 0, so it is never given.
    found = class_thresholds(scores, labels)
    assert found.tolist() == pytest.approx([0.6, 0.2, math.inf])


def test_missed_actors_lower_the_threshold_and_ties_take_the_highest():
    scores, labels = torch.tensor([[0.9], [0.8], [0.5]]), torch.tensor([[1], [0], [1]])
    # F1 with nobody missed: 2/3, 1/2, 4/5.
    assert class_thresholds(scores, labels).item() == pytest.approx(0.5)
    scores, labels = torch.tensor([[0.9], [0.8], [0.7], [0.6]]), torch.tensor([[1], [0], [0], [1]])
    # 2/3, 1/2, 2/5, 4/6: a tie, unless two more were missed: 2/5, 2/6, 2/7, 4/8.
    assert class_thresholds(scores, labels).item() == pytest.approx(0.9)
    missed = torch.tensor([2])
    assert class_thresholds(scores, labels, missed=missed).item() == pytest.approx(0.6)


@given(count=st.integers(1, 12), seed=st.integers(0, 9999), missed=st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_no_other_threshold_is_better(count, seed, missed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 8, (count, 3), generator=generator) / 8
    labels = torch.randint(0, 2, (count, 3), generator=generator)
    found = class_thresholds(scores, labels, missed=torch.full((3,), missed))
    for column in range(3):
        mine, real = scores[:, column], labels[:, column]
        tried = {float(t): f1(mine, real, missed, t) for t in mine.unique() if t > 0}
        best = max(tried.values(), default=0.0)
        if best == 0:
            assert found[column] == math.inf
        else:
            assert found[column] == max(t for t, value in tried.items() if value == best)


def test_on_a_detectors_findings():
    box, other, far = [0.0, 0.0, 4.0, 4.0], [5.0, 5.0, 9.0, 9.0], [0.0, 6.0, 3.0, 9.0]
    proposals = [
        # The actor, a second finding of it, and nobody.
        Proposals(
            boxes=torch.tensor([box, [0.0, 0.0, 4.0, 3.5], far]),
            scores=torch.tensor([[0.8, 0.1], [0.6, 0.1], [0.7, 0.2]]),
        ),
        Proposals.none(2),
        Proposals(boxes=torch.tensor([other]), scores=torch.tensor([[0.5, 0.3]])),
    ]
    truth = [
        Keyframe(boxes=torch.tensor([box]), labels=torch.tensor([[1, 0]])),
        Keyframe(boxes=torch.tensor([box]), labels=torch.tensor([[0, 1]])),
        Keyframe(boxes=torch.tensor([other]), labels=torch.tensor([[1, 1]])),
    ]
    found = calibrate_thresholds(proposals, truth, size=(10.0, 10.0))
    # Class 0, right, wrong, right, right: 1/2, 2/5, 4/6, 6/7. Class 1, one missed: 2/3 at 0.3.
    assert found.tolist() == pytest.approx([0.5, 0.3])
    # Nothing overlaps by so much but the equal boxes: 2/3, 1/2, 2/5, 4/6.
    strict = calibrate_thresholds(proposals, truth, size=(10.0, 10.0), iou=0.95)
    assert strict.tolist() == pytest.approx([0.8, 0.3])


def test_nothing_to_go_by_gives_infinity():
    assert class_thresholds(torch.zeros(0, 2), torch.zeros(0, 2)).tolist() == [math.inf] * 2
    never = class_thresholds(torch.rand(3, 2), torch.zeros(3, 2))
    assert never.tolist() == [math.inf] * 2
    assert class_thresholds(torch.ones(2, 1).bfloat16(), torch.ones(2, 1)).dtype == torch.float32


def test_bad_input_is_named():
    scores, labels = torch.rand(3, 2), torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"\[3, 2\] and \[2, 2\]"):
        class_thresholds(scores, labels[:2])
    with pytest.raises(ValueError, match="NaN or values outside"):
        class_thresholds(scores * torch.nan, labels)
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        class_thresholds(scores, labels * 2)
    for missed in (torch.tensor([-1, 0]), torch.zeros(3)):
        with pytest.raises(ValueError, match=r"missed must be \[2\]"):
            class_thresholds(scores, labels, missed=missed)
    with pytest.raises(ValueError, match="1 clips but neighbours of 0"):
        calibrate_thresholds([Proposals.none(2)], [])
    with pytest.raises(ValueError, match="iou must lie in"):
        calibrate_thresholds([Proposals.none(2)], [], iou=0.0)

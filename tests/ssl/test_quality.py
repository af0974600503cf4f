import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_ssl import Keyframe, PseudoLabels, count_pseudo_labels, match_boxes, pairwise_iou

A, B, C = [0.0, 0.0, 4.0, 4.0], [5.0, 0.0, 9.0, 4.0], [0.0, 5.0, 4.0, 9.0]


def pseudo(boxes, labels, *, known=True) -> PseudoLabels:
    count = len(boxes)
    return PseudoLabels(
        boxes=torch.tensor(boxes).view(-1, 4),
        labels=torch.tensor(labels, dtype=torch.float32).view(count, 2),
        proposal=torch.arange(count),
        annotation=torch.full((count,), -1),
        known=known,
    )


def truth(boxes, labels) -> Keyframe:
    return Keyframe(
        boxes=torch.tensor(boxes).view(-1, 4), labels=torch.tensor(labels).view(len(boxes), 2)
    )


def test_counts_by_hand():
    ours = [
        pseudo([A, B, C], [[1, 1], [1, 0], [0, 1]]),
        pseudo([], []),
        pseudo([A], [[0, 1]]),
    ]
    real = [truth([B, A], [[0, 1], [1, 1]]), truth([C], [[1, 0]]), None]
    found = count_pseudo_labels(ours, real)
    assert found.given.tolist() == [4, 2, 3]
    assert found.judged.tolist() == [3, 2, 2]
    assert found.present.tolist() == [3, 2, 2]
    assert found.correct.tolist() == [2, 1, 1]
    assert found.precision.tolist() == pytest.approx([2 / 3, 1 / 2, 1 / 2])
    assert found.recall.tolist() == pytest.approx([2 / 3, 1 / 2, 1 / 2])


def test_parts_add_up_and_unknown_clips_count_nowhere():
    ours = [pseudo([A, B], [[1, 0], [1, 1]]), pseudo([], [], known=False), pseudo([C], [[0, 0]])]
    real = [truth([A], [[1, 0]]), truth([A, B], [[1, 1], [1, 1]]), truth([A], [[0, 1]])]
    whole = count_pseudo_labels(ours, real)
    parts = [count_pseudo_labels([o], [r]) for o, r in zip(ours, real, strict=True)]
    added = parts[0] + parts[1] + parts[2]
    for name in ("given", "judged", "present", "correct"):
        assert torch.equal(getattr(whole, name), getattr(added, name))
    assert whole.present.tolist() == [2, 1, 1]


def test_without_truth_there_is_nothing_to_judge():
    found = count_pseudo_labels([pseudo([A], [[1, 0]])])
    assert found.given.tolist() == [1, 1, 0]
    assert found.judged.tolist() == found.present.tolist() == [0, 0, 0]
    assert found.precision.isnan().all()
    assert found.recall.isnan().all()


@given(n=st.integers(0, 4), m=st.integers(0, 4), seed=st.integers(0, 9999))
@settings(deadline=None, max_examples=50)
def test_matching_has_the_largest_sum_of_overlaps(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.randint(0, 3, (n + m, 2), generator=generator).double()
    boxes = torch.cat([low, low + 4], dim=1)
    found = match_boxes(boxes[:n], boxes[n:], iou=0.3).tolist()
    overlap = pairwise_iou(boxes[:n], boxes[n:])
    used = [column for column in found if column >= 0]
    assert len(set(used)) == len(used)
    assert all(overlap[row, column] >= 0.3 for row, column in enumerate(found) if column >= 0)
    ways = itertools.permutations([*range(m), *[-1] * n], n)
    best = max(
        sum(float(overlap[r, c]) for r, c in enumerate(way) if c >= 0 and overlap[r, c] >= 0.3)
        for way in ways
    )
    assert sum(float(overlap[r, c]) for r, c in enumerate(found) if c >= 0) == pytest.approx(best)


def test_bad_input_is_named():
    ours, real = pseudo([A], [[1, 0]]), truth([A], [[1, 0]])
    with pytest.raises(ValueError, match="at least one clip"):
        count_pseudo_labels([])
    with pytest.raises(ValueError, match="1 clips but truth of 2"):
        count_pseudo_labels([ours], [real, real])
    wide = Keyframe(boxes=real.boxes, labels=torch.ones(1, 3))
    with pytest.raises(ValueError, match="clip 0 has 2 classes, clip 1 has 3"):
        count_pseudo_labels([ours, ours], [real, wide])
    for iou in (0.0, 1.5):
        with pytest.raises(ValueError, match="iou must lie in"):
            count_pseudo_labels([ours], [real], iou=iou)
    with pytest.raises(ValueError, match="2 classes cannot be added to counts of 3"):
        _ = count_pseudo_labels([ours]) + count_pseudo_labels(
            [PseudoLabels(
                boxes=ours.boxes, labels=torch.ones(1, 3), proposal=ours.proposal,
                annotation=ours.annotation, known=True,
            )]
        )  # fmt: skip

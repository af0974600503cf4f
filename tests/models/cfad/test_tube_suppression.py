"""Suppression of tubes by their overlap in time and space."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_models.heads.tube_suppression import suppress_tubes, tube_iou


def still(box, frames=8):
    return torch.tensor(box, dtype=torch.float32).expand(frames, 4)


def test_overlap_by_hand():
    boxes = torch.stack([still((0, 0, 10, 10)), still((5, 0, 15, 10)), still((0, 0, 10, 10))])
    spans = torch.tensor([[0.0, 4.0], [0.0, 8.0], [6.0, 8.0]])
    found = tube_iou(boxes, spans)
    third = 1 / 3
    expected = [[1, third / 2, 0], [third / 2, 1, third / 4], [0, third / 4, 1]]
    assert torch.allclose(found, torch.tensor(expected))


def test_the_best_of_a_class_stays_and_a_limit_is_kept():
    boxes = torch.stack([still((0, 0, 10, 10))] * 3 + [still((50, 0, 60, 10))] * 2)
    spans = torch.tensor([[0.0, 8.0]] * 5)
    labels = torch.tensor([0, 0, 1, 0, 0])
    kept = suppress_tubes(boxes, spans, labels, threshold=0.2, limit=5)
    assert kept.tolist() == [0, 2, 3]
    assert suppress_tubes(boxes, spans, labels, threshold=0.2, limit=2).tolist() == [0, 2]
    assert suppress_tubes(boxes, spans, labels, threshold=1.0, limit=9).tolist() == [0, 1, 2, 3, 4]
    nothing = suppress_tubes(boxes[:0], spans[:0], labels[:0], threshold=0.2, limit=3)
    assert nothing.tolist() == []


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.05, 0.9))
def test_no_two_kept_tubes_of_a_class_overlap_and_every_other_does(seed, count, threshold):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand((count, 6, 2), generator=generator) * 20
    boxes = torch.cat((low, low + 5 + 10 * torch.rand((count, 6, 2), generator=generator)), dim=2)
    start = torch.rand((count, 1), generator=generator) * 4
    spans = torch.cat((start, start + 1 + 4 * torch.rand((count, 1), generator=generator)), dim=1)
    labels = torch.randint(2, (count,), generator=generator)
    kept = suppress_tubes(boxes, spans, labels, threshold=threshold, limit=count).tolist()
    overlap = tube_iou(boxes, spans)
    assert torch.allclose(overlap, overlap.T, atol=1e-6)
    for row in range(count):
        rivals = [k for k in kept if k < row and labels[k] == labels[row]]
        assert (row in kept) == all(overlap[k, row] <= threshold for k in rivals)

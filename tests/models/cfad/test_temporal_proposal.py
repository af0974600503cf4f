"""Temporal proposals: spans and changes are inverse, nothing leaves the clip, and it learns."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_models.heads.temporal_proposal import (
    TemporalOutput,
    TemporalProposals,
    decode_spans,
    encode_spans,
    propose_spans,
    temporal_losses,
)


@settings(deadline=None)
@given(st.floats(-10, 90), st.floats(0.5, 90), st.floats(-10, 90), st.floats(8, 90))
def test_changes_and_spans_are_inverse(start, length, anchor, size):
    spans = torch.tensor([[start, start + length]], dtype=torch.float64)
    anchors = torch.tensor([[anchor, anchor + size]], dtype=torch.float64)
    again = decode_spans(encode_spans(spans, anchors), anchors)
    assert torch.allclose(again, spans, atol=1e-8)


def output_of(spans, scores, frames=16):
    anchors = torch.tensor(spans, dtype=torch.float32)
    return TemporalOutput(
        logits=torch.tensor([scores], dtype=torch.float32),
        changes=torch.zeros(1, len(anchors), 2),
        anchors=anchors,
        frames=frames,
    )


def test_proposals_are_cut_suppressed_and_sorted():
    given_spans = [[2, 10], [2, 10.5], [-6, 4], [12, 30], [14, 14.2]]
    found, scores = propose_spans(output_of(given_spans, [1.0, 3.0, 0.0, 2.0, -1.0]), limit=4)
    assert found[0].tolist() == [[2, 10.5], [12, 16], [0, 4], pytest.approx([13.6, 14.6])]
    assert scores[0].tolist() == sorted(scores[0].tolist(), reverse=True)
    least = torch.tensor(0.0).sigmoid().item()
    few, _ = propose_spans(output_of(given_spans, [1.0, 3.0, 0.0, 2.0, -1.0]), limit=9, least=least)
    assert len(few[0]) == 3
    none, _ = propose_spans(output_of(given_spans, [-1.0] * 5), limit=9, least=0.9)
    assert none[0].shape == (0, 2)


def test_a_proposal_beyond_the_end_lasts_a_frame_within_the_clip():
    found, _ = propose_spans(output_of([[20, 25], [-9, -3]], [0.0, 1.0]), limit=2)
    assert found[0].tolist() == [[0, 1], [15, 16]]


def test_the_head_has_an_anchor_of_each_length_at_every_time():
    head = TemporalProposals(4, frame_stride=4, lengths=(0.25, 1.0), hidden=8)
    found = head(torch.randn(2, 4, 3, 5, 6), 12)
    assert found.logits.shape == (2, 6)
    assert found.changes.shape == (2, 6, 2)
    expected = [[0.5, 3.5], [-4, 8], [4.5, 7.5], [0, 12], [8.5, 11.5], [4, 16]]
    assert found.anchors.tolist() == expected
    with pytest.raises(ValueError, match="lengths must be positive"):
        TemporalProposals(4, frame_stride=4, lengths=())


def test_losses_vanish_where_the_truth_is_said():
    spans = [torch.tensor([[2.0, 10.0]]), torch.zeros(0, 2)]
    anchors = torch.tensor([[2.0, 10.0], [0.0, 4.0], [12.0, 16.0]])
    sure = torch.tensor([[20.0, -20.0, -20.0], [-20.0, -20.0, -20.0]])
    right = TemporalOutput(logits=sure, changes=torch.zeros(2, 3, 2), anchors=anchors, frames=16)
    found = temporal_losses(right, spans)
    assert found["span_class"] < 1e-6
    assert found["span_shape"] == 0
    wrong = TemporalOutput(logits=-sure, changes=torch.ones(2, 3, 2), anchors=anchors, frames=16)
    found = temporal_losses(wrong, spans)
    assert found["span_class"] > 5
    assert found["span_shape"] > 0


def test_it_learns_when_something_happens():
    head = TemporalProposals(2, frame_stride=2, hidden=16)
    spans = [torch.tensor([[2.0, 8.0]]), torch.tensor([[9.0, 15.0]])]
    maps = torch.zeros(2, 2, 8, 3, 3)
    maps[0, 0, 1:4] = maps[1, 0, 4:8] = 1.0
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(60):
        loss = sum(temporal_losses(head(maps, 16), spans).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found, _ = propose_spans(head.eval()(maps, 16), limit=1)
    for one, wanted in zip(found, spans, strict=True):
        assert (one - wanted).abs().max() < 1.2

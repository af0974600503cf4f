import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_ssl import pairwise_giou_loss, pairwise_iou, pairwise_smooth_l1

sides = st.integers(0, 8)


@st.composite
def boxes(draw, least=1):
    rows = draw(st.lists(st.tuples(sides, sides, sides, sides), min_size=least, max_size=4))
    corners = torch.tensor(rows, dtype=torch.float64).view(-1, 4)
    return torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], dim=1)


def test_values_by_hand():
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [4.0, 0.0, 6.0, 2.0]])
    torch.testing.assert_close(pairwise_iou(a, b), torch.tensor([[1 / 7, 1.0, 0.0]]))
    # Hulls: 9, 4 and 12; unions: 7, 4 and 8.
    wanted = torch.tensor([[1 - 1 / 7 + 2 / 9, 0.0, 1 + 4 / 12]])
    torch.testing.assert_close(pairwise_giou_loss(a, b), wanted)
    # 1 - 0.5 four times; nothing; 4 - 0.5 twice.
    torch.testing.assert_close(pairwise_smooth_l1(a, b), torch.tensor([[2.0, 0.0, 7.0]]))
    half = pairwise_smooth_l1(a, a + 0.5)
    torch.testing.assert_close(half, torch.tensor([[4 * 0.125]]))
    torch.testing.assert_close(pairwise_smooth_l1(a, a + 0.5, beta=0.1), torch.tensor([[1.8]]))


@given(a=boxes(), b=boxes(), shift=st.integers(-5, 5), scale=st.sampled_from([0.25, 2.0, 8.0]))
@settings(deadline=None, max_examples=60)
def test_symmetric_bounded_and_blind_to_shift_and_scale(a, b, shift, scale):
    for measure, top in ((pairwise_iou, 1.0), (pairwise_giou_loss, 2.0)):
        found = measure(a, b)
        assert ((found >= 0) & (found <= top)).all()
        torch.testing.assert_close(measure(b, a).T, found)
        torch.testing.assert_close(measure((a + shift) * scale, (b + shift) * scale), found)
    solid = (a[:, 2:] > a[:, :2]).all(dim=1)
    assert (pairwise_iou(a, a).diagonal() == solid.double()).all()
    assert (pairwise_giou_loss(a, a).diagonal()[solid] == 0).all()


@pytest.mark.parametrize("measure", [pairwise_iou, pairwise_giou_loss, pairwise_smooth_l1])
def test_empty_sets_and_batches(measure):
    some, none = torch.rand(3, 4).cumsum(dim=1), torch.zeros(0, 4)
    assert measure(some, none).shape == (3, 0)
    assert measure(none, some).shape == (0, 3)
    batch = torch.rand(2, 5, 4).cumsum(dim=2)
    assert measure(batch, some).shape == (2, 5, 3)
    torch.testing.assert_close(measure(batch, some)[1], measure(batch[1], some))

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import InputError, area, paired_iou, pairwise_iou

# Whole and half numbers: sums and products of them are exact, so equalities can be tested exactly.
number = st.integers(-200, 200).map(lambda n: n / 2)
box = st.tuples(number, number, number, number).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1)
)
boxes = st.lists(box, max_size=6).map(lambda b: np.array(b, dtype=np.float64).reshape(-1, 4))


@settings(deadline=None, max_examples=50)
@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a, b):
    iou = pairwise_iou(a, b)
    assert iou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1)).all()
    assert (iou == pairwise_iou(b, a).T).all()


@settings(deadline=None, max_examples=50)
@given(boxes)
def test_iou_is_one_on_itself(a):
    assert (np.diag(pairwise_iou(a, a)) == 1.0).all()
    assert (paired_iou(a, a) == 1.0).all()


@settings(deadline=None, max_examples=50)
@given(boxes, boxes, number, number, st.sampled_from([0.25, 2.0, 8.0]))
def test_iou_does_not_change_with_place_and_scale(a, b, right, down, scale):
    shift = np.array([right, down, right, down])
    expected = pairwise_iou(a, b)
    assert (pairwise_iou(a + shift, b + shift) == expected).all()
    assert pairwise_iou(a * scale, b * scale) == pytest.approx(expected, abs=1e-12)


def test_iou_by_hand():
    # 10x10 boxes shifted by 5: shared 5*10 = 50, union 150.
    a, b = [[0, 0, 10, 10]], [[5, 0, 15, 10]]
    assert pairwise_iou(a, b)[0, 0] == pytest.approx(1 / 3)
    # Counting the last pixel: 11x11 boxes, shared 6*11 = 66, union 242 - 66 = 176.
    assert pairwise_iou(a, b, convention="inclusive")[0, 0] == pytest.approx(66 / 176)


def test_boxes_that_touch_share_nothing_unless_inclusive():
    a, b = [[0, 0, 10, 10]], [[10, 0, 20, 10]]
    assert paired_iou(a, b)[0] == 0.0
    assert paired_iou(a, b, convention="inclusive")[0] > 0.0


def test_boxes_without_area_overlap_nothing():
    point = [[5, 5, 5, 5]]
    assert pairwise_iou(point, point)[0, 0] == 0.0
    inverted = [[8, 8, 2, 2]]
    assert area(inverted)[0] == 0.0
    assert pairwise_iou(inverted, [[0, 0, 10, 10]])[0, 0] == 0.0


def test_empty_input_gives_empty_output():
    assert pairwise_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert area(np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize("bad", [[[0, 0, 1]], [0, 0, 1, 1], np.zeros((2, 2, 4))])
def test_other_shapes_are_refused(bad):
    with pytest.raises(InputError, match=r"\[N, 4\]"):
        area(bad)


def test_pairs_of_different_number_and_unknown_convention_are_refused():
    with pytest.raises(InputError, match="differ in number"):
        paired_iou(np.zeros((2, 4)), np.zeros((3, 4)))
    with pytest.raises(InputError, match="half-open"):
        area(np.zeros((1, 4)), convention="closed")

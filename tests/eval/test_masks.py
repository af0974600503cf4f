import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from stad_eval import InputError, boundary_measure, region_similarity
from stad_eval.masks import boundary_radius, index_mask, measure_frame


@st.composite
def mask_pairs(draw, objects=3):
    """Blocks of few objects, and the same moved a little or other blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    size = draw(st.sampled_from([1, 4, 9]))
    blocks = rng.integers(0, objects + 1, (2, 24, 24), dtype=np.uint8)
    truth, other = np.kron(blocks, np.ones((1, size, size), np.uint8))[:, : shape[0], : shape[1]]
    found = np.roll(truth, draw(st.integers(-2, 2)), draw(st.integers(0, 1)))
    return truth.copy(), draw(st.sampled_from([found, other.copy()]))


def outline(inside):
    """Boundary by definition: some but not all of a pixel and its right and lower neighbours."""
    wide = np.pad(inside, ((0, 1), (0, 1)), mode="edge")
    corners = np.stack([wide[:-1, :-1], wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]])
    return corners.any(axis=0) & ~corners.all(axis=0)


def slow_f(truth, found, radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x * x + y * y <= radius * radius
    one, other = outline(truth), outline(found)
    if not one.any() or not other.any():
        return float(one.any() == other.any())
    near_one, near_other = (ndimage.binary_dilation(each, disk) for each in (one, other))
    precision = (other & near_one).sum() / other.sum()
    recall = (one & near_other).sum() / one.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(deadline=None, max_examples=60)
@given(pair=mask_pairs(), radius=st.integers(0, 4))
def test_measures_agree_with_their_definition_for_every_pair(pair, radius):
    truth, found = pair
    measures = measure_frame(truth, found, radius=radius, every_pair=True)
    same = measure_frame(truth, found, radius=radius)
    for one in (1, 2, 3):
        assert same.region(one, one) == measures.region(one, one)
        assert same.boundary(one, one) == measures.boundary(one, one)
        for other in (1, 2, 3):
            a, b = truth == one, found == other
            union = int((a | b).sum())
            assert measures.region(one, other) == ((a & b).sum() / union if union else 1.0)
            assert measures.boundary(one, other) == slow_f(a, b, radius)


@settings(deadline=None, max_examples=40)
@given(pair=mask_pairs(objects=1))
def test_measures_are_symmetric_bounded_and_one_on_themselves(pair):
    for measure in (region_similarity, boundary_measure):
        value = measure(*pair)
        assert 0.0 <= value <= 1.0
        assert value == pytest.approx(measure(pair[1], pair[0]), abs=1e-15)
        assert measure(pair[0], pair[0]) == 1.0


def test_region_by_hand():
    truth, found = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    truth[1:3, 1:4] = True
    found[1:3, 2:5] = True
    assert region_similarity(truth, found) == 4 / 8
    assert region_similarity(truth * 7, found) == 4 / 8  # any index but 0 is inside


def test_boundary_by_hand():
    # A single pixel at (2, 2) has its boundary on (1, 1), (1, 2), (2, 1), (2, 2); moved two
    # columns right and matched exactly (radius 0) nothing agrees, within one pixel half does.
    truth, found = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    truth[2, 2] = found[2, 4] = 1
    assert measure_frame(truth, found, radius=0).boundary(1, 1) == 0.0
    assert measure_frame(truth, found, radius=1).boundary(1, 1) == 0.5
    assert measure_frame(truth, found, radius=2).boundary(1, 1) == 1.0


def test_empty_masks():
    empty, some = np.zeros((5, 5), int), np.eye(5, dtype=int)
    assert region_similarity(empty, empty) == boundary_measure(empty, empty) == 1.0
    assert region_similarity(empty, some) == boundary_measure(empty, some) == 0.0
    assert region_similarity(some, empty) == boundary_measure(some, empty) == 0.0


def test_a_mask_of_the_whole_frame_has_no_boundary():
    whole, empty = np.ones((5, 5), int), np.zeros((5, 5), int)
    assert region_similarity(whole, empty) == 0.0
    assert boundary_measure(whole, empty) == 1.0
    assert boundary_measure(whole, np.eye(5, dtype=int)) == 0.0


def test_tolerance_is_a_share_of_the_diagonal_rounded_up():
    assert boundary_radius(480, 854) == 8
    assert boundary_radius(60, 100) == 1
    assert boundary_radius(300, 400, tolerance=0.01) == 5
    truth, found = np.zeros((60, 100), int), np.zeros((60, 100), int)
    truth[20:40, 20:40] = found[20:40, 24:44] = 1
    assert boundary_measure(truth, found) < 1.0
    assert boundary_measure(truth, found, tolerance=0.03) == 1.0


def test_indices_up_to_255_are_told_apart():
    truth = np.array([[255, 254], [0, 1]], np.uint8)
    measures = measure_frame(truth, truth[::-1].copy(), radius=0, every_pair=True)
    assert measures.truth == measures.found == {1, 254, 255}
    assert measure_frame(truth, truth, radius=0).region(255, 255) == 1.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((2, 2, 3), int), "not an index mask"),
        (np.zeros((2, 2)), "not an index mask.*float64"),
        (np.zeros((0, 4), int), "not an index mask"),
        (np.full((2, 2), 256), "out of range.*256"),
        (np.full((2, 2), -1), "out of range.*-1"),
    ],
)
def test_what_is_no_index_mask_is_refused(value, text):
    with pytest.raises(InputError, match=text):
        index_mask(value)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="differ in size"):
        region_similarity(np.zeros((2, 2), int), np.zeros((2, 3), int))
    for tolerance in (-0.1, float("nan")):
        with pytest.raises(InputError, match="tolerance"):
            boundary_measure(np.eye(2, dtype=int), np.eye(2, dtype=int), tolerance=tolerance)

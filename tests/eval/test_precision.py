import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import InputError, average_precision, precision_recall
from stad_eval.precision import score_order

# (correct, score) of detections; few distinct scores, so that ties are common.
rows = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=20)


def curve(correct, scores, truths, **options):
    score = np.asarray(scores, dtype=np.float64)
    return precision_recall(score, np.asarray(correct, dtype=np.bool_), truths, **options)


def ap(correct, scores, truths, *, rule="all-point", **options):
    return average_precision(curve(correct, scores, truths, **options), rule=rule)


def test_ap_by_hand():
    # Correct, wrong, correct of 2 truths: (r, p) = (1/2, 1), (1/2, 1/2), (1, 2/3).
    # All points: 1/2 * 1 + 1/2 * 2/3 = 5/6.
    assert ap([1, 0, 1], [3, 2, 1], 2) == pytest.approx(5 / 6)
    # Trapezoid from (0, 1): 1/2 * 1 + 0 + 1/2 * (1/2 + 2/3) / 2 = 19/24.
    assert ap([1, 0, 1], [3, 2, 1], 2, rule="trapezoid") == pytest.approx(19 / 24)
    # Wrong, then correct, of 1 truth: (0, 0), (1, 1/2): 1/2; trapezoid (0 + 1/2) / 2 = 1/4.
    assert ap([0, 1], [2, 1], 1) == 0.5
    assert ap([0, 1], [2, 1], 1, rule="trapezoid") == 0.25
    # One found of 4: 1/4.
    assert ap([1], [1], 4) == 0.25


def test_equal_scores_are_one_point():
    # Correct and wrong at one score, of 1 truth: one point (1, 1/2), whichever comes first.
    assert ap([1, 0], [1, 1], 1) == ap([0, 1], [1, 1], 1) == 0.5
    # As rows, the order given decides.
    assert ap([1, 0], [1, 1], 1, ties="rows") == 1.0
    assert ap([0, 1], [1, 1], 1, ties="rows") == 0.5


def test_numpys_introsort_orders_ties_by_hand():
    # Up to 16 rows it is an insertion sort, which is stable; read backwards, the last comes first.
    assert score_order(np.array([1.0, 2, 1, 2]), "numpy-descending").tolist() == [1, 3, 0, 2]
    assert score_order(np.array([1.0, 2, 1, 2]), "numpy-ascending").tolist() == [3, 1, 2, 0]
    assert score_order(np.array([1.0, 2, 1, 2]), "rows").tolist() == [1, 3, 0, 2]
    # Beyond, it is not. Of 17 equal rows, the median of three goes before the last.
    order = score_order(np.zeros(17), "numpy-descending")
    assert sorted(order) == list(range(17))
    assert order.tolist() != list(range(17))


def test_single_precision_rounds_the_area_or_the_curve():
    points = curve([1, 0, 1, 0, 1], [5, 4, 3, 2, 1], 3)
    exact = average_precision(points)
    area = average_precision(points, single_precision="area")
    assert area == float(np.float32(exact)) != exact
    for rule in ("all-point", "trapezoid"):
        rounded = average_precision(points, rule=rule, single_precision="curve")
        assert rounded == pytest.approx(average_precision(points, rule=rule), abs=1e-6)
        assert rounded == float(np.float32(rounded))


def test_curve_has_one_point_per_distinct_score():
    points = curve([1, 0, 1, 0], [2, 2, 5, 1], 4)
    assert points.score.tolist() == [5, 2, 1]
    assert points.recall.tolist() == [1 / 4, 2 / 4, 2 / 4]
    assert points.precision.tolist() == [1, 2 / 3, 2 / 4]


def test_edges():
    assert ap([], [], 0) is None
    assert ap([0], [1], 0) is None
    assert ap([], [], 3) == 0.0
    assert ap([0, 0], [1, 2], 3) == 0.0


@settings(deadline=None, max_examples=50)
@given(rows, st.randoms())
def test_ap_does_not_depend_on_the_order_of_rows(detections, random):
    truths = 1 + sum(correct for correct, _ in detections)
    shuffled = list(detections)
    random.shuffle(shuffled)
    for rule in ("all-point", "trapezoid"):
        values = [
            ap([c for c, _ in each], [s for _, s in each], truths, rule=rule)
            for each in (detections, shuffled)
        ]
        assert values[0] == values[1]


@settings(deadline=None, max_examples=50)
@given(rows)
def test_ap_is_a_fraction_and_stays_under_monotone_maps_of_the_scores(detections):
    correct, scores = [c for c, _ in detections], np.array([s for _, s in detections], dtype=float)
    truths = 1 + sum(correct)
    value = ap(correct, scores, truths)
    assert 0.0 <= value <= 1.0
    assert ap(correct, np.exp(scores) - 7.0, truths) == value
    assert ap(correct, scores**3 / 100.0, truths) == value


def test_unknown_rules_and_columns_of_other_length_are_refused():
    with pytest.raises(InputError, match="all-point"):
        ap([1], [1], 1, rule="11-point")
    with pytest.raises(InputError, match="grouped"):
        ap([1], [1], 1, ties="random")
    with pytest.raises(InputError, match="'area'"):
        average_precision(curve([1], [1], 1), single_precision="half")
    with pytest.raises(InputError, match="differ"):
        ap([1, 0], [1], 1)

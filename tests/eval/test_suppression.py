import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import InputError, Suppression, paired_iou
from stad_eval.ranking import first_free, rank_order
from stad_eval.suppression import suppress

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 8), st.integers(1, 5)),
    max_size=14,
)


def columns(rows):
    """Groups, tubelets of two boxes and scores."""
    group = np.array([row[0] for row in rows], dtype=np.int64)
    corner = np.array([row[1:3] for row in rows], dtype=np.float64).reshape(-1, 2)
    left = np.concatenate([corner, np.zeros_like(corner)], axis=1)[:, [0, 2, 1, 3]]
    box = left.reshape(-1, 2, 2)
    box = np.concatenate([box, box + 8.0], axis=2)
    return group, box, np.array([row[3] for row in rows], dtype=np.float64)


def one_by_one(group, box, score, options):
    """Kept rows and weights, by the rule as it is stated."""
    left = rank_order(group, score, box.reshape(len(box), 8)).tolist()
    kept, weight = set(), np.ones(len(box))
    while left:
        best, left = left[0], left[1:]
        kept.add(best)
        rest = []
        for row in left:
            iou = paired_iou(box[best], box[row], convention=options.convention).mean()
            if group[row] == group[best] and iou > options.iou:
                weight[row] = 1.0 - iou * (2.0 if options.rescoring == "sum" else 1.0)
            else:
                rest.append(row)
        left = rest
    return kept, weight


@settings(deadline=None, max_examples=50)
@given(rows, st.sampled_from(["remove", "mean", "sum"]), st.sampled_from([0.2, 0.5]))
def test_suppression_is_the_rule_that_it_states(rows, rescoring, iou):
    group, box, score = columns(rows)
    options = Suppression(iou=iou, rescoring=rescoring, convention="inclusive")
    remain, new = suppress(group, box, score, options)
    kept, weight = one_by_one(group, box, score, options)
    if rescoring == "remove":
        assert set(np.flatnonzero(remain).tolist()) == kept
        assert (new == score).all()
    else:
        assert remain.all()
        assert new == pytest.approx(score * weight, abs=1e-12)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="IoU threshold"):
        Suppression(iou=1.5)
    with pytest.raises(InputError, match="rescoring"):
        Suppression(rescoring="gaussian")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 6), max_size=5, unique=True), max_size=7))
def test_first_free_serves_one_after_another(wanted):
    taken, expected = set(), []
    for wishes in wanted:
        got = next((each for each in wishes if each not in taken), -1)
        taken.add(got)
        expected.append(got)
    chooser = np.repeat(np.arange(len(wanted)), [len(each) for each in wanted])
    choice = np.array([each for wishes in wanted for each in wishes], dtype=np.int64)
    assert first_free(chooser, choice, len(wanted), 7).tolist() == expected


def test_equal_rows_are_ordered_by_their_coordinates():
    group = np.array([1, 0, 0, 0])
    score = np.array([9.0, 1.0, 2.0, 1.0])
    coordinates = np.array([[0.0], [5.0], [7.0], [3.0]])
    assert rank_order(group, score, coordinates).tolist() == [2, 3, 1, 0]

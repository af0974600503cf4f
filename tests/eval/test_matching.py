"""The vectorised matcher against the plain loop that it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import matching, pairwise_iou
from stad_eval.matching import Side, match

# Boxes on a coarse grid, so that equal IoUs, equal boxes and equal scores are common.
A_BOX = (0, 0, 10, 10)
corner = st.integers(0, 3)
size = st.integers(1, 4)
box = st.tuples(corner, corner, size, size).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
cell = st.integers(0, 2)
truths = st.lists(st.tuples(cell, box), max_size=7)
founds = st.lists(st.tuples(cell, box, st.integers(0, 3)), max_size=10)


def side(rows):
    return Side(
        cell=np.array([row[0] for row in rows], dtype=np.int64),
        box=np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, 4),
    )


def plain(found, truth, score, iou, rule):
    """One detection after the other, in order of score, then of box."""
    result, taken = np.full(found.cell.size, -1), set()
    overlap = pairwise_iou(found.box, truth.box)
    for row in np.lexsort((*found.box.T[::-1], -score)):
        rivals = [t for t in range(truth.cell.size) if truth.cell[t] == found.cell[row]]
        if rule == "best-unmatched":
            rivals = [t for t in rivals if t not in taken]
        rivals = [t for t in rivals if overlap[row, t] >= iou]
        if rivals:
            best = min(rivals, key=lambda t: (-overlap[row, t], truth.box[t].tolist(), t))
            if best not in taken:
                taken.add(best)
                result[row] = best
    return result


@pytest.mark.parametrize("rule", ["argmax", "best-unmatched"])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
@settings(deadline=None, max_examples=50)
@given(found_rows=founds, truth_rows=truths, iou=st.sampled_from([0.1, 0.3, 0.5]))
def test_matches_the_plain_loop(rule, chunk, found_rows, truth_rows, iou):
    found, truth = side(found_rows), side(truth_rows)
    score = np.array([row[2] for row in found_rows], dtype=np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "PAIRS_AT_ONCE", chunk)
        got = match(found, truth, score=score, iou=iou, rule=rule)
    expected = plain(found, truth, score, iou, rule)
    # Equal truths cannot be told apart, so the boxes found are compared, not their rows; neither
    # can equal detections, so they are compared as a set.
    assert outcome(found, truth, score, got) == outcome(found, truth, score, expected)
    used = got[got >= 0]
    assert np.unique(used).size == used.size


def outcome(found, truth, score, result):
    return sorted(
        (
            int(found.cell[row]),
            found.box[row].tolist(),
            float(score[row]),
            truth.box[at].tolist() if at >= 0 else [],
        )
        for row, at in enumerate(result)
    )


def test_cells_far_apart_are_searched_for():
    found, truth = side([(1, A_BOX), (2**50, A_BOX), (-1, A_BOX)]), side([(2**50, A_BOX)])
    score = np.ones(3)
    assert match(found, truth, score=score, iou=0.5, rule="argmax").tolist() == [-1, 0, -1]
    nowhere = side([(-1, A_BOX)])
    assert match(found, nowhere, score=score, iou=0.5, rule="argmax").tolist() == [-1, -1, -1]


def test_rows_rank_where_no_score_is_given():
    # Both overlap the truth; the second has the better score, the first the earlier row.
    found = side([(0, (0, 0, 10, 9)), (0, (0, 0, 10, 10))])
    truth = side([(0, (0, 0, 10, 10))])
    by_row = match(found, truth, score=None, iou=0.5, rule="argmax")
    by_score = match(found, truth, score=np.array([0.1, 0.9]), iou=0.5, rule="argmax")
    assert by_row.tolist() == [0, -1]
    assert by_score.tolist() == [-1, 0]


def test_the_rules_differ_where_the_best_truth_is_taken():
    # Both detections overlap truth 0 most; truth 1 is the second's next best.
    found = side([(0, (0, 0, 10, 10)), (0, (1, 0, 11, 10))])
    truth = side([(0, (0, 0, 10, 10)), (0, (3, 0, 13, 10))])
    score = np.array([0.9, 0.8])
    assert match(found, truth, score=score, iou=0.5, rule="argmax").tolist() == [0, -1]
    assert match(found, truth, score=score, iou=0.5, rule="best-unmatched").tolist() == [0, 1]

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Boxes, InputError, ViterbiLinking, link, pairwise_iou, viterbi_rows

A, B = (0, 0, 10, 10), (100, 0, 110, 10)


def at(x):
    return (x, 0, x + 10, 10)


def test_the_best_path_beats_the_best_box(table):
    # Greedy would go from A to the stronger box of frame 1 and lose the way; the path does not:
    # 0.5 + 0.6 + 1 + 0.6 + 0.5 + 1 = 4.2 against 0.5 + 0.7 + 0.25 + 0.7 + 0.5 + 0.25 = 2.9.
    rows = [("v", 0, "walk", at(0), 0.5), ("v", 1, "walk", at(0), 0.6)]
    rows += [("v", 1, "walk", at(6), 0.7), ("v", 2, "walk", at(0), 0.5)]
    assert viterbi_rows(table(rows)).tolist() == [0, 0, 1, 0]
    assert viterbi_rows(table(rows), ViterbiLinking(overlap_weight=0.0)).tolist() == [0, 1, 0, 0]


def test_paths_are_taken_out_best_first(table):
    rows = [("v", t, "walk", B, 0.9) for t in range(3)] + [("v", t, "walk", A, 0.5) for t in (0, 2)]
    found = table(rows)
    # Once frame 1 is empty, what is left falls in two parts, unless a gap may be skipped.
    assert viterbi_rows(found).tolist() == [0, 0, 0, 1, 2]
    assert viterbi_rows(found, ViterbiLinking(max_gap=1)).tolist() == [0, 0, 0, 1, 1]
    tubes = link(found, linker="viterbi", max_gap=1)
    assert [(tube.score, len(tube)) for tube in tubes] == [(pytest.approx(0.9), 3), (0.5, 3)]


def test_paths_need_overlap_where_it_is_asked_for(table):
    found = table([("v", 0, "walk", A, 0.5), ("v", 1, "walk", B, 0.5)])
    assert viterbi_rows(found).tolist() == [0, 0]
    assert viterbi_rows(found, ViterbiLinking(min_iou=0.1)).tolist() == [0, 1]


def test_options(table):
    rows = [("v", 0, "walk", A, 0.9), ("v", 0, "walk", B, 0.5), ("v", 4, "walk", A, 0.9)]
    assert viterbi_rows(table(rows), ViterbiLinking(max_boxes=1)).tolist() == [0, -1, 1]
    assert viterbi_rows(table(rows), ViterbiLinking(max_boxes=1, stride=4)).tolist() == [0, -1, 0]
    assert viterbi_rows(table([])).size == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap_weight": -1.0}, "overlap_weight"),
        ({"overlap_weight": float("nan")}, "overlap_weight"),
        ({"min_iou": -0.1}, "min_iou"),
        ({"max_gap": -1}, "max_gap"),
        ({"stride": 0}, "stride"),
        ({"max_boxes": 0}, "max_boxes"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ViterbiLinking(**options)


frame = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=40)
@given(st.lists(frame, min_size=2, max_size=4), st.sampled_from([0.0, 0.5, 2.0]))
def test_the_first_path_has_the_most_energy_of_all(frames, weight):
    rows = [(t, x, s) for t, each in enumerate(frames) for x, s in each]
    found = Boxes(
        videos=("v",),
        classes=("walk",),
        video=np.zeros(len(rows), dtype=np.int64),
        frame=np.array([row[0] for row in rows]),
        box=np.array([at(row[1]) for row in rows], dtype=np.float64),
        label=np.zeros(len(rows), dtype=np.int64),
        score=np.array([row[2] for row in rows]) / 10,
    )
    iou = pairwise_iou(found.box, found.box)

    def energy(path):
        pairs = list(pairwise(path))
        return sum(found.score[a] + found.score[b] + weight * iou[a, b] for a, b in pairs)

    by_frame = [np.flatnonzero(found.frame == t).tolist() for t in range(len(frames))]
    best = max(energy(path) for path in product(*by_frame))
    tube_of = viterbi_rows(found, ViterbiLinking(overlap_weight=weight))
    first = np.flatnonzero(tube_of == 0)
    assert energy(first[np.argsort(found.frame[first])].tolist()) == pytest.approx(best)

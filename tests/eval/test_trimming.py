from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Boxes, InputError, Trimming, link_rows, trim_rows, tubes_of_rows


def rows_of(scores, labels=None):
    count = len(scores)
    return Boxes(
        videos=("v",),
        classes=("walk", "run"),
        video=np.zeros(count, dtype=np.int64),
        frame=np.arange(count),
        box=np.tile([0.0, 0.0, 10.0, 10.0], (count, 1)),
        label=np.zeros(count, dtype=np.int64) if labels is None else np.array(labels),
        score=np.array(scores, dtype=np.float64),
    )


def test_a_tube_is_cut_to_its_action():
    scores = [0.1] * 5 + [0.9] * 5 + [0.05] * 5 + [0.8] * 5
    found = rows_of(scores)
    tube_of = link_rows(found)
    assert set(tube_of.tolist()) == {0}
    # A run of five is worth 5 * 0.8 (0.6) over background, two changes cost 2 (one at the end: 1).
    cut = trim_rows(found, tube_of, Trimming(penalty=1.0))
    assert cut.tolist() == [-1] * 5 + [0] * 5 + [-1] * 5 + [1] * 5
    tubes = tubes_of_rows(found, cut)
    assert [(tube.score, len(tube)) for tube in tubes] == [
        (pytest.approx(0.9), 5),
        (pytest.approx(0.8), 5),
    ]
    # Two changes of 2.1 are dearer than the first run's 4.0; one is cheaper than the last one's 3.
    cut = trim_rows(found, tube_of, Trimming(penalty=2.1))
    assert cut.tolist() == [-1] * 15 + [0] * 5


def test_penalties_go_by_class():
    found = rows_of([0.2, 0.9, 0.2] * 2, labels=[0] * 3 + [1] * 3)
    tube_of = np.array([0] * 3 + [1] * 3)
    options = Trimming(penalty={"walk": 0.1, "run": 5.0})
    assert trim_rows(found, tube_of, options).tolist() == [-1, 0, -1, -1, -1, -1]
    with pytest.raises(InputError, match="no penalty for every class"):
        trim_rows(found, tube_of, Trimming(penalty={"walk": 1.0}))


def test_scores_are_averaged_over_a_window():
    found = rows_of([0.9, 0.9, 0.0, 0.9, 0.9, 0.9])
    tube_of = np.array([0] * 5 + [1])
    sharp = trim_rows(found, tube_of, Trimming(penalty=0.1))
    assert sharp.tolist() == [0, 0, -1, 1, 1, 2]
    smooth = trim_rows(found, tube_of, Trimming(penalty=0.1, window=3))
    assert smooth.tolist() == [0, 0, 0, 0, 0, 1]


def test_the_level_says_from_which_score_on_a_frame_is_action():
    found = rows_of([0.1] * 4 + [0.4] * 4 + [0.1] * 4)
    tube_of = np.zeros(12, dtype=np.int64)
    assert (trim_rows(found, tube_of, Trimming(penalty=1.0)) == -1).all()
    cut = trim_rows(found, tube_of, Trimming(penalty=1.0, level=0.25))
    assert cut.tolist() == [-1] * 4 + [0] * 4 + [-1] * 4
    # Four frames of 0.4 are worth 4 * 0.6 over background, less than two changes of 1.3.
    assert (trim_rows(found, tube_of, Trimming(penalty=1.3, level=0.25)) == -1).all()


def test_rows_in_no_tube_stay_out():
    found = rows_of([0.9, 0.9])
    assert trim_rows(found, np.array([-1, 4])).tolist() == [-1, 0]
    assert trim_rows(found, np.array([-1, -1])).tolist() == [-1, -1]
    assert trim_rows(rows_of([]), np.empty(0, dtype=np.int64)).size == 0


def test_bad_input_is_refused():
    for options in (
        {"penalty": -1.0},
        {"penalty": {"walk": float("inf")}},
        {"window": 2},
        {"level": 0.0},
        {"level": 1.0},
    ):
        with pytest.raises(InputError, match=r"penalty|window|level"):
            Trimming(**options)
    for score in (1.5, -0.5):
        with pytest.raises(InputError, match="background") as caught:
            trim_rows(rows_of([score]), np.array([0]))
        assert str(score) in str(caught.value)
    with pytest.raises(InputError, match="tube numbers"):
        trim_rows(rows_of([0.5]), np.array([0, 0]))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=6), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]),
    st.sampled_from([0.25, 0.5]),
)
def test_the_labels_are_worth_the_most_of_all(tubes, penalty, level):
    scores = [value / 8 for tube in tubes for value in tube]
    tube_of = np.repeat(np.arange(len(tubes)), [len(tube) for tube in tubes])
    cut = trim_rows(rows_of(scores), tube_of, Trimming(penalty=penalty, level=level)) >= 0

    def worth(values, labels):
        parts = [v / level - 1 if on else 0.0 for v, on in zip(values, labels, strict=True)]
        return sum(parts) - penalty * int(np.abs(np.diff(np.array(labels, dtype=int))).sum())

    for number, tube in enumerate(tubes):
        values = [value / 8 for value in tube]
        best = max(worth(values, labels) for labels in product((0, 1), repeat=len(tube)))
        assert worth(values, cut[tube_of == number].tolist()) == best

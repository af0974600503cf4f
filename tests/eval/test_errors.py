import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Boxes, InputError, confusion

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)


def test_confusion_by_hand(table):
    # A is walk and found as walk; B is run and found as walk; C is walk and missed; one detection
    # of run lies on nothing.
    truth = table([("v", 0, "walk", A), ("v", 0, "run", B), ("v", 0, "walk", C)])
    rows = [
        ("v", 0, "walk", A, 0.5),
        ("v", 0, "walk", B, 0.9),
        ("v", 0, "run", (60, 0, 70, 10), 0.8),
    ]
    assert confusion(truth, table(rows)).tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_the_right_class_goes_first_even_with_a_lower_score(table):
    truth = table([("v", 0, "walk", A)])
    found = table([("v", 0, "run", A, 0.9), ("v", 0, "walk", A, 0.1)])
    assert confusion(truth, found).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion(truth, found, best_label_only=True).tolist() == [[0, 1, 0], [0] * 3, [0] * 3]
    assert confusion(truth, found, min_score=0.95).tolist() == [[0, 0, 1], [0] * 3, [0] * 3]


def test_only_annotated_frames_count(table):
    truth = table([("v", 0, "walk", A)], annotated=[("v", 0), ("v", 1)])
    rows = [("v", 0, "walk", A, 1), ("v", 1, "walk", A, 1), ("v", 2, "walk", A, 1)]
    found = table([*rows, ("w", 0, "walk", A, 1)], videos=("v", "w"))
    assert confusion(truth, found).tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_classes_are_aligned_by_name(table):
    truth = table([("v", 0, "run", A)])
    found = table([("v", 0, "run", A, 0.5)], classes=("run",))
    assert confusion(truth, found)[1, 1] == 1
    with pytest.raises(InputError, match="found fly"):
        confusion(truth, table([("v", 0, "fly", A, 0.5)], classes=("fly",)))
    with pytest.raises(InputError, match="IoU"):
        confusion(truth, found, 0.0)


def test_empty_tables_give_zeros(table):
    assert confusion(table([]), table([])).tolist() == [[0] * 3] * 3


box = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda p: (*p, p[0] + 3, p[1] + 3))
rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), box, st.integers(0, 3)), max_size=12
)


def arrays(rows):
    return Boxes(
        videos=("v",),
        classes=("a", "b", "c"),
        video=np.zeros(len(rows), dtype=np.int64),
        frame=np.array([each[0] for each in rows], dtype=np.int64),
        label=np.array([each[1] for each in rows], dtype=np.int64),
        box=np.array([each[2] for each in rows], dtype=np.float64).reshape(-1, 4),
        score=np.array([each[3] for each in rows], dtype=np.float64),
    )


@settings(deadline=None, max_examples=50)
@given(rows, rows)
def test_every_row_is_counted_once(truth_rows, found_rows):
    truth, found = arrays(truth_rows), arrays(found_rows)
    counts = confusion(truth, found)
    assert counts[:3].sum(axis=1).tolist() == np.bincount(truth.label, minlength=3).tolist()
    on = np.isin(found.frame, truth.frame)
    assert counts[:, :3].sum(axis=0).tolist() == np.bincount(found.label[on], minlength=3).tolist()
    assert counts[3, 3] == 0

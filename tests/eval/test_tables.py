import numpy as np
import pytest

from stad_eval import Boxes, InputError, annotated_frames, check_truth, concatenate, empty_boxes
from stad_eval.tables import unique_pairs

BOX = (0, 0, 10, 10)


def columns(**changes):
    default = {
        "videos": ("v",),
        "classes": ("walk",),
        "video": np.zeros(2, dtype=np.int64),
        "frame": np.array([0, 1]),
        "box": np.array([BOX, BOX]),
        "label": np.zeros(2, dtype=np.int32),
        "score": np.array([0.5, 1], dtype=np.float32),
    }
    return {**default, **changes}


def test_columns_are_converted_without_loss():
    table = Boxes(**columns())
    assert len(table) == 2
    assert table.box.dtype == np.float64
    assert table.label.dtype == np.int64
    assert table.score.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": np.zeros((2, 3))}, r"'box'.*\[2, 4\]"),
        ({"box": np.array([BOX, (0, 0, np.nan, 1)])}, "'box'.*not finite, first at row 1"),
        ({"score": np.array([0.5, np.inf])}, "'score'.*not finite, first at row 1"),
        ({"score": np.array([0.5])}, "'score'"),
        ({"frame": np.array([0.0, 1.0])}, "'frame'.*integers"),
        ({"frame": np.array([0, -1])}, "'frame'.*first at row 1"),
        ({"frame": np.array([0])}, "'frame'"),
        ({"label": np.array([0, 1])}, "'label'.*first at row 1.*found 1"),
        ({"video": np.array([0, 7])}, "'video'.*found 7"),
        ({"videos": ("v", "v")}, "'videos' repeats.*found v"),
        ({"classes": "walk"}, "one string"),
        ({"annotated": np.array([[1, 0]])}, "annotated video"),
        ({"annotated": np.array([0, 1])}, r"pairs"),
    ],
)
def test_bad_columns_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Boxes(**columns(**changes))


def test_ground_truth_without_area_is_refused_with_its_place():
    rows = np.array([BOX, (5, 5, 5, 9)])
    with pytest.raises(InputError, match="row 1, video 'v', frame 1"):
        Boxes(**columns(box=rows, annotated=np.array([[0, 0]])))
    detections = Boxes(**columns(box=rows))
    with pytest.raises(InputError, match="no area"):
        check_truth(detections)


def test_empty_tables_are_valid():
    table = empty_boxes(videos=["v"], classes=["walk"], truth=True)
    assert len(table) == 0
    assert annotated_frames(table).shape == (0, 2)
    assert empty_boxes().annotated is None


def test_concatenate_merges_videos_and_annotated_frames(table):
    a = table([("x", 3, "walk", BOX)], videos=("x",))
    b = table([("y", 4, "run", BOX)], videos=("y", "x"), annotated=[("y", 4), ("x", 9)])
    whole = concatenate([a, b])
    assert whole.videos == ("x", "y")
    assert whole.video.tolist() == [0, 1]
    assert annotated_frames(whole).tolist() == [[0, 3], [0, 9], [1, 4]]
    assert concatenate([a, a]).annotated is None


def test_concatenate_refuses_other_classes_and_nothing(table):
    a, b = table([], classes=("walk",)), table([], classes=("run",))
    with pytest.raises(InputError, match="different classes"):
        concatenate([a, b])
    with pytest.raises(InputError, match="at least one"):
        concatenate([])


def test_distinct_pairs_of_small_and_of_large_numbers():
    for far in (5, 2**40 - 1):
        first, second = np.array([far, 0, far, 0]), np.array([1, far, 1, 2])
        assert unique_pairs(first, second).tolist() == [[0, 2], [0, far], [far, 1]]
    assert unique_pairs(first[:0], second[:0]).shape == (0, 2)


def test_select_keeps_names(table):
    whole = table([("v", 0, "walk", BOX), ("v", 1, "run", BOX)])
    part = whole.select(whole.label == 1)
    assert part.frame.tolist() == [1]
    assert part.classes == whole.classes


def test_coordinates_beyond_all_frames_are_refused(table):
    assert table([("v", 0, "walk", (0, 0, 9e11, 10))]).box[0, 2] == 9e11
    for side in (1e12, -1e300):
        with pytest.raises(InputError, match="beyond all frames, first at row 1"):
            table([("v", 0, "walk", (0, 0, 5, 5)), ("v", 0, "walk", (0, 0, side, 5))])

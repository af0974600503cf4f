import numpy as np
import pytest

from stad_eval import (
    InputError,
    Tube,
    TubeFile,
    Tubes,
    concatenate_tubes,
    stack_tubes,
    tube_boxes,
)

CLASSES = ("walk", "run")


def tube(frames, *, video="v", label=0, score=1.0, x=0.0):
    boxes = np.tile([x, 0.0, x + 10.0, 10.0], (len(frames), 1))
    return Tube(video=video, label=label, score=score, frames=np.array(frames), boxes=boxes)


def columns(tubes):
    return {name: getattr(tubes, name) for name in Tubes.__dataclass_fields__}


GOOD = columns(stack_tubes([tube([1, 2]), tube([0, 4], label=1, score=0.5)], classes=CLASSES))


def test_tubes_go_into_a_table_and_come_out_again():
    tubes = [tube([1, 2], video="b"), tube([5], label=1, score=0.5, x=3.0)]
    table = stack_tubes(tubes, classes=CLASSES, videos=("v", "b", "c"))
    assert (len(table), table.lengths().tolist()) == (2, [2, 1])
    for one, other in zip(tubes, table, strict=True):
        assert (one.video, one.label, one.score) == (other.video, other.label, other.score)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert table.select(np.array([1])).tube(0).frames.tolist() == [5]
    assert table.select(np.array([False, True])).video.tolist() == [0]
    assert len(stack_tubes([], classes=CLASSES)) == 0


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("start", np.array([0, 2, 3]), "does not cut the rows"),
        ("start", np.array([0, 0, 4]), "does not cut the rows"),
        ("start", np.array([], dtype=np.int64), "does not cut the rows"),
        ("start", np.array([0.0, 2, 4]), "'start' is malformed"),
        ("frame", np.array([2, 1, 0, 4]), r"tube 0 of video 'v': frames out of order.*\[2, 1\]"),
        ("frame", np.array([1, 2, 4, 4]), "tube 1 of video 'v': frames out of order"),
        ("frame", np.array([-1, 2, 0, 4]), "'frame' is out of range, first at 0"),
        ("video", np.array([0, 1]), "'video' is out of range, first at 1"),
        ("label", np.array([0, 2]), "'label' is out of range"),
        ("label", np.array([0]), "'label' is malformed"),
        ("score", np.array([0.0, np.nan]), "'score' holds a number that is not finite.*row 1"),
        ("box", np.zeros((4, 3)), "'box' is malformed"),
        ("row_score", np.zeros(3), "'row_score' is malformed"),
        ("classes", ("walk", "walk"), "'classes' repeats a name"),
        ("videos", "v", "one string"),
    ],
)
def test_malformed_columns_are_refused(column, value, message):
    with pytest.raises(InputError, match=message):
        Tubes(**{**GOOD, column: value})


def test_tables_are_stacked_by_the_names_of_their_videos():
    one = stack_tubes([tube([1], video="a")], classes=CLASSES)
    other = stack_tubes([tube([2], video="b"), tube([3], video="a")], classes=CLASSES)
    both = concatenate_tubes([one, other])
    assert both.videos == ("a", "b")
    assert both.video.tolist() == [0, 1, 0]
    assert both.frame.tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="no tables"):
        concatenate_tubes([])
    with pytest.raises(InputError, match="different classes"):
        concatenate_tubes([one, stack_tubes([], classes=("walk",))])


def test_rows_of_tubes_as_boxes():
    table = stack_tubes([tube([1, 2], score=0.5)], classes=CLASSES, videos=("v", "w"))
    boxes = tube_boxes(table)
    assert boxes.frame.tolist() == [1, 2]
    assert boxes.score.tolist() == [0.5, 0.5]
    assert boxes.annotated is None
    truth = TubeFile(tubes=table, frame_counts={"v": 4, "w": 2}).boxes()
    assert truth.annotated is not None
    assert truth.annotated.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1]]
    part = tube_boxes(table, frame_counts={"w": 1})
    assert part.annotated is not None
    assert part.annotated.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    with pytest.raises(InputError, match=r"video 'v': a tube goes on .*frames 0 to 1, found 2"):
        tube_boxes(table, frame_counts={"v": 2})
    scored = Tubes(**{**columns(table), "row_score": np.array([0.1, 0.2])})
    assert tube_boxes(scored).score.tolist() == [0.1, 0.2]

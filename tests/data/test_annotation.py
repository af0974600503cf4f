"""Annotation types: what they refuse, what they look up, and the tables and tubes made of them."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import (
    ActionClasses,
    Dataset,
    Track,
    VideoAnnotation,
    action_tubes,
    truth_table,
)
from stad_eval import InputError

CLASSES = ActionClasses(names=("a", "b", "c"), ids=(1, 5, 9), exclusive=False)


def track(**changes):
    values = {
        "actor": 0,
        "frames": [1, 2, 4],
        "boxes": [[0, 0, 5, 5]] * 3,
        "labels": [[True, False, False]] * 3,
    }
    return Track(**{**values, **changes})


def test_classes_map_ids_and_names_to_labels():
    assert CLASSES.index_of_id == {1: 0, 5: 1, 9: 2}
    assert CLASSES.index_of_name["c"] == 2
    assert len(CLASSES) == 3


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        ((), (), "at least one"),
        (("a",), (1, 2), "one id each"),
        (("a", "a"), (1, 2), "name is given twice"),
        (("a", "b"), (1, 1), "id is given twice"),
    ],
)
def test_classes_that_cannot_be_are_refused(names, ids, message):
    with pytest.raises(InputError, match=message):
        ActionClasses(names=names, ids=ids, exclusive=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "list of frames"),
        ({"frames": [1, 2]}, "must match"),
        ({"frames": [1, 1, 2]}, "strictly increasing"),
        ({"frames": [-1, 1, 2]}, ">= 0"),
        ({"boxes": [[0, 0, 5, 5], [0, 0, 0, 5], [0, 0, 5, 5]]}, "without area in frame 2"),
        ({"boxes": [[0, 0, 5, np.nan]] * 3}, "without area"),
        ({"boxes": [[0, 0, 5, np.inf]] * 3}, "without area"),
        ({"boxes": [[-np.inf, 0, 5, 5]] * 3}, "without area"),
        ({"labels": [True, False, True]}, "must match"),
    ],
)
def test_tracks_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        track(**changes)


def test_a_track_does_not_change_with_the_arrays_it_was_made_of():
    boxes = np.array([[0.0, 0, 5, 5]] * 3)
    made = track(boxes=boxes)
    boxes[:] = 7
    assert made.boxes[0].tolist() == [0, 0, 5, 5]
    with pytest.raises(ValueError, match="read-only"):
        made.boxes[0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 0}, "no frames"),
        ({"size": (0, 4)}, "frame size"),
        ({"fps": 0.0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
        ({"keyframes": [3, 3]}, "strictly increasing"),
        ({"keyframes": [19, 20]}, "outside the video"),
        ({"keyframes": [2, 3, 4]}, "not among the keyframes"),
        ({"timestamps": [1, 2]}, "timestamps must match"),
        ({"num_classes": 4}, "disagree on the classes"),
        ({"tracks": (track(), track())}, "two tracks of one actor"),
    ],
)
def test_videos_that_cannot_be_are_refused(annotation, changes, message):
    with pytest.raises(InputError, match=message) as error:
        replace(annotation, **changes)
    assert "folder/name" in str(error.value)


def test_at_gives_the_actors_of_a_frame(annotation):
    found = annotation.at(6)
    assert found.actors.tolist() == [0, 7]
    assert found.boxes.tolist() == [[60, 20, 100, 80], [150, 10, 180, 90]]
    assert found.labels.tolist() == [[True, False, True], [False, True, False]]
    assert annotation.at(2).actors.tolist() == [0]
    assert annotation.num_boxes == 11


@pytest.mark.parametrize("frame", [0, 1, 10, 19, 400])
def test_at_is_empty_where_nobody_is(annotation, frame):
    found = annotation.at(frame)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.labels.shape == (0, 3)


def test_a_video_without_actors_knows_its_number_of_classes(annotation):
    empty = replace(annotation, tracks=(), num_classes=5)
    assert empty.at(3).labels.shape == (0, 5)
    assert replace(annotation, tracks=(), num_classes=0).num_classes == 0
    assert annotation.num_classes == 3


def test_annotations_survive_pickling(annotation):
    annotation.at(3)
    again = pickle.loads(pickle.dumps(annotation))
    assert again.at(6).boxes.tolist() == annotation.at(6).boxes.tolist()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_at_agrees_with_a_search_through_all_tracks(data):
    tracks = []
    for actor in range(data.draw(st.integers(0, 4))):
        frames = sorted(data.draw(st.sets(st.integers(0, 14), min_size=1)))
        boxes = np.array([[actor, f, actor + 1, f + 1] for f in frames])
        labels = np.zeros((len(frames), 2), bool)
        tracks.append(Track(actor=actor, frames=np.array(frames), boxes=boxes, labels=labels))
    video = VideoAnnotation(
        video="v",
        path=Path("v.mp4"),
        num_frames=15,
        size=(20, 20),
        fps=None,
        tracks=tuple(tracks),
        keyframes=np.arange(15),
        num_classes=2,
    )
    for frame in range(15):
        expected = [(t.actor, frame) for t in tracks if frame in t.frames]
        found = video.at(frame)
        assert [(int(b[0]), int(b[1])) for b in found.boxes] == expected
        assert found.actors.tolist() == [actor for actor, _ in expected]


def test_truth_table_has_one_row_per_box_and_label(annotation):
    empty = replace(annotation, video="empty", tracks=(), keyframes=np.array([4]))
    table = truth_table([empty, annotation], CLASSES)
    assert table.videos == ("empty", "folder/name")
    assert table.classes == ("a", "b", "c")
    assert len(table) == 8 + 2 + 3
    assert set(table.video.tolist()) == {1}
    rows = table.frame == 6
    assert sorted(table.label[rows].tolist()) == [0, 1, 2]
    assert table.score.tolist() == [1.0] * 13
    assert table.annotated is not None
    assert table.annotated.tolist() == [[0, 4]] + [[1, frame] for frame in range(20)]


def test_truth_table_counts_seconds_where_asked(annotation):
    sparse = replace(
        annotation,
        tracks=(track(frames=[10], boxes=[[0, 0, 5, 5]], labels=[[True, False, False]]),),
        keyframes=np.array([0, 10]),
        timestamps=np.array([902, 903]),
    )
    table = truth_table([sparse], CLASSES, time="second")
    assert table.frame.tolist() == [903]
    assert table.annotated.tolist() == [[0, 902], [0, 903]]
    assert truth_table([sparse], CLASSES).frame.tolist() == [10]
    with pytest.raises(InputError, match="no timestamps"):
        truth_table([annotation], CLASSES, time="second")


def test_truth_table_of_nothing_is_empty():
    table = truth_table([], CLASSES)
    assert len(table) == 0
    assert table.annotated.shape == (0, 2)


def test_action_tubes_are_unbroken_runs_of_a_label(annotation):
    found = [(t.label, t.frames.tolist()) for t in action_tubes(annotation)]
    assert found == [(0, list(range(2, 10))), (2, [6, 7]), (1, [5, 6]), (1, [9])]
    assert action_tubes(annotation)[1].boxes.tolist() == [[60, 20, 100, 80], [70, 20, 110, 80]]
    assert action_tubes(replace(annotation, tracks=())) == []


def test_action_tubes_go_on_from_keyframe_to_keyframe(annotation):
    sparse = replace(
        annotation,
        tracks=(
            track(frames=[0, 5, 15], boxes=[[0, 0, 5, 5]] * 3, labels=[[True, False, False]] * 3),
        ),
        keyframes=np.array([0, 5, 10, 15]),
    )
    assert [t.frames.tolist() for t in action_tubes(sparse)] == [[0, 5], [15]]


def test_a_video_in_both_parts_is_refused(annotation):
    with pytest.raises(InputError, match="listed twice") as error:
        Dataset(
            name="x", classes=CLASSES, train=(annotation,), test=(annotation,), protocol="dense"
        )
    assert "in train and in test" in str(error.value)


def test_a_video_with_other_classes_is_refused(annotation):
    two = ActionClasses(names=("a", "b"), ids=(0, 1), exclusive=True)
    with pytest.raises(InputError, match="number of classes"):
        Dataset(name="x", classes=two, train=(annotation,), test=(), protocol="dense")

"""Clips beyond the keyframe: every actor's boxes in every frame asked for, by brute force."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import Placement, Track, VideoAnnotation, windows
from stad_data.clip_tracks import NO_FRAME, ClipTracks, tracks_at
from stad_eval import InputError

SIZE = (200, 100)


@pytest.fixture(scope="module")
def dense():
    """Twenty frames; actor 0 in frames 2..9, actor 7 in 5, 6 and 9: shared by the examples."""
    frames = np.arange(2, 10)
    boxes = np.stack([frames * 10, frames * 0 + 20, frames * 10 + 40, frames * 0 + 80], axis=1)
    others = np.array([5, 6, 9])
    return VideoAnnotation(
        video="v",
        path="nowhere.mp4",
        num_frames=20,
        size=SIZE,
        fps=None,
        tracks=(
            Track(actor=0, frames=frames, boxes=boxes, labels=np.eye(8, 3, dtype=bool)),
            Track(
                actor=7,
                frames=others,
                boxes=np.tile([150.0, 10, 180, 90], (3, 1)),
                labels=np.ones((3, 3), bool),
            ),
        ),
        keyframes=np.arange(20),
    )


class NumberedSource:
    """Frames whose every pixel is the frame's number."""

    def read(self, indices):
        frames = np.zeros((len(indices), SIZE[1], SIZE[0], 3), np.uint8)
        return frames + np.asarray(indices, np.uint8)[:, None, None, None]


@pytest.fixture(scope="module")
def source():
    return NumberedSource()


def sparse(annotation, keyframes):
    """The annotation as if only these of its frames were annotated."""
    keys = np.array(keyframes, np.int64)
    tracks = []
    for track in annotation.tracks:
        kept = np.isin(track.frames, keys)
        if kept.any():
            parts = (track.frames, track.boxes, track.labels)
            frames, boxes, labels = (part[kept] for part in parts)
            tracks.append(replace(track, frames=frames, boxes=boxes, labels=labels))
    return replace(annotation, tracks=tuple(tracks), keyframes=keys, num_classes=3)


def boxes_by_hand(annotation, actor, frame):
    for track in annotation.tracks:
        if track.actor == actor and frame in track.frames:
            return track.boxes[track.frames.tolist().index(frame)].tolist()
    return None


@settings(deadline=None, max_examples=40)
@given(frames=st.lists(st.integers(-1, 19), max_size=8), scale=st.sampled_from([0.5, 1.0, 3.0]))
def test_tracks_hold_what_each_frame_holds(dense, frames, scale):
    placement = Placement(size=SIZE, scale_x=scale, scale_y=1.0)
    tracks = tracks_at(dense, frames, placement)
    known = [[boxes_by_hand(dense, actor, frame) for frame in frames] for actor in (0, 7)]
    seen = [actor for actor, boxes in zip((0, 7), known, strict=True) if any(boxes)]
    assert tracks.actors.tolist() == seen
    assert tracks.frames.tolist() == frames
    for row, actor in enumerate(tracks.actors):
        for column, box in enumerate(known[(0, 7).index(actor)]):
            assert tracks.present[row, column] == (box is not None)
            expected = np.zeros(4) if box is None else np.multiply(box, [scale, 1, scale, 1])
            assert tracks.boxes[row, column].tolist() == expected.tolist()
    for column, frame in enumerate(frames):
        there, wanted = tracks.at(column), dense.at(frame)
        assert there.actors.tolist() == wanted.actors.tolist()
        np.testing.assert_array_equal(there.labels, wanted.labels)
        np.testing.assert_array_equal(there.boxes, placement.to_clip(wanted.boxes))


def test_tubelets_have_the_boxes_of_their_middle_frames(annotation, numbered_source):
    clip = windows.tubelet(annotation, 8, length=6, boxes=3, source=numbered_source(SIZE))
    assert clip.indices.tolist() == [5, 6, 7, 8, 9, 10]
    assert clip.tracks.frames.tolist() == [7, 8, 9]
    assert clip.indices[clip.keyframe] == clip.tracks.frames[1] == clip.frame == 8
    assert clip.tracks.actors.tolist() == [0, 7]
    assert clip.tracks.present.tolist() == [[True, True, True], [False, False, True]]
    assert clip.tracks.boxes[0].tolist() == [[x, 20, x + 40, 80] for x in (70, 80, 90)]
    assert clip.tracks.boxes[1, 2].tolist() == [150, 10, 180, 90]
    assert clip.tracks.labels[0].tolist() == [[True, False, True], *[[True, False, False]] * 2]
    assert clip.actors.tolist() == [0]  # those of the keyframe


@settings(deadline=None, max_examples=30)
@given(
    frame=st.integers(0, 19),
    length=st.integers(1, 9),
    stride=st.integers(1, 3),
    data=st.data(),
)
def test_tubelets_lie_around_their_keyframe(dense, source, frame, length, stride, data):
    boxes = data.draw(st.one_of(st.none(), st.integers(1, length)))
    clip = windows.tubelet(dense, frame, length=length, stride=stride, boxes=boxes, source=source)
    count = length if boxes is None else boxes
    assert len(clip.tracks.frames) == count
    assert clip.tracks.frames[count // 2] == clip.indices[length // 2] == frame
    first = length // 2 - count // 2
    assert clip.tracks.frames.tolist() == clip.indices[first : first + count].tolist()
    there = clip.tracks.at(count // 2)
    np.testing.assert_array_equal(there.boxes, clip.boxes)
    np.testing.assert_array_equal(there.actors, clip.actors)


def test_a_tubelet_longer_than_the_video_repeats_its_ends(annotation, numbered_source):
    short = sparse(replace(annotation, num_frames=20), [2, 3])
    one = replace(short, num_frames=4)
    clip = windows.tubelet(one, 3, length=5, source=numbered_source(SIZE))
    assert clip.tracks.frames.tolist() == [1, 2, 3, 3, 3]
    assert clip.tracks.present.tolist() == [[False, True, True, True, True]]
    np.testing.assert_array_equal(clip.tracks.boxes[0, 3], clip.tracks.boxes[0, 2])


def test_tubelets_without_actors(annotation, numbered_source):
    clip = windows.tubelet(annotation, 17, length=5, source=numbered_source(SIZE))
    assert clip.tracks.boxes.shape == (0, 5, 4)
    assert clip.tracks.labels.shape == (0, 5, 3)
    assert len(clip.tracks) == 0


@pytest.mark.parametrize("boxes", [0, 5])
def test_more_boxes_than_frames_are_refused(annotation, numbered_source, boxes):
    with pytest.raises(InputError, match="tubelet"):
        windows.tubelet(annotation, 8, length=4, boxes=boxes, source=numbered_source(SIZE))


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 9), span=st.integers(1, 40), length=st.integers(1, 30))
def test_resampled_frames_are_those_in_the_middle(start, span, length):
    time = windows.TimeMap(start=start, stop=start + span, length=length)
    middles = time.to_video(np.arange(length) + 0.5)
    assert time.indices.tolist() == np.floor(middles + 1e-9).astype(int).tolist()
    assert start <= time.indices[0] <= time.indices[-1] < start + span
    assert (np.diff(time.indices) >= 0).all()
    if length >= span:
        assert set(time.indices.tolist()) == set(range(start, start + span))
    else:
        assert (np.diff(time.indices) > 0).all()
    np.testing.assert_allclose(time.to_clip(time.to_video([0, 1.5, 7])), [0, 1.5, 7], atol=1e-9)
    assert time.to_video([0, length]).tolist() == pytest.approx([start, start + span])


def test_a_whole_video_in_a_fixed_number_of_frames(annotation, numbered_source):
    clip = windows.resampled(annotation, length=5, source=numbered_source(SIZE))
    assert clip.indices.tolist() == [2, 6, 10, 14, 18]
    assert clip.frames[:, 0, 0, 0].tolist() == [2, 6, 10, 14, 18]
    assert clip.tracks.frames.tolist() == clip.indices.tolist()
    assert clip.tracks.present.tolist() == [
        [True, True, False, False, False],
        [False, True] + [False] * 3,
    ]
    assert clip.tracks.boxes[0, :2].tolist() == [[20, 20, 60, 80], [60, 20, 100, 80]]
    assert clip.frame == 10


def test_a_video_shorter_than_the_clip_repeats_frames(annotation, numbered_source):
    clip = windows.resampled(annotation, length=6, span=(4, 7), source=numbered_source(SIZE))
    assert clip.indices.tolist() == [4, 4, 5, 5, 6, 6]
    assert clip.tracks.present[1].tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize("span", [(0, 21), (5, 5), (-1, 4), (7, 3)])
def test_spans_outside_the_video_are_refused(annotation, numbered_source, span):
    with pytest.raises(InputError, match="span"):
        windows.resampled(annotation, length=4, span=span, source=numbered_source(SIZE))
    with pytest.raises(InputError, match="span"):
        windows.TimeMap(start=0, stop=3, length=0)


def test_unlabelled_clips_know_both_neighbours(annotation, numbered_source):
    video = sparse(annotation, [0, 5, 9, 15])
    clip = windows.between(video, 6, length=3, stride=1, source=numbered_source((100, 50)))
    assert clip.indices.tolist() == [5, 6, 7]
    assert len(clip.boxes) == len(clip.labels) == len(clip.actors) == 0
    assert clip.tracks.frames.tolist() == [5, 9]
    before, after = clip.tracks.at(0), clip.tracks.at(1)
    assert before.actors.tolist() == after.actors.tolist() == [0, 7]
    assert before.boxes.tolist() == [[25, 10, 45, 40], [75, 5, 90, 45]]
    assert after.boxes[0].tolist() == [45, 10, 65, 40]
    assert before.labels.tolist() == [[True, False, False], [False, True, False]]
    assert clip.tracks.fraction(clip.frame) == pytest.approx(0.25)


def test_a_neighbour_may_be_empty_or_absent(annotation, numbered_source):
    video, source = sparse(annotation, [2, 15]), numbered_source(SIZE)
    inside = windows.between(video, 4, length=3, stride=1, source=source)
    assert len(inside.tracks.at(0)) == 1
    assert len(inside.tracks.at(1)) == 0
    assert inside.tracks.frames.tolist() == [2, 15]
    ahead = windows.between(video, 1, length=3, stride=1, source=source)
    assert ahead.tracks.frames.tolist() == [NO_FRAME, 2]
    assert len(ahead.tracks.at(0)) == 0
    assert np.isnan(ahead.tracks.fraction(1))
    behind = windows.between(video, 18, length=3, stride=1, source=source)
    assert behind.tracks.frames.tolist() == [15, NO_FRAME]
    bare = windows.between(sparse(annotation, []), 8, length=3, stride=1, source=source)
    assert bare.tracks.frames.tolist() == [NO_FRAME, NO_FRAME]
    assert bare.tracks.labels.shape == (0, 2, 3)


@given(keys=st.sets(st.integers(0, 19)), frame=st.integers(0, 19))
@settings(deadline=None, max_examples=50)
def test_neighbours_are_the_nearest_on_each_side(dense, keys, frame):
    found = windows.neighbours(sparse(dense, sorted(keys)), frame)
    before = max((key for key in keys if key < frame), default=NO_FRAME)
    after = min((key for key in keys if key > frame), default=NO_FRAME)
    assert found == (before, after)


def test_an_annotated_frame_keeps_its_secret(annotation, numbered_source):
    clip = windows.between(annotation, 6, length=3, stride=1, source=numbered_source(SIZE))
    assert len(clip.boxes) == 0
    assert clip.tracks.frames.tolist() == [5, 7]


def test_tracks_whose_parts_disagree_are_refused(annotation):
    tracks = tracks_at(annotation, [3, 5], Placement(size=SIZE))
    for part in ("boxes", "present", "labels"):
        with pytest.raises(InputError, match="disagree"):
            replace(tracks, **{part: getattr(tracks, part)[:, :1]})
    with pytest.raises(InputError, match="disagree"):
        replace(tracks, frames=np.array([[1, 2]]))


def test_cutting_tracks_drops_what_is_hidden(annotation):
    tracks = tracks_at(annotation, [5, 9], Placement(size=SIZE))
    cut = tracks.cut((100, 100), 0.3)  # actor 7 stands at 150..180; actor 0 leaves in frame 9
    assert cut.actors.tolist() == [0]
    assert cut.present.tolist() == [[True, False]]
    assert cut.boxes.tolist() == [[[50, 20, 90, 80], [0, 0, 0, 0]]]
    assert not cut.labels[0, 1].any()
    assert tracks.reversed().frames.tolist() == [9, 5]
    np.testing.assert_array_equal(tracks.reversed().at(0).boxes, tracks.at(1).boxes)


def test_clips_cross_to_another_process(annotation, numbered_source):
    clip = windows.tubelet(annotation, 8, length=3, source=numbered_source(SIZE))
    back = pickle.loads(pickle.dumps(clip))
    np.testing.assert_array_equal(back.tracks.boxes, clip.tracks.boxes)
    assert isinstance(back.tracks, ClipTracks)
    assert all(a <= b for a, b in pairwise(back.tracks.actors.tolist()))

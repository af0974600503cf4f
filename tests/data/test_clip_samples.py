"""Tubelets and unlabelled frames to draw: as a walk over all frames would find them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_data import VideoAnnotation, windows
from stad_data.clip_samples import between_samples, frame_samples, tubelet_samples
from stad_eval import InputError


def test_windows_of_annotated_frames(annotation):
    """Actor 0 is in frames 2..9 of 20, actor 7 in 5, 6 and 9."""
    keys = np.arange(14)
    video = replace(annotation, keyframes=keys)
    rows = tubelet_samples([replace(video, tracks=()), video], boxes=4)
    assert rows.tolist() == [[number, start + 2] for number in (0, 1) for start in range(11)]
    busy = tubelet_samples([video], boxes=4, empty=False)
    assert busy[:, 1].tolist() == [start + 2 for start in range(10)]
    whole = tubelet_samples([video], boxes=2, partial=False, empty=False)
    assert whole[:, 1].tolist() == [3, 4, 6, 8]
    assert tubelet_samples([video], boxes=4, step=5)[:, 1].tolist() == [2, 7, 12]
    assert tubelet_samples([video], boxes=4, stride=4)[:, 1].tolist() == [8, 9]
    assert tubelet_samples([video], boxes=21).shape == (0, 2)
    assert tubelet_samples([], boxes=3).shape == (0, 2)


def test_a_sample_is_the_tubelets_keyframe(annotation, numbered_source):
    source = numbered_source((200, 100))
    for boxes in (1, 2, 3):
        rows = tubelet_samples([annotation], boxes=boxes, partial=False, empty=False)
        assert len(rows)
        for _, frame in rows.tolist():
            clip = windows.tubelet(annotation, frame, length=boxes, source=source)
            assert clip.tracks.present.all()
            assert len(clip.tracks)
            assert (np.diff(clip.tracks.frames) == 1).all()


@pytest.mark.parametrize("changes", [{"boxes": 0}, {"stride": 0}, {"step": 0}])
def test_tubelets_that_cannot_be_are_refused(annotation, changes):
    with pytest.raises(InputError, match="tubelets"):
        tubelet_samples([annotation], **{"boxes": 3, **changes})


def with_keyframes(keys):
    return VideoAnnotation(
        video="v",
        path="nowhere.mp4",
        num_frames=60,
        size=(8, 8),
        fps=None,
        tracks=(),
        keyframes=np.array(keys, np.int64),
    )


KEYS = st.lists(st.integers(0, 59), unique=True, max_size=9).map(sorted)


@settings(deadline=None, max_examples=60)
@given(
    keys=st.lists(KEYS, max_size=3),
    per_gap=st.one_of(st.none(), st.integers(1, 5)),
    widest=st.one_of(st.none(), st.integers(1, 20)),
)
def test_frames_between_keyframes(keys, per_gap, widest):
    made = [with_keyframes(some) for some in keys]
    rows = between_samples(made, per_gap=per_gap, widest=widest)
    assert rows.shape[1] == 2
    assert rows.tolist() == sorted(rows.tolist())
    expected = 0
    for number, some in enumerate(keys):
        for before, after in pairwise(some):
            gap = after - before - 1
            found = [f for v, f in rows.tolist() if v == number and before < f < after]
            count = 0 if widest is not None and gap > widest else gap
            count = count if per_gap is None else min(count, per_gap)
            assert len(set(found)) == len(found) == count
            expected += count
            if found:
                # Evenly spread: as much room before the first as behind the last, give or take.
                assert abs((found[0] - before) - (after - found[-1])) <= 1
    assert len(rows) == expected


def test_the_middle_of_a_gap():
    video = with_keyframes([10, 20, 21, 24])
    assert between_samples([video], per_gap=1).tolist() == [[0, 15], [0, 23]]
    assert between_samples([video], per_gap=3).tolist() == [
        [0, 12], [0, 15], [0, 18], [0, 22], [0, 23]
    ]  # fmt: skip
    assert between_samples([video], widest=2).tolist() == [[0, 22], [0, 23]]
    assert between_samples([]).shape == (0, 2)


@pytest.mark.parametrize("changes", [{"per_gap": 0}, {"widest": 0}, {"per_gap": -1}])
def test_limits_below_one_are_refused(annotation, changes):
    with pytest.raises(InputError, match="between keyframes"):
        between_samples([annotation], **changes)


@pytest.mark.parametrize(
    ("frames", "every", "expected"),
    [(20, 8, [4, 12]), (3, 1, [0, 1, 2]), (4, 8, [2]), (1, 8, [0]), (5, 4, [2])],
)
def test_frames_of_any_video(annotation, frames, every, expected):
    bare = replace(annotation, tracks=(), keyframes=np.zeros(0, np.int64), num_frames=frames)
    assert frame_samples([bare], every=every).tolist() == [[0, frame] for frame in expected]
    with pytest.raises(InputError):
        frame_samples([bare], every=0)

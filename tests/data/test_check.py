"""Preflight: every way a dataset can be wrong has its message, and a sound one has none."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from stad_data import Dataset, Track
from stad_data.check import Problem, check, coverage, coverage_table, show
from stad_data.datasets import ava, jhmdb, ucf24
from stad_eval import InputError


@pytest.fixture
def sound(jhmdb_root) -> Dataset:
    """Both classes in both parts, four different videos."""
    videos = jhmdb_root / "videos"
    for name, new in (("jump", "d"), ("wave", "e")):
        old = {"jump": "a", "wave": "c"}[name]
        (jhmdb_root / "puppet_mask" / name / new).mkdir()
        for kind in ("puppet_mask.mat",):
            shutil.copy(
                jhmdb_root / "puppet_mask" / name / old / kind,
                jhmdb_root / "puppet_mask" / name / new / kind,
            )
    (videos / "jump" / "b.mp4").rename(videos / "jump" / "d.mp4")
    shutil.copy(videos / "wave" / "c.mp4", videos / "wave" / "e.mp4")
    with (videos / "wave" / "e.mp4").open("ab") as file:  # other bytes, the same frames
        file.write(b"\0\0\0\x08free")
    splits = jhmdb_root / "splits"
    (splits / "jump_test_split1.txt").write_text("a.avi 1\nd.avi 2\n")
    (splits / "wave_test_split1.txt").write_text("c.avi 1\ne.avi 2\n")
    return jhmdb.read(jhmdb_root)


def messages(problems: list[Problem], severity: str = "error") -> str:
    return "\n".join(str(problem) for problem in problems if problem.severity == severity)


def edited(data: Dataset, **changes) -> Dataset:
    return replace(data, train=(replace(data.train[0], **changes), *data.train[1:]))


@pytest.mark.parametrize("decode", ["nothing", "ends", "everything"])
def test_a_sound_dataset_has_no_problems(sound, decode):
    seen = []
    assert check(sound, decode=decode, seen=seen.append) == []
    assert seen == [1] * 4


def test_a_reader_that_refuses_is_the_one_problem(jhmdb_root):
    shutil.rmtree(jhmdb_root / "splits")
    (problem,) = check(lambda: jhmdb.read(jhmdb_root))
    assert problem.severity == "error"
    assert "splits" in str(problem)
    assert str(problem).count(str(jhmdb_root)) == 1


def test_an_absent_video(sound):
    sound.train[0].path.unlink()
    (problem,) = check(sound)
    assert problem.path == sound.train[0].path
    assert "jump/a" in problem.message
    assert "not there" in problem.message


def test_a_video_that_does_not_decode(sound):
    sound.train[0].path.write_bytes(b"no video")
    assert "cannot be read" in messages(check(sound))
    assert check(sound, decode="nothing") == []


@pytest.mark.parametrize("decode", ["ends", "everything"])
def test_a_video_that_was_cut_off(sound, decode):
    path = sound.train[0].path
    path.write_bytes(path.read_bytes()[:-600])
    assert "jump/a" in messages(check(sound, decode=decode))


@pytest.mark.parametrize("decode", ["ends", "everything"])
def test_frame_counts_that_differ(sound, decode):
    changed = edited(sound, num_frames=14, keyframes=np.arange(14))
    assert "the annotation has 14 frames, the file 12" in messages(check(changed, decode=decode))


def test_boxes_outside_the_frame_and_tiny_ones(sound):
    track = sound.train[0].tracks[0]
    boxes = track.boxes.copy()
    boxes[3, 2] = 66
    boxes[7] = [0.1, 0.2, 0.4, 0.9]
    changed = edited(sound, tracks=(replace(track, boxes=boxes),))
    errors, warnings = (messages(check(changed), kind) for kind in ("error", "warning"))
    assert "1 of 12 boxes leave the frame of 64x48" in errors
    assert "frame 3" in errors
    assert "1 of 12 boxes are narrower" in warnings
    assert "frame 7" in warnings
    boxes[3, 2] = 64.9
    assert not messages(check(edited(sound, tracks=(replace(track, boxes=boxes),))))


def test_actors_with_the_same_box(sound):
    track = sound.train[0].tracks[0]
    other = Track(
        actor=1, frames=track.frames[4:6], boxes=track.boxes[4:6], labels=track.labels[4:6]
    )
    changed = edited(sound, tracks=(track, other))
    assert "frame 4: video 'jump/a': two actors with the same box" in messages(
        check(changed), "warning"
    )


def test_a_shape_that_differs(sound):
    assert check(edited(sound, size=(128, 96))) == []
    assert "another shape" in messages(check(edited(sound, size=(48, 64))), "warning")


def test_classes_and_parts_without_boxes(sound):
    assert "class 'wave' has no box in the train part" in messages(
        check(replace(sound, train=sound.train[:1])), "warning"
    )
    assert "the train part has no video" in messages(check(replace(sound, train=())))


def test_leaks_and_duplicates(sound):
    shutil.copy(sound.train[0].path, sound.test[0].path)
    assert "has the same content as training video 'jump/a'" in messages(check(sound))
    shutil.copy(sound.train[0].path, sound.train[1].path)
    assert "has the same content as 'jump/a'" in messages(check(sound), "warning")


def test_errors_come_first(sound):
    sound.test[0].path.unlink()
    found = check(replace(sound, train=sound.train[:1]))
    assert [problem.severity for problem in found] == ["error", "warning"]


def test_coverage_counts_videos_tracks_and_boxes(ava_root):
    data = ava.read(ava_root)
    walk, talk = coverage(data)
    assert (walk.name, talk.name) == ("walk", "talk")
    assert (walk.train.videos, walk.train.tracks, walk.train.boxes) == (1, 2, 2)
    assert (talk.train.videos, talk.train.tracks, talk.train.boxes) == (1, 1, 2)
    assert (walk.test.boxes, talk.test.boxes) == (1, 0)
    table = coverage_table(data).splitlines()
    assert len(table) == 1 + 2 + 2
    assert table[1].split() == ["walk", "1", "2", "2", "1", "1", "1"]
    assert table[3] == "train: 1 videos, 3 annotated frames, 2 tracks, 3 boxes"


def test_a_sheet_shows_different_videos_with_their_boxes(sound):
    both = show(sound, count=2, seed=1)
    assert both.dtype == np.uint8
    assert both.shape[1] == 2 * show(sound, count=1).shape[1]
    np.testing.assert_array_equal(both, show(sound, count=2, seed=1))
    assert any((show(sound, count=2, seed=seed) != both).any() for seed in range(2, 5))
    assert show(sound, count=99, columns=4).shape[1] == show(sound, count=4).shape[1]
    assert show(sound, count=2, part="test").shape == both.shape


def test_the_boxes_are_drawn_where_they_are(jhmdb_root):
    data = jhmdb.read(jhmdb_root)
    sheet = show(data, count=1, part="test")
    x1, y1, x2, y2 = data.test[0].at(0).boxes[0].astype(int)
    color = sheet[y2 - 1, x1 + 3]
    assert (sheet[y2 - 1, x1:x2] == color).all()
    assert (sheet[y1 + 2 : y2, x1] == color).all()
    assert (sheet[y1 + 2 : y2, x2 - 1] == color).all()


def test_nothing_to_show_is_the_users_to_mend(sound):
    with pytest.raises(InputError, match="nothing to show"):
        show(replace(sound, train=()))
    with pytest.raises(InputError, match="nothing to show"):
        show(sound, count=0)


def test_the_real_sets_are_sound(real_jhmdb, real_data):
    """Every tenth video of JHMDB, and UCF101-24's four."""
    part = replace(real_jhmdb, train=real_jhmdb.train[::10], test=real_jhmdb.test[::10])
    assert check(part) == []
    four = ucf24.read(real_data / "ucf24", missing="skip")
    assert messages(check(replace(four, train=four.test, test=()))) == (
        "error: the test part has no video"
    )
    assert show(four, count=4, part="test").shape[1] > 4 * 340

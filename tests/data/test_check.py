"""Preflight: every way a dataset can be wrong has its problem, and a sound one has none."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stad_data import ActionClasses, Dataset, Track, datasets
from stad_data.check import Problem, check, coverage, coverage_table, parts
from stad_data.checks.leaks import recording
from stad_data.conversion import convert


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
    return datasets.jhmdb.read(jhmdb_root)


def kinds(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.kind, problem.severity) for problem in problems]


def only(problems: list[Problem], kind: str, severity: str) -> Problem:
    """The one problem that was found."""
    assert kinds(problems) == [(kind, severity)]
    assert problems[0].remedy
    return problems[0]


def edited(data: Dataset, **changes) -> Dataset:
    """The first training video changed."""
    return replace(data, train=(replace(data.train[0], **changes), *data.train[1:]))


def with_boxes(data: Dataset, change) -> Dataset:
    """All boxes [T, 4] of all videos through a function."""

    def changed(videos):
        return tuple(
            replace(v, tracks=tuple(replace(t, boxes=change(t.boxes)) for t in v.tracks))
            for v in videos
        )

    return replace(data, train=changed(data.train), test=changed(data.test))


# --- the whole ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decode", ["nothing", "ends", "everything"])
def test_a_sound_dataset_has_no_problems(sound, jhmdb_root, decode):
    seen = []
    assert check(sound, decode=decode, root=jhmdb_root, seen=seen.append) == []
    assert seen == [1] * 4


def test_a_sound_ava_set_has_no_problem_but_its_rare_class(ava_root):
    problem = only(check(datasets.ava.read(ava_root), root=ava_root), "empty-class", "warning")
    assert [example.found for example in problem.examples] == ["talk"]


def test_what_a_reader_refuses_is_the_one_problem(jhmdb_root):
    shutil.rmtree(jhmdb_root / "splits")
    problem = only(check(lambda: datasets.jhmdb.read(jhmdb_root)), "unreadable", "error")
    assert "splits" in str(problem)
    assert str(problem).count(str(jhmdb_root)) == 1


def test_errors_come_first_and_examples_are_cut(sound):
    for annotation in (*sound.train, *sound.test):
        annotation.path.unlink()
    first, second = check(replace(sound, train=sound.train[:1]))
    assert (first.severity, second.severity) == ("error", "warning")
    assert first.count == 3
    assert "... and 1 more" in first.text(2)
    assert "more" not in first.text(None)
    assert first.text(None).count("no file") == 4


# --- files -------------------------------------------------------------------------------------


def test_absent_videos_are_errors_unless_they_are_to_be_skipped(sound):
    sound.train[0].path.unlink()
    problem = only(check(sound), "absent-video", "error")
    assert (problem.count, problem.examples[0].video) == (1, "jump/a")
    assert problem.examples[0].path == sound.train[0].path
    assert "--missing skip" in problem.remedy
    only(check(sound, missing="skip"), "absent-video", "warning")


def test_files_whose_names_do_not_match_are_told_with_the_likely_one(sound):
    path = sound.train[0].path
    path.rename(path.with_name("A.mp4"))
    absent, stray = check(sound)
    assert (absent.kind, stray.kind) == ("absent-video", "file-without-annotation")
    assert "is it A.mp4?" in str(absent)
    assert stray.examples[0].path == path.with_name("A.mp4")


def test_folders_of_images_without_annotation_are_told(tmp_path, put_video):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "00001.png").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    (track,) = datasets.jhmdb.read(small_jhmdb(tmp_path / "set", put_video)).train[0].tracks
    annotation = datasets.jhmdb.read(tmp_path / "set").train[0]
    data = Dataset(
        name="x",
        classes=ActionClasses(names=("jump",), ids=(0,), exclusive=True),
        train=(replace(annotation, path=tmp_path / "a", tracks=(track,)),),
        test=(),
        protocol="dense",
    )
    found = {problem.kind: problem for problem in check(data, decode="nothing")}
    assert [e.path for e in found["file-without-annotation"].examples] == [tmp_path / "b"]


def small_jhmdb(root: Path, put_video) -> Path:
    from scipy.io import savemat

    (root / "splits").mkdir(parents=True)
    (root / "splits" / "jump_test_split1.txt").write_text("a.avi 1\n")
    put_video(root / "videos" / "jump" / "a.mp4", number=0)
    folder = root / "puppet_mask" / "jump" / "a"
    folder.mkdir(parents=True)
    savemat(folder / "puppet_mask.mat", {"part_mask": np.ones((48, 64, 12), np.uint8)})
    return root


@pytest.mark.parametrize("missing", ["refuse", "skip"])
def test_damaged_videos_are_not_absent_ones(sound, missing):
    sound.train[0].path.write_bytes(b"no video")
    problem = only(check(sound, missing=missing), "damaged-video", "error")
    assert "jump/a" in str(problem)
    assert check(sound, decode="nothing") == []


def test_all_damaged_videos_are_told_where_a_reader_needs_them(ava_root):
    """AVA's reader opens the videos for their size and times."""
    for name in ("one", "two"):
        (ava_root / "videos" / f"{name}.mp4").write_bytes(b"no video")
    problem = only(
        check(lambda: datasets.ava.read(ava_root, missing="keep")), "damaged-video", "error"
    )
    assert [example.path.stem for example in problem.examples] == ["one", "two"]


@pytest.mark.parametrize("decode", ["ends", "everything"])
def test_a_video_that_was_cut_off(sound, decode):
    path = sound.train[0].path
    path.write_bytes(path.read_bytes()[:-600])
    only(check(sound, decode=decode), "damaged-video", "error")


@pytest.mark.parametrize("decode", ["ends", "everything"])
def test_frame_counts_that_differ(sound, decode):
    changed = edited(sound, num_frames=14, keyframes=np.arange(14))
    problem = only(check(changed, decode=decode), "frame-count", "error")
    assert problem.examples[0].found == "14 annotated, 12 in the file"
    changed = edited(sound, num_frames=13, keyframes=np.arange(13))
    assert "one frame too many" in check(changed, decode=decode)[0].remedy


def test_tubes_that_run_past_the_end(sound):
    track = sound.train[0].tracks[0]
    late = replace(track, frames=track.frames + 1)
    changed = edited(sound, num_frames=13, keyframes=np.arange(13), tracks=(late,))
    count, end = check(changed)
    assert (count.kind, end.kind) == ("frame-count", "past-the-end")
    assert "up to frame 12, but the file's frames are 0 to 11" in str(end)


def test_a_shape_that_differs(sound):
    assert check(edited(sound, size=(128, 96))) == []
    problem = only(check(edited(sound, size=(48, 64))), "frame-shape", "warning")
    assert "64x48 in the file, annotated at 48x64" in str(problem)


# --- boxes -------------------------------------------------------------------------------------


def test_boxes_outside_the_frame(sound):
    track = sound.train[0].tracks[0]
    boxes = track.boxes.copy()
    boxes[3, 2] = 66
    problem = only(
        check(edited(sound, tracks=(replace(track, boxes=boxes),))), "box-outside", "error"
    )
    assert (problem.count, problem.examples[0].place) == (1, "frame 3")
    boxes[3, 2] = 64.9
    assert check(edited(sound, tracks=(replace(track, boxes=boxes),))) == []


def test_tiny_boxes(sound):
    track = sound.train[0].tracks[0]
    boxes = track.boxes.copy()
    boxes[7] = [10, 10, 11, 30]
    problem = only(
        check(edited(sound, tracks=(replace(track, boxes=boxes),))), "tiny-box", "warning"
    )
    assert problem.examples[0].place == "frame 7"


def test_boxes_that_are_shares_of_the_frame(sound, tmp_path):
    """In the project's own JSON, where a user wrote normalised numbers."""
    convert(sound, tmp_path / "x.json", to="json")
    content = json.loads((tmp_path / "x.json").read_text())
    for track in content["videos"][0]["tracks"]:
        track["boxes"] = [[x1 / 64, y1 / 48, x2 / 64, y2 / 48] for x1, y1, x2, y2 in track["boxes"]]
    (tmp_path / "x.json").write_text(json.dumps(content))
    problem = only(check(datasets.stad_json.read(tmp_path / "x.json")), "normalised-boxes", "error")
    assert problem.count == 12


def test_corners_that_were_read_as_sizes(sound, tmp_path):
    """COCO's bbox holds x, y, width, height; here someone wrote both corners."""
    data = with_boxes(sound, lambda boxes: boxes + np.array([20, 10, 30, 20]))
    convert(data, tmp_path / "x.json", to="coco-video")
    content = json.loads((tmp_path / "x.json").read_text())
    for row in content["annotations"]:
        x, y, width, height = row["bbox"]
        row["bbox"] = [x, y, x + width, y + height]
    (tmp_path / "x.json").write_text(json.dumps(content))
    problem = only(
        check(datasets.coco_video.read(tmp_path / "x.json")), "corners-as-sizes", "error"
    )
    assert "x1, y1, x2, y2" in problem.remedy


def test_sizes_that_were_written_as_corners_are_refused_with_advice(sound, tmp_path):
    convert(sound, tmp_path / "x.json", to="json")
    content = json.loads((tmp_path / "x.json").read_text())
    content["videos"][0]["tracks"][0]["boxes"][0] = [40, 10, 20, 30]
    (tmp_path / "x.json").write_text(json.dumps(content))
    problem = only(
        check(lambda: datasets.stad_json.read(tmp_path / "x.json")), "unreadable", "error"
    )
    assert "not x, y, width, height" in str(problem)


def test_boxes_that_were_drawn_on_larger_frames(sound):
    problem = only(check(edited(sound, size=(20, 15))), "other-resolution", "error")
    assert "64x48" in problem.message


def test_boxes_that_were_drawn_on_smaller_frames(sound):
    """A set of eight videos in which all actors keep to the upper left."""
    video = sound.train[0]
    many = replace(sound, train=tuple(replace(video, video=f"jump/{n}") for n in range(8)))
    problem = next(p for p in check(many, decode="nothing") if p.kind == "smaller-resolution")
    assert (problem.severity, problem.count) == ("warning", 10 * 12)
    assert "48 % of the width or 44 % of the height" in str(problem)
    few = replace(many, train=many.train[:5])
    assert "smaller-resolution" not in {p.kind for p in check(few, decode="nothing")}


@pytest.mark.parametrize(
    ("corners", "ends"), [("one-based", (1, 64, 48)), ("inclusive", (0, 63, 47))]
)
def test_corners_of_another_convention(sound, tmp_path, corners, ends):
    first, right, bottom = ends
    border = [first, first, right, bottom]

    def whole(boxes):
        return np.vstack(
            [np.tile(border, (len(boxes) - 6, 1)), boxes[:6] + np.array([first, first, 0, 0])]
        )

    data = with_boxes(sound, whole)
    problem = only(check(data), f"{corners}-corners", "warning")
    assert f"--corners {corners}" in problem.remedy
    convert(data, tmp_path / "x.pkl", to="act")
    read = datasets.act.read(tmp_path / "x.pkl", missing="keep", corners=corners)
    assert not [p for p in check(read, missing="skip") if "corners" in p.kind]


# --- time --------------------------------------------------------------------------------------


def test_tracks_that_begin_at_one(sound):
    def late(videos):
        return tuple(
            replace(
                v, tracks=tuple(
                    replace(t, frames=t.frames[1:], boxes=t.boxes[1:], labels=t.labels[1:])
                    for t in v.tracks
                )
            )
            for v in videos
        )  # fmt: skip

    problem = only(
        check(replace(sound, train=late(sound.train), test=late(sound.test))),
        "starts-at-one",
        "warning",
    )
    assert problem.count == 4
    assert "frames 1 to 11 of 12" in str(problem)
    assert check(replace(sound, train=late(sound.train))) == []


def test_seconds_that_do_not_go_with_their_frames(ava_root):
    data = datasets.ava.read(ava_root)
    (video,) = data.train
    slow = replace(video, timestamps=np.array([900, 901, 950]))
    found = {p.kind: p for p in check(replace(data, train=(slow,)))}
    assert "second 950 is 48.0 s away" in str(found["seconds-off"])


# --- labels ------------------------------------------------------------------------------------


def test_classes_and_parts_without_boxes(sound):
    sound.train[1].path.unlink()
    problem = only(check(replace(sound, train=sound.train[:1])), "empty-class", "warning")
    assert "1 of 2 classes have no box in the train part" in str(problem)
    assert problem.examples[0].found == "wave"
    for part, severity in (("train", "error"), ("test", "warning")):
        found = check(replace(sound, **{part: ()}), decode="nothing")
        assert ("empty-part", severity) in kinds(found)


def test_a_part_of_absent_videos_is_empty_if_they_are_skipped(sound):
    for annotation in sound.train:
        annotation.path.unlink()
    assert kinds(check(sound)) == [("absent-video", "error")]
    assert kinds(check(sound, missing="skip")) == [
        ("empty-part", "error"),
        ("absent-video", "warning"),
    ]


def relabelled(data: Dataset, change, names: tuple[str, ...]) -> Dataset:
    """Another list of classes, and every label through a function."""

    def changed(videos):
        return tuple(
            replace(
                v, num_classes=len(names), tracks=tuple(
                    replace(t, labels=np.eye(len(names), dtype=bool)[
                        [change(int(np.argmax(row))) for row in t.labels]
                    ])
                    for t in v.tracks
                )
            )
            for v in videos
        )  # fmt: skip

    return Dataset(
        name=data.name,
        classes=ActionClasses(names=names, ids=tuple(range(len(names))), exclusive=True),
        train=changed(data.train),
        test=changed(data.test),
        protocol="dense",
    )


def test_labels_that_count_from_one(sound):
    shifted = relabelled(sound, lambda label: label + 1, ("jump", "wave", "zip"))
    found = check(shifted)
    assert kinds(found) == [
        ("label-unlike-folder", "error"),
        ("empty-class", "warning"),
        ("empty-class", "warning"),
    ]
    assert found[0].count == 4
    assert "1 ahead of their folder's" in found[0].remedy
    assert "from 1 where 0 is read" in found[1].remedy


def test_a_single_wrong_label(sound):
    track = sound.train[0].tracks[0]
    changed = edited(sound, tracks=(replace(track, labels=track.labels[:, ::-1]),))
    found = {problem.kind: problem for problem in check(changed)}
    assert found["label-unlike-folder"].count == 1
    assert "jump/a: label 1 (wave)" in str(found["label-unlike-folder"])


def test_two_actions_where_one_is_meant(sound):
    track = sound.train[0].tracks[0]
    labels = track.labels.copy()
    labels[4:7] = True
    found = check(edited(sound, tracks=(replace(track, labels=labels),)))
    problem = next(p for p in found if p.kind == "several-actions")
    assert (problem.severity, problem.count, problem.examples[0].place) == ("error", 3, "frame 4")


# --- twice the same ----------------------------------------------------------------------------


def test_rows_that_stand_twice(ava_root):
    path = ava_root / "annotations" / "train.csv"
    path.write_text(path.read_text() + "one,0900,0.6,0.2,0.9,0.9,3,4\n")
    found = {p.kind: p for p in check(datasets.ava.read(ava_root), root=ava_root)}
    problem = found["repeated-row"]
    assert (problem.count, problem.examples[0].place) == (1, "row 6")
    assert "as row 3" in str(problem)
    assert problem.examples[0].path == path


def test_tubes_that_are_there_twice(sound):
    track = sound.train[0].tracks[0]
    again = edited(sound, tracks=(track, replace(track, actor=5)))
    problem = only(check(again), "repeated-tube", "warning")
    assert "actors 0 and 5 have the same 12 boxes" in str(problem)


def test_actors_with_the_same_box(sound):
    track = sound.train[0].tracks[0]
    other = Track(
        actor=1, frames=track.frames[4:6], boxes=track.boxes[4:6], labels=track.labels[4:6]
    )
    problem = only(check(edited(sound, tracks=(track, other))), "same-box", "warning")
    assert problem.examples[0].place == "frame 4"
    assert "actors 0 and 1 have the same box (and 1 others)" in str(problem)


def test_a_file_twice_in_a_part_is_a_copy_and_across_them_a_leak(sound):
    shutil.copy(sound.train[0].path, sound.test[0].path)
    problem = only(check(sound), "leaked-file", "error")
    assert problem.examples[0].found == "the same content as jump/a of the train part"
    shutil.copy(sound.train[0].path, sound.train[1].path)
    assert kinds(check(sound)) == [("leaked-file", "error"), ("repeated-file", "warning")]


def test_files_that_differ_in_the_middle_only_are_different(tmp_path, sound):
    one, other = sound.train[0].path, sound.test[0].path
    one.write_bytes(bytes(1 << 18))
    content = bytearray(1 << 18)
    content[1 << 17] = 1
    other.write_bytes(content)
    assert check(sound, decode="nothing") == []


# --- leaks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("video", "of"),
    [
        ("Biking/v_Biking_g08_c01", "Biking/v_Biking_g08"),
        ("aerobic_gymnastics/v_crsi07chcV8_c004", "aerobic_gymnastics/v_crsi07chcV8"),
        ("-5KQ66BBWC4_000010_000020", "-5KQ66BBWC4"),
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair/April_09_brush_hair"),
        ("jump/a", None),
        ("Diving-Side/001", None),
    ],
)
def test_names_that_tell_the_recording(video, of):
    assert recording(video) == of


def test_groups_that_are_in_both_parts(ucf24_root):
    (ucf24_root / "testlist01.txt").write_text("Diving/v_Diving_g01_c01\n")
    content = pickle.loads((ucf24_root / "pyannot.pkl").read_bytes())
    content["Diving/v_Diving_g01_c02"] = content["Diving/v_Diving_g08_c01"]
    (ucf24_root / "pyannot.pkl").write_bytes(pickle.dumps(content))
    data = datasets.ucf24.read(ucf24_root, missing="keep")
    found = {p.kind: p for p in check(data, decode="nothing", missing="skip")}
    assert found["leaked-recording"].severity == "error"
    assert "training video Diving/v_Diving_g01_c02" in str(found["leaked-recording"])


# --- how much there is -------------------------------------------------------------------------


def test_coverage_counts_videos_tracks_and_boxes(ava_root):
    data = datasets.ava.read(ava_root)
    walk, talk = coverage(data)
    assert (walk.name, talk.name) == ("walk", "talk")
    assert (walk.train.videos, walk.train.tracks, walk.train.boxes) == (1, 2, 2)
    assert (talk.train.videos, talk.train.tracks, talk.train.boxes) == (1, 1, 2)
    assert (walk.test.boxes, talk.test.boxes) == (1, 0)
    train, test = parts(data)
    assert (train.videos, train.frames, train.annotated_frames) == (1, 15, 3)
    assert (train.tracks, train.boxes, train.classes, test.classes) == (2, 3, 2, 1)
    data.test[0].path.unlink()
    assert [part.absent for part in parts(data)] == [0, 1]
    table = coverage_table(data).splitlines()
    assert table[1].split() == ["train", "1", "0", "15", "3", "2", "3", "2"]
    assert table[-2].split() == ["walk", "1", "2", "2", "1", "1", "1"]


# --- published data ----------------------------------------------------------------------------


def test_real_jhmdb_has_no_problem(real_jhmdb, real_data):
    """All but the decoding of every tenth video only."""
    assert check(real_jhmdb, decode="nothing", root=real_data / "jhmdb") == []
    some = replace(real_jhmdb, train=real_jhmdb.train[::10], test=real_jhmdb.test[::10])
    found = check(some)
    assert {problem.kind for problem in found} == {"file-without-annotation"}


def test_real_ucf24_has_two_tubes_twice(real_data):
    data = datasets.ucf24.read(real_data / "ucf24", missing="keep")
    empty, absent, twice = check(data, missing="skip", root=real_data / "ucf24")
    assert (empty.kind, empty.examples[0].found) == ("empty-part", "train, of 2,284 annotated")
    assert (absent.kind, absent.severity, absent.count) == ("absent-video", "warning", 3190)
    assert (twice.kind, twice.severity) == ("repeated-tube", "warning")
    assert [example.video for example in twice.examples] == [
        "CliffDiving/v_CliffDiving_g13_c02",
        "CricketBowling/v_CricketBowling_g02_c04",
    ]


def test_real_ucf_sports_and_ava_have_no_other_problem(real_data):
    sports = datasets.ucf_sports.read(real_data / "ucf_sports", missing="keep")
    found = check(sports, missing="skip", root=real_data / "ucf_sports")
    assert {problem.kind for problem in found} == {"empty-part", "absent-video"}
    path = real_data / "ava" / "ava_val_v2.1_pose.csv"
    poses = datasets.ava.read(
        path,
        label_map=real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt",
        missing="keep",
        size=(1000, 1000),
    )
    found = check(poses, missing="skip", root=path)
    assert kinds(found) == [
        ("empty-part", "error"),
        ("empty-part", "warning"),
        ("absent-video", "warning"),
        ("left-out", "warning"),
        ("empty-class", "warning"),
    ]
    assert "19 rows of actions that the label map does not name: 2" in str(found[3])
    assert found[4].count == 47  # the file holds poses only

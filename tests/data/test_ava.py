"""AVA: seconds to frames by presentation time, rows to actors, and every bad row named."""

import numpy as np
import pytest

from stad_data import VideoReader, VideoWriter, clips, truth_table
from stad_data.datasets import ava
from stad_data.datasets.ava_actors import merge
from stad_data.datasets.ava_layout import find_files, read_classes
from stad_eval import InputError, read_ava_csv


def write(root, name: str, text: str) -> None:
    (root / "annotations" / name).write_text(text)


def test_rows_of_a_person_merge_to_one_actor(ava_root):
    data = ava.read(ava_root)
    assert data.classes.names == ("walk", "talk")
    assert data.classes.ids == (3, 7)
    assert not data.classes.exclusive
    assert data.protocol == "keyframes"
    one = data.train[0]
    assert (one.video, one.num_frames, one.size, one.fps) == ("one", 15, (64, 48), 5)
    assert one.keyframes.tolist() == [0, 5, 10]
    assert one.timestamps.tolist() == [900, 901, 902]
    first = one.at(0)
    assert first.actors.tolist() == [0, 4]
    np.testing.assert_allclose(first.boxes[0], [6.4, 9.6, 32, 43.2])
    assert first.labels.tolist() == [[True, True], [True, False]]
    assert one.at(5).labels.tolist() == [[False, True]]
    assert [track.actor for track in one.tracks] == [0, 4]
    assert one.tracks[0].frames.tolist() == [0, 5]
    assert len(one.at(10)) == 0


def test_excluded_seconds_are_no_keyframes(ava_root):
    two = ava.read(ava_root).test[0]
    assert two.timestamps.tolist() == [901]
    assert two.keyframes.tolist() == [5]
    assert two.num_boxes == 1


def test_without_person_ids_the_same_box_is_the_same_actor(ava_root):
    text = (ava_root / "annotations" / "train.csv").read_text()
    write(ava_root, "train.csv", "\n".join(",".join(r.split(",")[:7]) for r in text.split()))
    one = ava.read(ava_root).train[0]
    assert one.at(0).labels.tolist() == [[True, True], [True, False]]
    assert sorted(len(track) for track in one.tracks) == [1, 1, 1]


def test_the_truth_agrees_with_the_csv(ava_root):
    data = ava.read(ava_root)
    ours = truth_table(data.train, data.classes, time="second")
    csv = read_ava_csv(
        ava_root / "annotations" / "train.csv",
        classes=ava_root / "annotations" / "label_map.pbtxt",
    )
    assert ours.classes == tuple(csv.classes)
    rows = np.lexsort((csv.label, csv.box[:, 0], csv.frame))
    mine = np.lexsort((ours.label, ours.box[:, 0], ours.frame))
    np.testing.assert_array_equal(ours.frame[mine], csv.frame[rows])
    np.testing.assert_array_equal(ours.label[mine], csv.label[rows])
    np.testing.assert_allclose(ours.box[mine], csv.box[rows] * [64, 48, 64, 48])
    assert sorted(ours.annotated.tolist()) == sorted(csv.annotated.tolist())


def test_frames_are_found_by_presentation_time(ava_root):
    """A video whose frames come every 0.2 s, then every 0.5 s: second 902 is frame 7, not 10."""
    times = [*np.arange(5) / 5, 1.0, 1.5, 2.0, 2.5]
    with VideoWriter(ava_root / "videos" / "one.mp4", size=(64, 48), fps=5) as writer:
        for time in times:
            writer.write(np.full((48, 64, 3), 40, np.uint8), time=time)
    one = ava.read(ava_root).train[0]
    assert one.keyframes.tolist() == [0, 5, 7]
    with VideoReader(one.path) as reader:
        np.testing.assert_allclose(reader.times[one.keyframes], [0, 1, 2], atol=1e-3)


def test_whole_films_begin_at_second_0(ava_root):
    write(ava_root, "train.csv", "one,0002,0.1,0.2,0.5,0.9,3,0\n")
    write(ava_root, "val.csv", "two,0000,0.1,0.2,0.5,0.9,3,0\n")
    data = ava.read(ava_root, first_second=0)
    assert data.train[0].keyframes.tolist() == [10]
    assert data.test[0].keyframes.tolist() == [0]


def test_clips_of_keyframes(ava_root):
    clip = clips.centred(ava.read(ava_root).train[0], 5, length=4, stride=1)
    assert clip.indices.tolist() == [3, 4, 5, 6]
    np.testing.assert_allclose(clip.boxes, [[12.8, 9.6, 38.4, 43.2]], rtol=1e-6)


def test_boxes_may_leave_the_frame_by_rounding(ava_root):
    write(ava_root, "train.csv", "one,0900,-0.001,0.2,1.001,1.0,3,0\n")
    np.testing.assert_allclose(ava.read(ava_root).train[0].at(0).boxes, [[0, 9.6, 64, 48]])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("one,0901,0.1,0.2,1.5,0.9,3,0", "outside the frame"),
        ("one,0901,10,20,40,30,3,0", "outside the frame"),
        ("one,0901,0.5,0.2,0.5,0.9,3,0", "no area"),
        ("one,0901,0.5,0.9,0.6,0.2,3,0", "no area"),
        ("one,0901,0.1,0.2,0.5,0.9,4,0", "unknown action_id"),
        ("one,0901,0.1,0.2,0.5,0.9,3", "without a person id"),
        ("one,0901,0.1,0.2,0.5,0.9,3,0.7", "bad person id"),
        ("one,0900,0.1,0.2,0.5,0.8,7,0", "person 0 has two boxes in second 900"),
        ("one,0903,0.1,0.2,0.5,0.9,3,0", "second 903 has no frame of its own"),
        ("one,0899,0.1,0.2,0.5,0.9,3,0", "second 899 has no frame of its own"),
        ("gone,0901,0.1,0.2,0.5,0.9,3,0", "1 of 2 annotated videos have no file"),
        ("one,901.5,0.1,0.2,0.5,0.9,3,0", "timestamp"),
        ("one,0901,0.1,0.2,nan,0.9,3,0", "x2"),
        ("one,0901,0.1,0.2,0.9", "columns"),
        ("one,0901,0.1,0.2,0.5,0.9,walk,0", "action_id"),
    ],
)
def test_bad_rows_are_named_with_file_and_row(ava_root, line, message):
    write(ava_root, "train.csv", f"one,0900,0.1,0.2,0.5,0.9,3,0\n{line}\n")
    with pytest.raises(InputError, match=message) as error:
        ava.read(ava_root)
    assert error.value.path.name == "train.csv"
    assert error.value.row == 2
    assert error.value.expected
    assert error.value.found


def test_absent_videos_can_be_skipped(ava_root):
    (ava_root / "videos" / "one.mp4").unlink()
    with pytest.raises(InputError, match=r"one\.mp4"):
        ava.read(ava_root)
    data = ava.read(ava_root, missing="skip")
    assert data.train == ()
    assert len(data.test) == 1


def test_a_damaged_video_is_named(ava_root):
    (ava_root / "videos" / "one.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"one\.mp4"):
        ava.read(ava_root)


def test_published_file_names_are_taken(ava_root):
    folder = ava_root / "annotations"
    (folder / "train.csv").rename(folder / "ava_train_v2.2.csv")
    (folder / "val.csv").rename(folder / "ava_val_v2.2.csv")
    (folder / "label_map.pbtxt").rename(folder / "ava_action_list_v2.2.pbtxt")
    (folder / "val_excluded_timestamps.csv").rename(folder / "ava_val_excluded_timestamps_v2.2.csv")
    (ava_root / "videos" / "one.mp4").rename(ava_root / "videos" / "one.mkv")
    data = ava.read(ava_root)
    assert data.train[0].path.name == "one.mkv"
    assert data.test[0].timestamps.tolist() == [901]


def test_two_files_for_one_purpose_are_refused(ava_root):
    folder = ava_root / "annotations"
    text = (folder / "label_map.pbtxt").read_text()
    write(ava_root, "ava_action_list_v2.2.pbtxt", text)
    with pytest.raises(InputError, match="more than one") as error:
        ava.read(ava_root)
    assert "ava_action_list_v2.2.pbtxt, label_map.pbtxt" in str(error.value)
    ava.read(ava_root, label_map=folder / "label_map.pbtxt")
    write(ava_root, "ava_train_v2.1.csv", "")
    with pytest.raises(InputError, match="more than one"):
        ava.read(ava_root, label_map=folder / "label_map.pbtxt")


@pytest.mark.parametrize("names", [("train.csv", "val.csv"), ("label_map.pbtxt",)])
def test_absent_files_are_named(ava_root, names):
    for name in names:
        (ava_root / "annotations" / name).unlink()
    with pytest.raises(InputError, match="no such annotation file") as error:
        ava.read(ava_root)
    assert names[0] in str(error.value)


@pytest.mark.parametrize(("name", "left"), [("train.csv", (0, 1)), ("val.csv", (1, 0))])
def test_one_part_alone_can_be_read(ava_root, name, left):
    (ava_root / "annotations" / name).unlink()
    data = ava.read(ava_root)
    assert (len(data.train), len(data.test)) == left


def test_an_empty_part_has_no_videos(ava_root):
    write(ava_root, "train.csv", "")
    data = ava.read(ava_root)
    assert data.train == ()
    assert data.test[0].at(5).labels.shape == (1, 2)


def test_the_short_label_map_of_ava_keeps_actors_of_other_actions(ava_root, real_data):
    folder = ava_root / "annotations"
    source = real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt"
    (folder / "label_map.pbtxt").write_text(source.read_text())
    write(ava_root, "train.csv", "one,0900,0.1,0.2,0.5,0.9,2,0\none,0901,0.1,0.2,0.5,0.9,12,0\n")
    data = ava.read(ava_root)
    assert data.protocol == "ava-v2.2"
    assert len(data.classes) == 60
    assert not data.train[0].at(0).labels.any()
    assert len(data.train[0].at(0)) == 1
    assert data.train[0].at(5).labels[0].tolist().index(True) == data.classes.index_of_id[12]


def test_real_rows_read_as_they_are(ava_root, real_data):
    """The first rows of AVA v2.2's validation file, on a video long enough for their seconds."""
    folder = ava_root / "annotations"
    source = real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt"
    (folder / "label_map.pbtxt").write_text(source.read_text())
    text = (real_data / "ava" / "v2.2_excerpt" / "head_verbatim.csv").read_text()
    write(ava_root, "train.csv", text)
    with VideoWriter(ava_root / "videos" / "1j20qq1JyX4.mp4", size=(64, 48), fps=2) as writer:
        for _ in range(20):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    data = ava.read(ava_root)
    video = data.train[0]
    rows = [line.split(",") for line in text.split()]
    assert video.timestamps.tolist() == sorted({int(row[1]) for row in rows})
    assert video.keyframes.tolist() == [2 * (second - 900) for second in video.timestamps]
    assert video.num_boxes == len({(row[1], row[7]) for row in rows})
    table = truth_table([video], data.classes)
    assert len(table) == sum(int(row[6]) in data.classes.ids for row in rows)
    assert video.at(4).actors.tolist() == [0, 1]
    np.testing.assert_allclose(video.at(4).boxes[1], [0.128, 5.664, 45.696, 46.896])


def test_all_of_a_real_pose_file_merges(real_data):
    """93,400 rows without person ids; every row is one box with one label."""
    rows = ava.read_ava_rows(real_data / "ava" / "ava_val_v2.1_pose.csv")
    path = real_data / "ava" / "ava_val_v2.1_pose.csv"
    classes, known = read_classes(find_files(path, names={}, label_map=None), rows.videos)
    assert len(classes) == 60
    actors = merge(rows, path, classes, known)
    assert len(rows.row) == 93_400
    assert len(rows.videos) == 64
    table = np.column_stack([rows.video, rows.timestamp, rows.box, rows.action])
    assert len(actors.row) == len(np.unique(table[:, :-1], axis=0))
    listed = np.isin(rows.action, classes.ids)
    assert actors.labels.sum() == len(np.unique(table[listed], axis=0))

"""AVA's other files: one CSV, absent videos, Kinetics clips, proposals, lists of names."""

import pickle

import numpy as np
import pytest

from stad_data.datasets import ava, ava_kinetics
from stad_data.datasets.proposals import read_proposals
from stad_eval import InputError
from stad_eval.formats.ava_csv import read_ava_rows

ROWS = (
    "one,0902,0.1,0.2,0.5,0.9,3,0\none,0902,0.1,0.2,0.5,0.9,7,0\none,0903,0.2,0.2,0.6,0.9,7,0\n"
    "one,0904\n"
)


@pytest.fixture
def one_csv(tmp_path):
    (tmp_path / "label_map.txt").write_text("3: walk\n7: talk\n")
    path = tmp_path / "excerpt.csv"
    path.write_text(ROWS)
    return path


def test_a_single_file_without_videos(one_csv):
    data = ava.read(one_csv, missing="keep", size=(200, 100), fps=10)
    assert data.train == ()
    (one,) = data.test
    assert one.path == one_csv.parent / "videos" / "one.mp4"
    assert (one.size, one.fps, one.num_frames) == ((200, 100), 10, 41)
    assert one.keyframes.tolist() == [20, 30, 40]
    assert one.timestamps.tolist() == [902, 903, 904]
    np.testing.assert_allclose(one.tracks[0].boxes, [[20, 20, 100, 90], [40, 20, 120, 90]])
    assert one.tracks[0].labels.tolist() == [[True, True], [False, True]]
    training = one_csv.rename(one_csv.with_name("ava_train_v9.csv"))
    assert len(ava.read(training, missing="keep", size=(2, 1)).train) == 1


def test_the_second_column_can_count_frames(one_csv):
    (one,) = ava.read(one_csv, missing="keep", size=(200, 100), time="frame").test
    assert one.keyframes.tolist() == [902, 903, 904]
    assert one.timestamps is None


def test_a_size_is_needed_where_no_video_is(one_csv):
    with pytest.raises(InputError, match=r"frame size of video 'one'.*--size") as error:
        ava.read(one_csv, missing="keep")
    assert error.value.path == one_csv
    with pytest.raises(InputError, match="have no file"):
        ava.read(one_csv)
    assert ava.read(one_csv, missing="skip").test == ()
    with pytest.raises(InputError, match='"refuse", "skip" or "keep"'):
        ava.read(one_csv, missing="ignore")


def test_seconds_before_the_beginning_are_refused(one_csv):
    with pytest.raises(InputError, match="second 902 has no frame") as error:
        ava.read(one_csv, missing="keep", size=(2, 1), first_second=903)
    assert error.value.row == 1


def test_videos_that_are_there_are_read_by_frames_too(ava_root):
    (ava_root / "annotations" / "train.csv").write_text("one,0000,0.1,0.2,0.5,0.9,3,0\none,14\n")
    (ava_root / "annotations" / "val.csv").write_text("two,15,0.1,0.2,0.5,0.9,3,0\n")
    with pytest.raises(InputError, match="frame 15 has no frame of its own") as error:
        ava.read(ava_root, time="frame")
    assert error.value.row == 1
    (ava_root / "annotations" / "val.csv").write_text("two,14,0.1,0.2,0.5,0.9,3,0\n")
    data = ava.read(ava_root, time="frame")
    assert data.train[0].keyframes.tolist() == [0, 14]
    assert (data.train[0].size, data.train[0].num_frames) == ((64, 48), 15)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("video,width\n", 1),
        ("", 1),
        ("{head}\none,200,100,10,25,900\n", 2),
        ("{head}\none,200,100,10,25,900,hour\n", 2),
        ("{head}\none,0,100,10,25,900,second\n", 2),
        ("{head}\none,200,100,10,nan,900,second\n", 2),
        ('{head}\none,200,100,10,25,900,"second\n', None),
    ],
)
def test_bad_tables_of_sizes_are_named(one_csv, text, row):
    head = "video,width,height,num_frames,fps,first_second,time"
    path = one_csv.parent / "video_sizes.csv"
    path.write_text(text.replace("{head}", head))
    with pytest.raises(InputError) as error:
        ava.read(one_csv, missing="keep")
    assert (error.value.path, error.value.row) == (path, row)


@pytest.fixture
def kinetics_root(tmp_path, put_video):
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "map.pbtxt").write_text('item {\n name: "walk"\n id: 3\n}\n')
    (folder / "kinetics_train_v1.0.csv").write_text(
        "abc_d,13.2,0.1,0.2,0.5,0.9,3\nabc_d,13.2,0.6,0.2,0.9,0.9,80\nempty,3.0,,,,,\n"
    )
    (folder / "kinetics_val_v1.0.csv").write_text("plain,1,0.1,0.2,0.5,0.9,3\nplain,2\n")
    put_video(tmp_path / "videos" / "abc_d_000012_000022.mp4", number=0, frames=15)
    put_video(tmp_path / "videos" / "empty.mp4", number=1, frames=20)
    put_video(tmp_path / "videos" / "plain.mp4", number=2, frames=15)
    return tmp_path


def test_kinetics_clips_begin_where_their_names_say(kinetics_root):
    data = ava_kinetics.read(kinetics_root)
    cut, empty = data.train
    assert (cut.video, cut.keyframes.tolist()) == ("abc_d", [6])
    assert cut.at(6).labels.tolist() == [[True], [False]]
    assert cut.timestamps is None
    assert (empty.keyframes.tolist(), empty.num_boxes) == ([15], 0)
    assert data.test[0].keyframes.tolist() == [5, 10]
    assert data.protocol == "keyframes"


def test_kinetics_clips_without_files(kinetics_root):
    for path in (kinetics_root / "videos").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="2 of 2 annotated videos have no file"):
        ava_kinetics.read(kinetics_root)
    data = ava_kinetics.read(kinetics_root, missing="keep", size=(200, 100), fps=10)
    assert data.train[0].keyframes.tolist() == [50]
    assert data.test[0].keyframes.tolist() == [10, 20]
    with pytest.raises(InputError, match="frame size"):
        ava_kinetics.read(kinetics_root, missing="keep")


@pytest.mark.parametrize(
    "line",
    [
        "a,1,0.1,0.2,0.5,0.9",
        "a,1,0.1,0.2,0.5,0.9,3,0",
        "a,x,0.1,0.2,0.5,0.9,3",
        "a,1,0.1,0.2,nan,0.9,3",
        "a,-1,0.1,0.2,0.5,0.9,3",
        "a,1,0.1,0.2,0.5,0.9,3.5",
        ",1,0.1,0.2,0.5,0.9,3",
        "a",
        'a,"1',
    ],
)
def test_bad_kinetics_rows_are_named(tmp_path, line):
    path = tmp_path / "rows.csv"
    path.write_text(f"a,1,0.1,0.2,0.5,0.9,3\n{line}\n")
    with pytest.raises(InputError) as error:
        ava_kinetics.read_rows(path)
    assert (error.value.path, error.value.row) == (path, 2)


def test_kinetics_files_are_looked_for(kinetics_root):
    folder = kinetics_root / "annotations"
    (folder / "other.pbtxt").write_text('item {\n name: "walk"\n id: 3\n}\n')
    with pytest.raises(InputError, match=r"more than one annotation file.*map\.pbtxt"):
        ava_kinetics.read(kinetics_root)
    assert len(ava_kinetics.read(kinetics_root, label_map=folder / "map.pbtxt").train) == 2
    one = ava_kinetics.read(
        folder / "kinetics_val_v1.0.csv", label_map=folder / "map.pbtxt", missing="keep"
    )
    assert (one.train, [video.video for video in one.test]) == ((), ["plain"])
    assert one.test[0].keyframes.tolist() == [5, 10]
    (folder / "kinetics_val_v1.0.csv").unlink()
    assert ava_kinetics.read(kinetics_root, label_map=folder / "map.pbtxt").test == ()
    (folder / "kinetics_train_v1.0.csv").unlink()
    with pytest.raises(InputError, match=r"expected one file named kinetics_train\.csv"):
        ava_kinetics.read(kinetics_root, label_map=folder / "map.pbtxt")


def test_kinetics_needs_a_label_map(kinetics_root):
    (kinetics_root / "annotations" / "map.pbtxt").unlink()
    with pytest.raises(InputError, match=r"a label map.*--labels"):
        ava_kinetics.read(kinetics_root)


AVA_ROWS = "1j20qq1JyX4,0902,0.1,0.2,0.5,0.9,12,0\n1j20qq1JyX4,0903,0.1,0.2,0.5,0.9,2,0\n"


def place(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_csv", ".csv").replace("_pbtxt", ".pbtxt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


NO_SIZES = "video,width,height,num_frames,fps,first_second,time\n"
SHORT_MAP = 'item {\n name: "stand"\n id: 12\n}\nitem {\n name: "crawl"\n id: 2\n}\n'


@pytest.mark.parametrize(
    "files",
    [
        {"annotations__val_csv": AVA_ROWS, "annotations__label_map_pbtxt": SHORT_MAP},
        {"annotations__val_csv": AVA_ROWS, "label_map_pbtxt": SHORT_MAP},
        {"val_csv": AVA_ROWS, "label_map_pbtxt": SHORT_MAP},
        {"rows_csv": AVA_ROWS, "label_map_pbtxt": SHORT_MAP, "video_sizes_csv": NO_SIZES},
        {"annotations__ava_val_v2.2_csv": AVA_ROWS},
    ],
)
def test_where_the_files_of_ava_may_lie(tmp_path, files):
    data = ava.read(place(tmp_path, **files), missing="keep", size=(200, 100))
    assert data.train == ()
    (video,) = data.test
    assert video.path == tmp_path / "videos" / "1j20qq1JyX4.mp4"
    found = [data.classes.names[at] for at in video.table.labels.argmax(axis=1)]
    assert found == ["stand", "crawl"]
    assert data.left_out == ()


def test_several_files_of_unknown_names_are_listed(tmp_path):
    place(tmp_path, a_csv=AVA_ROWS, b_csv=AVA_ROWS)
    with pytest.raises(InputError, match=r"a\.csv, b\.csv.*name the CSV file itself"):
        ava.read(tmp_path, missing="keep", size=(200, 100))


def test_what_a_short_label_map_does_not_name_is_told(tmp_path, real_data):
    short = real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt"
    path = place(tmp_path, val_csv=AVA_ROWS) / "val.csv"
    data = ava.read(path, label_map=short, missing="keep", size=(200, 100))
    assert data.left_out == ("1 rows of actions that the label map does not name: 2",)
    assert data.test[0].num_boxes == 2


def test_the_published_names_of_all_actions(real_data):
    from stad_data.datasets.class_lists import read_class_list
    from stad_eval.class_lists import AVA

    published = read_class_list(real_data / "ava" / "ava_action_list_v2.0.csv")
    assert (tuple(published), published.ids) == (AVA, tuple(range(1, 81)))


def test_proposals(tmp_path):
    path = tmp_path / "p.pkl"
    boxes = np.array([[0.1, 0.2, 0.5, 0.9, 0.75], [0.0, 0.0, 1.0, 1.0, 0.5]])
    path.write_bytes(pickle.dumps({"a,b,0902": boxes, "c,0003": np.zeros((0, 5))}))
    found = read_proposals(path)
    assert found.videos == ("a,b", "c")
    assert found.frame.tolist() == [902, 902]
    np.testing.assert_array_equal(found.box, boxes[:, :4])
    assert found.score.tolist() == [0.75, 0.5]


@pytest.mark.parametrize(
    "content",
    [
        {"a": np.zeros((1, 5))},
        {"a,x": np.zeros((1, 5))},
        {3: np.zeros((1, 5))},
        {"a,1": np.zeros((1, 4))},
        {"a,1": [["x"] * 5]},
        {"a,1": np.array([[0.1, 0.2, 50, 90, 0.5]])},
        {"a,1": np.array([[0.5, 0.2, 0.1, 0.9, 0.5]])},
        {"a,1": np.array([[0.1, 0.2, np.nan, 0.9, 0.5]])},
        [1, 2],
    ],
)
def test_bad_proposals_are_named(tmp_path, content):
    path = tmp_path / "p.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError) as error:
        read_proposals(path)
    assert error.value.path == path


def test_lists_of_file_names(tmp_path, real_data):
    names = ava.read_file_names(real_data / "ava/ava_file_names_trainval_v2.1.txt")
    assert len(names) == 299
    assert next(iter(names.values())) == "_-Z6wFjXtGQ.mkv"
    assert list(names)[-1] == "ZxQn8HVmXsY"
    test = ava.read_file_names(real_data / "ava/ava_file_names_test_v2.1.txt")
    assert len(test) == 131
    assert (next(iter(test)), list(test.values())[-1]) == ("--205wugM18", "zvxnOrzTg0M.mp4")
    assert not set(names) & set(test)


@pytest.mark.parametrize("line", ["b", "a.mkv", "a.mp4", "b.mp4,1", ".mp4"])
def test_bad_lists_of_file_names_are_named(tmp_path, line):
    path = tmp_path / "names.txt"
    path.write_text(f"a.mp4\n{line}\n")
    with pytest.raises(InputError) as error:
        ava.read_file_names(path)
    assert (error.value.path, error.value.row) == (path, 2)


def test_the_real_pose_rows(real_data):
    path = real_data / "ava/ava_val_v2.1_pose.csv"
    rows = read_ava_rows(path)
    assert len(rows.row) == 93_400
    assert len(rows.videos) == 64
    assert set(rows.action.tolist()) == set(range(1, 15))
    same_video = np.diff(rows.video) == 0
    assert same_video.sum() == 93_400 - 64
    assert (np.diff(rows.action)[same_video] >= 0).all()
    assert np.isnan(rows.eighth).all()
    first, last = 0, -1
    assert rows.videos[rows.video[first]] == "_7oWZq_s_Sk"
    assert (rows.timestamp[first], rows.action[first]) == (1636, 1)
    assert rows.box[first].tolist() == [0.015, 0, 0.336, 0.996]
    assert rows.videos[rows.video[last]] == "ZosVdkY76FU"
    assert (rows.timestamp[last], rows.action[last]) == (1797, 14)
    assert rows.box[last].tolist() == [0.423, 0.501, 0.522, 0.772]
    assert not path.read_bytes().endswith(b"\n")


def test_real_excerpts_of_v22(real_data):
    folder = real_data / "ava"
    labels = folder / "ava_action_list_v2.1_for_activitynet_2018.pbtxt"
    boxes = 0
    for name, rows in (("head", 15), ("tail", 28)):
        path = folder / f"v2.2_excerpt/{name}_verbatim.csv"
        assert len(read_ava_rows(path).row) == rows
        data = ava.read(path, label_map=labels, missing="keep", size=(1000, 1000))
        assert data.protocol == "ava-v2.2"
        boxes += sum(int(t.labels.sum()) for v in data.test for t in v.tracks)
    assert boxes == 43
    head = folder / "v2.2_excerpt/head_verbatim.csv"
    (video,) = ava.read(head, label_map=labels, missing="keep", size=(1000, 1000)).test
    assert video.video == "1j20qq1JyX4"
    assert video.timestamps.tolist() == [902, 903, 904, 905, 906]
    assert video.keyframes.tolist() == [60, 90, 120, 150, 180]
    first = next(t for t in video.tracks if t.actor == 1)
    np.testing.assert_allclose(first.boxes[0], [2, 118, 714, 977])
    assert len(video.at(60)) == 2


def test_real_samples(real_data):
    folder = real_data / "ava/samples"
    ground_truth = folder / "eval_detection/gt.csv"
    data = ava.read(ground_truth, missing="keep", size=(100, 100))
    assert len(data.test) == 3
    assert sum(video.num_boxes for video in data.test) == 12
    assert data.classes.names == ("action1", "action2", "action3")
    found = read_proposals(folder / "ava_dataset/ava_proposals_sample.pkl")
    assert found.videos == ("0f39OWEqJ24", "_-Z6wFjXtGQ")
    assert found.frame.tolist() == [902, 903, 902, 902, 902]
    np.testing.assert_allclose(found.box[0], [0.011, 0.157, 0.655, 0.983])
    assert found.score[0] == pytest.approx(0.998163)
    sports = read_proposals(real_data / "multisports/multisports_proposals_sample.pkl")
    assert sports.videos[0] == "aerobic_gymnastics/v_aqMgwPExjD0_c001.mp4"
    assert sports.frame[0] == 377


def test_damaged_rows_never_escape(one_csv, kinetics_root, survives):
    def read_one():
        return ava.read(one_csv, missing="keep", size=(200, 100))

    assert survives(one_csv, read_one) > 100
    rows = kinetics_root / "annotations" / "kinetics_val_v1.0.csv"
    refused = survives(
        rows, lambda: ava_kinetics.read(kinetics_root, missing="keep", size=(9, 9)), 100
    )
    assert refused > 30


def test_damaged_proposals_never_escape(tmp_path, survives):
    path = tmp_path / "p.pkl"
    path.write_bytes(pickle.dumps({"a,0902": np.full((3, 5), 0.5)}))
    assert survives(path, lambda: read_proposals(path)) > 100

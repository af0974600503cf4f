"""MultiSports and ACT: tubes in a pickle, and MultiSports' CSV."""

import pickle

import numpy as np
import pytest

from stad_data.datasets import act, multisports
from stad_eval import InputError, read_act_truth
from stad_eval.class_lists import MULTISPORTS

TUBES = "gttubes['sport/a']"


def content() -> dict:
    tube = np.array([[3, 10, 20, 30, 40], [4, 11, 21, 31, 41]], np.float32)
    return {
        "labels": ["run", "jump"],
        "train_videos": [["sport/a"], ["sport/b"]],
        "test_videos": [["sport/b"], ["sport/a"]],
        "nframes": {"sport/a": 5, "sport/b": 4},
        "resolution": {"sport/a": (48, 64), "sport/b": (48, 64)},
        "gttubes": {"sport/a": {0: [tube], 1: [tube, tube[:1]]}, "sport/b": {}},
    }


@pytest.fixture
def ground_truth(tmp_path):
    path = tmp_path / "trainval" / "multisports_GT.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(content()))
    return path


def test_tubes_become_actors(ground_truth, put_video):
    data = multisports.read(ground_truth.parent.parent, missing="keep")
    (video,) = data.train
    assert (video.video, video.num_frames, video.size, video.fps) == ("sport/a", 5, (64, 48), 25)
    assert [track.actor for track in video.tracks] == [0, 1, 2]
    assert [int(np.argmax(track.labels[0])) for track in video.tracks] == [0, 1, 1]
    assert video.tracks[0].frames.tolist() == [2, 3]
    assert video.tracks[0].boxes[0].tolist() == [10, 20, 30, 40]
    assert data.test[0].tracks == ()
    assert data.test[0].num_classes == 2
    assert multisports.read(ground_truth, split=2, missing="keep").test[0].video == "sport/a"
    with pytest.raises(InputError, match="2 of 2 annotated videos have no file"):
        multisports.read(ground_truth)
    put_video(ground_truth.parent / "sport" / "a.mp4", number=0)
    assert len(multisports.read(ground_truth, missing="skip").train) == 1


@pytest.mark.parametrize(
    ("options", "box"),
    [
        ({}, [10, 20, 30, 40]),
        ({"corners": "half-open"}, [10, 20, 30, 40]),
        ({"corners": "inclusive"}, [10, 20, 31, 41]),
        ({"corners": "one-based"}, [9, 19, 30, 40]),
    ],
)
def test_act_says_what_corners_are_as_stad_eval_does(ground_truth, options, box):
    (video,) = act.read(ground_truth, missing="keep", **options).train
    assert video.tracks[0].boxes[0].tolist() == box
    assert video.tracks[0].frames.tolist() == [2, 3]
    scored = read_act_truth(ground_truth, part="train", **options).tubes
    for tube, track in zip(scored, video.tracks, strict=True):
        np.testing.assert_array_equal(tube.boxes, track.boxes)
        np.testing.assert_array_equal(tube.frames, track.frames)


def test_act_takes_a_folder_and_refuses_other_corners(ground_truth):
    assert act.read(ground_truth.parent, missing="keep").name == "multisports_GT"
    with pytest.raises(InputError, match="half-open, inclusive, one-based"):
        act.read(ground_truth, missing="keep", corners="two-based")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda c: c.pop("labels"), None),
        (lambda c: c["labels"].append("run"), "labels"),
        (lambda c: c["train_videos"][0].append("sport/a"), "train_videos[0]"),
        (lambda c: c["train_videos"][0].append("sport/b"), "test_videos[0]"),
        (lambda c: c["train_videos"][0].append("sport/c"), "gttubes"),
        (lambda c: c["nframes"].update({"sport/a": 3}), f"{TUBES}[0][0]"),
        (lambda c: c["nframes"].update({"sport/a": "3"}), "nframes['sport/a']"),
        (lambda c: c["nframes"].update({"sport/a": 0}), f"{TUBES}[0][0]"),
        (lambda c: c["nframes"].update({"sport/b": 0}), "sport/b"),
        (lambda c: c["resolution"].update({"sport/a": (48,)}), "resolution['sport/a']"),
        (lambda c: c["gttubes"]["sport/a"].update({2: []}), f"{TUBES}[2]"),
        (lambda c: c["gttubes"]["sport/a"].update({"0": []}), f"{TUBES}['0']"),
        (lambda c: c["gttubes"]["sport/a"].update({0: [np.ones((1, 4))]}), f"{TUBES}[0][0]"),
        (lambda c: c["gttubes"]["sport/a"].update({0: [np.ones((1, 5))]}), f"{TUBES}[0][0]"),
        (lambda c: c["gttubes"]["sport/a"].update({0: 7}), f"{TUBES}[0]"),
    ],
)
def test_contradictions_are_named(ground_truth, change, place):
    changed = content()
    change(changed)
    ground_truth.write_bytes(pickle.dumps(changed))
    with pytest.raises(InputError) as error:
        multisports.read(ground_truth, missing="keep")
    assert (error.value.path, error.value.row) == (ground_truth, place)


def test_splits_and_files_are_named(ground_truth, tmp_path):
    with pytest.raises(InputError, match="no such split: expected 1 to 2, found 3"):
        multisports.read(ground_truth, split=3, missing="keep")
    with pytest.raises(InputError, match="no ground-truth pickle"):
        multisports.read(tmp_path / "trainval" / "none")
    with pytest.raises(InputError, match="no pickle"):
        act.read(tmp_path)
    (ground_truth.parent / "other_gt.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="more than one ground-truth pickle"):
        multisports.read(tmp_path)
    with pytest.raises(InputError, match="more than one pickle"):
        act.read(ground_truth.parent)


ROWS = (
    "sport/a.mp4,3,0.1,0.2,0.5,0.9,1,0\nsport/a.mp4,2,0.1,0.2,0.5,0.9,1,0\n"
    "sport/a.mp4,3,0.1,0.2,0.5,0.9,0,0\nsport/a.mp4,3,0.3,0.2,0.5,0.9,1,1"
)


def test_the_csv_numbers_tubes_within_a_label(tmp_path, put_video):
    path = tmp_path / "multisports_val.csv"
    path.write_text(ROWS)
    data = multisports.read_csv(path, labels=("run", "jump"), missing="keep", size=(100, 100))
    (video,) = data.test
    assert [t.frames.tolist() for t in video.tracks] == [[2], [1, 2], [2]]
    assert [int(np.argmax(t.labels[0])) for t in video.tracks] == [0, 1, 1]
    np.testing.assert_allclose(video.tracks[1].boxes[0], [10, 20, 50, 90])
    with pytest.raises(InputError, match="frame size of video"):
        multisports.read_csv(path, labels=("run", "jump"), missing="keep")
    put_video(tmp_path / "sport" / "a.mp4", number=0)
    (video,) = multisports.read_csv(path, labels=("run", "jump")).test
    assert (video.size, video.num_frames) == ((64, 48), 12)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("sport/a.mp4,3,0.1,0.2,0.5,0.9,2,0", 2),
        ("sport/a.mp4,0,0.1,0.2,0.5,0.9,1,0", 2),
        ("sport/a.mp4,3,0.1,0.2,0.1,0.9,1,0", 2),
        ("sport/a.mp4,3,10,20,50,90,1,0", 2),
        ("sport/a.mp4,9,0.1,0.2,0.5,0.9,1,0", 1),
        ("sport/a.mp4,3,0.1,0.2,0.5,0.9,1", None),
        ("sport/a.mp4,3", None),
    ],
)
def test_bad_rows_are_named(tmp_path, line, row):
    path = tmp_path / "train.csv"
    path.write_text(f"sport/a.mp4,9,0.1,0.2,0.5,0.9,1,0\n{line}\n")
    with pytest.raises(InputError) as error:
        multisports.read_csv(path, labels=("run", "jump"), missing="keep", size=(100, 100))
    assert (error.value.path, error.value.row) == (path, row)


def test_damaged_files_never_escape(ground_truth, tmp_path, survives):
    assert survives(ground_truth, lambda: multisports.read(ground_truth, missing="keep")) > 100
    path = tmp_path / "train.csv"
    path.write_text(ROWS)
    refused = survives(
        path, lambda: multisports.read_csv(path, labels=("a", "b"), missing="keep", size=(9, 9))
    )
    assert refused > 100


def test_the_real_sample(real_data):
    folder = real_data / "multisports"
    data = multisports.read(folder, missing="keep")
    assert data.classes.names == MULTISPORTS
    assert len(data.classes) == 66
    assert data.protocol == "multisports"
    assert data.train == ()
    (video,) = data.test
    assert video.video == "aerobic_gymnastics/v_crsi07chcV8_c004"
    assert (len(video.tracks), video.num_boxes) == (8, 224)
    assert (video.num_frames, video.size) == (725, (1280, 720))
    first = video.tracks[0]
    assert data.classes.names[int(np.argmax(first.labels[0]))] == "aerobic bent leg(s) jump"
    assert (first.frames[0], first.frames[-1], len(first)) == (287, 307, 21)
    assert first.boxes[0].tolist() == [562, 361, 656, 600]
    assert first.boxes[-1].tolist() == [594, 330, 719, 591]
    rows = multisports.read_csv(folder / "multisports_sample.csv", missing="keep", size=(1280, 720))
    one, other = rows.test
    assert (one.num_boxes, other.num_boxes) == (4, 5)
    assert one.tracks[0].frames.tolist() == [376, 377, 378, 379]
    assert rows.classes.names[int(np.argmax(one.tracks[0].labels[0]))] == "aerobic pike jump"
    labels = folder / "label_map.txt"
    named = multisports.read_csv(
        folder / "multisports_sample.csv", labels=labels, missing="keep", size=(2, 2)
    )
    assert named.classes.names[0] == "aerobic_push_up"

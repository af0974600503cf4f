import pickle
import re

import numpy as np
import pytest

from stad_eval import InputError, read_tubelets

NAMES = {"videos": ("a/v", "w"), "classes": ("walk", "run")}
K = 2
ROW = [10, 20, 30, 40, 11, 21, 31, 41, 0.5]
OTHER = [50, 20, 70, 40, 51, 21, 71, 41, 0.25]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))


@pytest.fixture
def moc(tmp_path):
    empty = np.empty((0, 4 * K + 1), dtype=np.float32)
    first = {1: np.array([ROW, OTHER], dtype=np.float32), 2: empty}
    write(tmp_path / "a" / "v" / "00001.pkl", first)
    write(tmp_path / "a" / "v" / "00002.pkl", {1: empty, 2: np.array([ROW])})
    write(tmp_path / "w" / "00001.pkl", {1: empty, 2: empty})
    return tmp_path


def test_files_of_moc(moc):
    files = read_tubelets(moc, **NAMES, frame_counts={"a/v": 3, "w": 2})
    table = files.linked
    assert files.framed.box.tolist() == table.box.tolist()
    assert (len(table), table.length) == (3, 2)
    assert table.start.tolist() == [0, 0, 1]
    assert table.label.tolist() == [0, 0, 1]
    assert table.video.tolist() == [0, 0, 0]
    assert table.score.tolist() == [0.5, 0.25, 0.5]
    assert table.box[0].tolist() == [ROW[:4], ROW[4:8]]


def test_a_missing_file_is_named(moc):
    with pytest.raises(InputError, match=r"1 file\(s\) of tubelets are missing.*00003.pkl"):
        read_tubelets(moc, **NAMES, frame_counts={"a/v": 4})
    assert len(read_tubelets(moc, **NAMES).linked) == 3  # unless nobody knows how many there are
    with pytest.raises(InputError, match="no tubelets of a video"):
        read_tubelets(moc, videos=("x",), classes=NAMES["classes"])


def test_no_tubelets_at_all(tmp_path):
    write(tmp_path / "w" / "00001.pkl", {1: np.empty((0, 9))})
    files = read_tubelets(tmp_path, videos=("w",), classes=("walk",), frame_counts={"w": 9})
    assert len(files.linked) == 0


def test_files_of_act(tmp_path):
    # For frames: class, score, boxes. For linking: boxes, then scores of background and classes.
    best = np.array([[1, 0.9, *ROW[:8]]])
    every = np.array([[*ROW[:8], 0.1, 0.2, 0.7], [*OTHER[:8], 0.8, 0.1, 0.1]])
    write(tmp_path / "w" / "00001.pkl", (best, every))
    write(tmp_path / "w" / "00002.pkl", (np.empty((0, 10)), np.empty((0, 11))))
    files = read_tubelets(tmp_path, videos=("w",), classes=NAMES["classes"])
    assert files.linked.label.tolist() == [0, 0, 1, 1]
    assert files.linked.score.tolist() == [0.2, 0.1, 0.7, 0.1]
    assert files.framed.label.tolist() == [1]
    assert files.framed.score.tolist() == [0.9]
    assert files.framed.box[0].tolist() == [ROW[:4], ROW[4:8]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2, 3], "a pair"),
        ((np.zeros((1, 3)), np.zeros((1, 11))), "a pair"),
        ((np.zeros((1, 10)), np.zeros((1, 10))), "a pair"),
        ("text", "not tubelets"),
        ({0: np.zeros((1, 9))}, "no such class"),
        ({"1": np.zeros((1, 9))}, "no such class"),
        ({1: np.zeros((1, 8))}, "not tubelets"),
        ({1: np.zeros((1, 9)), 2: np.zeros((1, 5))}, "tubelets differ in length"),
        ({1: np.full((1, 9), np.nan)}, "not all finite"),
        ({1: "rows"}, "not tubelets"),
    ],
)
def test_other_content_is_refused(tmp_path, content, text):
    path = tmp_path / "w" / "00001.pkl"
    write(path, content)
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        read_tubelets(tmp_path, videos=("w",), classes=NAMES["classes"])
    assert caught.value.path == path


def test_frames_count_from_1(tmp_path):
    write(tmp_path / "w" / "00000.pkl", {1: np.array([ROW])})
    with pytest.raises(InputError, match="count from 1"):
        read_tubelets(tmp_path, videos=("w",), classes=("walk",))


def test_npz(tmp_path):
    path = tmp_path / "tubelets.npz"
    rows = np.array([[0, 1, 0, *ROW], [1, 5, 1, *OTHER]])
    np.savez(path, rows=rows, videos=np.array(NAMES["videos"]))
    table = read_tubelets(path, **NAMES).linked
    assert table.start.tolist() == [0, 4]
    assert table.score.tolist() == [0.5, 0.25]
    with pytest.raises(InputError, match="not those of the ground truth"):
        read_tubelets(path, videos=("w", "a/v"), classes=NAMES["classes"])
    bad = {
        "bad video": np.array([[2, 1, 0, *ROW]]),
        "bad frame": np.array([[0, 0, 0, *ROW]]),
        "bad class": np.array([[0, 1, 0.5, *ROW]]),
        "not rows of tubelets": rows[:, :-1],
        "not finite": np.array([[0, 1, 0, *ROW[:-1], np.nan]]),
    }
    for text, array in bad.items():
        np.savez(path, rows=array)
        with pytest.raises(InputError, match=text):
            read_tubelets(path, **NAMES)


def test_what_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_tubelets(tmp_path / "none", **NAMES)
    (tmp_path / "file.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="not tubelets"):
        read_tubelets(tmp_path / "file.pkl", **NAMES)

import json
import pickle

import numpy as np
import pytest

from stad_eval import InputError, frame_map, read_act_truth, read_frame_rows, write_frame_rows

ROW = [1, 5, 0, 0.5, 10, 20, 30, 40]
NAMES = {"videos": ("a", "b"), "classes": ("walk", "run")}


@pytest.fixture
def saved(tmp_path):
    def save(rows, name="dets.pkl", **more):
        path = tmp_path / name
        if path.suffix == ".npz":
            np.savez(path, dets=rows, **more)
        else:
            path.write_bytes(pickle.dumps(rows))
        return path

    return save


@pytest.mark.parametrize("name", ["dets.pkl", "dets.npz"])
def test_rows(saved, tmp_path, name):
    rows = np.array([ROW, [0, 1, 1, 0.25, 1, 2, 3.5, 4]], dtype=np.float32)
    found = read_frame_rows(saved(rows, name), **NAMES)
    assert found.video.tolist() == [1, 0]
    assert found.frame.tolist() == [4, 0]
    assert found.label.tolist() == [0, 1]
    assert found.score.tolist() == [0.5, 0.25]
    assert found.box[1].tolist() == [1, 2, 3.5, 4]
    last = read_frame_rows(saved(rows, name), **NAMES, corners="inclusive")
    assert last.box[1].tolist() == [1, 2, 4.5, 5]
    path = tmp_path / f"again.{name[-3:]}"
    for table, corners in ((found, "half-open"), (last, "inclusive")):
        write_frame_rows(path, table, corners=corners)
        again = read_frame_rows(path, **NAMES, corners=corners)
        for column in ("video", "frame", "label", "score", "box"):
            np.testing.assert_array_equal(getattr(again, column), getattr(table, column))


def test_a_list_of_rows_and_no_rows(saved):
    assert len(read_frame_rows(saved([np.array(ROW, dtype=np.float64)]), **NAMES)) == 1
    assert len(read_frame_rows(saved([]), **NAMES)) == 0
    assert len(read_frame_rows(saved(np.empty((0, 8)), "dets.npz"), **NAMES)) == 0


def test_numbers_that_float32_cannot_hold_keep_their_bits(saved, tmp_path):
    rows = np.array([[1, 5, 0, 0.1, 10.1, 20, 30, 40]])
    found = read_frame_rows(saved(rows), **NAMES)
    write_frame_rows(tmp_path / "again.pkl", found)
    assert read_frame_rows(tmp_path / "again.pkl", **NAMES).score.tolist() == [0.1]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 2, r"bad video \(1 row\(s\)\).*from 0, less than 2"),
        (0, 0.5, "bad video"),
        (1, 0, "bad frame.*frames count from 1"),
        (2, 2, "bad class"),
        (2, -1, "bad class"),
        (3, np.nan, "not finite"),
        (6, np.inf, "not finite"),
    ],
)
def test_rows_that_cannot_be_are_refused(saved, column, value, message):
    rows = np.array([ROW, ROW], dtype=np.float64)
    rows[1, column] = value
    with pytest.raises(InputError, match=message) as caught:
        read_frame_rows(saved(rows), **NAMES)
    assert caught.value.row == 1


def test_files_of_another_form_are_refused(saved, tmp_path):
    for content in (np.zeros((2, 7)), {"a": 1}, [["x"] * 8], np.zeros(8)):
        with pytest.raises(InputError, match="not rows of detections"):
            read_frame_rows(saved(content), **NAMES)
    with pytest.raises(InputError, match="not rows of detections"):
        read_frame_rows(saved(np.zeros((1, 8)), "two.npz", other=np.zeros((1, 8))), **NAMES)
    with pytest.raises(InputError, match="not those of the ground truth"):
        read_frame_rows(saved(np.zeros((1, 8)), "n.npz", videos=np.array(["b", "a"])), **NAMES)
    with pytest.raises(InputError, match="no such file"):
        read_frame_rows(tmp_path / "none.npz", **NAMES)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"bad\.npz: not a readable npz file"):
        read_frame_rows(tmp_path / "bad.npz", **NAMES)
    np.savez(tmp_path / "objects.npz", dets=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="'dets': not a readable npz file"):
        read_frame_rows(tmp_path / "objects.npz", **NAMES)


@pytest.mark.parametrize("name", ["jhmdb_tiny", "ucf24_tiny"])
def test_public_files_give_the_public_number(golden, name):
    folder = golden / "eval" / "tubes" / name
    truth = read_act_truth(next((folder / "native").glob("*-GT.pkl")))
    names = {"videos": truth.tubes.videos, "classes": truth.tubes.classes}
    found = read_frame_rows(folder / "native" / "frame_detections.pkl", **names)
    metrics = json.loads((folder / "expected_multisports.json").read_text())["metrics"]
    got = frame_map(truth.boxes(), found, "multisports+multisports").mean
    assert got == pytest.approx(metrics["new/frameAP@0.5"] / 100, abs=1e-11)

import json
import pickle

import numpy as np
import pytest

from stad_eval import (
    InputError,
    frame_map,
    read_act_truth,
    read_pyannot,
    read_retinanet_frames,
    read_retinanet_tubes,
    read_tubes,
)

NAMES = {"videos": ("a", "b"), "classes": ("walk", "run")}
TUBE = {
    "label_id": 1,
    "score": 0.5,
    "scores": np.array([0.5, 0.25]),
    "boxes": np.array([[0, 0, 682, 512], [0, 0, 341, 256.0]]),
    "frames": np.array([3, 4]),
}


@pytest.fixture
def saved(tmp_path):
    def save(content):
        path = tmp_path / "retina.pkl"
        path.write_bytes(pickle.dumps(content))
        return path

    return save


def test_tubes(saved):
    path = saved({"action": {"b": [TUBE], "a": [], "c": [TUBE]}})
    tubes = read_retinanet_tubes(path, **NAMES)
    assert tubes.videos == ("a", "b")
    assert tubes.frame.tolist() == [2, 3]
    np.testing.assert_allclose(tubes.box, [[0, 0, 320, 240], [0, 0, 160, 120]])
    assert tubes.row_score is not None
    assert tubes.row_score.tolist() == [0.5, 0.25]
    assert read_tubes(path, **NAMES).score.tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no 'action'"),
        ({"action": {"a": []}}, "no 'b'"),
        ({"action": {"a": [], "b": [3]}}, r"row action\['b'\]\[0\]: frames and boxes do not fit"),
        ({"action": {"a": [], "b": [{**TUBE, "boxes": np.zeros((3, 4))}]}}, "do not fit"),
        ({"action": {"a": [], "b": [{**TUBE, "score": None}]}}, "bad score"),
        ({"action": {"a": [], "b": [{**TUBE, "label_id": 2}]}}, "no such class"),
        ({"action": {"a": [], "b": [{**TUBE, "frames": np.array([0, 1])}]}}, "count from 1"),
    ],
)
def test_tubes_of_another_form_are_refused(saved, content, message):
    with pytest.raises(InputError, match=message):
        read_retinanet_tubes(saved(content), **NAMES)


def test_frames(saved):
    rows = np.array([[0, 0, 682, 512, 0.5]])
    content = {"b00012": [rows, rows[:0]], "a100000": [rows[:0], rows]}
    found = read_retinanet_frames(saved({"action": content}), **NAMES)
    assert found.video.tolist() == [0, 1]
    assert found.frame.tolist() == [99999, 11]
    assert found.label.tolist() == [1, 0]
    np.testing.assert_allclose(found.box, [[0, 0, 320, 240]] * 2)
    assert len(read_retinanet_frames(saved({"action": {}}), **NAMES)) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"c00001": []}, r"row action\['c00001'\]: not a frame of a video"),
        ({"a00000": []}, "not a frame of a video"),
        ({"a00001": []}, "not one array per class"),
        ({"a00001": [np.zeros((1, 5)), np.zeros((1, 4))]}, r"\['a00001'\]\[1\]: not rows of boxes"),
    ],
)
def test_frames_of_another_form_are_refused(saved, content, message):
    with pytest.raises(InputError, match=message):
        read_retinanet_frames(saved({"action": content}), **NAMES)


@pytest.mark.parametrize("name", ["jhmdb_tiny", "ucf24_tiny"])
def test_public_files_give_the_public_number(golden, name):
    folder = golden / "eval" / "tubes" / name
    truth = read_pyannot(folder / "native" / "pyannot.pkl")
    names = {"videos": truth.tubes.videos, "classes": truth.tubes.classes}
    found = read_retinanet_frames(folder / "native" / "retina_frames.pkl", **names)
    metrics = json.loads((folder / "expected_retina_rtad.json").read_text())["metrics"]
    got = frame_map(truth.boxes(), found, "ucf24+3d-retinanet").mean
    assert got == pytest.approx(metrics["frames/action@0.5"] / 100, abs=1e-6)
    assert len(read_act_truth(next((folder / "native").glob("*-GT.pkl"))).tubes) == len(truth.tubes)

import pickle
from dataclasses import replace

import numpy as np
import pytest

from stad_eval import (
    InputError,
    Tubes,
    read_act_truth,
    read_act_tubes,
    read_multisports_tubes,
    read_tube_truth,
    write_act_truth,
    write_act_tubes,
    write_multisports_tubes,
)

ROWS = np.array([[1, 10, 20, 50, 90], [2, 11, 20, 51, 90]], dtype=np.float32)
TRUTH = {
    "labels": ["walk", "run"],
    "train_videos": [["b"], []],
    "test_videos": [["a"], ["a", "b"]],
    "nframes": {"a": 3, "b": 2},
    "resolution": {"a": (240, 320), "b": (240, 320)},
    "gttubes": {"a": {1: [ROWS, ROWS + 1]}, "b": {}},
}
NAMES = {"videos": ("a", "b"), "classes": ("walk", "run")}


@pytest.fixture
def saved(tmp_path):
    def save(content, name="file.pkl"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content))
        return path

    return save


def same(one, other):
    for name in Tubes.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def changed(**parts):
    return {**TRUTH, **parts}


def test_ground_truth(saved):
    truth = read_act_truth(saved(TRUTH), split=2)
    assert truth.tubes.videos == ("a", "b")
    assert truth.tubes.classes == ("walk", "run")
    assert truth.tubes.frame.tolist() == [0, 1, 1, 2]
    assert truth.tubes.box[0].tolist() == [10, 20, 50, 90]
    assert truth.tubes.label.tolist() == [1, 1]
    assert truth.tubes.score.tolist() == [1, 1]
    assert truth.frame_counts == {"a": 3, "b": 2}
    assert truth.sizes == {"a": (320, 240), "b": (320, 240)}
    assert read_act_truth(saved(TRUTH)).tubes.videos == ("a",)
    assert len(read_act_truth(saved(TRUTH), part="train").tubes) == 0


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        ("half-open", [10, 20, 50, 90]),
        ("inclusive", [10, 20, 51, 91]),
        ("one-based", [9, 19, 50, 90]),
    ],
)
def test_corners_become_half_open_pixels_from_zero(saved, corners, box):
    assert read_act_truth(saved(TRUTH), corners=corners).tubes.box[0].tolist() == box
    assert read_tube_truth(saved(TRUTH), corners=corners).tubes.box[0].tolist() == box


def test_unknown_corners_are_refused(saved):
    with pytest.raises(InputError, match="half-open, inclusive, one-based, found zero-based"):
        read_act_truth(saved(TRUTH), corners="zero-based")


@pytest.mark.parametrize("corners", ["half-open", "inclusive", "one-based"])
def test_what_is_written_reads_the_same(saved, tmp_path, corners):
    truth = read_act_truth(saved(TRUTH), split=2, corners=corners)
    path = tmp_path / "again.pkl"
    write_act_truth(path, truth, corners=corners)
    again = read_act_truth(path, corners=corners)
    same(again.tubes, truth.tubes)
    assert (again.frame_counts, again.sizes) == (truth.frame_counts, truth.sizes)
    content = pickle.loads(path.read_bytes())
    np.testing.assert_array_equal(content["gttubes"]["a"][1][0], ROWS)
    assert content["gttubes"]["a"][1][0].dtype == np.float32


def test_ground_truth_without_frames_is_not_written(tmp_path, saved):
    truth = replace(read_act_truth(saved(TRUTH)), frame_counts={})
    with pytest.raises(InputError, match="without a number of frames: found a"):
        write_act_truth(tmp_path / "again.pkl", truth)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"no 'labels' of type list"),
        (changed(labels=["a", "a"]), r"row labels: bad list of names"),
        (changed(labels=[1]), "bad list of names"),
        (changed(test_videos=[]), r"no such split: expected 1 to 0, found 1"),
        (changed(test_videos=[["c"]]), r"row gttubes: no 'c' of type dict"),
        (changed(nframes={}), r"row nframes\['a'\]: bad number"),
        (changed(resolution={"a": 3}), r"resolution\['a'\]: bad size"),
        (changed(gttubes={"a": {2: []}}), r"gttubes\['a'\]\[2\]: no such class.*from 0 to 1"),
        (changed(gttubes={"a": {0: ROWS}}), "not a list of tubes"),
        (changed(gttubes={"a": {0: [ROWS[:, :4]]}}), r"\[0\]\[0\]: these are not the rows"),
        (changed(gttubes={"a": {0: [ROWS[:0]]}}), "these are not the rows"),
        (changed(gttubes={"a": {0: [[["x"]]]}}), "these are not the rows"),
        (changed(gttubes={"a": {0: [ROWS * np.nan]}}), "not finite"),
        (changed(gttubes={"a": {0: [ROWS[::-1]]}}), r"\[0\]\[1\]: frames are not whole numbers"),
        (changed(gttubes={"a": {0: [ROWS - 1]}}), "count from 1"),
        (changed(gttubes={"a": {0: [ROWS + 0.5]}}), "frames are not whole numbers"),
    ],
)
def test_ground_truth_of_another_form_is_refused(saved, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_act_truth(saved(content))
    assert "file.pkl" in str(caught.value)


def found(row_score=True):
    rows = np.concatenate([ROWS, [[0.5], [0.25]]], axis=1) if row_score else ROWS
    return {0: [("b", 0.7, rows)], 1: [("a", 0.1, rows[:1]), ("c", 0.9, rows)]}


@pytest.mark.parametrize("row_score", [True, False])
def test_tubes_of_multisports(saved, tmp_path, row_score):
    tubes = read_multisports_tubes(saved(found(row_score)), **NAMES)
    assert tubes.videos == ("a", "b", "c")
    assert tubes.video.tolist() == [1, 0, 2]
    assert tubes.score.tolist() == [0.7, 0.1, 0.9]
    assert tubes.frame.tolist() == [0, 1, 0, 0, 1]
    if row_score:
        assert tubes.row_score is not None
        assert tubes.row_score.tolist() == [0.5, 0.25, 0.5, 0.5, 0.25]
    else:
        assert tubes.row_score is None
    write_multisports_tubes(tmp_path / "again.pkl", tubes)
    again = read_multisports_tubes(tmp_path / "again.pkl", **NAMES)
    same(again, tubes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not detected tubes"),
        ({"walk": []}, r"row \['walk'\]: no such class.*found str 'walk'"),
        ({True: []}, "no such class"),
        ({0: 1}, "not a list of tubes"),
        ({0: [("a", 0.5)]}, r"row \[0\]\[0\]: not a tube.*tuple of 2"),
        ({0: [(1, 0.5, ROWS)]}, "not a tube"),
        ({0: [("a", "x", ROWS)]}, r"row \[0\]\[0\]\[1\]: bad score"),
        ({0: [("a", np.nan, ROWS)]}, "bad score"),
        ({0: [("a", 10**400, ROWS)]}, "bad score"),
        ({0: [("a", 0.5, ROWS.astype(complex))]}, r"\[0\]\[0\]\[2\]: these are not the rows"),
    ],
)
def test_tubes_of_another_form_are_refused(saved, content, message):
    with pytest.raises(InputError, match=message):
        read_multisports_tubes(saved(content), **NAMES)


def test_tubes_of_act_and_moc(tmp_path, saved):
    tubes = read_multisports_tubes(
        saved({label: tubes[:1] for label, tubes in found().items()}), **NAMES
    )
    write_act_tubes(tmp_path / "det", tubes)
    again = read_act_tubes(tmp_path / "det", **NAMES)
    order = np.argsort(tubes.video, kind="stable")
    same(again, tubes.select(order))
    with pytest.raises(InputError, match="no such file"):
        read_act_tubes(tmp_path / "det", videos=("z",), classes=("walk",))
    for content, message in (
        ([], "not the tubes of a video"),
        ({0: [1]}, r"\[0\]\[0\]: not a tube"),
    ):
        saved(content, "z_tubes.pkl")
        with pytest.raises(InputError, match=message):
            read_act_tubes(tmp_path, videos=("z",), classes=("walk",))


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return print, ("ran",)

    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({0: Hostile()}))
    for read in (read_act_truth, lambda path: read_multisports_tubes(path, **NAMES)):
        with pytest.raises(InputError, match="refused to read this pickle"):
            read(path)


def test_a_real_file_of_multisports(real_data):
    truth = read_act_truth(real_data / "multisports" / "gt_sample.pkl")
    assert len(truth.tubes) == 8
    assert len(truth.tubes.classes) == 66
    assert list(truth.sizes.values()) == [(1280, 720)]

import pickle

import numpy as np
import pytest

from stad_eval import InputError, read_pyannot, read_tube_truth
from stad_eval.class_lists import UCF24

TUBE = {"label": 1, "sf": 4, "ef": 6, "boxes": np.array([[97, 98, 200, 126]] * 2, dtype=np.uint8)}
RECORD = {"numf": 9, "label": 1, "annotations": [TUBE]}


@pytest.fixture
def saved(tmp_path):
    def save(content):
        path = tmp_path / "pyannot.pkl"
        path.write_bytes(pickle.dumps(content))
        return path

    return save


def test_both_forms_of_the_file(saved):
    flat = read_pyannot(saved({"a": RECORD, "b": RECORD}))
    assert flat.tubes.videos == ("a", "b")
    assert flat.tubes.classes == UCF24
    whole = {"classes": ["walk", "run"], "trainvideos": ["b"], "db": {"a": RECORD, "b": RECORD}}
    wrapped = read_pyannot(saved(whole))
    assert wrapped.tubes.videos == ("a",)
    assert wrapped.tubes.classes == ("walk", "run")
    assert wrapped.tubes.frame.tolist() == [4, 5]
    assert wrapped.frame_counts == {"a": 9}
    assert wrapped.sizes == {"a": (320, 240)}
    assert read_pyannot(saved(whole), videos=["b"]).tubes.videos == ("b",)
    assert read_tube_truth(saved(whole)).tubes.videos == ("a",)


def test_corners_do_not_overflow_the_integers_of_the_file(saved):
    path = saved({"a": RECORD})
    assert read_pyannot(path).tubes.box[0].tolist() == [96, 97, 295, 222]
    assert read_pyannot(path, corners="pixels").tubes.box[0].tolist() == [96, 97, 297, 224]
    as_pixels = read_tube_truth(path, corners="one-based")
    assert as_pixels.tubes.box[0].tolist() == [96, 97, 297, 224]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not annotations of UCF101-24"),
        ({"db": {}}, "an empty 'db'"),
        ({"db": 3}, "bad 'db'"),
        ({"a": {**RECORD, "numf": -1}}, r"row a\.numf: bad number"),
        ({"a": {**RECORD, "annotations": 3}}, "bad 'annotations'"),
        ({"a": {**RECORD, "annotations": [3]}}, r"a\.annotations\[0\]\.sf: bad number"),
        ({"a": {**RECORD, "annotations": [{**TUBE, "ef": 5}]}}, r"\[1, 4\] for frames 4 to 5"),
        ({"a": {**RECORD, "annotations": [{**TUBE, "ef": 4}]}}, "do not fit the frames"),
        ({"a": {**RECORD, "annotations": [{**TUBE, "label": 24}]}}, r"\.label: no such class"),
    ],
)
def test_files_of_another_form_are_refused(saved, content, message):
    with pytest.raises(InputError, match=message):
        read_pyannot(saved(content))


def test_a_video_that_is_missing_is_named(saved):
    with pytest.raises(InputError, match="no 'c'"):
        read_pyannot(saved({"a": RECORD}), videos=["c"])


def test_the_published_file(real_data):
    whole = read_pyannot(real_data / "ucf24" / "pyannot.pkl", corners="pixels")
    assert (len(whole.tubes.videos), len(whole.tubes), whole.tubes.frame.size) == (
        *(3194, 4458, 573862),
    )
    assert whole.tubes.box.min() == 0
    assert whole.tubes.box[:, 2].max() == 320

import json

import numpy as np
import pytest

from stad_eval import InputError
from stad_eval.formats.reference_tubes import reference_truth, reference_tubes

TRUTH = {
    "labels": ["walk", "run"],
    "test_videos": ["v"],
    "train_videos": [],
    "nframes": {"v": 5},
    "resolution": {"v": [240, 320]},
    "gttubes": {"v": {"1": [[[1, 0, 0, 10, 10], [2, 0, 0, 10, 10]]]}},
}
NAMES = {"videos": ("v",), "classes": ("walk", "run")}


def arrays(**changed):
    columns = {
        "video": np.array([0]),
        "label": np.array([1]),
        "score": np.array([0.5]),
        "length": np.array([2]),
        "rows": np.array([[1, 0, 0, 10, 10, 0.5], [2, 0, 0, 10, 10, 0.4]]),
    }
    return columns | {name: np.asarray(value) for name, value in changed.items()}


def test_ground_truth():
    file = reference_truth(json.loads(json.dumps(TRUTH)), "gt.json")
    assert file.tubes.label.tolist() == [1]
    assert file.tubes.frame.tolist() == [0, 1]
    assert file.sizes == {"v": (320, 240)}


@pytest.mark.parametrize(
    ("key", "value"),
    [("gttubes", []), ("gttubes", {"v": []}), ("gttubes", {"v": {"x": []}}), ("test_videos", 3)],
)
def test_odd_ground_truth_is_refused(key, value):
    with pytest.raises(InputError):
        reference_truth({**TRUTH, key: value}, "gt.json")


def test_tubes():
    table = reference_tubes(arrays(), "tubes.npz", **NAMES)
    assert table.label.tolist() == [1]
    assert table.row_score.tolist() == [0.5, 0.4]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"length": [1]}, "not tubes"),
        ({"length": [2.0]}, "not tubes"),
        ({"score": [[0.5]]}, "not tubes"),
        ({"video": [1]}, "no such video"),
        ({"label": [2]}, "no such class"),
        ({"score": [np.nan]}, "bad score"),
    ],
)
def test_odd_tubes_are_refused(changed, text):
    with pytest.raises(InputError, match=text):
        reference_tubes(arrays(**changed), "tubes.npz", **NAMES)

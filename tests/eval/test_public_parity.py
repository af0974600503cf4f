"""Options of a protocol against public evaluators, on files without ties of scores."""

import json

import pytest

from stad_eval import FrameProtocol, frame_map, read_ava_csv, read_ava_frames, read_label_map

ACTIVITYNET = FrameProtocol(
    name="as-activitynet",
    frames="with-truth",
    max_per_frame=50,
    inverted="dropped",
    exclusions="ignored",
)
PYSLOWFAST = FrameProtocol(
    name="as-pyslowfast", frames="all", inverted="dropped", match_order="row"
)


@pytest.fixture
def load(golden):
    def read(name):
        folder = golden / "eval" / name
        classes = read_label_map(golden / "eval" / "ava_labelmap.pbtxt")
        truth = read_ava_csv(folder / "gt.csv", classes=classes, unlisted="skipped")
        found = read_ava_csv(folder / "det.csv", classes=truth.classes, unlisted="skipped")
        return truth, found, read_ava_frames(folder / "excl.csv")

    return read


def published(path):
    metrics = json.loads(path.read_text())["metrics"]
    prefix = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/"
    return {name.removeprefix(prefix): x for name, x in metrics.items() if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("folder", "file", "protocol"),
    [
        ("ava_tiny", "expected_anet.json", ACTIVITYNET),
        ("ava_tiny_edge", "expected_anet.json", ACTIVITYNET),
        ("ava_tiny", "expected_slowfast.json", PYSLOWFAST),
        ("ava_tiny_edge", "expected_slowfast.json", PYSLOWFAST),
    ],
)
def test_per_class_ap_agrees(golden, load, folder, file, protocol):
    truth, found, exclude = load(folder)
    result = frame_map(truth, found, protocol, exclude=exclude)
    path = golden / "eval" / folder / file
    expected = published(path)
    assert set(expected) == set(result.per_class)
    for name, value in expected.items():
        got = result.per_class[name]
        assert (got is None) == (value != value), name
        if got is not None:
            assert got == pytest.approx(value, abs=1e-9), name
    assert result.mean == pytest.approx(json.loads(path.read_text())["mAP"], abs=1e-9)


def test_strict_ava_is_pyslowfast_on_sorted_rows(golden, load):
    # Where no detection lies on a keyframe without ground truth, sorting is all that is between.
    truth, found, exclude = load("ava_tiny")
    result = frame_map(truth, found, "ava-v2.2", exclude=exclude)
    path = golden / "eval" / "ava_tiny" / "expected_slowfast_sorted.json"
    expected = {name: x for name, x in published(path).items() if x == x}
    got = {name: x for name, x in result.per_class.items() if x is not None}
    assert got == pytest.approx(expected, abs=1e-9)

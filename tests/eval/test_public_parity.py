"""Frame-mAP of the `+` protocols against what the public evaluators gave for the same files."""

import json
from pathlib import Path

import numpy as np
import pytest

from stad_eval import Boxes, frame_map, frame_maps, read_ava_csv, read_ava_frames, read_label_map
from stad_eval.formats import safe_pickle
from stad_eval.frame_rows import NO_FRAMES

AVA = {"anet": "+activitynet", "slowfast": "+pyslowfast", "mma": "+mmaction2"}
IOUS = (0.2, 0.5, 0.75)
AVA_CASES = (
    *((name, "expected_anet", False, True) for name in ("ava_tiny", "ava_tiny_edge")),
    *((name, "expected_slowfast", False, True) for name in ("ava_tiny", "ava_tiny_edge")),
    ("ava_tiny", "expected_mma", False, True),
    *(("ava_tiny_ties", f"expected_{each}", False, True) for each in AVA),
)


def ava_variants():
    folder = Path(__file__).resolve().parent.parent / "golden" / "eval" / "ava_variants"
    return sorted(path.stem for path in folder.glob("*.json"))


def load_ava(golden, name, *, by_score, exclude):
    folder = golden / "eval" / name
    names = read_label_map(golden / "eval" / "ava_labelmap.pbtxt")
    truth = read_ava_csv(folder / "gt.csv", classes=names, unlisted="skipped")
    found = read_ava_csv(folder / "det.csv", classes=names, unlisted="skipped", column_8="score")
    if by_score:
        found = found.select(np.argsort(-found.score, kind="stable"))
    return truth, found, read_ava_frames(folder / "excl.csv") if exclude else NO_FRAMES


def check_ava(golden, path, name, *, by_score, exclude, version="v2.2"):
    truth, found, excluded = load_ava(golden, name, by_score=by_score, exclude=exclude)
    protocol = f"ava-{version}{AVA[path.stem.split('_')[-1]]}"
    result = frame_map(truth, found, protocol, exclude=excluded)
    expected = json.loads(path.read_text())
    assert result.mean == pytest.approx(expected["mAP"], abs=1e-9)
    prefix = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/"
    metrics = {
        key.removeprefix(prefix).removeprefix("AP/"): x for key, x in expected["metrics"].items()
    }
    seen = 0
    for label, value in result.per_class.items():
        reference = metrics.get(label, np.nan)
        assert (value is None) == bool(np.isnan(reference)), label
        if value is not None:
            seen += 1
            assert value == pytest.approx(reference, abs=1e-9), label
    assert seen >= 5


@pytest.mark.parametrize(("name", "file", "by_score", "exclude"), AVA_CASES)
def test_ava_evaluators(golden, name, file, by_score, exclude):
    path = golden / "eval" / name / f"{file}.json"
    check_ava(golden, path, name, by_score=by_score, exclude=exclude)
    check_ava(golden, path, name, by_score=by_score, exclude=exclude, version="v2.1")


@pytest.mark.parametrize("stem", ava_variants())
def test_ava_evaluators_on_sorted_rows_and_without_exclusions(golden, stem):
    name = "ava_tiny_ties" if "ties" in stem else "ava_tiny"
    path = golden / "eval" / "ava_variants" / f"{stem}.json"
    check_ava(golden, path, name, by_score="sorted" in stem, exclude="noexcl" not in stem)


def test_strict_ava_is_pyslowfast_on_sorted_rows(golden):
    # Where no detection lies on a keyframe without ground truth, sorting is all that is between.
    truth, found, exclude = load_ava(golden, "ava_tiny", by_score=False, exclude=True)
    result = frame_map(truth, found, "ava-v2.2", exclude=exclude)
    path = golden / "eval" / "ava_variants" / "ava_tiny_sorted_slowfast.json"
    assert result.mean == pytest.approx(json.loads(path.read_text())["mAP"], abs=1e-9)


@pytest.fixture(params=["ucf24_tiny", "jhmdb_tiny"])
def dense(request, golden):
    """The folder, the ground truth, and a way to make detections of an array of 8 columns."""
    folder = golden / "eval" / "tubes" / request.param
    content = safe_pickle.load(next((folder / "native").glob("*-GT.pkl")))
    videos, labels = tuple(content["test_videos"][0]), tuple(content["labels"])
    rows = [
        (at, row[0] - 1, label, *row[1:5])
        for at, name in enumerate(videos)
        for label, tubes in content["gttubes"][name].items()
        for tube in tubes
        for row in tube.tolist()
    ]
    columns = np.array(rows)
    every = [
        (at, frame) for at, name in enumerate(videos) for frame in range(content["nframes"][name])
    ]
    truth = boxes(videos, labels, columns, np.ones(len(rows)), annotated=np.array(every))

    def found(array):
        array = array.astype(np.float64)
        parts = np.concatenate(
            [array[:, :1], array[:, 1:2] - 1, array[:, 2:3], array[:, 4:]], axis=1
        )
        return boxes(videos, labels, parts, array[:, 3])

    return folder, truth, found


def boxes(videos, classes, columns, score, annotated=None):
    return Boxes(
        videos=videos,
        classes=classes,
        video=columns[:, 0].astype(np.int64),
        frame=columns[:, 1].astype(np.int64),
        label=columns[:, 2].astype(np.int64),
        box=columns[:, 3:7],
        score=score,
        annotated=annotated,
    )


def metrics(folder, name):
    return json.loads((folder / f"expected_{name}.json").read_text())["metrics"]


@pytest.mark.parametrize(
    ("protocol", "file", "key", "tolerance"),
    [
        ("ucf24+moc", "moc_cached", "", 1e-6),
        ("jhmdb21-split1+act", "moc_cached", "", 1e-6),
        ("multisports+multisports2021", "multisports", "old/", 1e-6),
        ("dense+multisports", "multisports", "new/", 1e-11),
    ],
)
def test_dense_evaluators(dense, protocol, file, key, tolerance):
    folder, truth, found = dense
    rows = found(safe_pickle.load(folder / "native" / "frame_detections.pkl"))
    expected = metrics(folder, file)
    for iou, result in frame_maps(truth, rows, protocol, ious=IOUS).items():
        reference = expected[f"{key}frameAP@{iou}"] / 100
        assert result.mean == pytest.approx(reference, abs=tolerance), iou
        per_class = expected.get(f"frameAP@{iou}_per_class", {})
        for label, value in per_class.items():
            assert result.per_class[label] == pytest.approx(value / 100, abs=tolerance)


def test_moc_on_frames_of_tubelets_whose_scores_are_full_of_ties(dense, golden):
    folder, truth, found = dense
    path = golden / "eval" / "tubelets" / folder.name / "expected_moc_tubelets_framedets.npz"
    with np.load(path) as content:
        rows = found(content[content.files[0]])
    expected = metrics(folder, "moc_tubelets")
    for iou, result in frame_maps(truth, rows, "ucf24+moc", ious=IOUS).items():
        assert result.mean == pytest.approx(expected[f"frameAP@{iou}"] / 100, abs=1e-6)


def test_retinanet_and_realtime(dense):
    folder, truth, found = dense
    rows = found(safe_pickle.load(folder / "native" / "frame_detections.pkl"))
    expected = metrics(folder, "retina_rtad")
    retina = frame_map(truth, rows, "ucf24+3d-retinanet")
    assert retina.mean == pytest.approx(expected["frames/action@0.5"] / 100, abs=1e-6)
    realtime = frame_map(truth, rows, "ucf24+realtime")
    assert realtime.mean == pytest.approx(expected["rtad/frame_mAP@0.5"] / 100, abs=1e-9)
    values = [realtime.per_class[name] for name in truth.classes]
    assert values == pytest.approx(expected["rtad/per_class"], abs=1e-9)

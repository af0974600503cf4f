"""Video-mAP and v-MABO against public evaluators, from their own files to the number."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stad_eval import (
    Tube,
    TubeProtocol,
    Tubes,
    read_act_truth,
    read_multisports_tubes,
    read_pyannot,
    read_retinanet_tubes,
    stack_tubes,
    tube_protocol,
    video_map,
)
from stad_eval.tube_overlap import pairs_within, tube_overlaps

SETS = ("jhmdb_tiny", "ucf24_tiny")
SINGLE = 1e-6  # 1e-4 points: these evaluators hold curves or boxes as float32
DOUBLE = 1e-11


@pytest.fixture(params=SETS)
def files(request, golden):
    folder = golden / "eval" / "tubes" / request.param
    truth = read_act_truth(next((folder / "native").glob("*-GT.pkl")))
    names = {"videos": truth.tubes.videos, "classes": truth.tubes.classes}
    found = read_multisports_tubes(folder / "native" / "video_detections.pkl", **names)
    return folder, truth, found


def published(folder, name):
    return json.loads((folder / f"expected_{name}.json").read_text())


def check(result, metrics, prefix, tolerance, *, all_key="0.5:0.95"):
    for key in ("0.2", "0.5", "0.75"):
        assert result.mean[key] == pytest.approx(metrics[f"{prefix}{key}"] / 100, abs=tolerance)
    expected = metrics[f"{prefix}{all_key}"] / 100
    assert result.mean["0.5:0.95"] == pytest.approx(expected, abs=tolerance)


def test_moc(files):
    folder, truth, found = files
    metrics = published(folder, "moc_cached")["metrics"]
    result = video_map(truth.tubes, found, "ucf24+moc")
    check(result, metrics, "videoAP@", SINGLE, all_key="0.50:0.95")
    steps = [round(0.5 + 0.05 * at, 2) for at in range(10)]
    by_step = video_map(truth.tubes, found, "ucf24+moc", iou=steps)
    for step, value in metrics["videoAP_per_th"]:
        assert by_step.mean[f"{step:g}"] == pytest.approx(value / 100, abs=SINGLE)


def test_moc_on_tubes_that_it_linked_itself(files, golden):
    folder, truth, _ = files
    path = golden / "eval" / "tubelets" / folder.name / "expected_moc_tubelets_tubes.npz"
    with np.load(path) as linked:
        meta, rows = linked["meta"], linked["rows"].astype(np.float64)
    found = Tubes(
        videos=truth.tubes.videos,
        classes=truth.tubes.classes,
        video=meta[:, 0].astype(np.int64),
        label=meta[:, 1].astype(np.int64),
        score=meta[:, 2],
        start=np.append(0, np.cumsum(meta[:, 3].astype(np.int64))),
        frame=rows[:, 0].astype(np.int64) - 1,
        box=rows[:, 1:5],
    )
    metrics = published(folder, "moc_tubelets")["metrics"]
    result = video_map(truth.tubes, found, "jhmdb21-split1+moc")
    check(result, metrics, "videoAP@", SINGLE, all_key="0.50:0.95")


@pytest.mark.parametrize(
    ("variant", "prefix", "tolerance"),
    [("multisports2021", "old/videoAP@", SINGLE), ("multisports", "new/videoAP@", DOUBLE)],
)
def test_multisports(files, variant, prefix, tolerance):
    folder, truth, found = files
    result = video_map(truth.tubes, found, f"multisports+{variant}")
    check(result, published(folder, "multisports")["metrics"], prefix, tolerance)


def test_3d_retinanet_from_its_own_files(files):
    folder, _, _ = files
    truth = read_pyannot(folder / "native" / "pyannot.pkl").tubes
    names = {"videos": truth.videos, "classes": truth.classes}
    found = read_retinanet_tubes(folder / "native" / "retina_tubes.pkl", **names)
    metrics = published(folder, "retina_rtad")["metrics"]
    options = tube_protocol("ucf24+3d-retinanet")
    check(video_map(truth, found, options), metrics, "tubes/stiou@", SINGLE)
    space = video_map(truth, found, replace(options, overlap="space"))
    assert space.mean["0.5"] == pytest.approx(metrics["tubes/siou@0.5"] / 100, abs=SINGLE)
    time = video_map(truth, found, replace(options, overlap="time"))
    assert time.mean["0.5"] == pytest.approx(metrics["tubes/tiou@0.5"] / 100, abs=SINGLE)
    expected = [value / 100 for value in metrics["tubes_per_class@0.5"]]
    assert list(time.per_class["0.5"].values()) == pytest.approx(expected, abs=SINGLE)


def test_both_ground_truth_files_hold_the_same_tubes(files):
    folder, truth, _ = files
    other = read_pyannot(folder / "native" / "pyannot.pkl")
    assert other.tubes.videos == truth.tubes.videos
    assert other.tubes.classes == truth.tubes.classes
    assert other.frame_counts == truth.frame_counts
    for name in ("video", "label", "start", "frame", "box"):
        np.testing.assert_array_equal(getattr(other.tubes, name), getattr(truth.tubes, name))


def test_v_mabo_and_recall(files):
    folder, truth, found = files
    expected = published(folder, "vmabo")
    cover = video_map(truth.tubes, found, "ucf24+moc").coverage
    assert cover.class_agnostic == pytest.approx(expected["agnostic"] / 100, abs=SINGLE)
    assert cover.class_aware == pytest.approx(expected["aware"] / 100, abs=SINGLE)
    agnostic, aware = expected["agnostic_recall@.5"], expected["aware_recall@.5"]
    assert cover.recall_agnostic["0.5"] == pytest.approx(agnostic / 100, abs=SINGLE)
    assert cover.recall_aware["0.5"] == pytest.approx(aware / 100, abs=SINGLE)


@pytest.fixture
def edge(golden):
    return json.loads((golden / "eval" / "tubes" / "edge_cases.json").read_text())


def overlap(a, b, protocol: TubeProtocol | str):
    options = tube_protocol(protocol) if isinstance(protocol, str) else protocol
    groups = np.zeros(1, dtype=np.int64)
    return float(tube_overlaps(a, b, pairs_within(groups, groups), options)[0])


def steady(frames, box=(10.0, 20.0, 50.0, 100.0)):
    boxes = np.tile(np.array(box), (len(frames), 1))
    one = Tube(video="v", label=0, score=1.0, frames=np.array(frames), boxes=boxes)
    return stack_tubes([one], classes=["a"])


@pytest.mark.parametrize(
    ("case", "first", "second"),
    [
        ("identical 1-frame tubes", ([4],), ([4],)),
        ("10f vs 10f overlapping in exactly 1 frame", (range(1, 11),), (range(10, 20),)),
        ("10f vs 10f shifted by 2", (range(1, 11),), (range(3, 13),)),
        ("box 41x81 vs shifted 1px (f=1..10)", (range(1, 11),), (range(1, 11), (11, 20, 51, 100))),
        ("degenerate 0-area box both", (range(3), (5, 5, 5, 5)), (range(3), (5, 5, 5, 5))),
    ],
)
@pytest.mark.parametrize(
    ("name", "protocol"),
    [("ACT/MOC(+1)", "dense+moc"), ("MultiSports-new", "dense+multisports")],
)
def test_overlap_of_odd_tubes(edge, case, first, second, name, protocol):
    expected = edge[f"{name} {case}"]
    got = overlap(steady(*first), steady(*second), protocol)
    assert got == pytest.approx(expected, rel=1e-6, nan_ok=True)

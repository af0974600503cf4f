"""No single frame suffices: an oracle that knows the true pose needs several frames of it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "synthetic_motion.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_motion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthetic_motion"] = module
    spec.loader.exec_module(module)
    return module


def test_average_precision_on_a_ranking_worked_out_by_hand(benchmark):
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[True], [False], [True], [False]])
    assert benchmark.average_precisions(scores, labels)[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(benchmark.average_precisions(scores, labels & False)[0])


def test_one_frames_pose_tells_less_than_half_of_what_motion_tells(benchmark):
    train = benchmark.poses(0, "train", 45, every=6, stride=1)
    test = benchmark.poses(0, "test", 20, every=9, stride=1)
    quality = {}
    for name in ("frame", "motion"):
        scores = benchmark.oracle_scores(
            getattr(train, name), train.labels, getattr(test, name), features=600
        )
        quality[name] = np.nanmean(benchmark.average_precisions(scores, test.labels))
    assert quality["motion"] > 0.75
    assert quality["frame"] < 0.35
    assert quality["frame"] < 0.4 * quality["motion"]

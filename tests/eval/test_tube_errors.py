"""Error analysis of tubes: a golden derived by hand, properties, and public numbers."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    InputError,
    Tube,
    read_act_truth,
    read_multisports_tubes,
    stack_tubes,
    tube_errors,
    video_map,
)

A, B, FAR = 0, 20, 80
CLASSES = ("walk", "run")


def tube(video, label, x, first, last, score=1.0):
    frames = np.arange(first, last + 1)
    box = [x, 0.0, x + 10.0, 10.0]
    return Tube(
        video=video,
        label=label,
        score=score,
        frames=frames,
        boxes=np.tile(box, (frames.size, 1)),
    )


@pytest.fixture(scope="module")
def scene():
    """One detection of every kind; walk stands at A in v and w, run at B in v, frames 0 to 9."""
    truth = [tube("v", 0, A, 0, 9), tube("v", 1, B, 0, 9), tube("w", 0, A, 0, 9)]
    found = [
        tube("v", 0, A, 0, 9, 0.9),  # found
        tube("v", 0, A, 0, 8, 0.8),  # duplicate, overlap 0.9
        tube("v", 0, B, 0, 9, 0.7),  # wrong class
        tube("w", 0, A, 6, 15, 0.6),  # 4 of 16 frames: at the wrong time
        tube("w", 0, A + 5, 0, 9, 0.5),  # IoU 1/3: badly localised
        tube("w", 0, A, 20, 29, 0.4),  # no frame shared: at the wrong time altogether
        tube("v", 0, B + 5, 0, 9, 0.3),  # wrong in class and place
        tube("w", 0, A, 0, 9, 0.1),  # found
        tube("w", 1, FAR, 0, 9, 0.2),  # w has no run
    ]
    return stack_tubes(truth, classes=CLASSES), found


def test_types(scene):
    result = tube_errors(*scene, "dense").types
    assert result.per_class["walk"] == {
        "true positive": 2,
        "wrong class": 1,
        "bad localisation": 4,  # walk is in the video, the overlap is too small
        "duplicate": 1,
        "background": 0,
    }
    assert result.per_class["run"]["background"] == 1


def test_breakdown(scene):
    # Right at rank 1 and 8 of two: AP = 1/2 * 1 + 1/2 * 2/8; each error is 1/8 of the second half.
    step = 1 / 16
    result = tube_errors(*scene, "dense").breakdown
    assert result.per_class["walk"] == {
        "AP": pytest.approx(0.5 + 2 * step),
        "localisation": pytest.approx(step),
        "classification": pytest.approx(step),
        "time": pytest.approx(2 * step),
        "duplicate": pytest.approx(step),
        "other": pytest.approx(step),
        "missed": 0.0,
    }
    assert result.per_class["run"]["missed"] == 1.0


def test_breakdown_as_multisports_does_it(scene):
    # The root of the threshold is 0.707: of the tubes that overlap something, A + 5 and B + 5 share
    # all their time; the late one a quarter of it, in the right place.
    step = 1 / 16
    result = tube_errors(*scene, "dense", rule="multisports2021").breakdown
    expected = {
        "repeat": step,
        "extra": step,
        "localisation": step,
        "classification": step,
        "time": step,
        "classification+localisation": step,
        "time+localisation": 0.0,
        "classification+time": 0.0,
        "classification+time+localisation": 0.0,
    }
    for part, value in expected.items():
        assert result.per_class["walk"][part] == pytest.approx(value)
    # Envelopes of their own: the wrong class's share is at most 1/3, so that is what counts from
    # the first true positive on.
    own = tube_errors(*scene, "dense", rule="multisports").breakdown
    assert own.per_class["walk"]["classification"] == pytest.approx(1 / 2 * 1 / 3 + 1 / 2 * 1 / 8)
    assert sum(own.per_class["walk"].values()) > 1.2


def test_gains(scene):
    result = tube_errors(*scene, "dense").gains
    before = 0.5 + 0.5 * 2 / 8
    one_less = 0.5 + 0.5 * 2 / 7 - before
    walk = result.per_class["walk"]
    for name in ("localisation", "time", "both", "duplicate", "classification", "background"):
        assert walk[name] == pytest.approx(one_less)
    assert result.per_class["run"]["classification"] == pytest.approx(1.0)
    assert walk["false positives"] == pytest.approx(1.0 - before)
    assert result.counts == {
        "classification": 1,
        "localisation": 1,
        "time": 1,
        "both": 1,
        "duplicate": 1,
        "background": 2,
        "missed": 0,
        "false positives": 7,
        "false negatives": 1,
    }
    assert "time" in result.table()


def test_a_tube_at_the_wrong_time_is_mended(scene):
    truth, found = scene
    gains = tube_errors(truth, found[3:4], "dense").gains
    assert gains.per_class["walk"]["time"] == pytest.approx(0.5)
    assert gains.per_class["walk"]["localisation"] == 0.0


def test_bad_options_are_refused(scene):
    for options, message in (
        ({"iou": 2.0}, "IoU threshold"),
        ({"floor": 0.0}, "floor"),
        ({"rule": "act"}, "for tubes"),
    ):
        with pytest.raises(InputError, match=message):
            tube_errors(*scene, "dense", **options)


tubes = st.lists(
    st.builds(
        lambda video, label, x, first, length, score: tube(
            video, label, x, first, first + length, score / 4
        ),
        st.sampled_from(["v", "w"]),
        st.integers(0, 1),
        st.integers(0, 8),
        st.integers(0, 4),
        st.integers(0, 6),
        st.integers(0, 4),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=50)
@given(tubes, tubes, st.sampled_from(["strict", "multisports2021"]))
def test_average_precision_and_the_parts_sum_to_one(true, found, rule):
    truth = stack_tubes(true, classes=CLASSES, videos=("v", "w"))
    result = tube_errors(truth, found, "dense", iou=0.3, rule=rule)
    areas = video_map(truth, found, "dense", iou=(0.3,)).per_class["0.3"]
    for name, parts in result.breakdown.per_class.items():
        if parts is not None:
            assert sum(parts.values()) == pytest.approx(1.0, abs=1e-6)
            assert parts["AP"] == pytest.approx(areas[name], abs=1e-6)
    assert sum(result.types.counts.values()) == len(found)
    assert min(result.gains.gains.values(), default=0.0) >= -1e-12 or not true


@settings(deadline=None, max_examples=30)
@given(tubes, tubes, st.randoms())
def test_the_order_of_tubes_does_not_matter(true, found, random):
    def both():
        truth = stack_tubes(true, classes=CLASSES, videos=("v", "w"))
        return tube_errors(truth, found, "dense", iou=0.3).to_json()

    before = both()
    random.shuffle(true)
    random.shuffle(found)
    assert both() == before


NAMES = {
    "AP": "AP",
    "repeat": "Repeat",
    "extra": "Extra",
    "localisation": "Loc",
    "classification": "Cls",
    "time": "Time",
    "classification+time": "Cls+Time",
    "classification+localisation": "Cls+Loc",
    "time+localisation": "Time+Loc",
    "classification+time+localisation": "C+T+L",
}


@pytest.mark.parametrize("name", ["ucf24_tiny", "jhmdb_tiny"])
def test_multisports_errors(golden, name):
    folder = golden / "eval" / "tubes" / name
    truth = read_act_truth(next((folder / "native").glob("*-GT.pkl"))).tubes
    found = read_multisports_tubes(
        folder / "native" / "video_detections.pkl", videos=truth.videos, classes=truth.classes
    )
    metrics = json.loads((folder / "expected_multisports.json").read_text())["metrics"]
    ours = tube_errors(truth, found, "multisports+multisports", iou=0.2).breakdown
    assert ours.rule == "multisports"
    for part, key in NAMES.items():
        expected = metrics[f"new/error@0.2/{key}"] / 100
        assert ours.mean[part] == pytest.approx(expected, abs=1e-11)

    # The version of 2021 was recorded as it prints: in per cent, two decimals.
    ours = tube_errors(truth, found, "multisports+multisports2021", iou=0.2).breakdown
    assert ours.rule == "multisports2021"
    printed = [float(each) for each in metrics["old/error@0.2/text_mean"].split()[1:]]
    parts = [*NAMES, "missed"]
    assert len(printed) == len(parts)
    # It lists time before the combinations, in the order above.
    assert [100 * ours.mean[part] for part in parts] == pytest.approx(printed, abs=0.0051)

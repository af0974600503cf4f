"""Error analysis on frames: goldens derived by hand, properties, and public numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Boxes, InputError, frame_errors, frame_map, read_act_truth
from stad_eval.error_breakdown import RULES, error_breakdown
from stad_eval.error_gains import KINDS, _kinds
from stad_eval.frame_errors import judgement_of
from stad_eval.frame_matches import frame_matches
from stad_eval.protocols import frame_protocol

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (80, 80, 90, 90)


def moved(box, by):
    return (box[0] + by, box[1], box[2] + by, box[3])


@pytest.fixture(scope="module")
def scene(table):
    """One detection of every kind.

    walk stands at A on frames 0, 1 and 3, run at B on frame 0; frame 2 was annotated and is empty.
    The IoU of boxes moved by 1 is 9/11, by 5 it is 1/3.
    """
    truth = table(
        [("v", 0, "walk", A), ("v", 0, "run", B), ("v", 1, "walk", A), ("v", 3, "walk", A)],
        annotated=[("v", frame) for frame in range(4)],
    )
    rows = [
        ("v", 0, "walk", A, 0.9),  # found
        ("v", 0, "walk", moved(A, 1), 0.8),  # duplicate
        ("v", 0, "walk", B, 0.7),  # wrong class
        ("v", 1, "walk", moved(A, 5), 0.6),  # badly localised
        ("v", 2, "walk", A, 0.5),  # at the wrong time
        ("v", 0, "walk", FAR, 0.4),  # right class, no overlap
        ("v", 0, "walk", moved(B, 5), 0.3),  # wrong in class and in place
        ("v", 3, "walk", A, 0.1),  # found
        ("v", 1, "run", FAR, 0.2),  # walk is there, run elsewhere in the video
    ]
    return truth, table(rows)


def test_types(scene):
    result = frame_errors(*scene, "dense").types
    # Right class on the frame: the box moved by 5, the far one, and the one beside B.
    assert result.per_class["walk"] == {
        "true positive": 2,
        "wrong class": 1,
        "bad localisation": 3,
        "duplicate": 1,
        "background": 1,
    }
    assert result.per_class["run"]["background"] == 1
    assert sum(result.counts.values()) == 9
    assert result.truths == {"walk": 3, "run": 1}
    strong = frame_errors(*scene, "dense", min_score=0.65).types
    assert sum(strong.counts.values()) == 3
    assert "bad localisation" in result.table()


def test_breakdown(scene):
    # Of walk, rank 1 and rank 8 are right: AP = 1/3 * 1 + 1/3 * 2/8; of the six errors before
    # rank 8 each kind counts 1/8 of the second third.
    result = frame_errors(*scene, "dense").breakdown
    step = 1 / 3 / 8
    assert result.per_class["walk"] == {
        "AP": pytest.approx(1 / 3 + 2 * step),
        "localisation": pytest.approx(step),
        "classification": pytest.approx(step),
        "time": pytest.approx(step),
        "duplicate": pytest.approx(step),
        "other": pytest.approx(2 * step),
        "missed": pytest.approx(1 / 3),
    }
    assert result.per_class["run"]["missed"] == 1.0
    assert result.mean["AP"] == frame_map(*scene, "dense").mean
    assert "8.33" in result.table()


def test_breakdown_as_act_does_it(scene):
    # Five of the errors of walk are on frames with walk, one is at the wrong time.
    result = frame_errors(*scene, "dense", rule="act").breakdown
    assert result.rule == "act"
    step = 1 / 3 / 8
    expected = {"localisation": 5 * step, "classification": 0.0, "time": step, "other": 0.0}
    for part, value in expected.items():
        assert result.per_class["walk"][part] == pytest.approx(value)


def test_breakdown_with_trapezoids(table):
    # Right, wrong, right of two: precision 1, 1/2, 2/3; the duplicate's share 0, 1/2, 1/3.
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)], classes=("walk",))
    rows = [("v", 0, "walk", A, 0.9), ("v", 0, "walk", A, 0.8), ("v", 1, "walk", A, 0.7)]
    result = frame_errors(truth, table(rows, classes=("walk",)), "dense+moc").breakdown
    assert result.rule == "act"
    assert result.mean == {
        "AP": pytest.approx(0.5 + 0.5 * (1 / 2 + 2 / 3) / 2),
        "localisation": pytest.approx(0.5 * (1 / 2 + 1 / 3) / 2),
        "classification": 0.0,
        "time": 0.0,
        "other": 0.0,
        "missed": 0.0,
    }


def test_gains(scene):
    result = frame_errors(*scene, "dense").gains
    before = (1 + 2 / 8) / 3
    one_less = (1 + 2 / 7) / 3 - before
    # Class: run's truth is found, walk loses one false positive.
    assert result.per_class["walk"]["classification"] == pytest.approx(one_less)
    assert result.per_class["run"]["classification"] == pytest.approx(1.0)
    # Place: the box on frame 1 is right then: precision 1, 2/4, 3/8.
    expected = (1 + 2 / 4 + 3 / 8) / 3 - before
    assert result.per_class["walk"]["localisation"] == pytest.approx(expected)
    assert result.per_class["walk"]["both"] == pytest.approx(one_less)
    assert result.per_class["walk"]["duplicate"] == pytest.approx(one_less)
    # Background: the far box and the one on the empty frame go.
    assert result.per_class["walk"]["background"] == pytest.approx((1 + 2 / 6) / 3 - before)
    # The two truths that were not found would be by mending place or class: none is missed.
    assert result.per_class["walk"]["missed"] == 0.0
    assert result.per_class["walk"]["false positives"] == pytest.approx(2 / 3 - before)
    assert result.per_class["walk"]["false negatives"] == pytest.approx((1 + 2 / 8) / 2 - before)
    # run has a false positive and nothing that was found: no truth left is no gain.
    assert result.per_class["run"]["false negatives"] == 0.0
    assert result.counts == {
        "classification": 1,
        "localisation": 1,
        "both": 1,
        "duplicate": 1,
        "background": 3,
        "missed": 0,
        "false positives": 7,
        "false negatives": 2,
    }
    assert result.gains["classification"] == pytest.approx((one_less + 1) / 2)
    assert "background" in result.table()


def test_one_of_several_detections_mends_a_truth(table):
    # Both boxes would find A if they lay better; the weaker one goes. A class of which nothing is
    # left once its missed truth is gone has no error left.
    truth = table([("v", 0, "walk", A), ("v", 0, "run", B)])
    rows = [("v", 0, "walk", moved(A, by), score) for by, score in ((5, 0.9), (4, 0.8))]
    result = frame_errors(truth, table(rows), "dense").gains
    assert result.per_class["walk"]["localisation"] == 1.0
    assert result.per_class["run"]["missed"] == 1.0
    assert result.gains["missed"] == 0.5
    assert result.counts["missed"] == 1


def test_equal_scores_are_one_point_of_the_mended_curve(table):
    # The mended box of run comes into walk at 0.5, where a right and a wrong one stand already.
    truth = table([("v", t, "walk", A) for t in range(3)])
    rows = [("v", 0, "walk", A, 0.5), ("v", 0, "walk", FAR, 0.5), ("v", 1, "run", A, 0.5)]
    found = table(rows)
    gains = frame_errors(truth, found, "dense").gains
    assert gains.mean == pytest.approx(1 / 3 * 1 / 2)
    assert gains.gains["classification"] == pytest.approx(2 / 3 * 2 / 3 - 1 / 6)
    by_row = replace(frame_protocol("dense"), ties="rows", name="by row")
    gains = frame_errors(truth, found, by_row).gains
    assert gains.mean == pytest.approx(1 / 3)
    assert gains.gains["classification"] == pytest.approx(1 / 3 * (1 + 2 / 3) - 1 / 3)


def test_nothing_found_and_nothing_true(table):
    truth = table([("v", 0, "walk", A)])
    nothing = frame_errors(truth, table([]), "dense")
    assert nothing.breakdown.mean["missed"] == 1.0
    assert nothing.gains.gains["missed"] == 1.0
    empty = frame_errors(table([], annotated=[("v", 0)]), table([("v", 0, "walk", A, 1)]), "dense")
    content = json.loads(empty.to_json())
    assert content["gains"]["mAP"] is None
    assert content["gains"]["gains"]["background"] is None
    assert content["breakdown"]["mean"]["AP"] is None
    assert content["breakdown"]["per_class"] == {"walk": None, "run": None}
    assert content["types"]["counts"]["background"] == 1
    assert "-" in empty.table()


def test_bad_options_are_refused(table):
    truth = table([("v", 0, "walk", A)])
    for options, message in (
        ({"iou": 0.0}, "IoU threshold"),
        ({"floor": 0.5}, "floor"),
        ({"rule": "multisports"}, "for frames"),
        ({"rule": "coco"}, "strict, act"),
    ):
        with pytest.raises(InputError, match=message):
            frame_errors(truth, truth, "dense", **options)


def test_kinds_of_tubes_are_not_for_frames(scene):
    judged = judgement_of(frame_matches(*scene, "dense", surroundings=True), 0.5)
    with pytest.raises(InputError, match="of tubes"):
        error_breakdown(judged, RULES["multisports"])


place = st.tuples(st.integers(0, 4), st.integers(0, 3)).map(lambda p: (*p, p[0] + 5, p[1] + 5))
true_rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), place, st.just(1)),
    max_size=8,
)
found_rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), place, st.integers(0, 5)),
    max_size=16,
)
every_frame = [(video, frame) for video in range(2) for frame in range(3)]


def boxes(rows, *, truth=False):
    columns = [np.array([row[at] for row in rows], dtype=np.int64) for at in range(3)]
    return Boxes(
        videos=("v", "w"),
        classes=("a", "b", "c"),
        video=columns[0],
        frame=columns[1],
        label=columns[2],
        box=np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 4),
        score=np.array([row[4] for row in rows], dtype=np.float64) / 5,
        annotated=np.array(every_frame) if truth else None,
    )


@settings(deadline=None, max_examples=40)
@given(true_rows, found_rows, st.sampled_from(["dense", "keyframes", "dense+3d-retinanet"]))
def test_average_precision_and_the_parts_sum_to_one(true, found, protocol):
    truth, found = boxes(true, truth=True), boxes(found)
    areas = frame_map(truth, found, protocol).per_class
    for rule in ("strict", "act"):
        result = frame_errors(truth, found, protocol, rule=rule)
        for name, parts in result.breakdown.per_class.items():
            if parts is not None:
                assert sum(parts.values()) == pytest.approx(1.0, abs=1e-6)
                assert min(parts.values()) >= -1e-6
                assert parts["AP"] == pytest.approx(areas[name], abs=1e-6)
    assert sum(result.types.counts.values()) == len(found)
    wrong = sum(result.gains.counts[each] for each in (*KINDS[:2], *KINDS[3:6]))
    assert wrong == result.gains.counts["false positives"]


def test_one_box_of_two_actions_is_missed_alike_in_any_order():
    true = [(1, 0, 1, (1, 2, 6, 7), 1), (1, 0, 2, (1, 2, 6, 7), 1), (0, 0, 0, (0, 0, 5, 5), 1)]
    found = boxes([(1, 0, 0, (0, 2, 5, 7), 0)])
    both = [
        frame_errors(boxes(rows, truth=True), found, "dense").to_json()
        for rows in (true, [true[1], true[0], true[2]])
    ]
    assert both[0] == both[1]


@settings(deadline=None, max_examples=25)
@given(true_rows, found_rows, st.randoms())
def test_the_order_of_rows_does_not_matter(true, found, random):
    first = frame_errors(boxes(true, truth=True), boxes(found), "dense")
    random.shuffle(true)
    random.shuffle(found)
    second = frame_errors(boxes(true, truth=True), boxes(found), "dense")
    assert first.to_json() == second.to_json()


@settings(deadline=None, max_examples=25)
@given(true_rows, found_rows)
def test_gains_are_those_of_the_mended_table(true, found):
    truth, found = boxes(true, truth=True), boxes(found)
    gains = frame_errors(truth, found, "dense").gains
    if not true:
        return
    matches = frame_matches(truth, found, "dense", surroundings=True)
    kind = _kinds(judgement_of(matches, 0.5), 0.1)[np.argsort(matches.rows)]
    for name in ("duplicate", "both", "background"):
        left = found.select(kind != KINDS.index(name))
        mended = frame_map(truth, left, "dense").mean
        assert gains.mean + gains.gains[name] == pytest.approx(mended)
    assert min(gains.gains[name] for name in gains.gains) >= -1e-12
    recall = frame_map(truth, found.select(kind < 0), "dense").mean
    assert gains.mean + gains.gains["false positives"] == pytest.approx(recall)


@pytest.mark.parametrize("name", ["ucf24_tiny", "jhmdb_tiny"])
def test_moc_errors(golden, name):
    folder = golden / "eval" / "tubes" / name
    truth = read_act_truth(next((folder / "native").glob("*-GT.pkl")))
    rows = np.load(golden / "eval" / "tubelets" / name / "expected_moc_tubelets_framedets.npz")
    rows = rows["dets"].astype(np.float64)
    found = Boxes(
        videos=truth.tubes.videos,
        classes=truth.tubes.classes,
        video=rows[:, 0].astype(np.int64),
        frame=rows[:, 1].astype(np.int64) - 1,
        label=rows[:, 2].astype(np.int64),
        score=rows[:, 3],
        box=rows[:, 4:],
    )
    metrics = json.loads((folder / "expected_moc_tubelets.json").read_text())["metrics"]
    ours = frame_errors(truth.boxes(), found, "ucf24+moc").breakdown.mean
    theirs = {
        "AP": "AP",
        "localisation": "Loc",
        "classification": "Cls",
        "time": "Time",
        "other": "Other",
        "missed": "Missed",
    }
    for part, key in theirs.items():
        expected = metrics[f"frameAP_error/{key}"] / 100
        assert ours[part] == pytest.approx(expected, abs=1e-6)  # 1e-4 points

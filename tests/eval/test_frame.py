import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Boxes, FrameProtocol, InputError, actor_ap, empty_boxes, frame_map
from stad_eval.version import __version__

A, B = (0, 0, 10, 10), (20, 0, 30, 10)
NEAR_A = (0, 0, 10, 9)  # IoU 0.9 with A


def test_mean_ap_by_hand(table):
    # walk: truths in frames 0 and 1. By score: 0.9 found, 0.8 wrong place, 0.7 found.
    #   (r, p) = (1/2, 1), (1/2, 1/2), (1, 2/3): AP = 1/2 + 1/2 * 2/3 = 5/6.
    # run: one truth; 0.9 in another frame is wrong, 0.6 found: (0, 0), (1, 1/2): AP = 1/2.
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A), ("v", 0, "run", B)])
    found = table(
        [
            ("v", 0, "walk", NEAR_A, 0.9),
            ("v", 0, "walk", B, 0.8),
            ("v", 1, "walk", A, 0.7),
            ("v", 1, "run", B, 0.9),
            ("v", 0, "run", B, 0.6),
        ]
    )
    result = frame_map(truth, found, "dense")
    assert result.per_class == {"walk": pytest.approx(5 / 6), "run": 0.5}
    assert result.mean == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert result.counts["frames"] == 2
    assert result.counts["truths"] == 3
    assert result.counts["true_positives"] == 3
    # At IoU 0.95 the first detection of walk fails: wrong, wrong, right: AP = 1/2 * 1/3.
    assert frame_map(truth, found, "dense", iou=0.95).per_class["walk"] == pytest.approx(1 / 6)
    # The threshold itself is enough.
    assert frame_map(truth, found, "dense", iou=0.9).per_class["walk"] == pytest.approx(5 / 6)


def test_a_truth_is_found_once(table):
    truth = table([("v", 0, "walk", A)])
    twice = table([("v", 0, "walk", A, 0.9), ("v", 0, "walk", A, 0.8)])
    curve = frame_map(truth, twice, "dense").curves["walk"]
    assert curve.precision.tolist() == [1.0, 0.5]


def test_names_align_the_tables(table):
    truth = table([("b", 0, "run", A)], videos=("a", "b"), classes=("walk", "run"))
    found = table([("b", 0, "run", A, 0.5)], videos=("b",), classes=("run", "walk"))
    assert frame_map(truth, found, "dense").per_class == {"walk": None, "run": 1.0}


def test_annotated_frames_decide_where_detections_count(table):
    rows = [("v", 0, "walk", A, 0.5), ("v", 1, "walk", A, 0.9), ("w", 0, "walk", A, 0.9)]
    found = table(rows, videos=("v", "w"))
    # Frame 1 was annotated and is empty: a false positive before the hit. The rest does not count.
    truth = table([("v", 0, "walk", A)], annotated=[("v", 0), ("v", 1)])
    result = frame_map(truth, found, "dense")
    assert result.per_class["walk"] == 0.5
    assert result.counts["frames"] == 2
    assert result.counts["detections_on_other_frames"] == 1
    # Without a list, the frames with a box are the annotated ones.
    assert frame_map(table([("v", 0, "walk", A)]), found, "dense").mean == 1.0
    # Everywhere: two false positives before the hit.
    everywhere = FrameProtocol(name="everywhere", frames="all")
    assert frame_map(truth, found, everywhere).mean == pytest.approx(1 / 3)
    # Only where an evaluated class stands.
    with_truth = FrameProtocol(name="with-truth", frames="with-truth")
    assert frame_map(truth, found, with_truth).mean == 1.0


def test_exclusions_leave_both_sides_out(table):
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)])
    found = table([("v", 0, "walk", A, 0.5), ("v", 1, "walk", B, 0.9)])
    result = frame_map(truth, found, "dense", exclude={("v", 1), ("other", 5)})
    assert result.mean == 1.0
    assert result.counts["truths"] == 1
    assert result.counts["detections_excluded"] == 1
    kept = FrameProtocol(name="kept", exclusions="ignored")
    assert frame_map(truth, found, kept, exclude={("v", 1)}).counts["truths"] == 2


def test_limit_per_frame_keeps_the_best(table):
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)])
    rows = [("v", 0, "walk", B, 0.9), ("v", 0, "run", A, 0.8), ("v", 0, "walk", A, 0.7)]
    found = table([*rows, ("v", 1, "walk", A, 0.1)])
    two = FrameProtocol(name="two", max_per_frame=2)
    result = frame_map(truth, found, two)
    # Left: 0.9 (wrong) and 0.1 (right) for walk: 1/2 * 1/2.
    assert result.counts["detections_over_limit"] == 1
    assert result.per_class["walk"] == pytest.approx(1 / 4)


def test_limit_does_not_depend_on_order_among_equal_scores(table):
    truth = table([("v", 0, "walk", A), ("v", 0, "run", A)])
    rows = [("v", 0, name, box, 0.5) for name in ("walk", "run") for box in (B, A)]
    one = FrameProtocol(name="one", max_per_frame=1)
    means = {frame_map(truth, table(list(each)), one).mean for each in (rows, rows[::-1])}
    assert means == {0.5}  # walk comes first, and A before B


def test_class_without_truth_has_no_ap_and_no_part_in_the_mean(table):
    truth, found = table([("v", 0, "walk", A)]), table([("v", 0, "run", A, 0.5)])
    result = frame_map(truth, found, "dense")
    assert result.per_class == {"walk": 0.0, "run": None}
    assert result.mean == 0.0


def test_empty_tables():
    nothing = empty_boxes(videos=["v"], classes=["walk"])
    result = frame_map(nothing, nothing, "dense")
    assert math.isnan(result.mean)
    assert json.loads(result.to_json())["mAP"] is None
    assert "mean" in result.table()


def test_no_detections_score_zero(table):
    truth = table([("v", 0, "walk", A)])
    assert frame_map(truth, table([]), "dense").mean == 0.0


def test_ava_protocol_knows_its_sixty_classes(table):
    truth = table([("v", 902, "stand", A)], classes=("stand", "crawl"))
    found = table(
        [("v", 902, "stand", A, 0.5), ("v", 902, "crawl", A, 0.9)], classes=("stand", "crawl")
    )
    result = frame_map(truth, found, "ava-v2.2")
    assert len(result.per_class) == 60
    assert result.per_class["stand"] == 1.0
    assert result.mean == 1.0
    assert result.counts["detections_of_other_classes"] == 1


def test_unknown_classes_are_refused(table):
    truth = table([("v", 0, "walk", A)])
    stranger = table([("v", 0, "fly", A, 0.5)], classes=("fly",))
    with pytest.raises(InputError, match=r"detections.*'dense'.*found fly"):
        frame_map(truth, stranger, "dense")
    with pytest.raises(InputError, match=r"ground truth.*'ucf24'.*found walk"):
        frame_map(truth, truth, "ucf24")


def test_bad_input_is_refused(table):
    truth = table([("v", 0, "walk", A)])
    with pytest.raises(InputError, match="no area"):
        frame_map(table([("v", 0, "walk", (5, 5, 5, 9))]), truth, "dense")
    with pytest.raises(InputError, match="inverted"):
        frame_map(truth, table([("v", 0, "walk", (9, 9, 5, 5), 0.5)]), "dense")
    for iou in (0.0, 1.5, math.nan):
        with pytest.raises(InputError, match="IoU"):
            frame_map(truth, truth, "dense", iou=iou)


def test_inverted_detections_can_be_dropped(table):
    truth = table([("v", 0, "walk", A)])
    found = table([("v", 0, "walk", (9, 9, 5, 5), 0.9), ("v", 0, "walk", A, 0.5)])
    dropped = FrameProtocol(name="dropped", inverted="dropped")
    result = frame_map(truth, found, dropped)
    assert result.mean == 1.0
    assert result.counts["detections_inverted"] == 1


# Few frames, classes, places and scores: ties in everything.
place = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda p: (*p, p[0] + 2, p[1] + 3))
row = st.tuples(st.integers(0, 2), st.integers(0, 1), place, st.integers(0, 3))
some_rows = st.lists(row, max_size=14)


def arrays(rows):
    return Boxes(
        videos=("v", "w"),
        classes=("walk", "run"),
        video=np.array([each[0] % 2 for each in rows], dtype=np.int64),
        frame=np.array([each[0] for each in rows], dtype=np.int64),
        box=np.array([each[2] for each in rows], dtype=np.float64).reshape(-1, 4),
        label=np.array([each[1] for each in rows], dtype=np.int64),
        score=np.array([each[3] for each in rows], dtype=np.float64),
    )


@pytest.mark.parametrize("matching", ["argmax", "best-unmatched"])
@settings(deadline=None, max_examples=50)
@given(truth=some_rows, found=some_rows, random=st.randoms())
def test_the_order_of_rows_changes_no_bit(matching, truth, found, random):
    protocol = FrameProtocol(name="strict", matching=matching, max_per_frame=3)
    first = frame_map(arrays(truth), arrays(found), protocol)
    random.shuffle(truth)
    random.shuffle(found)
    second = frame_map(arrays(truth), arrays(found), protocol)
    assert first.to_json() == second.to_json()


@settings(deadline=None, max_examples=50)
@given(truth=some_rows, found=some_rows)
def test_monotone_maps_of_the_scores_change_nothing(truth, found):
    table = arrays(found)
    mapped = Boxes(**{**vars(table), "score": np.exp(table.score) - 40.0})
    results = [frame_map(arrays(truth), each, "dense").per_class for each in (table, mapped)]
    assert results[0] == results[1]


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(row, min_size=1, max_size=14, unique_by=lambda each: each[:3]))
def test_ground_truth_given_as_detections_is_perfect(rows):
    assert frame_map(arrays(rows), arrays(rows), "dense", iou=1.0).mean == 1.0


def test_result_as_json_and_table(table):
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)], annotated=[("v", 0), ("v", 1)])
    result = frame_map(truth, table([("v", 0, "walk", A, 0.5)]), "dense")
    content = json.loads(result.to_json())
    assert set(content) == {"protocol", "iou", "mAP", "per_class", "counts", "version"}
    assert content["protocol"] == "dense"
    assert content["per_class"] == {"walk": 0.5, "run": None}
    assert content["mAP"] == 0.5
    assert content["counts"]["detections"] == 1
    assert content["version"] == __version__
    lines = result.table().splitlines()
    assert lines[0] == "dense, IoU 0.5: 2 frames"
    assert "walk     50.00         2" in lines
    assert "run          -         0" in lines
    assert lines[-1] == "mean     50.00         2"


def test_actor_ap_by_hand(table):
    # Two persons; the first has two labels. Found: person A under two labels (best score 0.9), and
    # something on B's left at 0.8, then B at 0.7: right, wrong, right of 2: AP = 5/6.
    truth = table([("v", 0, "walk", A), ("v", 0, "run", A), ("v", 0, "walk", B)])
    rows = [("v", 0, "walk", A, 0.2), ("v", 0, "run", A, 0.9), ("v", 0, "run", B, 0.7)]
    found = table([*rows, ("v", 0, "walk", (12, 0, 19, 10), 0.8)])
    result = actor_ap(truth, found)
    assert result.per_class == {"person": pytest.approx(5 / 6)}
    assert result.counts["truths"] == 2
    assert result.counts["detections"] == 3


def test_actor_ap_counts_annotated_frames_without_persons(table):
    truth = table([("v", 0, "walk", A)], annotated=[("v", 0), ("v", 1)])
    found = table([("v", 1, "person", A, 0.9), ("v", 0, "person", A, 0.5)], classes=("person",))
    assert actor_ap(truth, found).mean == 0.5
    assert actor_ap(truth, empty_boxes(classes=["person"])).mean == 0.0

"""Variants against plain loops that work as the public evaluators do, on rows full of ties."""

import heapq
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Boxes, FrameProtocol, InputError, frame_map, frame_maps, pairwise_iou
from stad_eval.protocols import FRAME_PROTOCOLS, frame_protocol

A, B = (0, 0, 10, 10), (20, 0, 30, 10)
# Few frames, places and scores: ties in everything.
place = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda p: (*p, p[0] + 2, p[1] + 3))
row = st.tuples(st.integers(0, 3), st.integers(0, 1), place, st.integers(0, 3))
truth_rows = st.lists(row, max_size=14)
found_rows = st.lists(row, max_size=40)


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


def by_frame(rows):
    frames = {}
    for each in rows:
        frames.setdefault(each[0], []).append(each)
    return frames


def heaped(rows, limit):
    """Rows of one frame through a heap, then by falling score."""
    heap = []
    for frame, label, (x1, y1, x2, y2), score in rows:
        entry = (score, label, y1, x1, y2, x2, frame)
        if limit is None or len(heap) < limit:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    ordered = sorted(heap, key=lambda entry: -entry[0])
    return [(f, label, (x1, y1, x2, y2), s) for s, label, y1, x1, y2, x2, f in ordered]


def overlaps(box, others):
    return pairwise_iou(np.array([box]), np.array(others).reshape(-1, 4))[0]


def all_point(order, correct, truths):
    hits = np.cumsum(np.array(correct, dtype=int)[order]) if correct else np.empty(0)
    recall = np.concatenate([[0], hits / truths, [1]])
    precision = np.concatenate([[0], hits / np.arange(1, hits.size + 1), [0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * precision[1:]))


def keyframe_reference(truth, found, *, heap, limit, own_frames, sort=False):
    """AP by class of the evaluators of AVA; own_frames: only frames with truth, in their order."""
    true_frames, found_frames = by_frame(truth), by_frame(found)
    result = {}
    names = list(true_frames) if own_frames else list(found_frames)
    for label in (0, 1):
        scores, correct = [], []
        for frame in names:
            rows = found_frames.get(frame, [])
            if heap:
                rows = heaped(rows, limit)
            elif sort:
                rows = sorted(rows, key=lambda each: -each[3])
            there = true_frames.get(frame, [])
            there = heaped([(*t[:3], 1.0) for t in there], None) if heap else there
            boxes = [each[2] for each in there if each[1] == label]
            if heap and frame not in true_frames:
                continue
            taken = set()
            for _, name, box, score in rows:
                if name != label:
                    continue
                iou = overlaps(box, boxes)
                best = int(np.argmax(iou)) if boxes else -1
                right = bool(boxes) and iou[best] >= 0.5 and best not in taken
                taken |= {best} if right else set()
                scores.append(score)
                correct.append(right)
        truths = sum(each[1] == label for each in truth)
        # Complex numbers are sorted by numpy's introsort, whatever the processor.
        order = np.argsort(np.array(scores, dtype=np.complex128))[::-1]
        result[label] = all_point(order, correct, truths) if truths else None
    return result


def dense_reference(truth, found, *, delete, trapezoid):
    """AP by class of ACT's script and of MultiSports'."""
    result = {}
    for label in (0, 1):
        rows = [each for each in found if each[1] == label]
        boxes = {f: [t[2] for t in ts if t[1] == label] for f, ts in by_frame(truth).items()}
        truths, taken, correct = sum(map(len, boxes.values())), set(), []
        order = np.argsort(-np.array([each[3] for each in rows], dtype=np.complex128))
        for at in order:
            frame, _, box, _ = rows[at]
            left = [
                i for i in range(len(boxes.get(frame, []))) if not delete or (frame, i) not in taken
            ]
            right = False
            if left:
                grown = np.array([boxes[frame][i] for i in left], dtype=float)
                own = np.array(box, dtype=float)
                if trapezoid:  # the evaluators that count a box's last pixel
                    pixel = np.array([0, 0, 1, 1])
                    grown, own = grown + pixel, own + pixel
                iou = overlaps(own, grown)
                best = left[int(np.argmax(iou))]
                right = iou.max() >= 0.5 and (frame, best) not in taken
                taken |= {(frame, best)} if right else set()
            correct.append(right)
        if not truths:
            result[label] = None
        elif trapezoid:
            hits = np.cumsum(correct)
            recall = np.append(0.0, hits / truths)
            precision = np.append(1.0, hits / np.arange(1, hits.size + 1))
            middle = (precision[1:] + precision[:-1]) / 2
            result[label] = float(np.sum(np.diff(recall) * middle))
        else:
            result[label] = all_point(np.arange(len(correct)), correct, truths)
    return result


def got(truth, found, protocol):
    truth = [(*each[:3], 1) for each in truth]
    result = frame_map(arrays(truth), arrays(found), protocol)
    return dict(enumerate(result.per_class.values()))


@settings(deadline=None, max_examples=100)
@given(
    truth=truth_rows,
    found=st.lists(row, min_size=15, max_size=40),
    limit=st.sampled_from([None, 1, 3, 5]),
)
def test_activitynet(truth, found, limit):
    protocol = replace(frame_protocol("keyframes+activitynet"), max_per_frame=limit)
    expected = keyframe_reference(truth, found, heap=True, limit=limit, own_frames=False)
    assert got(truth, found, protocol) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(truth=truth_rows, found=found_rows)
def test_pyslowfast(truth, found):
    expected = keyframe_reference(truth, found, heap=False, limit=None, own_frames=False)
    assert got(truth, found, "keyframes+pyslowfast") == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(truth=truth_rows, found=found_rows)
def test_mmaction2(truth, found):
    expected = keyframe_reference(truth, found, heap=False, limit=None, own_frames=True, sort=True)
    on = {each[0] for each in truth}
    detected = {each[1] for each in found if each[0] in on}
    expected = {label: x if label in detected else None for label, x in expected.items()}
    assert got(truth, found, "keyframes+mmaction2") == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(truth=truth_rows, found=found_rows)
def test_multisports(truth, found):
    expected = dense_reference(truth, found, delete=False, trapezoid=False)
    assert got(truth, found, "dense+multisports") == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(truth=truth_rows, found=found_rows)
def test_multisports2021(truth, found):
    expected = dense_reference(truth, found, delete=True, trapezoid=True)
    assert got(truth, found, "dense+multisports2021") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("base", FRAME_PROTOCOLS, ids=lambda base: base.name)
@settings(deadline=None, max_examples=15)
@given(truth=truth_rows, found=found_rows, random=st.randoms())
def test_the_order_of_rows_changes_no_bit_of_a_strict_protocol(base, truth, found, random):
    assert base.strict
    protocol = replace(base, classes=None, ignored_classes=(), max_per_frame=3)
    first = frame_maps(arrays(truth), arrays(found), protocol, ious=(0.3, 0.5))
    random.shuffle(truth)
    random.shuffle(found)
    second = frame_maps(arrays(truth), arrays(found), protocol, ious=(0.3, 0.5))
    assert [each.to_json() for each in first.values()] == [
        each.to_json() for each in second.values()
    ]


@settings(deadline=None, max_examples=25)
@given(truth=truth_rows, found=found_rows)
def test_several_thresholds_at_once_are_each_alone(truth, found):
    tables = arrays(truth), arrays(found)
    for protocol in ("keyframes", "dense", "dense+multisports2021"):
        for iou, result in frame_maps(*tables, protocol, ious=(0.2, 0.5, 0.9)).items():
            assert result.to_json() == frame_map(*tables, protocol, iou=iou).to_json()


def test_classes_without_truth_and_without_detections(table):
    truth = table([("v", 0, "walk", A), ("v", 0, "run", B)], classes=("walk", "run", "sit"))
    found = table([("v", 0, "walk", A, 0.5)], classes=("walk", "run", "sit"))
    assert frame_map(truth, found, "dense").per_class == {"walk": 1.0, "run": 0.0, "sit": None}
    zero = frame_map(truth, found, "dense+realtime")
    assert zero.per_class == {"walk": 1.0, "run": 0.0, "sit": 0.0}
    assert zero.mean == pytest.approx(1 / 3)
    left_out = frame_map(truth, found, "keyframes+mmaction2")
    assert left_out.per_class == {"walk": 1.0, "run": None, "sit": None}
    # MOC counts a class without both as zero, and stops at one with detections only.
    assert frame_map(truth, found, "dense+moc").mean == pytest.approx(1 / 3)
    stray = table([("v", 0, "sit", A, 0.5)], classes=("walk", "run", "sit"))
    with pytest.raises(InputError, match=r"'sit'.*divides by zero"):
        frame_map(truth, stray, "dense+moc")


def test_excluded_truth_can_stay_in_the_denominator(table):
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)])
    found = table([("v", 0, "walk", A, 0.5), ("v", 1, "walk", A, 0.9)])
    result = frame_map(truth, found, "keyframes+mmaction2", exclude={("v", 1)})
    assert result.mean == 0.5
    assert result.counts["truths"] == 2
    assert frame_map(truth, found, "keyframes+pyslowfast", exclude={("v", 1)}).mean == 1.0
    # ActivityNet's has no exclusion list.
    assert frame_map(truth, found, "keyframes+activitynet", exclude={("v", 1)}).mean == 1.0


def test_boxes_without_area_and_inverted_ones(table):
    truth = table([("v", 0, "walk", A)])
    found = table([("v", 0, "walk", (5, 5, 5, 9), 0.9), ("v", 0, "walk", A, 0.5)])
    assert frame_map(truth, found, "keyframes").mean == 0.5
    dropped = frame_map(truth, found, "keyframes+activitynet")
    assert dropped.mean == 1.0
    assert dropped.counts["detections_without_area"] == 1
    inverted = table([("v", 0, "walk", (9, 9, 5, 5), 0.9), ("v", 0, "walk", A, 0.5)])
    assert frame_map(truth, inverted, "keyframes+pyslowfast").counts["detections_inverted"] == 1
    assert frame_map(truth, inverted, "dense+multisports").mean == 0.5
    with pytest.raises(InputError, match="inverted"):
        frame_map(truth, inverted, "keyframes+mmaction2")


def test_classes_that_a_dense_evaluator_passes_over(table):
    names = ("aerobic turn", "aerobic kick jump")
    truth = table([("v", 0, names[0], A), ("v", 0, names[1], A)], classes=names)
    for protocol in ("multisports", "multisports+multisports", "multisports+multisports2021"):
        result = frame_map(truth, truth, protocol)
        assert result.mean == 1.0
        assert names[1] not in result.per_class
        assert result.counts["detections_of_other_classes"] == 1
    # A variant takes the classes of the ground truth, a strict protocol knows its own.
    with pytest.raises(InputError, match="'ucf24' does not know"):
        frame_map(truth, truth, "ucf24")
    assert set(frame_map(truth, truth, "ucf24+moc").per_class) == set(names)


def test_numbers_that_were_single_are_scored_as_single(table):
    # 0.1 and the next float32 above are one number to mmaction2.
    near = float(np.nextafter(np.float64(0.1), 1.0))
    truth = table([("v", 0, "walk", A)])
    found = table([("v", 0, "walk", B, 0.1), ("v", 0, "walk", A, near)])
    double = FrameProtocol(name="double")
    assert frame_map(truth, found, double).mean == 1.0
    assert frame_map(truth, found, replace(double, numbers="single")).mean == 0.5
    assert frame_map(truth, found, replace(double, numbers="stored")).mean == 1.0
    stored = table([("v", 0, "walk", A, 0.5)])
    assert frame_map(truth, stored, replace(double, numbers="stored")).mean == 1.0


def test_frames_far_apart_need_no_table(table):
    far = 2**39
    truth = table([("v", 3, "walk", A), ("v", far, "walk", A)])
    found = table([("v", far, "walk", A, 0.5), ("v", 7, "walk", A, 0.9)])
    assert frame_map(truth, found, "dense").mean == 0.5
    assert frame_map(truth, found, "dense+moc").counts["detections"] == 2


def test_frames_keep_the_place_of_a_row_that_was_dropped(table):
    # Frame 1 comes first in the file, by a row that is dropped; of the two equal scores the one
    # that an introsort, read backwards, puts first is then that of frame 0: a hit.
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)])
    rows = [("v", 1, "walk", (9, 9, 5, 5), 0.5), ("v", 0, "walk", A, 0.5), ("v", 1, "walk", B, 0.5)]
    for variant in ("activitynet", "pyslowfast"):
        assert frame_map(truth, table(rows), f"keyframes+{variant}").mean == 0.5
        assert frame_map(truth, table(rows[1:]), f"keyframes+{variant}").mean == 0.25

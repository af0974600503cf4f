import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    Boxes,
    GreedyLinker,
    InputError,
    link,
    link_rows,
    pairwise_iou,
    tubes_of_rows,
)

A, B = (0, 0, 10, 10), (100, 0, 110, 10)


def moved(box, by):
    return (box[0] + by, box[1], box[2] + by, box[3])


def test_two_actors_are_two_tubes(table):
    rows = [("v", t, "walk", moved(A, t), 0.5) for t in range(6)]
    rows += [("v", t, "walk", moved(B, -t), 0.9) for t in range(6)]
    tubes = link(table(rows))
    assert [tube.score for tube in tubes] == pytest.approx([0.9, 0.5])
    assert [len(tube) for tube in tubes] == [6, 6]
    assert tubes[1].boxes[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_videos_and_labels_are_linked_apart(table):
    rows = [(v, t, c, A, 0.5) for v in ("v", "w") for c in ("walk", "run") for t in (0, 1)]
    tubes = link(table(rows, videos=("v", "w")))
    assert [(tube.video, tube.label, len(tube)) for tube in tubes] == [
        ("v", 0, 2),
        ("v", 1, 2),
        ("w", 0, 2),
        ("w", 1, 2),
    ]


def test_the_stronger_tube_chooses_first_and_takes_the_best_score(table):
    # Both tubes reach both boxes of frame 1.
    rows = [("v", 0, "walk", A, 0.9), ("v", 0, "walk", moved(A, 2), 0.3)]
    rows += [("v", 1, "walk", moved(A, 1), 0.4), ("v", 1, "walk", moved(A, 3), 0.8)]
    assert link_rows(table(rows)).tolist() == [0, 1, 1, 0]


def test_gaps_are_filled_up_to_a_limit(table):
    rows = [("v", 0, "walk", A, 1.0), ("v", 3, "walk", moved(A, 3), 0.5)]
    tube = link(table(rows), max_gap=2)[0]
    assert tube.frames.tolist() == [0, 1, 2, 3]
    assert tube.boxes[:, 0].tolist() == pytest.approx([0, 1, 2, 3])
    assert tube.score == 0.75
    assert len(link(table(rows), max_gap=1)) == 2
    assert link(table(rows), max_gap=2, interpolate=False)[0].frames.tolist() == [0, 3]
    assert len(link(table(rows), max_gap=0, stride=3)) == 1


def test_options(table):
    rows = [("v", 0, "walk", A, 0.9), ("v", 0, "walk", B, 0.5), ("v", 1, "walk", A, 0.9)]
    assert len(link(table(rows), min_length=2)) == 1
    assert link_rows(table(rows), max_boxes=1).tolist() == [0, -1, 0]
    assert link(table([])) == []
    shifted = [("v", 0, "walk", A, 0.9), ("v", 1, "walk", moved(A, 5), 0.9)]  # IoU 1/3
    assert len(link(table(shifted), min_iou=0.4)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linker": "hungarian"}, "'act' or 'viterbi'"),
        ({"min_iou": 0.0}, "min_iou"),
        ({"min_iou": 1.5, "linker": "viterbi"}, "min_iou"),
        ({"max_gap": -1, "linker": "viterbi"}, "max_gap"),
        ({"max_gap": -1}, "max_gap"),
        ({"stride": 0}, "stride"),
        ({"max_boxes": 0}, "max_boxes"),
        ({"min_length": 0}, "min_length"),
    ],
)
def test_bad_options_are_refused(table, options, message):
    with pytest.raises(InputError, match=message):
        link(table([("v", 0, "walk", A, 0.5)]), **options)


def test_tubes_are_made_of_rows_with_numbers(table):
    found = table([("v", t, "walk", A, 0.5) for t in (4, 2, 3)])
    tubes = tubes_of_rows(found, np.array([1, 0, 1]), scores=np.array([0.1, 0.7]))
    assert [(tube.score, tube.frames.tolist()) for tube in tubes] == [(0.7, [3, 4]), (0.1, [2])]
    with pytest.raises(InputError, match="tube numbers"):
        tubes_of_rows(found, np.array([1, 0]))
    with pytest.raises(InputError, match="min_length"):
        tubes_of_rows(found, np.array([1, 0, 1]), min_length=0)
    twice = table([("v", 2, "walk", A, 0.5), ("v", 2, "walk", B, 0.5)])
    with pytest.raises(InputError, match="out of order"):
        tubes_of_rows(twice, np.array([0, 0]))


def test_a_stream_must_go_forward():
    linker = GreedyLinker()
    linker.step(4, np.array([A]), np.array([0.5]))
    with pytest.raises(InputError, match="after 4"):
        linker.step(4, np.array([A]), np.array([0.5]))


def test_an_endless_stream_keeps_live_tubes_only():
    linker = GreedyLinker(max_gap=2)
    for frame in range(200):
        box = np.array([moved(A, 50 * frame)])  # never near the last one: a new tube each time
        assert linker.step(frame, box, np.array([0.5])).tolist() == [frame]
        assert len(linker._tubelets.scores()) <= 4
    assert linker.step(300, np.empty((0, 4)), np.empty(0)).shape == (0,)
    assert linker._tubelets.scores() == {}


def test_streams_are_linked_alone_in_one_pass():
    linker = GreedyLinker()
    boxes, streams = np.array([A, A, B]), np.array([0, 7, 7])
    assert linker.step(0, boxes, np.array([0.5, 0.6, 0.7]), streams).tolist() == [0, 2, 1]
    assert linker.step(1, boxes, np.array([0.5, 0.6, 0.7]), streams).tolist() == [0, 2, 1]
    with pytest.raises(InputError, match="streams"):
        linker.step(2, boxes, np.array([0.5, 0.6, 0.7]), streams[:2])
    with pytest.raises(InputError, match="wrong shape"):
        linker.step(3, boxes, np.array([0.5]))


frames = st.integers(0, 5)
place = st.tuples(st.integers(0, 8), st.integers(0, 4)).map(lambda p: (*p, p[0] + 6, p[1] + 6))
rows = st.lists(st.tuples(frames, place, st.integers(1, 4), st.integers(0, 1)), max_size=20)
linkers = st.sampled_from(["act", "viterbi"])


def boxes_of(rows):
    return Boxes(
        videos=("v",),
        classes=("walk", "run"),
        video=np.zeros(len(rows), dtype=np.int64),
        frame=np.array([each[0] for each in rows], dtype=np.int64),
        box=np.array([each[1] for each in rows], dtype=np.float64).reshape(-1, 4),
        label=np.array([each[3] for each in rows], dtype=np.int64),
        score=np.array([each[2] for each in rows], dtype=np.float64),
    )


@settings(deadline=None, max_examples=30)
@given(rows, st.integers(0, 3), linkers)
def test_no_detection_is_used_twice_and_none_is_lost(detections, max_gap, linker):
    found = boxes_of(detections)
    tubes = link(found, linker=linker, max_gap=max_gap, max_boxes=None, interpolate=False)
    used = [(t.label, int(f), *b) for t in tubes for f, b in zip(t.frames, t.boxes, strict=True)]
    columns = zip(found.label, found.frame, found.box, strict=True)
    assert sorted(used) == sorted((int(c), int(t), *b) for c, t, b in columns)
    # A tube holds one box per frame: Tube itself refuses repeated frames.
    assert all((np.diff(tube.frames) <= max_gap + 1).all() for tube in tubes)


@settings(deadline=None, max_examples=30)
@given(rows, st.randoms(), linkers)
def test_the_order_of_rows_does_not_matter(detections, random, linker):
    shuffled = list(detections)
    random.shuffle(shuffled)
    a, b = (link(boxes_of(each), linker=linker) for each in (detections, shuffled))
    assert [(t.score, t.boxes.tolist()) for t in a] == [(t.score, t.boxes.tolist()) for t in b]


def linked_one_by_one(found, min_iou, max_gap):
    """The rule of the greedy linker, tube by tube, for rows of one class with distinct boxes."""
    tube_of = np.full(len(found), -1)
    live = []  # [number, last frame, last row, scores]
    number = 0
    for frame in range(int(found.frame.max(initial=-1)) + 1):
        free = sorted(
            np.flatnonzero(found.frame == frame),
            key=lambda row: (-found.score[row], found.box[row].tolist()),
        )
        live = [tube for tube in live if frame - tube[1] <= max_gap + 1]
        for tube in sorted(live, key=lambda tube: (-sum(tube[3]) / len(tube[3]), tube[0])):
            near = pairwise_iou(found.box[tube[2]][None], found.box[free])[0] >= min_iou
            if near.any():
                row = free.pop(int(np.argmax(near)))
                tube_of[row] = tube[0]
                tube[1:3] = frame, row
                tube[3].append(found.score[row])
        for row in free:
            tube_of[row] = number
            live.append([number, frame, row, [found.score[row]]])
            number += 1
    return tube_of.tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(frames, place, st.integers(1, 4), st.just(0)), max_size=20, unique=True))
def test_greedy_linking_is_the_rule_that_it_states(detections):
    found = boxes_of(detections)
    expected = linked_one_by_one(found, 0.4, 1)
    assert link_rows(found, min_iou=0.4, max_gap=1, max_boxes=None).tolist() == expected

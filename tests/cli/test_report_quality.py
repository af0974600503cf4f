"""The measure that picks a report's best and worst keyframes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_cli.keyframe_quality import KeyframeQuality, keyframe_qualities, pick
from stad_eval import Boxes

CLASSES = ("walk", "wave", "sit")
LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [100, 100, 120, 120]


def table(*rows, annotated=None):
    """Rows of (video number, frame, box, label, score)."""
    video, frame, box, label, score = zip(*rows, strict=True) if rows else [()] * 5
    return Boxes(
        videos=("a", "b"),
        classes=CLASSES,
        video=np.array(video, np.int64),
        frame=np.array(frame, np.int64),
        box=np.array(box, float).reshape(-1, 4),
        label=np.array(label, np.int64),
        score=np.array(score, float),
        annotated=None if annotated is None else np.array(annotated, np.int64),
    )


TRUTH = table((0, 5, LEFT, 0, 1), (0, 5, LEFT, 1, 1), (0, 5, RIGHT, 2, 1))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # all three pairs with certainty
        ([(0, 5, LEFT, 0, 1), (0, 5, LEFT, 1, 1), (0, 5, RIGHT, 2, 1)], 1.0),
        ([], 0.0),
        # one pair of three at 0.6, nothing wrong: 0.6 / 3
        ([(0, 5, LEFT, 0, 0.6)], 0.2),
        # the same and a wrong action at 0.4 on the matched box: 0.6 / (3 + 0.4)
        ([(0, 5, LEFT, 0, 0.6), (0, 5, LEFT, 2, 0.4)], 0.6 / 3.4),
        # right action at the wrong place: 0 / (3 + 0.9)
        ([(0, 5, FAR, 0, 0.9)], 0.0),
        # a score too low to claim anything
        ([(0, 5, LEFT, 0, 0.6), (0, 5, FAR, 0, 0.01)], 0.2),
        # another frame is another keyframe
        ([(0, 6, LEFT, 0, 0.6)], 0.0),
    ],
)
def test_by_hand(found, expected):
    (one,) = keyframe_qualities(TRUTH, table(*found))
    assert one.quality == pytest.approx(expected)
    assert (one.video, one.frame) == ("a", 5)
    assert len(one.truth.boxes) == 2


def test_a_keyframe_without_actions_has_no_quality():
    truth = table((0, 5, LEFT, 0, 1), annotated=[(0, 5), (0, 9), (1, 0)])
    assert [(q.video, q.frame) for q in keyframe_qualities(truth, table())] == [("a", 5)]


boxes = st.sampled_from([LEFT, RIGHT, FAR, [1, 1, 11, 11]])
rows = st.tuples(st.integers(0, 1), st.integers(0, 2), boxes, st.integers(0, 2), st.floats(0.01, 1))


@settings(deadline=None, max_examples=50)
@given(st.lists(rows, min_size=1, max_size=8), st.lists(rows, max_size=8), st.randoms())
def test_bounded_and_blind_to_the_order_of_rows(true, found, random):
    true = [(*row[:4], 1.0) for row in true]
    once = {(q.video, q.frame): q.quality for q in keyframe_qualities(table(*true), table(*found))}
    assert all(0.0 <= value <= 1.0 for value in once.values())
    random.shuffle(found)
    again = {(q.video, q.frame): q.quality for q in keyframe_qualities(table(*true), table(*found))}
    assert once == pytest.approx(again)


def test_picking_spreads_over_videos_and_shows_nothing_twice():
    def one(video, frame, quality):
        return KeyframeQuality(video=video, frame=frame, quality=quality, truth=None, found=None)

    all_ = [one("a", 0, 0.9), one("a", 1, 0.8), one("b", 0, 0.7), one("b", 1, 0.1)]
    best, worst = pick(all_, 2)
    assert [(q.video, q.frame) for q in best] == [("a", 0), ("b", 0)]
    assert [(q.video, q.frame) for q in worst] == [("b", 1), ("a", 1)]
    best, worst = pick(all_[:1], 2)
    assert len(best) == 1
    assert worst == []

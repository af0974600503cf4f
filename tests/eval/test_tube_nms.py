import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import Tube, stack_tubes, tube_iou, tube_nms


def tube(x, score, *, frames=range(4), label=0, video="v"):
    boxes = np.tile([x, 0.0, x + 10.0, 10.0], (len(frames), 1))
    return Tube(video=video, label=label, score=score, frames=np.array(frames), boxes=boxes)


def table(tubes):
    return stack_tubes(tubes, classes=("walk", "run"), videos=("v", "w"))


def test_a_better_tube_suppresses_those_that_overlap_it():
    tubes = [
        tube(1, 0.8),
        tube(0, 0.9),
        tube(0, 0.1, label=1),
        tube(0, 0.2, video="w"),
        tube(50, 0.3),
    ]
    assert tube_nms(table(tubes)).tolist() == [1, 4, 2, 3]


def test_who_is_suppressed_suppresses_nobody():
    chain = table([tube(0, 0.9), tube(4, 0.8), tube(8, 0.7)])  # neighbours overlap by 6/14
    assert tube_nms(chain, threshold=0.3).tolist() == [0, 2]
    assert tube_nms(chain, threshold=6 / 14).tolist() == [0, 1, 2]


def test_equal_scores_are_told_apart_by_content_or_by_the_later_row():
    one, other = tube(1, 0.5), tube(0, 0.5)
    assert tube_nms(table([one, other])).tolist() == [1]
    assert tube_nms(table([other, one])).tolist() == [0]
    assert tube_nms(table([other, one]), protocol="dense+act").tolist() == [1]


def test_no_tubes():
    assert tube_nms(table([])).size == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=8))
def test_what_is_left_is_what_the_definition_leaves(rows):
    tubes = [tube(x, 1.0 - at / 10, frames=range(n)) for at, (x, n) in enumerate(rows)]
    left = []
    for at, each in enumerate(tubes):
        if all(tube_iou(tubes[other], each) <= 0.3 for other in left):
            left.append(at)
    assert tube_nms(table(tubes)).tolist() == left

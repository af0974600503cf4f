import numpy as np
import pytest

from stad_eval import InputError, Tube, tube_iou

SQUARE = (0.0, 0.0, 10.0, 10.0)


def tube(frames, boxes=SQUARE, score=1.0):
    boxes = np.broadcast_to(np.asarray(boxes, dtype=np.float64), (len(frames), 4))
    return Tube(video="v", label=0, score=score, frames=np.array(frames), boxes=boxes)


def test_a_tube_overlaps_itself_wholly():
    assert tube_iou(tube([3]), tube([3])) == 1.0
    assert tube_iou(tube([1, 2, 5]), tube([1, 2, 5])) == 1.0


def test_overlap_by_hand():
    # Frames 1..10 and 3..12: 8 shared of 12. Boxes agree on all of them: 8/12 * 1.
    a, b = tube(range(1, 11)), tube(range(3, 13))
    assert tube_iou(a, b) == pytest.approx(8 / 12)
    assert tube_iou(b, a) == pytest.approx(8 / 12)
    # On 2 of the shared frames boxes share a third (5x10 of 150), on 6 nothing: mean 2/3/8.
    boxes = np.tile([20.0, 0, 30, 10], (10, 1))
    boxes[:2] = (5, 0, 15, 10)
    assert tube_iou(a, tube(range(3, 13), boxes)) == pytest.approx(8 / 12 * (2 / 3 / 8))


def test_gaps_count_as_frames_without_the_tube():
    assert tube_iou(tube([1, 2, 3, 4]), tube([1, 4])) == pytest.approx(0.5)


def test_no_shared_frame_is_no_overlap():
    assert tube_iou(tube([1, 2]), tube([3, 4])) == 0.0


@pytest.mark.parametrize(
    ("frames", "boxes", "message"),
    [
        ([], np.zeros((0, 4)), "T >= 1"),
        ([2, 1], np.zeros((2, 4)), "strictly increasing"),
        ([1, 1], np.zeros((2, 4)), "strictly increasing"),
        ([-1, 1], np.zeros((2, 4)), "0 or more"),
        ([0.5, 1.5], np.zeros((2, 4)), "integers"),
        ([1, 2], np.zeros((3, 4)), r"\[2, 4\]"),
        ([1, 2], np.full((2, 4), np.nan), "finite"),
    ],
)
def test_malformed_tubes_are_refused(frames, boxes, message):
    with pytest.raises(InputError, match=message):
        Tube(video="v", label=0, score=1.0, frames=np.array(frames), boxes=boxes)


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="finite"):
        tube([1], score=float("nan"))

import numpy as np
import pytest

from stad_eval import Boxes, InputError, Tube, TubeFile, stack_tubes
from stad_eval.preflight import (
    Finding,
    check_boxes,
    check_past_end,
    check_tubes,
    stop_on_mistakes,
)

A, B = (10, 10, 50, 60), (100, 20, 150, 90)


def problems(findings):
    return [(each.problem, each.count, each.mistake) for each in findings]


@pytest.fixture
def truth(table):
    rows = [("v", 0, "walk", A), ("v", 1, "walk", A), ("w", 0, "run", B)]
    return table(rows, videos=("v", "w"), annotated=[("v", 0), ("v", 1), ("w", 0), ("w", 1)])


def found_rows(table, rows, videos=("v", "w"), **names):
    return table([(*row, 0.5) if len(row) == 4 else row for row in rows], videos=videos, **names)


def test_files_that_fit_have_nothing_odd(table, truth):
    rows = [("v", 0, "walk", A), ("v", 1, "walk", A), ("w", 0, "run", B), ("w", 1, "run", B)]
    assert check_boxes(truth, found_rows(table, rows)) == ()


def test_empty_tables(table, truth):
    none = found_rows(table, [])
    assert problems(check_boxes(truth, none)) == [("detections", 0, False)]
    assert check_boxes(found_rows(table, []), none) == ()
    assert str(check_boxes(truth, none)[0]) == "0 detections"


def test_other_videos_are_told_and_no_common_one_is_a_mistake(table, truth):
    some = found_rows(table, [("v", 0, "walk", A), ("x", 0, "run", B)], videos=("v", "x"))
    told = problems(check_boxes(truth, some))
    assert ("video(s) of the detections are not in the ground truth", 1, False) in told
    assert ("video(s) of the ground truth have no detection", 1, False) in told
    none = found_rows(table, [("x.mp4", 0, "walk", A)], videos=("x.mp4",))
    finding = next(each for each in check_boxes(truth, none) if each.mistake)
    assert finding.examples == ("x.mp4",)
    assert "like 'v'" in str(finding)


def test_frames_that_were_not_annotated(table, truth):
    some = found_rows(table, [("v", 0, "walk", A), ("v", 7, "run", A)])
    told = check_boxes(truth, some)
    frames = next(each for each in told if "not annotated" in each.problem)
    assert (frames.count, frames.examples, frames.mistake) == (1, ("v 7",), False)
    assert next(each for each in told if "annotated frame(s) have no" in each.problem).count == 3
    left = check_boxes(truth, some, exclude={("v", 7), ("other", 1)})
    assert not any("not annotated" in each.problem for each in left)
    shifted = found_rows(table, [("v", 900, "walk", A), ("w", 901, "run", A)])
    assert any("count frames alike" in str(each) for each in check_boxes(truth, shifted))
    assert any(each.mistake for each in check_boxes(truth, shifted))


def test_far_frames_cost_no_memory(table, truth):
    far = found_rows(table, [("v", 2**39, "walk", A), ("v", 0, "walk", A)])
    told = next(each for each in check_boxes(truth, far) if "not annotated" in each.problem)
    assert told.examples == (f"v {2**39}",)


@pytest.mark.parametrize("swapped", [False, True])
def test_pixels_against_fractions(table, truth, swapped):
    small = found_rows(table, [("v", 0, "walk", (0.1, 0.1, 0.4, 0.6))])
    sides = (small, truth) if swapped else (truth, small)
    finding = next(each for each in check_boxes(*sides) if "fractions" in each.problem)
    assert finding.mistake
    wanted = "ground truth" if swapped else "detections"
    assert finding.problem.startswith(f"boxes of the {wanted} seem to be fractions")


def test_odd_boxes(table, truth):
    rows = [("v", 0, "walk", (50, 10, 10, 60)), ("v", 0, "walk", (10, 10, 10, 60))]
    told = problems(check_boxes(truth, found_rows(table, rows)))
    assert ("detection(s) have an inverted box", 1, False) in told
    assert ("detection(s) have a box without area", 1, False) in told
    many = [("v", 0, "walk", (50 + at, 10, 10, 60)) for at in range(30)]
    finding = next(
        each for each in check_boxes(truth, found_rows(table, many)) if "inverted" in each.problem
    )
    assert finding.mistake
    assert "width, height" in str(finding)


def test_repeated_rows(table, truth):
    row = ("v", 0, "walk", A, 0.5)
    near = [row, ("v", 0, "walk", A, 0.25), ("v", 0, "run", A, 0.5), ("v", 1, "walk", A, 0.5)]
    assert not any("before" in each.problem for each in check_boxes(truth, found_rows(table, near)))
    told = check_boxes(truth, found_rows(table, [*near, row, row]))
    again = next(each for each in told if "before" in each.problem)
    assert (again.count, again.mistake) == (2, False)
    assert again.examples[0].startswith("row 4: v frame 0, [10, 10, 50, 60]")
    twice = [("v", at, "walk", A, 0.5) for at in range(25)] * 2
    again = next(
        each for each in check_boxes(truth, found_rows(table, twice)) if "before" in each.problem
    )
    assert (again.count, again.mistake) == (25, True)
    assert "appended" in str(again)


def test_classes_that_are_not_detected(table):
    classes = ("stand", "walk", "run")
    rows = [("v", at, name, A) for at, name in enumerate(classes)]
    truth = table(rows, classes=classes)
    found = found_rows(table, rows[1:], videos=("v",), classes=classes)
    finding = next(each for each in check_boxes(truth, found) if "class" in each.problem)
    assert (finding.count, finding.examples, finding.mistake) == (1, ("stand",), False)
    assert "from 1" in str(finding)
    other = found_rows(table, [("v", 0, "sit", A)], videos=("v",), classes=("sit",))
    assert any(each.mistake and "class" in each.problem for each in check_boxes(truth, other))


def tube(video, first, score=0.5, label=0, box=A, length=4):
    frames = np.arange(first, first + length)
    boxes = np.tile(np.array(box, dtype=np.float64), (length, 1))
    return Tube(video=video, label=label, score=score, frames=frames, boxes=boxes)


def tubes(items, videos=("v", "w")):
    return stack_tubes(items, classes=("walk", "run"), videos=videos)


@pytest.fixture
def tube_truth():
    return TubeFile(tubes=tubes([tube("v", 0), tube("w", 1, label=1)]), frame_counts={"v": 5})


def test_tubes(tube_truth):
    good = tubes([tube("v", 0), tube("w", 1, label=1)])
    assert check_tubes(tube_truth, good) == ()
    assert problems(check_tubes(tube_truth, tubes([]))) == [("detected tubes", 0, False)]
    other = tubes([tube("x", 0)], videos=("x",))
    assert any(each.mistake for each in check_tubes(tube_truth, other))
    twice = tubes([*good, tube("v", 0)])
    again = next(each for each in check_tubes(tube_truth, twice) if "before" in each.problem)
    assert again.examples == ("v walk, score 0.5",)


def test_boxes_after_the_last_frame(tube_truth):
    late = tubes([tube("v", 2), tube("w", 100, label=1)])
    finding = next(each for each in check_tubes(tube_truth, late) if "last frame" in each.problem)
    assert (finding.count, finding.mistake) == (1, True)
    assert finding.examples == ("v frame 5 of 5, from 0",)
    boxes = Boxes(
        videos=("v",),
        classes=("walk",),
        video=np.zeros(1, dtype=np.int64),
        frame=np.array([5]),
        label=np.zeros(1, dtype=np.int64),
        box=np.array([A], dtype=np.float64),
        score=np.ones(1),
    )
    assert check_past_end(tube_truth, boxes)[0].mistake


def test_likely_mistakes_stop_unless_forced():
    notes = (Finding(problem="things are odd", count=2, examples=("a",)),)
    stop_on_mistakes(notes)
    assert str(notes[0]) == "2 things are odd (a, ...)"
    wrong = (*notes, Finding(problem="rows are wrong", count=1, mistake=True, remedy="Mend."))
    with pytest.raises(InputError, match=r"looks like a mistake: 1 rows are wrong. Mend.*--force"):
        stop_on_mistakes(wrong)
    stop_on_mistakes(wrong, force=True)

"""mmaction2's own linking of boxes for MultiSports, against its numbers and by hand."""

import json

import pytest

from stad_eval import (
    InputError,
    frame_map,
    mmaction2_tubes,
    read_act_truth,
    read_frame_rows,
    video_map,
)

A, NEAR, FAR = (0, 0, 10, 10), (1, 0, 11, 10), (50, 0, 60, 10)


@pytest.mark.parametrize("name", ["ucf24_tiny", "jhmdb_tiny"])
def test_its_numbers(golden, name):
    folder = golden / "eval" / "tubes"
    expected = json.loads((folder / "mmaction2_multisports.json").read_text())[name]
    truth = read_act_truth(next((folder / name / "native").glob("*-GT.pkl")))
    names = {"videos": truth.tubes.videos, "classes": truth.tubes.classes}
    found = read_frame_rows(folder / name / "native" / "frame_detections.pkl", **names)
    on_frames = frame_map(truth.boxes(), found, "multisports+mmaction2").mean
    assert on_frames == pytest.approx(expected["frameAP@0.5"] / 100, abs=1e-11)
    assert found.score[-1] == pytest.approx(expected["last det score"])
    for scores, kind, count in (("last-row", "own", ""), ("own", "fixed", " fixed")):
        tubes = mmaction2_tubes(found, scores=scores)
        assert len(tubes) == expected[f"n_linked{count}"]
        result = video_map(truth.tubes, tubes, "multisports+mmaction2", iou=(0.2, 0.5))
        for iou, value in result.mean.items():
            assert value == pytest.approx(
                expected[f"videoAP@{iou} {kind} linking"] / 100, abs=1e-11
            )
    stale = mmaction2_tubes(found)
    assert sorted(set(stale.score.round(4).tolist())) == expected["tube scores"]


def chain(*boxes, start=0, score=0.5, label="walk"):
    return [("v", start + at, label, box, score) for at, box in enumerate(boxes) if box]


def test_every_box_has_the_score_of_the_last_row(table):
    rows = [*chain(A, A, A, score=0.9), *chain(FAR, FAR, FAR, score=0.25)]
    stale = mmaction2_tubes(table(rows), min_length=1)
    assert stale.score.tolist() == [0.25, 0.25]
    own = mmaction2_tubes(table(rows), min_length=1, scores="own")
    assert sorted(own.score.tolist()) == [0.25, 0.9]
    assert len(mmaction2_tubes(table([*rows, *chain(A, score=0.001, label="run")]))) == 0


def test_a_tube_ends_with_the_frame_that_it_misses(table):
    tubes = mmaction2_tubes(table(chain(A, NEAR, None, NEAR, A)), min_length=1)
    assert [tube.frames.tolist() for tube in tubes] == [[0, 1], [3, 4]]
    moved = mmaction2_tubes(table(chain(A, A, FAR, FAR)), min_length=1)
    assert [tube.frames.tolist() for tube in moved] == [[0, 1], [2, 3]]
    assert len(mmaction2_tubes(table(chain(A, A, FAR, FAR)), min_length=3)) == 0


def test_overlapping_boxes_are_suppressed_softly_in_inclusive_pixels(table):
    rows = [*chain(A, score=0.8), *chain(NEAR, score=0.5)]
    own = mmaction2_tubes(table(rows), min_length=1, scores="own")
    shared, union = 10 * 11, 2 * 11 * 11 - 10 * 11
    assert sorted(own.score.tolist()) == pytest.approx([0.5 * (1 - shared / union), 0.8])


def test_equal_scores_are_ordered_by_the_later_row(table):
    # Both follow A with the same overlap and the same score: the later row is taken.
    rows = [*chain(A), ("v", 1, "walk", (2, 0, 12, 10), 0.5), ("v", 1, "walk", (0, 2, 10, 12), 0.5)]
    tubes = mmaction2_tubes(table(rows), min_length=2)
    assert tubes.box[1].tolist() == [0, 2, 10, 12]
    swapped = mmaction2_tubes(table([rows[0], rows[2], rows[1]]), min_length=2)
    assert swapped.box[1].tolist() == [2, 0, 12, 10]


def test_nothing_and_bad_options(table):
    none = mmaction2_tubes(table([]))
    assert len(none) == 0
    with pytest.raises(InputError, match="unknown scores"):
        mmaction2_tubes(table(chain(A)), scores="mean")

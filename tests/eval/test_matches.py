"""One pass of overlaps serves the numbers, the errors and the evidence of a set of detections."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    Boxes,
    InputError,
    Tube,
    frame_errors,
    frame_errors_of,
    frame_evidence,
    frame_evidence_of,
    frame_maps,
    frame_maps_of,
    frame_matches,
    stack_tubes,
    tube_errors,
    tube_errors_of,
    tube_evidence,
    tube_evidence_of,
    tube_matches,
    video_map,
    video_map_of,
)
from stad_eval.protocols import frame_protocol_names

IOUS = (0.2, 0.5)
FRAMES, LABELS = 7, 3
place = st.tuples(st.integers(0, 5), st.integers(0, 4)).map(lambda p: (*p, p[0] + 5, p[1] + 5))
truths = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, FRAMES - 1), st.integers(0, LABELS - 1), place),
    max_size=16,
)
founds = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, FRAMES - 1),
        st.integers(0, LABELS - 1),
        place,
        st.integers(0, 4),
    ),
    max_size=30,
)


def boxes(rows):
    return Boxes(
        videos=("v", "w"),
        classes=("a", "b", "c"),
        video=np.array([row[0] for row in rows], dtype=np.int64),
        frame=np.array([row[1] for row in rows], dtype=np.int64),
        label=np.array([row[2] for row in rows], dtype=np.int64),
        box=np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 4),
        score=np.array([row[4] if len(row) > 4 else 1 for row in rows], dtype=np.float64) / 4,
    )


def facts(results):
    return [(result.to_json(), str(result.mean)) for result in results.values()]


def outcome(work):
    """What comes of it, an error that names its reason included."""
    try:
        return work()
    except InputError as error:
        return str(error)


PROTOCOLS = [name for name in frame_protocol_names() if name.startswith(("dense", "keyframes"))]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(deadline=None, max_examples=12)
@given(truths, founds)
def test_blocks_of_frames_change_nothing(protocol, true, found):
    truth, found = boxes(true), boxes(found)

    def results(rows):
        # The package's name for the module is that of its function.
        module = sys.modules["stad_eval.frame_matches"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "ROWS_AT_ONCE", rows)
            matches = frame_matches(truth, found, protocol, ious=IOUS, surroundings=True)
            maps = outcome(lambda: facts(frame_maps_of(matches)))
            evidence = outcome(lambda: str(frame_evidence_of(matches).mean))
            return maps, frame_errors_of(matches).to_json(), evidence

    whole = results(1 << 20)
    assert results(1) == results(5) == whole
    assert whole[0] == outcome(lambda: facts(frame_maps(truth, found, protocol, ious=IOUS)))
    assert whole[1] == frame_errors(truth, found, protocol).to_json()
    assert whole[2] == outcome(lambda: str(frame_evidence(truth, found, protocol).mean))


def test_matches_say_who_found_what(table):
    a, b, far = (0, 0, 10, 10), (0, 0, 10, 8), (50, 50, 60, 60)
    truth = table([("v", 0, "walk", a), ("v", 3, "run", a)])
    found = table([("v", 3, "walk", b, 0.9), ("v", 0, "walk", b, 0.8), ("v", 0, "walk", far, 0.7)])
    matches = frame_matches(truth, found, "dense", ious=(0.5, 0.9), surroundings=True)
    rows = matches.rows.tolist()
    wanted = {0: -1, 1: 0, 2: -1}
    assert {row: int(at) for row, at in zip(rows, matches.taken_at(0.5), strict=True)} == wanted
    assert matches.true_rows[matches.taken_at(0.5).max()] == 0
    assert (matches.taken_at(0.9) == -1).all()
    around = matches.surroundings
    place = {row: at for at, row in enumerate(rows)}
    assert around.own.iou[place[1]] == pytest.approx(0.8)
    assert around.other.iou[place[0]] == pytest.approx(0.8)
    assert matches.true_rows[around.other.truth[place[0]]] == 1
    assert around.own_here[[place[0], place[1], place[2]]].tolist() == [False, True, True]
    assert around.other_here[[place[0], place[1], place[2]]].tolist() == [True, False, False]
    for ask in (lambda: matches.taken_at(0.7), lambda: frame_errors_of(matches, iou=0.7)):
        with pytest.raises(InputError, match="not matched at this threshold"):
            ask()
    with pytest.raises(InputError, match="surroundings=True"):
        frame_errors_of(frame_matches(truth, found, "dense"))


def tube(video, label, score, first, x):
    frames = np.arange(first, first + 4)
    box = np.array([[x, 0, x + 10, 10]], dtype=np.float64)
    return Tube(video=video, label=label, score=score, frames=frames, boxes=np.repeat(box, 4, 0))


@pytest.mark.parametrize("protocol", ["dense", "dense+moc", "dense+multisports"])
def test_tubes_are_matched_once(protocol):
    names = {"classes": ("a", "b"), "videos": ("v", "w")}
    truth = stack_tubes([tube("v", 0, 1, 0, 0), tube("w", 1, 1, 2, 0)], **names)
    found = [tube("v", 0, 0.9, 1, 0), tube("v", 0, 0.8, 1, 1), tube("w", 0, 0.7, 2, 0)]
    found = stack_tubes([*found, tube("w", 1, 0.6, 0, 2)], **names)
    matches = tube_matches(truth, found, protocol, iou=(0.2, 0.5))
    result, whole = video_map_of(matches, iou=(0.2, 0.5)), video_map(truth, found, protocol)
    for iou in ("0.2", "0.5"):
        assert result.mean[iou] == whole.mean[iou]
        assert result.per_class[iou] == whole.per_class[iou]
    assert tube_errors_of(matches).to_json() == tube_errors(truth, found, protocol).to_json()
    evidence = tube_evidence_of(matches, iou=0.2)
    assert evidence.mean == tube_evidence(truth, found, protocol, iou=0.2).mean
    assert not math.isnan(evidence.mean)
    with pytest.raises(InputError, match="not matched at this threshold"):
        tube_errors_of(matches, iou=0.3)
    with pytest.raises(InputError, match="not scored at this threshold"):
        video_map_of(matches)

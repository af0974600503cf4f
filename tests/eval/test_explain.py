import pytest

from stad_eval import (
    FrameProtocol,
    InputError,
    differences,
    explain_frames,
    explain_options,
    frame_map,
    tube_protocol,
)
from stad_eval.protocols import frame_protocol

A, B = (0, 0, 10, 10), (20, 0, 30, 10)


def test_differences_name_the_options_and_both_values():
    found = differences(frame_protocol("ava-v2.2"), frame_protocol("ava-v2.2+activitynet"))
    values = {each.option: (each.first, each.second) for each in found}
    assert values["exclusions"] == ("removed", "ignored")
    assert values["ties"] == ("grouped", "numpy-ascending")
    assert "name" not in values
    assert "classes" not in values
    assert differences(frame_protocol("ucf24"), frame_protocol("ucf24")) == ()
    with pytest.raises(InputError, match=r"two kinds.*FrameProtocol.*TubeProtocol"):
        differences(frame_protocol("ucf24"), tube_protocol("ucf24"))


def test_effects_by_hand(table):
    # Two options differ. Excluded: the only hit of two truths; on frame 1 a miss ranks before it.
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A)])
    rows = [("v", 0, "walk", A, 0.5), ("v", 1, "walk", A, 0.4), ("v", 2, "walk", B, 0.9)]
    found = table(rows)
    first = FrameProtocol(name="one")
    second = FrameProtocol(name="two", frames="all", exclusions="ignored")
    exclude = {("v", 1)}
    told = explain_frames(truth, found, first, second, exclude=exclude)
    # First: one truth, found: 1. Second: wrong, right, right of 2: envelope 2/3.
    assert told.names == ("one", "two")
    assert told.values == (1.0, pytest.approx(2 / 3))
    effects = {each.difference.option: each for each in told.effects}
    assert set(effects) == {"frames", "exclusions"}
    # First with frames "all": wrong, right of 1: 1/2. Second with "annotated": 1.
    assert effects["frames"].first == pytest.approx(-1 / 2)
    assert effects["frames"].second == pytest.approx(2 / 3 - 1)
    # First with the list ignored: 1. Second with it: wrong, right of 1: 1/2.
    assert effects["exclusions"].first == 0.0
    assert effects["exclusions"].second == pytest.approx(2 / 3 - 1 / 2)


def test_combinations_that_cannot_be_scored_say_why(table):
    truth = table([("v", 0, "walk", A)])
    found = table([("v", 0, "walk", A, 0.5), ("v", 0, "run", B, 0.5)])
    told = explain_frames(truth, found, "dense", "dense+moc")
    assert told.values == (frame_map(truth, found, "dense").mean, None)
    effects = {each.difference.option: each for each in told.effects}
    assert effects["without_truth"].first is None
    assert "divides by zero" in effects["without_truth"].obstacle
    assert effects["match_order"].first is None  # no order of rows on a curve of grouped scores
    assert effects["average"].second is None
    with pytest.raises(InputError, match="unknown protocol"):
        explain_frames(truth, found, "dense", "dense+mock")


def test_any_protocol_and_any_number():
    first, second = tube_protocol("ucf24"), tube_protocol("ucf24+moc")
    told = explain_options(first, second, lambda options: 2.0 if options.nms else 1.0)
    assert told.values == (1.0, 2.0)
    moved = {each.difference.option: (each.first, each.second) for each in told.effects}
    assert moved.pop("nms") == (1.0, 1.0)
    # Some combinations are no protocol; the others score the same.
    assert {(0.0, 0.0)} <= set(moved.values()) <= {(0.0, 0.0), (None, None)}

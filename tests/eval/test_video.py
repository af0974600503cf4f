import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stad_eval import (
    InputError,
    Tube,
    VideoPartial,
    combine_videos,
    stack_tubes,
    tube_iou,
    tube_protocol,
    video_map,
    video_map_streamed,
    video_partial,
)
from stad_eval.tube_overlap import pairs_within, tube_overlaps
from stad_eval.tube_thresholds import threshold_ranges

CLASSES = ("walk", "run")


def tube(frames, x=0.0, *, label=0, score=1.0, video="v"):
    """A square of ten pixels that stands still at x."""
    box = np.tile([x, 0.0, x + 10.0, 10.0], (len(frames), 1))
    return Tube(video=video, label=label, score=score, frames=np.array(frames), boxes=box)


def table(tubes, videos=("v", "w")):
    return stack_tubes(tubes, classes=CLASSES, videos=videos)


def test_by_hand():
    truth = [tube(range(10)), tube(range(10), 100, label=1)]
    found = [
        tube(range(10), score=0.9),
        tube(range(5), score=0.8),  # of a truth that is taken
        tube(range(5, 10), 100, label=1, score=0.3),  # overlap 0.5
        tube(range(10), 300, label=1, score=0.7),
    ]
    result = video_map(truth, found, "dense", classes=CLASSES)
    assert result.per_class["0.5"] == {"walk": 1.0, "run": 0.5}
    assert result.per_class["0.75"] == {"walk": 1.0, "run": 0.0}
    assert result.mean["0.2"] == result.mean["0.5"] == 0.75
    assert result.mean["0.5:0.95"] == pytest.approx((0.75 + 9 * 0.5) / 10)
    assert result.coverage.class_aware == result.coverage.class_agnostic == 0.75
    assert result.coverage.recall_aware == {
        **{"0.2": 1.0, "0.5": 1.0},
        **{f"{0.5 + 0.05 * at:g}": 0.5 for at in range(1, 10)},
    }
    assert result.counts["truths"] == 2
    assert result.counts["detections"] == 4
    assert result.counts["true_positives@0.5"] == 2
    assert "50.00" in result.table()


def test_coverage_is_averaged_by_class_and_can_ignore_it():
    truth = [tube(range(4)), tube(range(4), 50), tube(range(4), 100, label=1)]
    found = [tube(range(4), label=1), tube(range(4), 100, label=1)]
    cover = video_map(truth, found, "dense", classes=CLASSES).coverage
    assert cover.per_class == {"walk": (0.5, 0.0), "run": (1.0, 1.0)}
    assert (cover.class_agnostic, cover.class_aware) == (0.75, 0.5)
    assert cover.recall_agnostic["0.5"] == 0.75


def test_gaps_and_one_frame_tubes_count_frames():
    truth = [tube([3]), tube([1, 2, 5, 6, 9], 100)]
    found = [tube([3], score=0.9), tube([2, 5, 9, 11], 100, score=0.8)]
    result = video_map(truth, found, "dense", classes=CLASSES, iou=(0.5, 0.51, 1.0))
    assert result.per_class["0.5"]["walk"] == 1.0  # 3 shared of 6, and 1 of 1
    assert result.per_class["0.51"]["walk"] == 0.5
    assert result.per_class["1"]["walk"] == 0.5


def test_one_frame_tubes_bar_a_detection_from_multisports_argmax():
    truth = table([tube([4], 0.0), tube(range(3, 6), 0.0)])
    found = table([tube([4], 0.0)])
    assert video_map(truth, found, "dense", iou=(0.2,)).mean["0.2"] == 0.5
    assert video_map(truth, found, "dense+multisports", iou=(0.2,)).mean["0.2"] == 0.0


def test_matching_rules_differ_on_a_truth_that_is_taken():
    truth = [tube(range(10)), tube(range(10), 2)]
    found = [tube(range(10), score=0.9), tube(range(10), 0.5, score=0.8)]
    options = tube_protocol("dense")
    assert video_map(truth, found, options, classes=CLASSES).mean["0.5"] == 1.0
    argmax = replace(options, matching="argmax")
    assert video_map(truth, found, argmax, classes=CLASSES).mean["0.5"] == 0.5


def test_nothing_found_and_no_truth():
    some = table([tube(range(3))])
    none = table([])
    assert video_map(some, none, "dense").mean["0.5"] == 0.0
    empty = video_map(none, some, "dense")
    assert math.isnan(empty.mean["0.5"])
    assert math.isnan(empty.coverage.class_aware)
    content = json.loads(empty.to_json())
    assert content["video_mAP"]["0.5:0.95"] is None
    assert content["v_mabo"] == {"class_agnostic": None, "class_aware": None}
    assert content["per_class"]["0.5"] == {"walk": None, "run": None}
    assert "-" in empty.table()
    assert math.isnan(video_map(none, none, "dense").mean["0.2"])


def test_json_has_the_documented_keys():
    some = table([tube(range(3))])
    content = json.loads(video_map(some, some, "dense").to_json())
    assert list(content) == [
        *("protocol", "video_mAP", "v_mabo", "recall", "per_class", "counts", "version"),
    ]
    assert content["video_mAP"] == {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0, "0.5:0.95": 1.0}


def test_tubes_on_videos_without_truth_are_false_positives():
    truth = table([tube(range(3))])
    found = table([tube(range(3), score=0.5), tube(range(3), score=0.6, video="w")])
    assert video_map(truth, found, "dense").mean["0.5"] == 0.5
    # A video that the ground truth does not cover is another matter.
    short = table([tube(range(3))], videos=("v",))
    result = video_map(short, found, "dense")
    assert result.mean["0.5"] == 1.0
    assert result.counts["detections_on_other_videos"] == 1
    assert video_map(short, found, "dense+multisports").mean["0.5"] == 0.5


def test_class_without_truth():
    truth = table([tube(range(3))])
    found = table([tube(range(3)), tube(range(3), label=1)])
    strict = video_map(truth, found, "dense")
    assert strict.mean["0.5"] == 1.0
    assert strict.per_class["0.5"]["run"] is None
    assert video_map(truth, found, "dense+3d-retinanet").mean["0.5"] == 0.5
    with pytest.raises(InputError, match="cannot score class 'run'"):
        video_map(truth, found, "dense+moc")
    assert video_map(truth, table([tube(range(3))]), "dense+moc").mean["0.5"] == 0.5


def test_ignored_classes_are_left_out_and_unknown_ones_refused():
    names = ("basketball pass", "basketball save")
    truth = stack_tubes([tube(range(3)), tube(range(3), label=1)], classes=names)
    found = stack_tubes([tube(range(3)), tube(range(3), 50, label=1)], classes=names)
    for protocol in ("multisports", "dense+multisports", "dense+multisports2021"):
        result = video_map(truth, found, protocol)
        assert result.mean["0.5"] == 1.0
        assert result.counts["detections_of_other_classes"] == 1
    with pytest.raises(InputError, match=r"ground truth: classes .* does not know"):
        video_map(truth, found, "ucf24")


def test_input_that_is_refused():
    flat = Tube(
        video="v", label=0, score=1.0, frames=np.arange(2), boxes=np.array([[5.0, 0, 5, 9]] * 2)
    )
    good = tube(range(2))
    with pytest.raises(InputError, match=r"ground truth: 2 box\(es\) without area"):
        video_map([flat], [good], "dense", classes=CLASSES)
    video_map([flat], [good], "dense+moc", classes=CLASSES)  # one pixel wide there
    turned = replace(flat, boxes=flat.boxes[:, [2, 3, 0, 1]])
    with pytest.raises(InputError, match=r"detections: 2 box\(es\) that are inverted"):
        video_map([good], [turned], "dense", classes=CLASSES)
    assert video_map([good], [turned], "dense+moc", classes=CLASSES).mean["0.2"] == 0.0
    with pytest.raises(InputError, match="have no names"):
        video_map([good], [good], "dense")
    gap = tube([0, 1, 3, 4])
    for protocol in ("dense+moc", "dense+multisports", "dense+3d-retinanet"):
        with pytest.raises(InputError, match=r"cannot compare tubes with gaps; 1 pair.*video 'v'"):
            video_map([tube(range(5))], [gap], protocol, classes=CLASSES)
    assert video_map([gap], [gap], "dense+moc", classes=("walk",)).mean["0.5"] == 1.0
    with pytest.raises(InputError, match="unknown video"):
        stack_tubes([good], classes=CLASSES, videos=["w"])


@pytest.mark.parametrize("iou", [(), (0.0,), (1.1,), ("0.5:",), ("0.9:0.5",), ("0.5:0.9:0",)])
def test_bad_thresholds_are_refused(iou):
    with pytest.raises(InputError, match="IoU threshold"):
        video_map([tube([1])], [tube([1])], "dense", classes=CLASSES, iou=iou)


def test_ranges_of_thresholds():
    assert threshold_ranges(["0.1:0.9:0.1"]) == {
        "0.1:0.9:0.1": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    }
    assert len(threshold_ranges(["0.5:0.95"])["0.5:0.95"]) == 10


# Few coordinates and scores make ties of all kinds.
tubes = st.builds(
    lambda first, length, gap, x, label, score, video: tube(
        [first + at + (gap if 2 * at >= length else 0) for at in range(length)],
        float(x),
        label=label,
        score=score,
        video=video,
    ),
    st.integers(0, 4),
    st.integers(1, 5),
    st.sampled_from([0, 0, 2]),
    st.integers(0, 6),
    st.integers(0, 1),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.sampled_from(["v", "w"]),
)
lists = st.lists(tubes, max_size=7)


def bits(result):
    values = [result.mean, result.per_class, result.coverage, result.counts]
    return repr(values) + repr([[c.recall, c.precision] for c in result.curves["0.5"].values()])


@settings(max_examples=80, deadline=None)
@given(lists, lists, st.randoms(use_true_random=False))
def test_order_of_tubes_does_not_matter_to_the_last_bit(truth, found, random):
    before = bits(video_map(table(truth), table(found), "dense"))
    random.shuffle(truth)
    random.shuffle(found)
    assert bits(video_map(table(truth), table(found), "dense")) == before


@settings(max_examples=60, deadline=None)
@given(lists, lists)
def test_overlaps_are_those_of_single_pairs(a, b):
    one, other = table(a), table(b)
    pairs = pairs_within(one.video, other.video)
    got = tube_overlaps(one, other, pairs, tube_protocol("dense"))
    expected = [tube_iou(a[i], b[j]) for i, j in zip(pairs.a, pairs.b, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=0)
    assert len(expected) == sum(x.video == y.video for x, y in itertools.product(a, b))


def one_by_one(truth, found, iou):
    """Greedy matching as the definition says it, for found tubes of distinct scores."""
    left = list(range(len(truth)))
    correct = []
    for each in sorted(found, key=lambda tube: -tube.score):
        fits = [
            (tube_iou(each, truth[at]), at)
            for at in left
            if (truth[at].video, truth[at].label) == (each.video, each.label)
        ]
        best = max(fits, default=(0.0, -1))
        correct.append(best[0] >= iou)
        if correct[-1]:
            left.remove(best[1])
    return sum(correct)


@settings(max_examples=60, deadline=None)
@given(lists, lists, st.sampled_from([0.2, 0.5, 0.75]))
def test_matches_are_those_of_the_definition(truth, found, iou):
    distinct = [replace(each, score=float(at)) for at, each in enumerate(found)]
    # Truths of equal overlap may be told apart by another order; keep those that have none.
    truth = [replace(each, boxes=each.boxes + 0.01 * at * at) for at, each in enumerate(truth)]
    result = video_map(table(truth), table(distinct), "dense", iou=(iou,))
    assert result.counts[f"true_positives@{iou:g}"] == one_by_one(truth, distinct, iou)


@settings(max_examples=40, deadline=None)
@given(lists, lists, st.sampled_from(["dense", "dense+multisports2021"]))
def test_shards_make_exactly_the_whole(truth, found, protocol):
    truth = [each for each in truth if (np.diff(each.frames) == 1).all()]
    found = [each for each in found if (np.diff(each.frames) == 1).all()]
    # Ties of an evaluator that looks at rows depend on where the rows stand.
    found = [replace(each, score=at / 10) for at, each in enumerate(found)]

    def shards():
        for name in ("v", "w"):
            sides = ([each for each in side if each.video == name] for side in (truth, found))
            yield tuple(table(side, videos=(name,)) for side in sides)

    whole = video_map(table(truth), table(found), protocol)
    assert bits(video_map_streamed(shards(), protocol)) == bits(whole)


def test_partial_results_survive_a_file(tmp_path):
    parts = [
        video_partial(table([tube([1])], ("v",)), table([tube([1])], ("v",)), "dense"),
        video_partial(
            table([tube([1], video="w")], ("w",)), table([tube([2], video="w")], ("w",)), "dense"
        ),
    ]
    for at, part in enumerate(parts):
        part.save(tmp_path / f"{at}.npz")
    again = [VideoPartial.load(tmp_path / f"{at}.npz") for at in range(2)]
    assert bits(combine_videos(again)) == bits(combine_videos(parts))
    assert again[0].protocol == parts[0].protocol
    (tmp_path / "bad.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"bad\.npz: not a readable npz"):
        VideoPartial.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", about=np.array('{"format": "x"}'))
    with pytest.raises(InputError, match="not a partial result"):
        VideoPartial.load(tmp_path / "other.npz")


def test_parts_that_do_not_fit_are_refused():
    def part(video="v", protocol="dense", iou=(0.5,)):
        one = table([tube([1], video=video)], (video,))
        return video_partial(one, one, protocol, iou=iou)

    with pytest.raises(InputError, match="at least one"):
        combine_videos([])
    with pytest.raises(InputError, match=r"1 video\(s\) stand in two partial results.*found v"):
        combine_videos([part(), part()])
    with pytest.raises(InputError, match="differ in 'protocol'"):
        combine_videos([part(), part("w", "dense+moc")])
    with pytest.raises(InputError, match="differ in 'thresholds'"):
        combine_videos([part(), part("w", iou=(0.2,))])
    with pytest.raises(InputError, match="not scored at this threshold"):
        combine_videos([part()], iou=(0.75,))

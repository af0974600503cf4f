"""Resampled means against scoring the resampled videos themselves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from stad_eval import (
    Boxes,
    InputError,
    average_precision,
    frame_map,
    precision_recall,
    read_act_truth,
    read_multisports_tubes,
    video_map,
)
from stad_eval.bootstrap import _draws, _means, bootstrap_interval, compare, video_means
from stad_eval.evidence import Evidence, frame_evidence, tube_evidence


def generated(seed, videos=6, quality=0.6):
    """Ground truth and detections of some videos, frames of two classes."""
    truth_rng, rng = np.random.default_rng(0), np.random.default_rng(seed)
    count = 12 * videos
    corner = truth_rng.uniform(0, 80, (count, 2))
    box = np.concatenate([corner, corner + truth_rng.uniform(10, 30, (count, 2))], axis=1)
    names = {
        "videos": tuple(f"v{at}" for at in range(videos)),
        "classes": ("walk", "run"),
    }
    video = np.arange(count) % videos
    frame = np.arange(count) // videos
    label = truth_rng.integers(0, 2, count)
    truth = Boxes(**names, video=video, frame=frame, label=label, box=box, score=np.ones(count))
    right = rng.random(count) < quality
    moved = np.where(right[:, None], box + rng.normal(0, 0.5, box.shape), box + 200)
    score = rng.random(count).round(2)
    found = Boxes(**names, video=video, frame=frame, label=label, box=moved, score=score)
    return truth, found


def by_hand(evidence, counts):
    """The mean of one draw: every detection as often as its video, curve by curve."""
    areas = []
    for label in range(len(evidence.classes)):
        truths = int(counts @ evidence.truths[:, label])
        rows = np.flatnonzero(evidence.label == label)
        rows = np.repeat(rows, counts[evidence.video[rows]])
        curve = precision_recall(evidence.score[rows], evidence.correct[rows], truths)
        areas.append(average_precision(curve, rule=evidence.average))
    defined = [each for each in areas if each is not None]
    return math.fsum(defined) / len(defined) if defined else math.nan


def test_draws_are_what_scoring_their_videos_gives():
    evidence = frame_evidence(*generated(1), "dense")
    interval = bootstrap_interval(evidence, samples=40, seed=3)
    counts = _draws(6, 40, 3).astype(np.int64)
    expected = [by_hand(evidence, each) for each in counts]
    np.testing.assert_allclose(interval.draws, expected, rtol=1e-12)
    assert interval.low <= interval.mean <= interval.high
    assert interval.error == pytest.approx(np.std(expected))


def test_the_mean_is_the_number_of_the_protocol():
    truth, found = generated(2)
    for protocol in ("dense", "dense+moc", "keyframes+activitynet", "keyframes+mmaction2"):
        evidence = frame_evidence(truth, found, protocol)
        whole = frame_map(truth, found, protocol)
        assert evidence.mean == whole.mean
        assert evidence.correct.sum() == whole.counts["true_positives"]
        assert evidence.truths.sum() == whole.counts["truths"]


def test_trapezoids_and_excluded_truth():
    truth, found = generated(2)
    score = np.linspace(0.1, 0.9, len(found))  # no ties, so that each row is a point
    found = replace(found, score=score)
    evidence = frame_evidence(truth, found, "dense+moc")
    one = np.ones((1, 6))
    assert _means(evidence, one)[0] == pytest.approx(evidence.mean, abs=1e-6)
    excluded = frame_evidence(truth, found, "keyframes+mmaction2", exclude={("v0", 0)})
    assert excluded.truths.sum() == len(truth)  # still in the denominator


def test_blocks_of_draws_change_nothing(monkeypatch):
    evidence = frame_evidence(*generated(1), "dense")
    whole = bootstrap_interval(evidence, samples=50)
    monkeypatch.setattr("stad_eval.bootstrap.BLOCK", 7)
    np.testing.assert_allclose(
        bootstrap_interval(evidence, samples=50).draws, whole.draws, rtol=1e-13
    )
    assert bootstrap_interval(evidence, samples=50, seed=1).draws.tolist() != whole.draws.tolist()


def test_tubes(golden):
    folder = golden / "eval" / "tubes" / "ucf24_tiny" / "native"
    truth = read_act_truth(next(folder.glob("*-GT.pkl"))).tubes
    found = read_multisports_tubes(
        folder / "video_detections.pkl", videos=truth.videos, classes=truth.classes
    )
    for protocol in ("dense", "dense+moc", "multisports+multisports"):
        evidence = tube_evidence(truth, found, protocol)
        assert evidence.mean == video_map(truth, found, protocol).mean["0.5"]
    interval = bootstrap_interval(tube_evidence(truth, found, "dense"), samples=200)
    assert 0.0 <= interval.low < interval.mean < interval.high <= 1.0


def test_comparison_of_a_detector_with_itself_and_with_a_better_one():
    truth, found = generated(1, videos=20)
    worse = frame_evidence(truth, found, "dense")
    same = compare(worse, worse, samples=100)
    assert same.share == 1.0
    assert (same.difference.low, same.difference.high) == (0.0, 0.0)
    _, good = generated(5, videos=20, quality=1.0)
    better = frame_evidence(truth, good, "dense")
    result = compare(worse, better, samples=100)
    assert result.share == 0.0
    assert result.difference.mean == pytest.approx(better.mean - worse.mean)
    assert result.difference.low > 0.0
    back = compare(better, worse, samples=100)
    assert back.difference.mean == -result.difference.mean


def test_videos_of_one_side_only_are_found_by_name():
    truth, found = generated(1)
    other = Boxes(
        videos=("elsewhere", *found.videos),
        classes=found.classes,
        video=np.append(found.video + 1, 0),
        frame=np.append(found.frame, 0),
        label=np.append(found.label, 0),
        box=np.concatenate([found.box, [[0, 0, 5, 5]]]),
        score=np.append(found.score, 0.99),
    )
    first, second = (frame_evidence(truth, each, "keyframes+pyslowfast") for each in (found, other))
    assert compare(first, second, samples=20).difference.mean <= 0.0


def test_each_video_alone():
    truth, found = generated(3)
    means = video_means(frame_evidence(truth, found, "dense"))
    for at, name in enumerate(truth.videos):
        only = frame_map(
            truth.select(truth.video == at), found.select(found.video == at), "dense"
        ).mean
        assert means[at] == pytest.approx(only), name


def test_a_draw_without_ground_truth_has_no_mean():
    truth, found = generated(1, videos=2)
    evidence = frame_evidence(truth, found, "dense")
    none = replace(evidence, truths=evidence.truths * np.array([[0], [1]]))
    draws = bootstrap_interval(none, samples=50).draws
    assert np.isnan(draws).any()
    assert np.isfinite(bootstrap_interval(none, samples=50).low)
    nothing = replace(evidence, truths=evidence.truths * 0)
    assert math.isnan(bootstrap_interval(nothing, samples=10).low)


def test_refusals():
    evidence = frame_evidence(*generated(1), "dense")
    for options, text in (({"samples": 1}, "too few draws"), ({"level": 1.0}, "bad level")):
        with pytest.raises(InputError, match=text):
            bootstrap_interval(evidence, **options)
    one = frame_evidence(*generated(1, videos=1), "dense")
    with pytest.raises(InputError, match="too few videos"):
        bootstrap_interval(one)
    with pytest.raises(InputError, match="different ground truth"):
        compare(evidence, replace(evidence, truths=evidence.truths + 1))
    columns = {name: getattr(evidence, name) for name in Evidence.__dataclass_fields__}
    for name, value in (
        ("score", np.zeros(1)),
        ("truths", np.zeros((1, 1), dtype=np.int64)),
        ("label", evidence.label + 2),
    ):
        with pytest.raises(InputError, match=f"column '{name}'"):
            Evidence(**{**columns, name: value})

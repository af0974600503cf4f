"""Streams of any length are scored in the memory of one shard."""

import tracemalloc

import numpy as np
import pytest

from stad_eval import (
    Boxes,
    InputError,
    Tubes,
    average_precision,
    combine,
    combine_files,
    frame_map,
    frame_map_streamed,
    frame_partial,
    video_map_streamed,
)
from stad_eval.score_tally import ScoreTally

FRAMES, PEOPLE, FOUND = 100, 3, 30


def video(seed, classes=("walk", "run", "sit")):
    """Ground truth and detections of one video: 300 boxes and 3,000."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 200, (FRAMES * PEOPLE, 2)).astype(float)
    truth = np.concatenate([corner, corner + 40], axis=1)
    picked = rng.integers(0, len(truth), FRAMES * FOUND)
    label = rng.integers(0, len(classes), len(truth))
    frame = np.repeat(np.arange(FRAMES), PEOPLE)
    names = {"videos": (f"v{seed}",), "classes": classes}
    return (
        Boxes(
            **names,
            video=np.zeros(len(truth), dtype=np.int64),
            frame=frame,
            label=label,
            box=truth,
            score=np.ones(len(truth)),
        ),
        Boxes(
            **names,
            video=np.zeros(picked.size, dtype=np.int64),
            frame=frame[picked],
            label=np.where(rng.random(picked.size) < 0.7, label[picked], 0),
            box=truth[picked] + rng.normal(0, 6, (picked.size, 1)),
            score=rng.random(picked.size).round(3),
        ),
    )


def peak(work):
    """Bytes that were held at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("stad_eval.score_spill.ROWS_AT_ONCE", 4000)

    def score(videos):
        shards = (video(at) for at in range(videos))
        return lambda: frame_map_streamed(shards, "dense", folder=tmp_path, curve_points=50)

    score(2)()  # what is set up at the first use
    few, many = peak(score(10)), peak(score(100))
    table = 100 * FRAMES * FOUND * 64
    assert many < 1.2 * few
    assert 10 * many < table
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_tubes():
    def tubes(at, length=2000):
        return Tubes(
            videos=(f"v{at}",),
            classes=("walk",),
            video=np.zeros(2, dtype=np.int64),
            label=np.zeros(2, dtype=np.int64),
            score=np.array([0.5, 0.25]),
            start=np.array([0, length, 2 * length]),
            frame=np.tile(np.arange(length), 2),
            box=np.repeat([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 8.0, 9.0]], length, axis=0),
        )

    def score(videos):
        shards = ((tubes(at), tubes(at)) for at in range(videos))
        return lambda: video_map_streamed(shards, "dense")

    score(2)()
    few, many = peak(score(10)), peak(score(100))
    assert many < 1.2 * few
    assert 10 * many < 2 * 100 * 4000 * 40


@pytest.mark.parametrize("rows", [1, 700, 1 << 20])
def test_a_stream_is_exactly_its_parts_however_scores_are_cut(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("stad_eval.score_spill.ROWS_AT_ONCE", rows)
    tables = [video(at) for at in range(7)]
    parts = [frame_partial(*each, "dense", ious=(0.3, 0.7)) for each in tables]
    whole = combine(parts)
    streamed = frame_map_streamed(iter(tables), "dense", ious=(0.3, 0.7), folder=tmp_path)
    for at, part in enumerate(parts):
        part.save(tmp_path / f"{at}.npz")
    files = combine_files([tmp_path / f"{at}.npz" for at in range(7)], folder=tmp_path)
    for iou in (0.3, 0.7):
        assert streamed[iou].to_json() == files[iou].to_json() == whole[iou].to_json()
        for name, curve in streamed[iou].curves.items():
            assert average_precision(curve) == whole[iou].per_class[name]


def test_few_points_of_a_curve_leave_the_numbers_as_they_are():
    truth, found = video(1)
    result = frame_map_streamed([(truth, found)], "dense", curve_points=5)[0.5]
    assert result.to_json() == frame_map(truth, found, "dense").to_json()
    full = frame_map_streamed([(truth, found)], "dense")[0.5].curves["walk"]
    for name in ("recall", "precision", "score"):
        few, all_of_them = getattr(result.curves["walk"], name), getattr(full, name)
        assert few.size == 5
        assert few[[0, -1]].tolist() == all_of_them[[0, -1]].tolist()
        assert set(few.tolist()) <= set(all_of_them.tolist())
    with pytest.raises(InputError, match="2 or more"):
        frame_map_streamed([(truth, found)], "dense", curve_points=1)


def test_streams_that_cannot_be_one_result_are_refused():
    truth, found = video(1)
    with pytest.raises(InputError, match="at least one"):
        frame_map_streamed([], "dense")
    with pytest.raises(InputError, match="two partial results"):
        frame_map_streamed([(truth, found), (truth, found)], "dense")
    with pytest.raises(InputError, match="differ in 'classes'"):
        frame_map_streamed([(truth, found), video(2, classes=("walk", "run", "lie"))], "dense")


def test_tallies_of_any_cut_are_the_same():
    rng = np.random.default_rng(5)
    score = rng.integers(0, 9, 60) / 8
    correct = rng.random((2, 60)) < 0.3
    points = np.unique(score[correct.any(axis=0)])
    one, other = ScoreTally(points, 2), ScoreTally(points, 2)
    one.add(score, correct)
    for at in range(0, 60, 7):
        other.add(score[at : at + 7], correct[:, at : at + 7])
    other.add(score[:0], correct[:, :0])
    for name in ("at", "above", "nearest", "hits"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert one.at.sum() + one.above.sum() == 60
    assert one.hits.sum(axis=1).tolist() == correct.sum(axis=1).tolist()

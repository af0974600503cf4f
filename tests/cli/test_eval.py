"""`stad eval`: a checkpoint and a file of detections, scored against a dataset."""

import json

import numpy as np
import pytest

from stad_data import truth_table
from stad_data.datasets import ava
from stad_eval import LabelMap, detections_json, write_ava_csv


@pytest.fixture
def perfect(tiny_ava, tmp_path):
    """The test part's truth, as if a detector had found it: (dataset, JSON file)."""
    dataset = ava.read(tiny_ava)
    truth = truth_table(dataset.test, dataset.classes)
    path = tmp_path / "perfect.json"
    sizes = {annotation.video: annotation.size for annotation in dataset.test}
    detections_json.write(path, truth, sizes=sizes)
    return dataset, path


def numbers(outcome):
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_perfect_detections_score_one(stad, tiny_ava, perfect):
    _, path = perfect
    found = numbers(stad("eval", path, "--data", tiny_ava, "--dataset", "synthetic", "--json"))
    assert found["mAP"] == pytest.approx(1.0)
    assert found["iou"] == 0.5
    # Actors that do nothing at a keyframe have no row in the truth's table and were not "found".
    assert 0.8 < found["actor_AP"] <= 1.0


def test_the_table_names_the_classes_and_both_numbers(stad, tiny_ava, perfect):
    dataset, path = perfect
    outcome = stad("eval", path, "--data", tiny_ava, "--dataset", "ava")
    assert outcome.code == 0
    for name in dataset.classes.names:
        assert name in outcome.out
    assert "frame-mAP 100.00 %" in outcome.out
    assert "actor AP" in outcome.out


def test_shifted_boxes_score_by_the_threshold(stad, tiny_ava, perfect):
    _, path = perfect
    content = json.loads(path.read_text())
    for video in content["videos"].values():
        for people in video["frames"].values():
            for person in people:
                x1, y1, x2, y2 = person["box"]
                person["box"] = [x1 + 0.4 * (x2 - x1), y1, x2 + 0.4 * (x2 - x1), y2]
    path.write_text(json.dumps(content))
    options = ["eval", path, "--data", tiny_ava, "--dataset", "ava", "--json"]
    # Moved by 0.4 of its width a box overlaps its old place by 0.6 / 1.4 = 0.43.
    assert numbers(stad(*options, "--iou", 0.5))["mAP"] == 0.0
    assert numbers(stad(*options, "--iou", 0.42))["mAP"] > 0.9


def test_avas_csv_scores_the_same(stad, tiny_ava, perfect, tmp_path):
    dataset, path = perfect
    rng = np.random.default_rng(0)
    table = truth_table(dataset.test, dataset.classes, time="second")
    score = rng.uniform(0.01, 0.99, len(table))
    sizes = np.array([annotation.size * 2 for annotation in dataset.test], float)
    from dataclasses import replace

    names = LabelMap(dataset.classes.names, dataset.classes.ids)
    csv = tmp_path / "found.csv"
    normalised = table.box / sizes[table.video]
    write_ava_csv(
        csv, replace(table, box=normalised, score=score, annotated=None), classes=names, scores=True
    )
    frames = truth_table(dataset.test, dataset.classes)
    detections_json.write(
        path,
        replace(frames, score=score, annotated=None),
        sizes={annotation.video: annotation.size for annotation in dataset.test},
    )
    options = ["--data", tiny_ava, "--dataset", "ava", "--json"]
    by_csv, by_json = (numbers(stad("eval", file, *options)) for file in (csv, path))
    assert by_csv == by_json
    assert by_csv["mAP"] == pytest.approx(1.0)


def test_detections_on_foreign_videos_are_refused(stad, tiny_ava, perfect):
    _, path = perfect
    path.write_text(path.read_text().replace("synth-test-0000", "holiday"))
    outcome = stad("eval", path, "--data", tiny_ava, "--dataset", "ava")
    assert outcome.code == 2
    assert "'holiday'" in outcome.err
    assert "synth" in outcome.err


def test_a_checkpoint_of_other_classes_is_refused(stad, tiny_ava, checkpoint):
    outcome = stad("eval", checkpoint, "--data", tiny_ava)
    assert outcome.code == 2
    assert "walk, wave, sit" in outcome.err
    assert "flap_arms" in outcome.err


def test_a_checkpoint_away_from_its_run_asks_for_the_data(stad, checkpoint):
    outcome = stad("eval", checkpoint)
    assert outcome.code == 2
    assert "--data" in outcome.err

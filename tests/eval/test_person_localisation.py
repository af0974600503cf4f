import math
import sys

import numpy as np
import pytest

from stad_eval import InputError, actor_ap, person_ap

A, B = (0, 0, 10, 10), (20, 0, 30, 10)


def test_without_the_extra_the_error_names_it(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    rows = table([("v", 0, "walk", A)])
    with pytest.raises(InputError, match=r"pip install 'stad-eval\[coco\]'"):
        person_ap(rows, rows)


@pytest.fixture
def coco():
    pytest.importorskip("pycocotools")


def test_labels_do_not_matter(coco, table):
    truth = table([("v", 0, "walk", A), ("v", 0, "run", A), ("v", 1, "walk", B)])
    found = table([("v", 0, "run", A, 0.9), ("v", 1, "run", B, 0.8), ("v", 1, "walk", B, 0.7)])
    result = person_ap(truth, found)
    assert (result.mean, result.ap_50, result.ap_75, result.recall) == (1.0, 1.0, 1.0, 1.0)
    assert result.counts == {"frames": 2, "truths": 2, "detections": 2}
    assert '"0.5:0.95": 1.0' in result.to_json()
    assert "AP 0.5:0.95   100.00" in result.table()


def test_looser_boxes_count_at_lower_thresholds(coco, table):
    truth = table([("v", 0, "walk", A)])
    found = table([("v", 0, "walk", (0, 0, 10, 6.2), 0.9)])  # IoU 0.62: at 0.5, 0.55, 0.6
    result = person_ap(truth, found)
    assert result.mean == pytest.approx(0.3)
    assert (result.ap_50, result.ap_75) == (pytest.approx(1.0), 0.0)


def test_units_do_not_matter(coco, table):
    rng = np.random.default_rng(0)
    rows, other = [], []
    for frame in range(20):
        corner = rng.uniform(0, 80, 2)
        box = (*corner, *(corner + rng.uniform(5, 20, 2)))
        rows.append(("v", frame, "walk", box))
        other.append(("v", frame, "walk", tuple(np.array(box) + rng.normal(0, 1, 4)), rng.random()))
        other.append(("v", frame, "run", (0, 0, 9, 9), rng.random()))
    truth, found = table(rows), table(other)
    pixels = person_ap(truth, found)
    small = [
        table([(*row[:3], tuple(np.array(row[3]) / 100), *row[4:]) for row in side])
        for side in (rows, other)
    ]
    assert person_ap(*small).mean == pytest.approx(pixels.mean)
    # COCO reads precision at 101 recalls, which is near the area under the same curve.
    assert pixels.ap_50 == pytest.approx(actor_ap(truth, found).mean, abs=0.02)


def test_frames_that_do_not_count(coco, table):
    truth = table([("v", 0, "walk", A), ("v", 5, "walk", A)], annotated=[("v", 0), ("v", 5)])
    found = table([("v", 0, "walk", A, 0.5), ("v", 3, "walk", B, 0.9)])
    assert person_ap(truth, found).counts == {"frames": 2, "truths": 2, "detections": 1}
    excluded = person_ap(truth, found, exclude={("v", 5), ("other", 1)})
    assert excluded.counts == {"frames": 1, "truths": 1, "detections": 1}
    assert excluded.mean == pytest.approx(1.0)


def test_nothing(coco, table):
    rows, none = table([("v", 0, "walk", A)]), table([])
    assert person_ap(rows, none).mean == 0.0
    assert math.isnan(person_ap(none, rows).mean)
    assert '"recall": null' in person_ap(none, rows).to_json()
    assert person_ap(none, none).table().splitlines()[-1].split() == ["recall", "-"]


def test_inverted_boxes_are_refused(coco, table):
    found = table([("v", 0, "walk", (10, 0, 0, 10), 0.5)])
    with pytest.raises(InputError, match="inverted"):
        person_ap(table([("v", 0, "walk", A)]), found)

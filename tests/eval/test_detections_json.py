import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stad_eval import InputError, detections_json, empty_boxes

A, B = [0.0, 0.0, 10.0, 10.5], [20.0, 0.0, 30.0, 10.0]
CONTENT = {
    "format": "stad-detections",
    "version": 1,
    "classes": ["walk", "run"],
    "videos": {
        "street": {
            "size": [320, 240],
            "frames": {
                "17": [
                    {"box": A, "actor": 0.9, "scores": {"walk": 0.8, "run": 0.1}},
                    {"box": B, "actor": 0.4, "scores": {}},
                ],
                "18": [],
            },
        },
        "empty": {"size": [640, 480], "frames": {}},
    },
}


@pytest.fixture
def file(tmp_path):
    def write(content, name="found.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_reading(file):
    content = detections_json.read(file(CONTENT))
    assert content.sizes == {"street": (320, 240), "empty": (640, 480)}
    assert content.found.videos == ("street", "empty")
    assert content.found.classes == ("walk", "run")
    assert content.found.box.tolist() == [A, A]
    assert content.found.score.tolist() == [0.8, 0.1]
    assert content.found.frame.tolist() == [17, 17]
    assert content.actors.classes == ("person",)
    assert content.actors.box.tolist() == [A, B]
    assert content.actors.score.tolist() == [0.9, 0.4]
    assert content.actor.tolist() == [0, 0]


def test_writing_what_was_read_gives_the_same(file, tmp_path):
    content = detections_json.read(file(CONTENT))
    path = tmp_path / "again.json"
    detections_json.write(path, content.found, sizes=content.sizes, actors=content.actors)
    expected = json.loads(json.dumps(CONTENT))
    del expected["videos"]["street"]["frames"]["18"]  # frames without a person are not kept
    assert json.loads(path.read_text()) == expected


def test_without_actors_the_best_class_score_stands_for_the_person(table, tmp_path):
    found = table([("v", 3, "walk", A, 0.2), ("v", 3, "run", A, 0.7), ("v", 3, "run", B, 0.1)])
    path = tmp_path / "found.json"
    detections_json.write(path, found, sizes={"v": (320, 240)})
    assert detections_json.read(path).actors.score.tolist() == [0.7, 0.1]


def test_two_persons_with_one_box_stay_two(table, tmp_path):
    found = table([("v", 3, "walk", A, 0.2), ("v", 3, "walk", A, 0.7)])
    path = tmp_path / "found.json"
    detections_json.write(path, found, sizes={"v": (320, 240)})
    assert len(detections_json.read(path).actors) == 2
    assert sorted(detections_json.read(path).found.score.tolist()) == [0.2, 0.7]


def test_no_detections(tmp_path):
    path = tmp_path / "found.json"
    detections_json.write(path, empty_boxes(classes=["walk"]), sizes={"v": (320, 240)})
    content = detections_json.read(path)
    assert (len(content.found), len(content.actors)) == (0, 0)
    assert content.found.classes == ("walk",)


finite = st.floats(-1e9, 1e9)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 3), finite, finite, finite), min_size=1, max_size=5))
def test_numbers_keep_every_bit(table, tmp_path, rows):
    rows = {row[:3]: row for row in rows}.values()
    found = table([("v", t, "walk", (x, y, x + 1e9, y + 1e9), s) for t, x, y, s in rows])
    path = tmp_path / "bits.json"
    detections_json.write(path, found, sizes={"v": (320, 240)})
    again = detections_json.read(path).found
    key = np.lexsort((*found.box.T[::-1], found.frame))
    assert (again.box == found.box[key]).all()
    assert (again.score == found.score[key]).all()


def test_a_failed_write_leaves_the_old_file_alone(table, tmp_path):
    path = tmp_path / "found.json"
    path.write_text("old")
    found = table([("v", 0, "walk", A, 0.5)])
    with pytest.raises(InputError, match=r"without a size.*found v"):
        detections_json.write(path, found, sizes={})
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["found.json"]
    with pytest.raises(InputError, match="no such folder"):
        detections_json.write(tmp_path / "none" / "found.json", found, sizes={"v": (1, 1)})


def test_a_full_disk_leaves_the_old_file_alone(table, tmp_path, monkeypatch):
    path = tmp_path / "found.json"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stad_eval.formats.files.os.fsync", full)
    found = table([("v", 0, "walk", A, 0.5)])
    with pytest.raises(OSError, match="No space left"):
        detections_json.write(path, found, sizes={"v": (320, 240)})
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["found.json"]


def changed(*keys, value):
    content = json.loads(json.dumps(CONTENT))
    at = content
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return content


PERSON = ("videos", "street", "frames", "17", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "row 1"),
        ('{"format":\n  oops}', "row 2"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an object"),
        ('{"format": 1, "format": 2}', "stands twice.*format"),
        (changed("format", value="coco"), 'at format: another format: expected "stad-detections"'),
        (changed("version", value=2), "at version: another version: expected 1, found 2"),
        (changed("version", value=True), "at version"),
        (changed("extra", value=1), "wrong keys.*extra"),
        (changed("classes", value="walk"), "a list of names"),
        (changed("classes", value=["walk", "run", "walk"]), "stands twice"),
        (changed("videos", value=[]), "at videos"),
        (changed("videos", "street", "size", value=[320]), r"street.size.*\[width, height\]"),
        (changed("videos", "street", "size", value=[320, 0]), "positive"),
        (changed("videos", "street", "size", value=[320.5, 240]), "whole"),
        (changed("videos", "street", "frames", value=[]), "at videos.street.frames"),
        (changed("videos", "street", "frames", "x", value=[]), "bad frame.*whole number"),
        (changed("videos", "street", "frames", "-1", value=[]), "bad frame"),
        (changed("videos", "street", "frames", "17", value={}), "frames.17: bad detections"),
        (changed(*PERSON, "box", value=[0, 0, 1]), r"frames.17\[0\].box: bad box"),
        (changed(*PERSON, "box", value=[0, 0, "1", 1]), "finite number"),
        (changed(*PERSON, "box", value=[0, 0, math.nan, 1]), "finite number"),
        (changed(*PERSON, "box", value=[9, 0, 1, 1]), "inverted box"),
        (changed(*PERSON, "actor", value=None), "actor: bad number"),
        (changed(*PERSON, "actor", value=True), "actor: bad number"),
        (changed(*PERSON, "scores", value=[0.5]), "an object by class"),
        (changed(*PERSON, "scores", "fly", value=0.5), "unknown class.*walk, run.*fly"),
        (changed(*PERSON, "scores", "run", value=math.inf), "scores.run: bad number"),
        (changed(*PERSON, "scores", "run", value=10**400), "scores.run: bad number"),
        (changed(*PERSON, value={"box": A}), "wrong keys.*actor, box, scores"),
    ],
)
def test_malformed_files_are_refused_with_the_place(file, content, message):
    path = file(content)
    with pytest.raises(InputError, match=message) as caught:
        detections_json.read(path)
    assert caught.value.path == path

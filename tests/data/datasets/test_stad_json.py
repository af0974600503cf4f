"""The project's own JSON: everything comes back; every wrong key and value is named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from stad_data.datasets import stad_json
from stad_eval import InputError


def content() -> dict:
    return {
        "format": "stad-dataset",
        "version": 1,
        "classes": {"names": ["walk", "wave"]},
        "videos": [
            {
                "video": "a",
                "part": "train",
                "num_frames": 10,
                "size": [64, 48],
                "tracks": [
                    {
                        "actor": 3,
                        "frames": [2, 4],
                        "boxes": [[1, 2, 30, 40], [1.5, 2, 31, 40]],
                        "labels": ["walk"],
                    },
                    {
                        "actor": 4,
                        "frames": [5, 6],
                        "boxes": [[1, 2, 30, 40], [1, 2, 31, 40]],
                        "labels": [["wave", "walk"], []],
                    },
                ],
            },
            {
                "video": "b",
                "part": "test",
                "file": "elsewhere/b.avi",
                "num_frames": 100,
                "size": [64, 48],
                "fps": 25,
                "keyframes": [25, 50],
                "timestamps": [1, 2],
                "tracks": [],
            },
        ],
    }


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content()))
    return path


def test_what_is_left_out_has_a_default(path):
    data = stad_json.read(path, missing="keep")
    assert (data.name, data.protocol) == ("mine", "keyframes")
    assert (data.classes.ids, data.classes.exclusive) == ((0, 1), True)
    (a,), (b,) = data.train, data.test
    assert a.path == path.parent / "videos" / "a.mp4"
    assert (a.keyframes.tolist(), a.timestamps, a.fps) == (list(range(10)), None, None)
    assert a.tracks[0].labels.tolist() == [[True, False]] * 2
    assert a.tracks[1].labels.tolist() == [[True, True], [False, False]]
    assert b.path == path.parent / "elsewhere" / "b.avi"
    assert (b.keyframes.tolist(), b.timestamps.tolist(), b.fps) == ([25, 50], [1, 2], 25)
    assert b.num_classes == 2


def test_videos_are_files_or_folders_of_images(path, put_video):
    with pytest.raises(InputError, match="2 of 2 annotated videos have no file") as error:
        stad_json.read(path)
    assert error.value.row == "videos[0]"
    put_video(path.parent / "videos" / "a.mp4", number=0)
    assert len(stad_json.read(path.parent, missing="skip").train) == 1
    (path.parent / "elsewhere" / "b.avi").mkdir(parents=True)
    (path.parent / "elsewhere" / "b.avi" / "0.jpg").write_bytes(b"")
    assert len(stad_json.read(path).test) == 1


def video(c) -> dict:
    return c["videos"][0]


def track(c) -> dict:
    return c["videos"][0]["tracks"][1]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda c: c.update(format="other"), None),
        (lambda c: c.update(version=2), None),
        (lambda c: c.update(extra=2), "extra"),
        (lambda c: c.pop("classes"), None),
        (lambda c: c["classes"].update(name=["walk"]), "classes.name"),
        (lambda c: c["classes"].update(names=[]), "classes"),
        (lambda c: c["classes"].update(names=["walk", "walk"]), "classes"),
        (lambda c: c["classes"].update(names=["walk", 3]), "classes.names[1]"),
        (lambda c: c["classes"].update(ids=[1]), "classes"),
        (lambda c: c["classes"].update(ids=[1, 1.5]), "classes.ids"),
        (lambda c: c["classes"].update(exclusive=1), "classes.exclusive"),
        (lambda c: c["videos"].append(c["videos"][0]), "videos[2].video"),
        (lambda c: video(c).update(part="val"), "videos[0].part"),
        (lambda c: video(c).update(num_frames=0), "videos[0].num_frames"),
        (lambda c: video(c).update(num_frames=3), "videos[0]"),
        (lambda c: video(c).update(size=[64]), "videos[0].size"),
        (lambda c: video(c).update(size=[0, 5]), "videos[0]"),
        (lambda c: video(c).update(fps=-1), "videos[0]"),
        (lambda c: video(c).update(keyframes=[2]), "videos[0]"),
        (lambda c: video(c).update(keyframes="some"), "videos[0].keyframes"),
        (lambda c: video(c).update(timestamps=[2]), "videos[0]"),
        (lambda c: video(c).update(tracks={}), "videos[0].tracks"),
        (lambda c: track(c).update(actor=3), "videos[0]"),
        (lambda c: track(c).update(actor=-1), "videos[0].tracks[1].actor"),
        (lambda c: track(c).update(frames=[6, 5]), "videos[0].tracks[1]"),
        (lambda c: track(c).update(frames=[5, 6.5]), "videos[0].tracks[1].frames"),
        (lambda c: track(c).update(boxes=[[1, 2, 3, 4]]), "videos[0].tracks[1]"),
        (lambda c: track(c).update(boxes=[[1, 2, 3]] * 2), "videos[0].tracks[1].boxes"),
        (lambda c: track(c).update(boxes=[[1, 2, 3, 4], [1]]), "videos[0].tracks[1].boxes"),
        (lambda c: track(c).update(boxes=[[5, 2, 3, 4]] * 2), "videos[0].tracks[1]"),
        (lambda c: track(c).update(labels=["run"]), "videos[0].tracks[1].labels[0]"),
        (lambda c: track(c).update(labels=[["run"], []]), "videos[0].tracks[1].labels[0][0]"),
        (lambda c: track(c).update(labels=[[]]), "videos[0].tracks[1].labels"),
        (lambda c: track(c).update(labels="walk"), "videos[0].tracks[1].labels"),
    ],
)
def test_wrong_keys_and_values_are_named(path, change, place):
    changed = content()
    change(changed)
    path.write_text(json.dumps(changed))
    with pytest.raises(InputError) as error:
        stad_json.read(path, missing="keep")
    assert (error.value.path, error.value.row) == (path, place)


def test_a_misspelt_key_is_answered_with_the_right_one(path):
    path.write_text(json.dumps({**content(), "protcol": "dense"}))
    with pytest.raises(InputError, match="did you mean 'protocol'"):
        stad_json.read(path)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("", 1),
        ('{"a": 1,\n', 2),
        ('{"a": NaN}', None),
        ('{"a": 1, "a": 2}', None),
        ("[" * 100_000, None),
        ("9" * 5000, None),
        ("[]", None),
    ],
)
def test_what_is_no_json_is_refused(path, text, row):
    path.write_text(text)
    with pytest.raises(InputError) as error:
        stad_json.read(path)
    assert (error.value.path, error.value.row) == (path, row)


def test_files_are_named(path, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="more than one JSON file"):
        stad_json.read(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        stad_json.read(tmp_path / "gone.json")


def test_damaged_files_never_escape(path, survives):
    assert survives(path, lambda: stad_json.read(path, missing="keep"), 400) > 200


def test_boxes_are_exact(path):
    changed = content()
    track(changed)["boxes"] = [[0.1, 0.2, 1 / 3, 1e-300 + 0.7], [0, 0, 1e9 + 0.123456789, 7]]
    path.write_text(json.dumps(changed))
    boxes = stad_json.read(path, missing="keep").train[0].tracks[1].boxes
    np.testing.assert_array_equal(boxes, track(changed)["boxes"])


def test_the_example_of_the_documentation(tmp_path):
    page = Path(__file__).resolve().parents[3] / "docs" / "datasets.md"
    (example,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    (tmp_path / "street.json").write_text(example)
    (video,) = stad_json.read(tmp_path, missing="keep").train
    assert video.tracks[0].boxes.tolist() == [[10, 20, 60, 120], [11, 20, 61, 120]]
    documented = {line.split("`")[1].partition("[].")[2] for line in page.read_text().split("\n")
                  if line.startswith(("| `videos[]", "| `tracks[]"))}  # fmt: skip
    assert documented == {*json.loads(example)["videos"][0], *video_keys()} - {"tracks"}


def video_keys() -> set[str]:
    return {"actor", "frames", "boxes", "labels"}

"""Label Studio's JSON: boxes in per cent, keyframes, lifespans, labels in other elements."""

import json

import numpy as np
import pytest

from stad_data.datasets import label_studio
from stad_eval import InputError


def drawn(frame, x, *, enabled=True, **more) -> dict:
    box = {"frame": frame, "x": x, "y": 10, "width": 20, "height": 50, "time": frame / 5}
    return {**box, "enabled": enabled, "rotation": 0, **more}


def tasks() -> list[dict]:
    moving = {
        "id": "m",
        "type": "videorectangle",
        "value": {
            "framesCount": 12,
            "duration": 2.4,
            "sequence": [drawn(1, 0), drawn(5, 40, enabled=False), drawn(9, 60)],
            "labels": ["walk"],
        },
    }
    still = {
        "id": "s",
        "type": "videorectangle",
        "value": {"framesCount": 12, "sequence": [drawn(11, 0)]},
    }
    choice = {"id": "s", "type": "choices", "value": {"choices": ["talk", "sit"]}}
    result = [moving, still, choice]
    return [
        {
            "id": 7,
            "data": {"video": "/data/upload/3/0a1b2c3d-street%20one.mp4", "note": "x"},
            "annotations": [{"result": [], "was_cancelled": True}, {"result": result}],
        }
    ]


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks()))
    return path


def test_keyframes_are_filled_in(export):
    data = label_studio.read(export, missing="keep", size=(200, 100))
    assert data.classes.names == ("sit", "talk", "walk")
    assert not data.classes.exclusive
    (video,) = data.train
    assert video.video == "0a1b2c3d-street one"
    assert (video.num_frames, video.size) == (12, (200, 100))
    moving, still = video.tracks
    # Shown from 1 to 5, hidden after it, shown again from 9 to the end of the video.
    assert moving.frames.tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11]
    np.testing.assert_allclose(
        moving.boxes[:, 0], [0, 20, 40, 60, 80, 120, 120, 120, 120], atol=1e-9
    )
    np.testing.assert_allclose(moving.boxes[0], [0, 10, 40, 60])
    assert still.frames.tolist() == [10, 11]
    assert moving.labels[0].tolist() == [False, False, True]
    assert still.labels[0].tolist() == [True, True, False]


def test_videos_are_found_without_the_uploads_prefix(export, put_video):
    put_video(export.parent / "videos" / "street one.mp4", number=0)
    (video,) = label_studio.read(export).train
    assert (video.video, video.size, video.fps) == ("street one", (64, 48), 5)
    assert label_studio.read(export.parent).train[0].video == "street one"
    (export.parent / "test.txt").write_text("street one\n")
    assert label_studio.read(export).test[0].video == "street one"


def test_addresses_of_local_files(export):
    content = tasks()
    content[0]["data"] = {"clip": "/data/local-files/?d=folder/a.mp4"}
    export.write_text(json.dumps(content))
    assert label_studio.read(export, missing="keep", size=(9, 9)).train[0].video == "a"


def test_classes_can_be_given(export):
    names = ("walk", "talk", "sit", "run")
    data = label_studio.read(export, missing="keep", size=(9, 9), classes=names)
    assert data.classes.names == names
    with pytest.raises(InputError, match="unknown action 'talk'"):
        label_studio.read(export, missing="keep", size=(9, 9), classes=("walk", "sit"))


def edited(path, change) -> None:
    content = tasks()
    change(content)
    path.write_text(json.dumps(content))


def sequence(content) -> list:
    return content[0]["annotations"][1]["result"][0]["value"]["sequence"]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[0].pop("annotations"),
        lambda c: c[0]["annotations"].append({"result": []}),
        lambda c: c[0].update(data={}),
        lambda c: c[0].update(data={"video": "/"}),
        lambda c: c.append(c[0]),
        lambda c: sequence(c)[0].update(rotation=10),
        lambda c: sequence(c)[0].update(frame=0),
        lambda c: sequence(c)[0].update(frame=13),
        lambda c: sequence(c)[0].update(frame=5),
        lambda c: sequence(c)[0].update(width=0),
        lambda c: sequence(c)[0].update(x="0"),
        lambda c: sequence(c)[0].pop("enabled"),
        lambda c: sequence(c).clear(),
        lambda c: c[0]["annotations"][1]["result"][2].update(id="other"),
        lambda c: c[0]["annotations"][1]["result"][1].update(id="m"),
        lambda c: c[0]["annotations"][1]["result"][1].update(type="timelinelabels"),
        lambda c: c[0]["annotations"][1]["result"].clear(),
    ],
)
def test_other_forms_are_named(export, change):
    edited(export, change)
    with pytest.raises(InputError) as error:
        label_studio.read(export, missing="keep", size=(200, 100))
    assert error.value.path == export


def test_a_size_is_needed_where_no_video_is(export):
    with pytest.raises(InputError, match="--size WxH"):
        label_studio.read(export, missing="keep")
    with pytest.raises(InputError, match="1 of 1 annotated videos have no file"):
        label_studio.read(export)


def test_damaged_files_never_escape(export, survives):
    def read():
        return label_studio.read(export, missing="keep", size=(200, 100))

    assert survives(export, read, 300) > 150

"""From one form to another and back: what a form holds comes back, what it cannot is said."""

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stad_data import ActionClasses, Dataset, Track, VideoAnnotation, datasets
from stad_data.conversion import TARGETS, convert
from stad_eval import InputError

SIDE = 100


@st.composite
def made(draw, *, timed: bool = False, exclusive: bool = False, labelled: bool = False):
    """A small dataset of two classes in one or two videos."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    whole = draw(st.booleans())

    def track(actor: int, keyframes: np.ndarray) -> Track:
        count = int(rng.integers(1, len(keyframes) + 1))
        frames = np.sort(rng.choice(keyframes, count, replace=False))
        corner = rng.uniform(0, SIDE / 2, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, SIDE / 2 - 1, (count, 2))], axis=1)
        labels = rng.random((count, 2)) < 0.5
        if labelled:
            labels[~labels.any(axis=1), 0] = True
        if exclusive:
            labels = np.repeat(np.eye(2, dtype=bool)[[int(rng.integers(2))]], count, axis=0)
        return Track(
            actor=actor, frames=frames, boxes=np.round(boxes) if whole else boxes, labels=labels
        )

    def video(name: str) -> VideoAnnotation:
        length = int(rng.integers(1, 8)) if not timed else 50
        keyframes = np.arange(length) if not timed else np.array([0, 10, 30])
        return VideoAnnotation(
            video=name,
            path=Path("videos") / f"{name}.mp4",
            num_frames=length,
            size=(SIDE, SIDE),
            fps=10.0,
            tracks=tuple(track(n, keyframes) for n in range(int(rng.integers(0, 3)))),
            keyframes=keyframes,
            timestamps=np.array([900, 901, 903]) if timed else None,
            num_classes=2,
        )

    return Dataset(
        name="made",
        classes=ActionClasses(names=("walk", 'say "a, b"'), ids=(0, 1), exclusive=exclusive),
        train=(video("folder/a"),),
        test=(video("b"),) if draw(st.booleans()) else (),
        protocol="dense",
    )


quick = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(data=st.one_of(made(), made(timed=True)))
def test_our_json_holds_everything(data, tmp_path, assert_same):
    out = tmp_path / "x.json"
    assert convert(data, out, to="json") == []
    back = datasets.stad_json.read(out, missing="keep")
    assert_same(back, data)
    assert (back.name, back.protocol, back.classes) == (data.name, data.protocol, data.classes)
    for one, other in zip((*back.train, *back.test), (*data.train, *data.test), strict=True):
        assert one.path.resolve() == other.path.resolve()


@quick
@given(data=st.one_of(made(labelled=True), made(timed=True, labelled=True)))
def test_coco_holds_all_that_has_an_action(data, tmp_path, assert_same):
    out = tmp_path / "x.json"
    assert convert(data, out, to="coco-video") == []
    back = datasets.coco_video.read(out, missing="keep")
    assert_same(back, data, atol=1e-12)
    assert (back.name, back.protocol, back.classes) == (data.name, data.protocol, data.classes)


@quick
@given(data=st.one_of(made(labelled=True), made(timed=True, labelled=True)))
def test_ava_holds_all_that_has_an_action(data, tmp_path, assert_same):
    lost = convert(data, tmp_path / "ava", to="ava")
    assert not any("boxes" in line for line in lost)
    assert any("counts frames" in line for line in lost) == (data.train[0].timestamps is None)
    back = datasets.ava.read(tmp_path / "ava", missing="keep")
    assert back.classes.ids == data.classes.ids
    # Rows of AVA name the people; who has no row, is not there.
    assert_same(back, data, atol=1e-12)


@quick
@given(data=made(exclusive=True))
def test_act_holds_dense_tubes_of_one_action(data, tmp_path, assert_same):
    out = tmp_path / "x.pkl"
    lost = convert(data, out, to="act")
    assert any("frame rates" in line for line in lost)
    back = datasets.act.read(out, missing="keep")
    ordered = replace(
        data,
        train=tuple(by_label(video) for video in data.train),
        test=tuple(by_label(video) for video in data.test),
    )
    assert_same(back, ordered, rates=False, atol=1e-12)


def by_label(video: VideoAnnotation) -> VideoAnnotation:
    """Tubes in the order of ACT's dict: labels as they first occur, then actors; renumbered."""
    labels = [int(np.argmax(track.labels[0])) for track in video.tracks]
    order = sorted(range(len(labels)), key=lambda n: (labels.index(labels[n]), n))
    tracks = [replace(video.tracks[n], actor=place) for place, n in enumerate(order)]
    return replace(video, tracks=tuple(tracks))


@quick
@given(data=st.one_of(made(), made(timed=True)))
def test_boxes_are_rows(data, tmp_path):
    out = tmp_path / "x.csv"
    convert(data, out, to="boxes", part="train")
    with out.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["video", "frame", "label", "instance", "x1", "y1", "x2", "y2"]
    expected = sorted(
        (video.video, int(frame), data.classes.names[label], track.actor, *box.tolist())
        for video in data.train
        for track in video.tracks
        for frame, box, labels in zip(track.frames, track.boxes, track.labels, strict=True)
        for label in np.flatnonzero(labels)
    )
    found = sorted(
        (video, int(frame), label, int(actor), *map(float, box))
        for video, frame, label, actor, *box in rows
    )
    assert found == expected


@pytest.fixture
def lossy(annotation):
    """One video: an actor with two actions, an unlabelled box, a box that leaves the frame."""
    first, second = annotation.tracks
    labels = second.labels.copy()
    labels[0] = False
    boxes = second.boxes.copy()
    boxes[1, 2] = 250
    tracks = (first, replace(second, labels=labels, boxes=boxes))
    return Dataset(
        name="lossy",
        classes=ActionClasses(names=("a", "b", "c"), ids=(4, 5, 9), exclusive=False),
        train=(replace(annotation, tracks=tracks),),
        test=(),
        protocol="dense",
    )


def test_what_is_lost_is_said(lossy, tmp_path):
    def lost(to: str) -> str:
        return "\n".join(convert(lossy, tmp_path / to, to=to))

    assert lost("json") == ""
    assert lost("coco-video") == "1 boxes without an action"
    assert "1 boxes without an action" in lost("boxes")
    assert "12 annotated frames without a box" in lost("boxes")
    assert "class numbers" in lost("boxes")
    act = lost("act")
    assert "1 actors with several actions" in act
    assert "1 boxes without an action" in act
    assert "1 tubes have gaps" in act
    assert "the frame rates of 1 videos" in act
    assert "the numbers of the actors of 1 videos" in act
    assert "the name of the dataset and its protocol (dense)" in act
    assert "where the videos lie" in act
    ava = lost("ava")
    assert "1 boxes that lie outside the frame" in ava
    assert "1 boxes without an action" in ava
    assert "counts frames" in ava


def test_masks_and_seconds_are_said_too(jhmdb_root, ava_root, tmp_path):
    masks = datasets.jhmdb.read(jhmdb_root)
    for to in TARGETS:
        lost = convert(masks, tmp_path / f"m{to}", to=to)
        assert "the pixel masks of 3 videos" in lost
    seconds = datasets.ava.read(ava_root)
    assert any("seconds of the keyframes of 2" in line for line in convert(
        seconds, tmp_path / "act", to="act"
    ))  # fmt: skip
    assert any("which frames of 2 videos" in line for line in convert(
        seconds, tmp_path / "act", to="act"
    ))  # fmt: skip


def test_ava_comes_back_with_and_without_its_videos(ava_root, tmp_path, assert_same):
    data = datasets.ava.read(ava_root)
    convert(data, tmp_path / "copy", to="ava")
    back = datasets.ava.read(tmp_path / "copy", missing="keep")
    assert_same(back, data, atol=1e-12)
    (tmp_path / "copy" / "videos").symlink_to(ava_root / "videos")
    assert_same(datasets.ava.read(tmp_path / "copy"), data, atol=1e-12)


def test_every_form_leads_to_every_other(jhmdb_root, tmp_path, assert_same):
    data = datasets.jhmdb.read(jhmdb_root)
    convert(data, tmp_path / "a.pkl", to="act")
    one = datasets.act.read(tmp_path / "a.pkl", missing="keep")
    convert(one, tmp_path / "b.json", to="coco-video")
    two = datasets.coco_video.read(tmp_path / "b.json", missing="keep")
    convert(two, tmp_path / "c", to="ava")
    three = datasets.ava.read(tmp_path / "c", missing="keep")
    convert(three, tmp_path / "d.json", to="json")
    four = datasets.stad_json.read(tmp_path / "d.json", missing="keep")
    assert_same(four, data, rates=False, atol=1e-9)


@pytest.mark.parametrize("corners", ["half-open", "inclusive", "one-based"])
def test_act_comes_back_whatever_its_corners_are(jhmdb_root, tmp_path, assert_same, corners):
    data = datasets.jhmdb.read(jhmdb_root)
    convert(data, tmp_path / "a.pkl", to="act", corners=corners)
    back = datasets.act.read(tmp_path / "a.pkl", missing="keep", corners=corners)
    assert_same(back, data, rates=False)


def test_act_counts_as_the_published_file_does(jhmdb_root, tmp_path):
    data = datasets.jhmdb.read(jhmdb_root)
    convert(data, tmp_path / "a.pkl", to="act", corners="one-based")
    content = pickle.loads((tmp_path / "a.pkl").read_bytes())
    (tube,) = content["gttubes"]["wave/c"][1]
    assert (tube.dtype, tube.shape) == (np.float32, (12, 5))
    # The mask covers x 7..29 and y 10..19: published boxes are one wider, 1-based, inclusive.
    assert tube[0].tolist() == [1, 8, 11, 31, 21]
    assert content["resolution"]["wave/c"] == (48, 64)
    assert content["test_videos"] == [["wave/c"]]


def test_bad_targets_are_named(lossy, tmp_path):
    with pytest.raises(InputError, match="unknown target"):
        convert(lossy, tmp_path / "x", to="xml")
    with pytest.raises(InputError, match="unknown part"):
        convert(lossy, tmp_path / "x", to="json", part="val")
    for to in ("act", "coco-video", "json", "boxes"):
        with pytest.raises(InputError, match="no such folder"):
            convert(lossy, tmp_path / "gone" / "x", to=to)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder of files"):
        convert(lossy, tmp_path / "file", to="ava")
    mixed = replace(
        lossy,
        test=(replace(lossy.train[0], video="other", timestamps=np.arange(20)),),
    )
    with pytest.raises(InputError, match="some videos have timestamps"):
        convert(mixed, tmp_path / "ava", to="ava")


COCO = {
    "videos": [{"id": 1, "name": "a", "width": 64, "height": 48}],
    "images": [{"id": 5, "video_id": 1, "frame_id": 0}, {"id": 6, "video_id": 1, "frame_id": 3}],
    "annotations": [
        {"image_id": 6, "category_id": 2, "bbox": [1, 2, 3, 4], "track_id": 7},
        {"image_id": 6, "category_id": 1, "bbox": [1, 2, 3, 4], "track_id": 7},
    ],
    "categories": [{"id": 2, "name": "wave"}, {"id": 1, "name": "walk"}],
}


def test_coco_by_image(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(COCO))
    data = datasets.coco_video.read(path, missing="keep")
    assert (data.classes.names, data.classes.ids) == (("walk", "wave"), (1, 2))
    assert not data.classes.exclusive
    (video,) = data.train
    assert (video.num_frames, video.keyframes.tolist()) == (4, [0, 3])
    (track,) = video.tracks
    assert (track.actor, track.boxes.tolist()) == (7, [[1, 2, 4, 6]])
    assert track.labels.tolist() == [[True, True]]
    with pytest.raises(InputError, match="1 of 1 annotated videos have no file"):
        datasets.coco_video.read(path)
    for name in ("a.mp4", "videos/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
        assert datasets.coco_video.read(path).train[0].path == tmp_path / name
        (tmp_path / name).unlink()


def test_coco_by_track(tmp_path):
    names = ["a/00.jpg", "a/05.jpg", "a/10.jpg"]
    content = {
        "videos": [{"id": 1, "file_names": names, "length": 3, "width": 64, "height": 48}],
        "annotations": [
            {"id": 3, "video_id": 1, "category_id": 1, "bboxes": [None, [1, 2, 3, 4], None]}
        ],
        "categories": [{"id": 1, "name": "walk"}],
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    (video,) = datasets.coco_video.read(path, missing="keep").train
    assert (video.video, video.num_frames, len(video.keyframes)) == ("a", 3, 3)
    assert video.tracks[0].frames.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda c: c.pop("categories"), None),
        (lambda c: c["categories"][0].update(id=1), "categories[1].id"),
        (lambda c: c["categories"][0].update(name="walk"), "categories"),
        (lambda c: c["videos"][0].pop("width"), "videos[0]"),
        (lambda c: c["videos"][0].pop("name"), "videos[0]"),
        (lambda c: c["videos"][0].update(split="val"), "videos[0].split"),
        (lambda c: c["images"][0].update(video_id=2), "images[0].video_id"),
        (lambda c: c["images"][0].update(frame_id=3), "images[1].frame_id"),
        (lambda c: c["images"][0].pop("frame_id"), "images[0]"),
        (lambda c: c["annotations"][0].update(image_id=9), "annotations[0].image_id"),
        (lambda c: c["annotations"][0].update(category_id=9), "annotations[0].category_id"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 0, 4]), "annotations[0].bbox"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 9, 4]), "videos[0]"),
        (lambda c: c["annotations"][0].update(bbox=None), "annotations[0].bbox"),
    ],
)
def test_bad_coco_files_are_named(tmp_path, change, place):
    content = json.loads(json.dumps(COCO))
    change(content)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        datasets.coco_video.read(path, missing="keep")
    assert (error.value.path, error.value.row) == (path, place)


def test_damaged_coco_files_never_escape(tmp_path, survives):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(COCO))
    assert survives(path, lambda: datasets.coco_video.read(path, missing="keep")) > 150

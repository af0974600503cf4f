"""DAVIS and YouTube-VOS: boxes and masks from palette PNG files."""

import json
import pickle

import numpy as np
import pytest

from stad_data.datasets import davis, youtube_vos
from stad_data.datasets.object_masks import IndexMasks
from stad_eval import InputError
from stad_eval.formats.mask_png import read_mask_png, write_mask_png


def masks(count: int = 3) -> list[np.ndarray]:
    """Object 1 moves to the right, object 2 is in the last frame only, a corner is undecided."""
    found = np.zeros((count, 20, 30), np.uint8)
    for frame in range(count):
        found[frame, 5:9, 4 + frame : 10 + frame] = 1
        found[frame, 0, 0] = 255
    found[-1, 12:15, 20:21] = 2
    return list(found)


def write(folder, frames, names=None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for at, mask in enumerate(frames):
        write_mask_png(folder / f"{names[at] if names else f'{at:05d}'}.png", mask)


@pytest.fixture
def davis_root(tmp_path):
    for film in ("bear", "bike", "swan"):
        write(tmp_path / "Annotations/480p" / film, masks())
        images = tmp_path / "JPEGImages/480p" / film
        images.mkdir(parents=True)
        for frame in range(4):
            (images / f"{frame:05d}.jpg").write_bytes(b"")
    lists = tmp_path / "ImageSets/2017"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("swan\nbear\n")
    (lists / "val.txt").write_text("bike")
    return tmp_path


def test_boxes_are_the_smallest_that_hold_the_pixels(davis_root):
    data = davis.read(davis_root)
    assert [v.video for v in data.train] == ["swan", "bear"]
    assert [v.video for v in data.test] == ["bike"]
    assert data.classes.names == ("object",)
    video = data.test[0]
    assert video.path == davis_root / "JPEGImages/480p/bike"
    assert (video.num_frames, video.size) == (4, (30, 20))
    assert video.keyframes.tolist() == [0, 1, 2]
    one, two = video.tracks
    assert (one.actor, one.frames.tolist()) == (0, [0, 1, 2])
    assert one.boxes.tolist() == [[4, 5, 10, 9], [5, 5, 11, 9], [6, 5, 12, 9]]
    assert (two.actor, two.frames.tolist(), two.boxes.tolist()) == (1, [2], [[20, 12, 21, 15]])


def test_masks_number_actors_from_one(davis_root):
    video = davis.read(davis_root).test[0]
    source = pickle.loads(pickle.dumps(video.masks))
    assert source == video.masks
    found = source.read([2, 0, 3])
    assert (found.shape, found.dtype) == ((3, 20, 30), np.uint8)
    np.testing.assert_array_equal(found[0], masks()[2])
    assert found[2].max() == 0
    for track in video.tracks:
        for frame, box in zip(track.frames, track.boxes.astype(int), strict=True):
            inside = source.read([frame])[0] == track.actor + 1
            assert inside.any()
            assert inside[box[1] : box[3], box[0] : box[2]].sum() == inside.sum()


def test_films_without_images(davis_root):
    for path in (davis_root / "JPEGImages/480p/bike").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="1 of 3 annotated videos have no file"):
        davis.read(davis_root)
    assert davis.read(davis_root, missing="skip").test == ()
    assert davis.read(davis_root, missing="keep").test[0].num_frames == 3


def test_results_are_read_without_lists(tmp_path):
    write(tmp_path / "judo", masks(), names=["2", "10", "11"])
    write(tmp_path / "bear", masks(), names=["a", "b", "c"])
    data = davis.read(tmp_path, missing="keep")
    bear, judo = data.train
    assert judo.keyframes.tolist() == [2, 10, 11]
    assert judo.num_frames == 12
    assert bear.keyframes.tolist() == [0, 1, 2]
    info = "sequences:\n- name: judo\n  num_frames: 12\n  set: val\n  year: 2017\n"
    (tmp_path / "db_info.yaml").write_text(info)
    data = davis.read(tmp_path, missing="keep")
    assert ([v.video for v in data.train], [v.video for v in data.test]) == ([], ["judo"])


def test_contradictory_masks_are_named(davis_root):
    folder = davis_root / "Annotations/480p/bike"
    write_mask_png(folder / "00001.png", np.zeros((20, 31), np.uint8))
    with pytest.raises(InputError, match="another size") as error:
        davis.read(davis_root)
    assert error.value.path == folder / "00001.png"
    (folder / "00001.png").rename(folder / "00009.png")
    with pytest.raises(InputError, match="a mask without an image") as error:
        davis.read(davis_root)
    assert error.value.path == folder / "00009.png"
    (davis_root / "ImageSets/2017/val.txt").write_text("bike\nbike\n")
    with pytest.raises(InputError, match=r"val\.txt, row 2: a film listed twice"):
        davis.read(davis_root)
    (davis_root / "ImageSets/2017/val.txt").write_text("gone\n")
    with pytest.raises(InputError, match="a listed film without masks"):
        davis.read(davis_root)
    with pytest.raises(InputError, match="no DAVIS masks"):
        davis.read(davis_root / "JPEGImages")
    with pytest.raises(InputError, match="another size"):
        IndexMasks(files={0: folder / "00000.png"}, size=(1, 1)).read([0])


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("", None),
        ("sequences:\n", None),
        ("sequences:\n  name: a\n", 2),
        ("sequences:\n- name: a\n  num_frames: 3\n  set: val\n", 2),
        ("sequences:\n- name: a\n  num_frames: x\n  set: val\n  year: 2017\n", 2),
        ("sequences:\n- name a\n", 2),
        (2 * "sequences:\n- name: a\n  num_frames: 3\n  set: val\n  year: 2017\n", 7),
    ],
)
def test_bad_lists_of_films_are_named(tmp_path, text, row):
    path = tmp_path / "db_info.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        davis.read_sequences(path)
    assert (error.value.path, error.value.row) == (path, row)


@pytest.fixture
def vos_root(tmp_path):
    for part, videos in (("train", {"x": "cat", "y": "person"}), ("valid", {"z": "person"})):
        meta = {}
        for video, category in videos.items():
            write(tmp_path / part / "Annotations" / video, masks(), names=["00000", "00005", "10"])
            objects = {"1": {"category": category}, "2": {"category": "person"}}
            meta[video] = {"objects": {**objects, "3": {"category": "dog"}}}
        (tmp_path / part / "meta.json").write_text(json.dumps({"videos": meta}))
    return tmp_path


def test_objects_have_categories(vos_root):
    data = youtube_vos.read(vos_root, missing="keep")
    assert data.classes.names == ("cat", "dog", "person")
    assert [v.video for v in data.train] == ["x", "y"]
    assert [v.video for v in data.test] == ["z"]
    video = data.train[0]
    assert video.keyframes.tolist() == [0, 5, 10]
    assert [t.labels[0].tolist() for t in video.tracks] == [[1, 0, 0], [0, 0, 1]]
    assert len(youtube_vos.read(vos_root / "train", missing="keep").train) == 2
    with pytest.raises(InputError, match="2 of 2 annotated videos have no file"):
        youtube_vos.read(vos_root)


def test_with_images_frames_count_images(vos_root):
    for part, video in (("train", "x"), ("train", "y"), ("valid", "z")):
        images = vos_root / part / "JPEGImages" / video
        images.mkdir(parents=True)
        for name in ("00000", "00005", "10", "00015"):
            (images / f"{name}.jpg").write_bytes(b"")
    video = youtube_vos.read(vos_root).train[0]
    assert video.keyframes.tolist() == [0, 1, 2]
    assert video.num_frames == 4


def test_contradictory_objects_are_named(vos_root):
    path = vos_root / "train" / "meta.json"
    good = path.read_text()
    path.write_text(good.replace('"2"', '"4"'))
    with pytest.raises(InputError, match="object 2 has no class") as error:
        youtube_vos.read(vos_root, missing="keep")
    assert error.value.path == path
    path.write_text('{"videos": {"x": {"objects": {"1": {"category": "a"}}}, "x": {}}}')
    with pytest.raises(InputError, match="'x' twice"):
        youtube_vos.read(vos_root, missing="keep")
    path.write_text('{"videos": {}}')
    (vos_root / "valid" / "meta.json").write_text('{"videos": {}}')
    with pytest.raises(InputError, match="no object has a category"):
        youtube_vos.read(vos_root, missing="keep")
    with pytest.raises(InputError, match="no YouTube-VOS annotation"):
        youtube_vos.read(vos_root / "train" / "Annotations")
    path.write_text(good.replace('"x"', '"w"'))
    with pytest.raises(InputError, match="a video without masks"):
        youtube_vos.read(vos_root, missing="keep")


def test_damaged_files_never_escape(davis_root, vos_root, survives):
    png = davis_root / "Annotations/480p/bike/00001.png"
    assert survives(png, lambda: davis.read(davis_root), 100) > 80
    meta = vos_root / "train" / "meta.json"
    assert survives(meta, lambda: youtube_vos.read(vos_root, missing="keep"), 150) > 80
    info = davis_root / "db_info.yaml"
    info.write_text("sequences:\n- name: bear\n  num_frames: 3\n  set: val\n  year: 2017\n")
    assert survives(info, lambda: davis.read_sequences(info), 200) > 20


def test_the_real_files(real_data):
    folder = real_data / "davis"
    films = davis.read_sequences(folder / "data/db_info.yaml")
    assert len(films) == 120
    sets = [film.set for film in films.values()]
    assert [sets.count(name) for name in ("train", "val", "test-dev")] == [60, 30, 30]
    assert sum(film.year == 2016 for film in films.values()) == 50
    assert next(iter(films)) == "aerobatics"
    assert films["aerobatics"].num_frames == 71
    assert list(films)[-1] == "walking"
    results = folder / "results/semi-supervised/osvos"
    data = davis.read(results, missing="keep")
    assert {v.video: v.num_frames for v in data.train} == {
        "breakdance": 84,
        "judo": 34,
        "parkour": 100,
        "shooting": 40,
    }
    judo = data.train[1]
    assert (judo.size, len(judo.tracks)) == ((854, 480), 2)
    mask = read_mask_png(results / "judo/00000.png")
    ys, xs = np.nonzero(mask == 1)
    expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert judo.tracks[0].boxes[0].tolist() == expected
    np.testing.assert_array_equal(judo.masks.read([0])[0], mask)

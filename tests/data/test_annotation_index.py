"""The index of a dataset's annotation: the same annotations, noticed when stale, not copied."""

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stad_data import VideoAnnotation, clips, truth_table
from stad_data.annotation_index import Source, indexed, load, save
from stad_data.datasets import ava
from stad_data.sampling import keyframe_samples
from stad_data.tracks import TableTracks
from stad_eval import InputError


def assert_same(a: VideoAnnotation, b: VideoAnnotation) -> None:
    for name in ("video", "path", "num_frames", "size", "fps", "num_classes", "gaps", "num_boxes"):
        assert getattr(a, name) == getattr(b, name), name
    np.testing.assert_array_equal(a.keyframes, b.keyframes)
    assert (a.timestamps is None) == (b.timestamps is None)
    if a.timestamps is not None:
        np.testing.assert_array_equal(a.timestamps, b.timestamps)
    assert len(a.tracks) == len(b.tracks)
    for one, other in zip(a.tracks, b.tracks, strict=True):
        assert one.actor == other.actor
        for name in ("frames", "boxes", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype
    for frame in range(a.num_frames):
        for name in ("boxes", "labels", "actors"):
            np.testing.assert_array_equal(getattr(a.at(frame), name), getattr(b.at(frame), name))


def assert_same_dataset(a, b) -> None:
    assert (a.name, a.classes, a.protocol) == (b.name, b.classes, b.protocol)
    for part in ("train", "test"):
        videos = getattr(a, part), getattr(b, part)
        for one, other in zip(*videos, strict=True):
            assert_same(one, other)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "ava.index"


def is_indexed(data) -> bool:
    return all(isinstance(video.tracks, TableTracks) for video in (*data.train, *data.test))


def test_an_index_gives_what_the_files_give(ava_root, index):
    plain = ava.read(ava_root)
    for _ in range(2):
        data = ava.read(ava_root, index=index)
        assert is_indexed(data)
        assert_same_dataset(data, plain)
    assert not list(ava_root.rglob("*.index"))
    video = data.train[0]
    assert video.tracks[-1].actor == plain.train[0].tracks[-1].actor
    assert [track.actor for track in video.tracks[::-1]] == [4, 0]
    with pytest.raises(IndexError):
        video.tracks[2]
    assert not video.at(0).boxes.flags.writeable
    table = truth_table(data.train, data.classes, time="second")
    np.testing.assert_array_equal(
        table.box, truth_table(plain.train, plain.classes, time="second").box
    )
    for empty in (True, False):
        np.testing.assert_array_equal(
            keyframe_samples(data.train, empty=empty), keyframe_samples(plain.train, empty=empty)
        )
    clip = clips.centred(video, 5, length=4, stride=1)
    np.testing.assert_array_equal(
        clip.boxes, clips.centred(plain.train[0], 5, length=4, stride=1).boxes
    )


def test_the_files_are_not_read_twice(ava_root, index, monkeypatch):
    ava.read(ava_root, index=index)
    monkeypatch.setattr(ava, "read_ava_rows", None)
    assert is_indexed(ava.read(ava_root, index=index))


def test_a_folder_may_be_moved(ava_root, index, monkeypatch):
    ava.read(ava_root, index=index)
    moved = ava_root.rename(ava_root.with_name("moved"))
    plain = ava.read(moved)
    monkeypatch.setattr(ava, "read_ava_rows", None)
    assert_same_dataset(ava.read(moved, index=index), plain)


def changes(root: Path) -> dict:
    notes = root / "annotations"
    return {
        "row": lambda: (notes / "train.csv").write_text("one,0901,0.2,0.2,0.6,0.8,7,0\n"),
        "same size": lambda: (notes / "val.csv").write_text(
            (notes / "val.csv").read_text().replace("0.9", "0.8")
        ),
        "exclusion": lambda: (notes / "train_excluded_timestamps.csv").write_text("one,0901\n"),
        "no exclusion": lambda: (notes / "val_excluded_timestamps.csv").unlink(),
        "labels": lambda: (notes / "label_map.pbtxt").write_text(
            (notes / "label_map.pbtxt").read_text().replace("talk", "sing")
        ),
        "video": lambda: shutil.copy(root / "videos/two.mp4", root / "videos/one.mp4"),
        "new video": lambda: shutil.copy(root / "videos/two.mp4", root / "videos/three.mp4"),
    }


@pytest.mark.parametrize("change", changes(Path()))
def test_a_stale_index_is_made_again(ava_root, index, change):
    ava.read(ava_root, index=index)
    before = index.read_bytes()
    changes(ava_root)[change]()
    assert_same_dataset(ava.read(ava_root, index=index), ava.read(ava_root))
    assert index.read_bytes() != before


@pytest.mark.parametrize(
    "options",
    [{"first_second": 899.5}, {"time": "frame"}, {"missing": "skip"}, {"fps": 25.0}],
    ids=str,
)
def test_other_arguments_make_another_index(ava_root, index, options):
    (ava_root / "annotations/val_excluded_timestamps.csv").unlink()
    for part, video in (("train", "one"), ("val", "two")):
        (ava_root / f"annotations/{part}.csv").write_text(f"{video},0901,0.1,0.2,0.5,0.9,3,0\n")
    if "time" in options:
        for part, video in (("train", "one"), ("val", "two")):
            (ava_root / f"annotations/{part}.csv").write_text(f"{video},0,0.1,0.2,0.5,0.9,3,0\n")
        options = {**options, "first_second": 0}
    if "time" not in options:
        ava.read(ava_root, index=index)
    assert_same_dataset(ava.read(ava_root, index=index, **options), ava.read(ava_root, **options))


def test_touched_and_copied_files_are_the_same(ava_root, index, monkeypatch):
    ava.read(ava_root, index=index)
    os.utime(ava_root / "annotations/train.csv", ns=(3, 3))
    monkeypatch.setattr(ava, "read_ava_rows", None)
    assert is_indexed(ava.read(ava_root, index=index))


def test_a_damaged_index_is_made_again(ava_root, index):
    plain = ava.read(ava_root)
    ava.read(ava_root, index=index)
    data = index.read_bytes()
    for at in (70, len(data) // 2, len(data) - 3):
        damaged = bytearray(data)
        damaged[at] ^= 1
        index.write_bytes(damaged)
        source = Source(root=ava_root, files={})
        with pytest.raises(InputError, match=r"not a whole annotations file"):
            load(index, source)
        assert_same_dataset(ava.read(ava_root, index=index), plain)
        assert index.read_bytes() == data
    index.write_bytes(data[: len(data) // 2])
    assert_same_dataset(ava.read(ava_root, index=index), plain)


def test_another_file_is_not_overwritten(ava_root):
    path = ava_root / "annotations/train.csv"
    before = path.read_text()
    with pytest.raises(InputError, match="another file stands where the index should be"):
        ava.read(ava_root, index=path)
    assert path.read_text() == before


def test_a_fault_of_the_dataset_is_told_and_nothing_written(ava_root, index):
    (ava_root / "annotations/train.csv").write_text("one,0900,0.1,0.2,0.5,0.9,99,0\n")
    with pytest.raises(InputError, match="unknown action_id"):
        ava.read(ava_root, index=index)
    assert not index.exists()


def test_an_absent_video_is_told_with_an_index_too(ava_root, index):
    ava.read(ava_root, index=index)
    (ava_root / "videos/two.mp4").unlink()
    with pytest.raises(InputError, match="have no file"):
        ava.read(ava_root, index=index)
    data = ava.read(ava_root, index=index, missing="skip")
    assert [len(data.train), len(data.test)] == [1, 0]


def test_workers_get_the_path_and_not_the_arrays(ava_root, index):
    rows = "".join(
        f"one,{900 + second:04d},0.1,0.2,0.5,0.9,3,{person}\n"
        for second in range(3)
        for person in range(500)
    )
    (ava_root / "annotations/train.csv").write_text(rows)
    data = ava.read(ava_root, index=index)
    video = data.train[0]
    assert len(video.at(5)) == 500
    sent = pickle.dumps(data.train)
    assert len(sent) < 2000
    assert_same(pickle.loads(sent)[0], video)
    # A changed copy is a value like any other.
    other = replace(video, path=Path("other.mp4"))
    assert other.origin is None
    assert pickle.loads(pickle.dumps(other)).path == Path("other.mp4")
    index.unlink()
    with pytest.raises(InputError, match="no such file"):
        pickle.loads(sent)


LOAD = """
import sys
from pathlib import Path
from stad_data.datasets import ava
data = ava.read(sys.argv[1], index=sys.argv[2])
print(len(data.train[0].at(0)))
"""


def test_processes_make_one_index_together(ava_root, index):
    command = [sys.executable, "-c", LOAD, str(ava_root), str(index)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate(timeout=600)[0] for run in runs] == ["2\n", "2\n"]
    assert [each.name for each in index.parent.iterdir()] == ["ava.index"]


def test_plain_annotations_lose_their_table_on_the_way(annotation):
    assert annotation.at(5).actors.tolist() == [0, 7]
    copy = pickle.loads(pickle.dumps(annotation))
    assert "table" not in copy.__dict__
    assert_same(copy, annotation)


def test_datasets_with_masks_are_refused(jhmdb_root, index):
    from stad_data.datasets import jhmdb

    data = jhmdb.read(jhmdb_root)
    source = Source(root=jhmdb_root, files={})
    with pytest.raises(InputError, match="cannot hold pixel masks"):
        save(index, data, source, source.to_json())


def test_any_dataset_can_be_indexed(annotation, index):
    from stad_data import ActionClasses, Dataset

    nobody = replace(annotation, video="nobody", tracks=(), num_classes=3, fps=None)
    data = Dataset(
        name="d",
        classes=ActionClasses(names=("a", "b", "c"), ids=(1, 2, 3), exclusive=False),
        train=(annotation,),
        test=(nobody,),
        protocol="dense",
    )
    source = Source(root=Path("elsewhere"), files={}, options={"pair": (1, 2)})
    found = indexed(index, source, lambda: data)
    paths = [replace(video, path=video.path.absolute()) for video in (annotation, nobody)]
    assert_same_dataset(found, replace(data, train=(paths[0],), test=(paths[1],)))
    assert_same_dataset(load(index, source), found)


def test_real_ava(real_data: Path, tmp_path: Path):
    """The 93,400 rows of AVA v2.1's poses, without videos."""
    csv = real_data / "ava/ava_val_v2.1_pose.csv"
    label_map = next(p for p in sorted((real_data / "ava").glob("*.pbtxt")))
    plain = ava.read(csv, missing="keep", size=(320, 240), label_map=label_map)
    source = Source(root=csv.parent, files={"rows": csv, "labels": label_map})
    found = indexed(tmp_path / "ava.index", source, lambda: plain)
    assert is_indexed(found)
    assert len(found.test) == 64
    assert found.left_out == plain.left_out != ()
    for a, b in zip(plain.test, found.test, strict=True):
        assert (a.video, a.path.absolute(), a.num_boxes) == (
            b.video,
            b.path.absolute(),
            b.num_boxes,
        )
        np.testing.assert_array_equal(a.keyframes, b.keyframes)
        for name in ("frames", "boxes", "labels", "actors"):
            np.testing.assert_array_equal(getattr(a.table, name), getattr(b.table, name))
        tracks = a.tracks[:: len(a.tracks) // 3], b.tracks[:: len(b.tracks) // 3]
        for one, other in zip(*tracks, strict=True):
            np.testing.assert_array_equal(one.boxes, other.boxes)
            assert one.actor == other.actor

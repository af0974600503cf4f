"""JHMDB: boxes by the published rule, classes from folders, every inconsistency named."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import loadmat, savemat

from stad_data import VideoReader
from stad_data.datasets import jhmdb
from stad_eval import InputError


def published_box(mask_HW) -> list[int] | None:
    """The rule as it was published: 1-based inclusive corners from 0-based extents."""
    ys, xs = np.nonzero(mask_HW)
    if not len(xs):
        return None
    height, width = mask_HW.shape
    return [
        xs.min() + 1,
        ys.min() + 1,
        min(xs.max() + 2, width),
        min(ys.max() + 2, height),
    ]


def published(box) -> list[int]:
    """A half-open 0-based box as 1-based inclusive corners: both lower edges move by one."""
    return [box[0] + 1, box[1] + 1, box[2], box[3]]


def test_reads_classes_parts_and_boxes(jhmdb_root):
    data = jhmdb.read(jhmdb_root)
    assert data.classes.names == ("jump", "wave")
    assert data.classes.exclusive
    assert data.protocol == "dense"
    assert [a.video for a in data.train] == ["jump/a", "jump/b"]
    assert [a.video for a in data.test] == ["wave/c"]
    video = data.train[1]
    assert (video.num_frames, video.size, video.keyframes.tolist()) == (12, (64, 48), [*range(12)])
    assert video.at(5).boxes.tolist() == [[6, 10, 31, 21]]
    assert video.at(5).labels.tolist() == [[True, False]]
    with VideoReader(video.path) as reader:
        assert reader.num_frames == video.num_frames


@settings(deadline=None, max_examples=50)
@given(
    mask=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
        elements=st.sampled_from([0, 0, 0, 1]),
    )
)
def test_boxes_follow_the_published_rule(mask):
    frames, boxes = jhmdb.mask_boxes(mask)
    expected = [published_box(mask[:, :, t]) for t in range(mask.shape[2])]
    assert frames.tolist() == [t for t, box in enumerate(expected) if box is not None]
    assert [published(box) for box in boxes] == [box for box in expected if box is not None]


def test_a_frame_without_the_actor_is_a_gap(jhmdb_root):
    path = jhmdb_root / "puppet_mask" / "jump" / "a" / "puppet_mask.mat"
    mask = loadmat(path)["part_mask"]
    mask[:, :, 4] = 0
    savemat(path, {"part_mask": mask})
    video = jhmdb.read(jhmdb_root).train[0]
    assert video.tracks[0].frames.tolist() == [0, 1, 2, 3, *range(5, 12)]
    assert len(video.at(4)) == 0
    assert 4 in video.keyframes


def test_an_empty_mask_is_a_video_without_actors(jhmdb_root):
    path = jhmdb_root / "puppet_mask" / "jump" / "a" / "puppet_mask.mat"
    savemat(path, {"part_mask": np.zeros((48, 64, 12), np.uint8)})
    video = jhmdb.read(jhmdb_root).train[0]
    assert video.tracks == ()
    assert video.at(0).labels.shape == (0, 2)


def test_a_mask_of_one_frame(jhmdb_root):
    path = jhmdb_root / "puppet_mask" / "jump" / "a" / "puppet_mask.mat"
    savemat(path, {"part_mask": np.ones((48, 64), np.uint8)})
    video = jhmdb.read(jhmdb_root).train[0]
    assert video.num_frames == 1
    assert video.at(0).boxes.tolist() == [[0, 0, 64, 48]]


def test_official_folder_name_suffix_and_unused_videos(jhmdb_root):
    (jhmdb_root / "videos").rename(jhmdb_root / "ReCompress_Videos")
    video = jhmdb_root / "ReCompress_Videos" / "jump" / "a.mp4"
    video.rename(video.with_suffix(".avi"))
    (jhmdb_root / "splits" / "jump_test_split1.txt").write_text("a.avi 1\n\nb.avi 0\n")
    data = jhmdb.read(jhmdb_root)
    assert [a.video for a in data.train] == ["jump/a"]
    assert data.train[0].path == video.with_suffix(".avi")


def edit(root: Path, name: str, text: str) -> None:
    (root / "splits" / name).write_text(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b.avi", "bad line"),
        ("b.avi 3", "bad line"),
        ("b.avi 1 1", "bad line"),
        ("../b.avi 1", "bad line"),
        ("a.avi 2", "listed twice"),
        ("absent.avi 1", "no file for jump/absent"),
    ],
)
def test_bad_lines_are_named_with_file_and_row(jhmdb_root, line, message):
    edit(jhmdb_root, "jump_test_split1.txt", f"a.avi 1\n{line}\n")
    with pytest.raises(InputError, match=message) as error:
        jhmdb.read(jhmdb_root)
    assert error.value.path.name == "jump_test_split1.txt"
    assert error.value.row == 2
    assert error.value.expected
    assert error.value.found


def test_a_missing_mask_is_named(jhmdb_root):
    shutil.rmtree(jhmdb_root / "puppet_mask" / "wave" / "c")
    with pytest.raises(InputError, match="no puppet mask for video wave/c") as error:
        jhmdb.read(jhmdb_root)
    assert error.value.row == 1


@pytest.mark.parametrize("content", [b"", b"no mat at all" * 30, b"MATLAB 5.0 MAT-file" * 20])
def test_an_unreadable_mask_is_named(jhmdb_root, content):
    path = jhmdb_root / "puppet_mask" / "wave" / "c" / "puppet_mask.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match="MATLAB") as error:
        jhmdb.read(jhmdb_root)
    assert error.value.path == path


def test_damaged_masks_never_escape_as_other_errors(jhmdb_root):
    path = jhmdb_root / "puppet_mask" / "wave" / "c" / "puppet_mask.mat"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(150):
        data = bytearray(good[: rng.integers(1, len(good) + 1)])
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            mask = jhmdb.read_mask(path)
        except InputError as error:
            refused.append(error.path)
        else:
            assert mask.ndim == 3
    assert set(refused) == {path}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"other": np.ones((4, 4, 4))}, "other"),
        ({"part_mask": np.ones((2, 2, 2, 2), np.uint8)}, r"\(2, 2, 2, 2\)"),
        ({"part_mask": np.zeros((0, 0, 0), np.uint8)}, r"\(0, 0, 0\)"),
    ],
)
def test_a_mask_of_another_form_is_named(jhmdb_root, content, found):
    savemat(jhmdb_root / "puppet_mask" / "wave" / "c" / "puppet_mask.mat", content)
    with pytest.raises(InputError, match=found):
        jhmdb.read(jhmdb_root)


def test_absent_splits_and_folders_are_named(jhmdb_root, tmp_path):
    with pytest.raises(InputError, match="lists of splits 1"):
        jhmdb.read(jhmdb_root, split=2)
    (jhmdb_root / "videos" / "run").mkdir()
    with pytest.raises(InputError, match="no list for run"):
        jhmdb.read(jhmdb_root)
    with pytest.raises(InputError, match="no folder of JHMDB videos"):
        jhmdb.read(tmp_path)


def test_the_real_set_has_its_published_counts(real_jhmdb):
    assert (len(real_jhmdb.train), len(real_jhmdb.test)) == (660, 268)
    assert len(real_jhmdb.classes) == 21
    assert real_jhmdb.classes.names[0] == "brush_hair"
    assert real_jhmdb.classes.names[-1] == "wave"
    assert real_jhmdb.protocol == "jhmdb21-split1"
    videos = (*real_jhmdb.train, *real_jhmdb.test)
    assert sum(video.num_frames for video in videos) == 31_838
    assert sum(video.num_boxes for video in videos) == 31_838
    assert min(video.num_frames for video in videos) == 15
    assert max(video.num_frames for video in videos) == 40
    assert {video.size for video in videos} == {(320, 240)}


def test_every_real_box_follows_the_published_rule(real_jhmdb, real_data):
    """All 928 masks, read by another reader, against the extents of their set pixels."""
    for video in (*real_jhmdb.train, *real_jhmdb.test):
        path = real_data / "jhmdb" / "puppet_mask" / video.video / "puppet_mask.mat"
        mask_HWT = loadmat(path)["part_mask"]
        ts, xs, ys = np.nonzero(mask_HWT.T)
        frames, starts = np.unique(ts, return_index=True)
        expected = [
            np.minimum.reduceat(xs, starts) + 1,
            np.minimum.reduceat(ys, starts) + 1,
            np.minimum(np.maximum.reduceat(xs, starts) + 2, 320),
            np.minimum(np.maximum.reduceat(ys, starts) + 2, 240),
        ]
        (track,) = video.tracks
        assert track.frames.tolist() == frames.tolist() == list(range(mask_HWT.shape[2]))
        np.testing.assert_array_equal(published(track.boxes.T), expected)


def test_real_videos_have_as_many_frames_as_their_masks(real_jhmdb):
    for video in real_jhmdb.test[::20]:
        with VideoReader(video.path) as reader:
            assert reader.num_frames == video.num_frames
            assert reader.size == video.size
            assert reader.fps == pytest.approx(video.fps)


def test_masks_are_read_when_asked_for(jhmdb_root):
    video = jhmdb.read(jhmdb_root).train[1]
    source = pickle.loads(pickle.dumps(video.masks))
    masks = source.read([3, 0])
    assert (masks.shape, masks.dtype) == ((2, 48, 64), np.uint8)
    expected = np.zeros((48, 64), np.uint8)
    expected[10:20, 6:30] = 1
    np.testing.assert_array_equal(masks[0], expected)
    assert source.read([]).shape == (0, 48, 64)
    with pytest.raises(InputError, match="no mask of this frame"):
        source.read([12])


def test_listed_videos_without_a_file(jhmdb_root):
    (jhmdb_root / "videos" / "wave" / "c.mp4").unlink()
    with pytest.raises(InputError, match="no file for wave/c") as error:
        jhmdb.read(jhmdb_root)
    assert error.value.row == 1
    assert jhmdb.read(jhmdb_root, missing="skip").test == ()
    (kept,) = jhmdb.read(jhmdb_root, missing="keep").test
    assert (kept.path, kept.num_boxes) == (jhmdb_root / "videos" / "wave" / "c.mp4", 12)
    shutil.rmtree(jhmdb_root / "videos")
    assert len(jhmdb.read(jhmdb_root, missing="keep").train) == 2


def test_other_splits_are_read_where_their_lists_are(jhmdb_root):
    for name, text in (("jump", "a.avi 2\nb.avi 1\n"), ("wave", "c.avi 0\n")):
        (jhmdb_root / "splits" / f"{name}_test_split2.txt").write_text(text)
    data = jhmdb.read(jhmdb_root, split=2)
    assert [v.video for v in data.train] == ["jump/b"]
    assert [v.video for v in data.test] == ["jump/a"]
    with pytest.raises(InputError, match="lists of splits 1, 2"):
        jhmdb.read(jhmdb_root, split=3)


def test_joints_count_from_the_edge_of_the_first_pixel(tmp_path):
    path = tmp_path / "joint_positions.mat"
    positions = np.arange(2 * 15 * 3, dtype=float).reshape(2, 15, 3)
    savemat(path, {"pos_img": positions, "pos_world": positions})
    joints = jhmdb.read_joints(path)
    assert joints.shape == (3, 15, 2)
    np.testing.assert_array_equal(joints[2, 4], positions[:, 4, 2] - 0.5)


@pytest.mark.parametrize(
    "content",
    [
        {"other": np.ones(3)},
        {"pos_img": np.ones((2, 14, 3))},
        {"pos_img": np.ones((3, 15, 3))},
        {"pos_img": np.full((2, 15, 3), np.nan)},
    ],
)
def test_bad_joints_are_named(tmp_path, content):
    path = tmp_path / "joint_positions.mat"
    savemat(path, content)
    with pytest.raises(InputError) as error:
        jhmdb.read_joints(path)
    assert error.value.path == path


def test_real_joints(real_data):
    path = real_data / "jhmdb/joint_positions_sample/joint_positions.mat"
    joints = jhmdb.read_joints(path)
    assert joints.shape == (40, len(jhmdb.JOINTS), 2)
    np.testing.assert_allclose(joints[0, :2], [[286, 106], [289, 128]])
    published = loadmat(path)["pos_img"]
    np.testing.assert_array_equal(joints, published.transpose(2, 1, 0) - 0.5)


def test_real_masks_lie_in_their_boxes(real_jhmdb):
    for video in real_jhmdb.test[::60]:
        (track,) = video.tracks
        masks = video.masks.read(track.frames[::10])
        for mask, box in zip(masks, track.boxes[::10].astype(int), strict=True):
            assert set(np.unique(mask)) == {0, 1}
            ys, xs = np.nonzero(mask)
            assert (xs.min(), ys.min()) == (box[0], box[1])
            assert xs.max() < box[2] <= xs.max() + 2
            assert ys.max() < box[3] <= ys.max() + 2

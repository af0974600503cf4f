"""What the published files hold before any reader touches them: the forms that readers rely on."""

import csv
import pickle
import tarfile

import numpy as np
from scipy.io import loadmat

from stad_data.datasets.proposals import read_proposals
from stad_eval import read_ava_frames, safe_pickle


def test_jhmdb_masks_and_joints(real_data):
    folder = real_data / "jhmdb"
    masks = sorted(folder.glob("puppet_mask/*/*/puppet_mask.mat"))
    assert len(masks) == 928
    for path in masks[::100]:
        mask = loadmat(path)["part_mask"]
        assert (mask.dtype, mask.shape[:2]) == (np.uint8, (240, 320))
        assert set(np.unique(mask)) == {0, 1}
    joints = loadmat(folder / "joint_positions_sample/joint_positions.mat")
    for name in ("pos_img", "pos_world"):
        assert (joints[name].shape, joints[name].dtype) == ((2, 15, 40), np.float64)


def test_jhmdb_lists(real_data):
    lines = [
        line.split()
        for path in sorted((real_data / "jhmdb/splits").glob("*_test_split1.txt"))
        for line in path.read_text().splitlines()
    ]
    assert [part for _, part in lines].count("1") == 660
    assert [part for _, part in lines].count("2") == 268
    assert all(name.endswith(".avi") for name, _ in lines)


def test_ucf24_pickle(real_data):
    videos = pickle.loads((real_data / "ucf24/pyannot.pkl").read_bytes())
    assert len(videos) == 3194
    assert {type(name) for name in videos} == {np.str_}
    tubes = [tube for video in videos.values() for tube in video["annotations"]]
    assert len(tubes) == 4458
    assert {tube["boxes"].dtype for tube in tubes} == {np.dtype(np.uint8), np.dtype(np.uint16)}
    assert {int(tube["label"]) for tube in tubes} == set(range(24))
    boxes = np.concatenate([tube["boxes"].astype(int) for tube in tubes])
    assert len(boxes) == 573_862
    assert boxes[:, :2].min(axis=0).tolist() == [1, 1]
    assert (boxes[:, :2] + boxes[:, 2:]).max(axis=0).tolist() == [320, 240]
    assert all(int(tube["ef"]) - int(tube["sf"]) == len(tube["boxes"]) for tube in tubes)
    bytes_alone = next(t["boxes"] for t in tubes if t["boxes"].dtype == np.uint8)
    assert (bytes_alone[:, 0] + bytes_alone[:, 2]).dtype == np.uint8  # why boxes are cast first


def test_ucf_sports_lines(real_data):
    with tarfile.open(real_data / "ucf_sports/annotations.tar.gz") as archive:
        names = [m.name for m in archive if m.isfile() and m.name.endswith(".txt")]
        assert len(names) == 9580
        text = archive.extractfile(min(names)).read().decode()
    assert not text.endswith("\n")
    assert len(text.split("\t")) == 5


def test_ava_rows_and_samples(real_data):
    folder = real_data / "ava"
    with (folder / "ava_val_v2.1_pose.csv").open(newline="") as stream:
        widths = {len(row) for row in csv.reader(stream)}
    assert widths == {7}
    for name in ("head", "tail"):
        with (folder / f"v2.2_excerpt/{name}_verbatim.csv").open(newline="") as stream:
            assert {len(row) for row in csv.reader(stream)} == {8}
    samples = folder / "samples/ava_dataset"
    excluded = read_ava_frames(samples / "ava_excluded_timestamps_sample.csv")
    assert set(excluded) == {("0f39OWEqJ24", 903), ("_-Z6wFjXtGQ", 902)}
    raw = safe_pickle.load(samples / "ava_proposals_sample.pkl")
    assert "0f39OWEqJ24,0902" in raw
    for rows in raw.values():
        assert (rows.dtype, rows.shape[1]) == (np.float64, 5)
    assert len(read_proposals(samples / "ava_proposals_sample.pkl").box) == 5


def test_multisports_pickle(real_data):
    raw = safe_pickle.load(real_data / "multisports/gt_sample.pkl")
    assert len(raw["labels"]) == 66
    assert raw["test_videos"] == [list(raw["gttubes"])]
    ((video, by_label),) = raw["gttubes"].items()
    assert raw["resolution"][video] == (720, 1280)
    tubes = [tube for tubes in by_label.values() for tube in tubes]
    assert len(tubes) == 8
    assert {(tube.dtype, tube.shape[1]) for tube in tubes} == {(np.dtype(np.float32), 5)}
    assert all((np.diff(tube[:, 0]) == 1).all() for tube in tubes)

"""A synthetic dataset's files: native forms, the same bytes each time, all of it or nothing."""

import csv
import errno
import hashlib
import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from stad_data import VideoReader, datasets, synthetic
from stad_data.synthetic import ACTIONS, simulate
from stad_data.synthetic.films import Parameters, plan
from stad_data.synthetic.rendering import render_all
from stad_eval import InputError

SMALL = {"videos": 4, "test_videos": 2, "size": (96, 72), "fps": 8, "seconds": (3, 5)}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return synthetic.make(tmp_path_factory.mktemp("set") / "synthetic", **SMALL, workers=1).root


def _digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(made, tmp_path):
    calls = []
    again = synthetic.make(
        tmp_path / "again", **SMALL, workers=2, progress=lambda *done: calls.append(done)
    )
    assert _digests(again.root) == _digests(made)
    assert calls == [(done, 18) for done in range(1, 19)]
    assert not again.reused
    assert again.videos == 18
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_another_seed_gives_other_annotations(made, tmp_path):
    other = synthetic.make(tmp_path / "other", **SMALL, seed=1, layouts=("ava",), workers=1).root
    name = "ava/annotations/train.csv"
    assert (other / name).read_bytes() != (made / name).read_bytes()
    assert {path.name for path in other.iterdir()} == {"ava", "manifest.json"}


def test_ava_rows_are_the_truth_at_whole_seconds(made):
    label_map = (made / "ava/annotations/label_map.pbtxt").read_text()
    assert re.findall(r'name: "(\w+)"\s+id: (\d+)', label_map) == [
        (name, str(number)) for number, name in enumerate(ACTIONS, start=1)
    ]
    for part, file in (("train", "train"), ("test", "val")):
        rows = [row for row in _rows(made / f"ava/annotations/{file}.csv") if len(row) > 2]
        assert {len(row) for row in rows} == {8}
        assert all(re.fullmatch(r"[01]\.\d{3}", cell) for row in rows for cell in row[2:6])
        for index in range(SMALL["videos"] if part == "train" else SMALL["test_videos"]):
            scene = simulate(part=part, index=index, size=(96, 72), fps=8, seconds=SMALL["seconds"])
            expected = set()
            for second in range(1, (scene.num_frames - 4 - 1) // 8 + 1):
                for number, actor in enumerate(scene.actors):
                    box = scene.boxes(number)[8 * second] / [96, 72, 96, 72]
                    if scene.visible(number)[8 * second]:
                        expected |= {
                            (900 + second, *(f"{x:.3f}" for x in box), label + 1, number)
                            for label in np.flatnonzero(actor.labels[8 * second]).tolist()
                        }
            found = [
                (int(row[1]), *row[2:6], int(row[6]), int(row[7]))
                for row in rows
                if row[0] == f"synth-{part}-{index:04d}"
            ]
            assert len(found) == len(set(found))
            assert set(found) == expected


def test_the_dense_truth_holds_every_frame_and_agrees_with_the_keyframes(made):
    for file in ("train", "val"):
        dense = {tuple(row) for row in _rows(made / f"ava/dense/{file}.csv")}
        for row in _rows(made / f"ava/annotations/{file}.csv"):
            frame = (int(row[1]) - 900) * 8
            assert (row[0], f"{frame:04d}", *row[2:]) in dense
        for video in {row[0] for row in dense}:
            frames = {int(row[1]) for row in dense if row[0] == video}
            with VideoReader(made / "ava/videos" / f"{video}.mp4") as reader:
                assert frames == set(range(reader.num_frames))


def test_excluded_seconds_are_few_and_annotated(made):
    excluded = _rows(made / "ava/annotations/train_excluded_timestamps.csv")
    assert [row[0] for row in excluded] == ["synth-train-0002"]
    keyframes = {tuple(row[:2]) for row in _rows(made / "ava/annotations/train.csv")}
    assert {tuple(row) for row in excluded} < keyframes


def test_jhmdb_masks_have_the_official_form(made):
    root = made / "jhmdb"
    listed = {}
    for path in (root / "splits").iterdir():
        name = re.fullmatch(r"(\w+)_test_split1\.txt", path.name)[1]
        for line in path.read_text().splitlines():
            video, part = re.fullmatch(r"(\w+)\.avi ([12])", line).groups()
            listed[f"{name}/{video}"] = part
    assert sorted(listed.values()) == ["1"] * 4 + ["2"] * 2
    assert len(list((root / "videos").glob("*/*.mp4"))) == len(listed)
    for video in listed:
        path = root / "puppet_mask" / video / "puppet_mask.mat"
        mask = loadmat(path)["part_mask"]
        with VideoReader(root / "videos" / f"{video}.mp4") as reader:
            assert mask.shape == (72, 96, reader.num_frames)
            assert reader.fps == 30
        assert mask.dtype == np.uint8
        assert mask.any(axis=(0, 1)).all()
        assert set(np.unique(mask)) == {0, 1}
        assert b"Created on" not in path.read_bytes()[:128]


def test_ucf24_pickle_has_the_published_form(made):
    content = pickle.loads((made / "ucf24/pyannot.pkl").read_bytes())
    lists = {
        part: (made / f"ucf24/{part}list01.txt").read_text().split() for part in ("train", "test")
    }
    assert {type(key) for key in content} == {np.str_}
    assert sorted(content) == sorted(lists["train"] + lists["test"])
    assert len(lists["train"]) == SMALL["videos"]
    names = sorted({key.split("/")[0] for key in content})
    for key, video in content.items():
        folder, name = key.split("/")
        assert re.fullmatch(rf"v_{folder}_g\d\d_c\d\d", name)
        assert video["label"] == names.index(folder)
        with VideoReader(made / "ucf24/videos" / f"{key}.mp4") as reader:
            assert video["numf"] == reader.num_frames
        assert video["annotations"]
        for tube in video["annotations"]:
            boxes = tube["boxes"]
            assert boxes.dtype in (np.uint8, np.uint16)
            assert boxes.shape == (tube["ef"] - tube["sf"], 4)
            assert 0 <= tube["sf"] < tube["ef"] <= video["numf"]
            wide = boxes.astype(int)
            assert wide.min() >= 1
            assert (wide[:, :2] + wide[:, 2:] <= [320, 240]).all()


def test_the_readers_give_the_truth_back(made):
    ava = datasets.ava.read(made / "ava")
    assert ava.classes.names == ACTIONS
    assert (len(ava.train), len(ava.test)) == (4, 2)
    for index, video in enumerate(ava.train):
        scene = simulate(index=index, size=(96, 72), fps=8, seconds=SMALL["seconds"])
        assert video.num_frames == scene.num_frames
        for track in video.tracks:
            truth = scene.boxes(track.actor)[track.frames]
            np.testing.assert_allclose(track.boxes, truth, atol=0.0005 * 96 + 1e-6)
            np.testing.assert_array_equal(
                track.labels, scene.actors[track.actor].labels[track.frames]
            )
    for name in ("jhmdb", "ucf24"):
        dataset = getattr(datasets, name).read(made / name)
        scale = 320 / 96 if name == "ucf24" else 1.0
        films = {film.name: film for film in plan(_parameters((name,)))}
        assert (len(dataset.train), len(dataset.test)) == (4, 2)
        for video in (*dataset.train, *dataset.test):
            scene = films[video.video.split("/")[1]].scene(_parameters((name,)))
            assert video.num_frames == scene.num_frames
            assert video.tracks
            for track in video.tracks:
                apart = [
                    np.abs(scene.boxes(n)[track.frames] * scale - track.boxes).max()
                    for n in range(len(scene.actors))
                ]
                # Whole pixels on UCF24's grid; JHMDB's rule makes a box of a mask one pixel larger.
                assert min(apart) < (1.01 if name == "ucf24" else 2.6)


def _parameters(layouts: tuple[str, ...]) -> Parameters:
    return Parameters(seed=0, layouts=layouts, **SMALL)


def test_the_same_dataset_is_reused_and_anything_else_is_refused(made, tmp_path):
    before = _digests(made)
    again = synthetic.make(made, **SMALL, workers=1)
    assert again.reused
    assert again.frames == sum(
        film.scene(_parameters(("ava", "jhmdb", "ucf24"))).num_frames
        for film in plan(_parameters(("ava", "jhmdb", "ucf24")))
    )
    with pytest.raises(InputError, match="other parameters"):
        synthetic.make(made, **SMALL, seed=9)
    assert _digests(made) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="other content"):
        synthetic.make(tmp_path / "full", **SMALL)
    with pytest.raises(InputError, match="a file"):
        synthetic.make(tmp_path / "full" / "thesis.tex", **SMALL)
    with pytest.raises(InputError, match="workers"):
        synthetic.make(tmp_path / "new", **SMALL, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_leaves_nothing(tmp_path, workers):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "empty"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        synthetic.make(out, **SMALL, layouts=("jhmdb",), workers=workers, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not any(out.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fails_is_an_os_error(tmp_path, workers):
    (tmp_path / "file").write_text("no folder")
    parameters = _parameters(("ava",))
    done = []
    with pytest.raises(OSError, match="file") as failure:
        render_all(
            tmp_path / "file",
            plan(parameters),
            parameters,
            workers=workers,
            progress=lambda *count: done.append(count),
        )
    assert not done
    assert failure.value.errno in (errno.ENOTDIR, errno.EEXIST)


def test_a_process_that_dies_says_why(tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such interpreter >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(RuntimeError, match="no such interpreter"):
        synthetic.make(tmp_path / "new", **SMALL, layouts=("jhmdb",), workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["python"]


def test_the_manifest_names_format_version_and_parameters(made):
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["format"] == "stad-synthetic"
    assert manifest["version"] == 1
    assert Parameters.from_json(manifest["parameters"]) == _parameters(("ava", "jhmdb", "ucf24"))

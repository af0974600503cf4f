"""`stad data`: make, check, show."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from stad_cli.annotation_sheet import choose
from stad_data.datasets import ava


def annotation_hashes(root):
    return {
        path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.suffix in (".csv", ".pbtxt", ".txt", ".pkl", ".mat")
    }


def test_making_twice_gives_the_same_annotations(stad, tmp_path):
    options = ["--videos", 1, "--test-videos", 1, "--layouts", " ava, ava", "--workers", 1]
    for name in ("a", "b"):
        outcome = stad("data", "make", "synthetic", tmp_path / name, "--seed", 3, *options)
        assert outcome.code == 0, outcome.err
        assert outcome.out.split() == [str(tmp_path / name / "ava")]
    assert annotation_hashes(tmp_path / "a") == annotation_hashes(tmp_path / "b")
    assert len(annotation_hashes(tmp_path / "a")) > 3
    again = stad("data", "make", "synthetic", tmp_path / "a", "--seed", 3, *options)
    assert again.code == 0
    other = stad("data", "make", "synthetic", tmp_path / "a", "--seed", 4, *options)
    assert other.code == 2
    assert str(tmp_path / "a") in other.err
    assert annotation_hashes(tmp_path / "a") == annotation_hashes(tmp_path / "b")


def test_videos_can_be_made_as_long_and_large_as_wanted(stad, tmp_path):
    from stad_data import VideoReader

    options = ["--videos", 1, "--test-videos", 1, "--layouts", "ava", "--workers", 1]
    options += ["--seconds", 3, 3, "--size", 96, 64, "--fps", 10]
    assert stad("data", "make", "synthetic", tmp_path / "a", *options).code == 0
    for path in (tmp_path / "a/ava/videos").iterdir():
        with VideoReader(path) as video:
            assert (video.num_frames, video.size) == (30, (96, 64))
    refused = stad("data", "make", "synthetic", tmp_path / "b", "--seconds", 5, 3)
    assert refused.code == 2
    assert "seconds" in refused.err


def test_a_sound_dataset_passes_the_check(stad, tiny_ava):
    outcome = stad("data", "check", tiny_ava, "--dataset", "ava", "--decode", "everything")
    assert outcome.code == 0, outcome.err
    assert "0 errors" in outcome.out
    assert "walk_left" in outcome.out
    assert "train: 2 videos" in outcome.out


def test_the_check_finds_a_test_video_among_the_training_videos(stad, tiny_ava):
    video, *_, other = sorted((tiny_ava / "videos").iterdir())
    assert "test" in video.stem
    assert "train" in other.stem
    video.write_bytes(other.read_bytes())
    outcome = stad("data", "check", tiny_ava, "--dataset", "ava", "--json")
    assert outcome.code == 2
    errors = [one for one in json.loads(outcome.out) if one["severity"] == "error"]
    assert any(video.stem in str(error) and other.stem in str(error) for error in errors)


def test_the_sheet_shows_boxes(stad, tiny_ava, tmp_path):
    for seed, name in ((0, "a.png"), (0, "b.png"), (1, "c.png")):
        outcome = stad(
            "data", "show", tiny_ava, "--dataset", "ava", "--out", tmp_path / name,
            "--count", 4, "--seed", seed,
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert outcome.out.strip() == str(tmp_path / name)
    images = [np.array(Image.open(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    assert images[0].shape[1] >= 2 * 320
    np.testing.assert_array_equal(images[0], images[1])
    assert images[0].shape != images[2].shape or (images[0] != images[2]).any()
    # The first actor's colour is on every tile; nothing else is drawn in it.
    assert (images[0] == (230, 60, 60)).all(axis=2).sum() > 400


@pytest.mark.parametrize("count", [1, 5, 40])
def test_frames_are_chosen_over_all_actions(tiny_ava, count):
    dataset = ava.read(tiny_ava)
    chosen = choose(dataset.train, count, np.random.default_rng(0))
    assert len({(annotation.video, frame) for annotation, frame in chosen}) == len(chosen)
    frames = sum(len({*t.frames.tolist()}) for a in dataset.train for t in a.tracks)
    assert min(count, 4) <= len(chosen) <= min(count, frames)
    for annotation, frame in chosen:
        assert len(annotation.at(frame).boxes)
    assert choose((), 3, np.random.default_rng(0)) == []

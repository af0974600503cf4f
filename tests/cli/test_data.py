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
    assert outcome.code == 0, outcome.out
    first, second, *_, last = outcome.out.splitlines()
    assert first.split()[:4] == ["part", "videos", "absent", "frames"]
    assert second.split()[:3] == ["train", "2", "0"]
    assert "walk_left" in outcome.out
    assert last.startswith("0 errors")


def test_the_check_tells_absent_from_damaged_and_ends_with_two_on_errors(stad, tiny_ava):
    check = ["data", "check", tiny_ava, "--dataset", "ava", "--decode", "ends"]
    gone, *_, broken = sorted((tiny_ava / "videos").iterdir())
    gone.unlink()
    outcome = stad(*check)
    assert outcome.code == 2
    assert "error: 1 annotated videos have no file [absent-video]" in outcome.out
    assert "to mend: put the files there" in outcome.out
    outcome = stad(*check, "--missing", "skip")
    assert outcome.code == 0, outcome.out
    assert "warning: 1 annotated videos have no file" in outcome.out
    broken.write_bytes(broken.read_bytes()[:300])
    outcome = stad(*check, "--missing", "skip")
    assert outcome.code == 2
    assert "error: 1 video files cannot be read to their end [damaged-video]" in outcome.out
    assert broken.stem in outcome.out


def test_the_check_as_json(stad, tiny_ava):
    (tiny_ava / "videos" / "stray.mp4").write_bytes(b"")
    outcome = stad("data", "check", tiny_ava, "--dataset", "ava", "--json")
    content = json.loads(outcome.out)
    assert (outcome.code, content["errors"]) == (0, 0)
    assert [part["videos"] for part in content["parts"]] == [2, 2]
    assert {row["name"] for row in content["classes"]} > {"walk_left"}
    stray = next(p for p in content["problems"] if p["kind"] == "file-without-annotation")
    assert set(stray) == {"kind", "severity", "count", "message", "examples", "remedy"}
    assert stray["examples"][0]["path"].endswith("stray.mp4")


def test_what_cannot_be_read_is_a_problem_too(stad, tiny_ava):
    (tiny_ava / "annotations" / "train.csv").write_text("a,1,2\n")
    outcome = stad("data", "check", tiny_ava, "--dataset", "ava")
    assert outcome.code == 2
    assert "train.csv, row 1" in outcome.out
    assert outcome.out.rstrip().endswith("1 errors, 0 warnings")
    content = json.loads(stad("data", "check", tiny_ava, "--dataset", "ava", "--json").out)
    assert (content["dataset"], content["problems"][0]["kind"]) == (None, "unreadable")


def test_a_csv_is_checked_with_a_label_map(stad, tmp_path):
    rows, labels = tmp_path / "rows.csv", tmp_path / "labels.txt"
    rows.write_text("v,0902,0.1,0.2,0.5,0.9,3,0\n" * 2)
    labels.write_text("3: walk\n")
    outcome = stad("data", "check", rows, "--dataset", "ava", "--labels", labels)
    assert outcome.code == 2
    assert "1 rows of annotation files stand there twice" in outcome.out
    assert "1 annotated videos have no file" in outcome.out


def test_the_check_finds_a_test_video_among_the_training_videos(stad, tiny_ava):
    video, *_, other = sorted((tiny_ava / "videos").iterdir())
    assert "test" in video.stem
    assert "train" in other.stem
    video.write_bytes(other.read_bytes())
    outcome = stad("data", "check", tiny_ava, "--dataset", "ava", "--json")
    assert outcome.code == 2
    errors = [one for one in json.loads(outcome.out)["problems"] if one["severity"] == "error"]
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

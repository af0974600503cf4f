"""`stad data flow` and `stad data shard`: made once, gone on with, refused with a reason."""

import sys

import numpy as np
import pytest

from stad_data import VideoReader, datasets
from stad_data.shard_frames import open_shards


def test_shards_are_written_once(stad, tiny_ava, tmp_path):
    out = tmp_path / "shards"
    command = [
        "data", "shard", "--dataset", "synthetic", "--root", tiny_ava, "--out", out,
        "--short-side", 60, "--shard-frames", 100, "--first-second", 900,
    ]  # fmt: skip
    first = stad(*command)
    assert first.code == 0, first.err
    videos = datasets.ava.read(tiny_ava).train + datasets.ava.read(tiny_ava).test
    frames = sum(video.num_frames for video in videos)
    shards = -(-frames // 100)
    assert f"{len(videos)} videos, {frames} frames in {shards} shards" in first.out
    assert f"{shards} of them new" in first.out
    again = stad(*command, "--workers", 1)
    assert again.code == 0, again.err
    assert ", 0 of them new" in again.out
    source = open_shards(out)[videos[0].video]
    assert source.size == (80, 60)
    with VideoReader(videos[0].path, resize=(80, 60)) as reader:
        assert np.abs(source.read([7]).astype(int) - reader.read([7])).mean() < 8


def test_flow_is_computed_once(stad, tiny_ava, tmp_path):
    pytest.importorskip("cv2", reason="flow needs the extra `flow` of stad-data")
    from stad_data.flow_cache import open_flow

    out = tmp_path / "flow"
    command = [
        "data", "flow", "--dataset", "synthetic", "--root", tiny_ava, "--out", out,
        "--size", 48, 36, "--part", "train",
    ]  # fmt: skip
    first = stad(*command)
    assert first.code == 0, first.err
    train = datasets.ava.read(tiny_ava).train
    assert f"{len(train)} videos computed, 0 kept" in first.out
    assert f"0 videos computed, {len(train)} kept" in stad(*command).out
    flow = open_flow(out, train[0])
    assert (flow.size, flow.num_frames) == ((48, 36), train[0].num_frames)
    assert np.abs(flow.read(range(20))).max() > 0.5


def test_without_opencv_it_is_named(stad, tiny_ava, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    outcome = stad(
        "data", "flow", "--dataset", "synthetic", "--root", tiny_ava, "--out", tmp_path / "flow"
    )
    assert outcome.code == 2
    assert "stad-data[flow]" in outcome.err
    assert not (tmp_path / "flow").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--root", "nowhere"], "no such data folder"),
        (["--size", 0, 4], "cannot be made like this"),
        (["--quality", 40], "--quality"),
        (["--dataset", "nothing"], "--dataset"),
    ],
)
def test_wrong_options_end_with_2(stad, tiny_ava, tmp_path, options, message):
    given = {"--dataset": ["synthetic"], "--root": [tiny_ava], "--out": [tmp_path / "out"]}
    given[options[0]] = options[1:]
    outcome = stad("data", "shard", *(each for name in given for each in (name, *given[name])))
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_damaged_video_ends_with_2_and_can_be_mended(stad, tiny_ava, tmp_path):
    path = sorted((tiny_ava / "videos").iterdir())[0]
    out = tmp_path / "out"
    command = ["data", "shard", "--dataset", "synthetic", "--root", tiny_ava, "--out", out]
    assert stad(*command, "--shard-frames", 30).code == 0
    whole = path.read_bytes()
    third = len(whole) // 3
    noise = np.random.default_rng(0).bytes(third)
    path.write_bytes(whole[:third] + noise + whole[2 * third :])
    outcome = stad(*command, "--shard-frames", 30)
    assert outcome.code == 2
    assert path.name in outcome.err
    before = {each.name: each.read_bytes() for each in out.glob("*.tar")}
    assert len(before) == 10
    path.write_bytes(whole)
    assert stad(*command, "--shard-frames", 30).code == 0
    video = datasets.ava.read(tiny_ava)
    last = next(each for each in (*video.train, *video.test) if each.path == path)
    with VideoReader(path) as reader:
        frames = reader.read(range(last.num_frames))
    found = open_shards(out)[last.video].read(range(last.num_frames))
    assert np.abs(found.astype(int) - frames).mean() < 8

"""`stad data convert`, and `--missing` of `check` and `show`."""

import json

import pytest

from stad_data.datasets import act, ava, stad_json


def test_boxes_of_a_dataset(stad, tiny_ava, tmp_path):
    out = tmp_path / "boxes.csv"
    outcome = stad(
        "data", "convert", "--from", "ava", "--root", tiny_ava, "--part", "test",
        "--to", "boxes", out,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert str(out) in outcome.out
    assert "not kept: the seconds of the keyframes" in outcome.out
    header, *rows = out.read_text().splitlines()
    assert header == "video,frame,label,instance,x1,y1,x2,y2"
    data = ava.read(tiny_ava)
    expected = sum(int(t.labels.sum()) for v in data.test for t in v.tracks)
    assert len(rows) == expected
    assert {row.split(",")[0] for row in rows} <= {video.video for video in data.test}


def test_there_and_back(stad, tiny_ava, tmp_path):
    steps = [
        ("synthetic", tiny_ava, "json", tmp_path / "a.json"),
        ("json", tmp_path / "a.json", "coco-video", tmp_path / "b.json"),
        ("coco-video", tmp_path / "b.json", "ava", tmp_path / "c"),
        ("ava", tmp_path / "c", "act", tmp_path / "d.pkl"),
    ]
    for source, root, to, out in steps:
        outcome = stad("data", "convert", "--from", source, "--root", root, "--to", to, out)
        assert outcome.code == 0, outcome.err
    first = stad_json.read(tmp_path / "a.json")
    last = act.read(tmp_path / "d.pkl", missing="keep")
    assert [v.video for v in last.test] == [v.video for v in first.test]
    labels = sum(int(t.labels.sum()) for v in first.train for t in v.tracks)
    assert sum(v.num_boxes for v in last.train) == labels


def test_a_csv_without_videos_needs_a_size(stad, tmp_path):
    rows, labels = tmp_path / "rows.csv", tmp_path / "labels.txt"
    rows.write_text("v,0902,0.1,0.2,0.5,0.9,3,0\n")
    labels.write_text("3: walk\n")
    command = ["data", "convert", "--from", "ava", "--root", rows, "--labels", labels]
    out = tmp_path / "boxes.csv"
    outcome = stad(*command, "--to", "boxes", out)
    assert outcome.code == 2
    assert "--size WxH" in outcome.err
    assert not out.exists()
    outcome = stad(*command, "--size", "100x50", "--fps", 10, "--to", "boxes", out)
    assert outcome.code == 0, outcome.err
    assert out.read_text().splitlines()[1] == "v,20,walk,0,10,10,50,45"
    outcome = stad(*command, "--size", "100x50", "--time", "frame", "--to", "boxes", out)
    assert out.read_text().splitlines()[1] == "v,902,walk,0,10,10,50,45"


@pytest.mark.parametrize("size", ["100", "x50", "0x50", "100x50x3", "-1x5", "99999x5"])
def test_bad_sizes_are_refused(stad, tmp_path, size):
    outcome = stad(
        "data", "convert", "--from", "ava", "--root", tmp_path, "--size", size,
        "--to", "boxes", tmp_path / "out.csv",
    )  # fmt: skip
    assert outcome.code == 2
    assert "bad frame size" in outcome.err


def test_bad_roots_and_targets_are_refused(stad, tiny_ava, tmp_path):
    outcome = stad("data", "convert", "--from", "cvat", "--root", tmp_path / "gone", "--to", "json",
                   tmp_path / "x")  # fmt: skip
    assert outcome.code == 2
    assert "no such data folder" in outcome.err
    outcome = stad("data", "convert", "--from", "ava", "--root", tiny_ava, "--to", "xml",
                   tmp_path / "x")  # fmt: skip
    assert outcome.code == 2
    content = tmp_path / "a.json"
    assert stad("data", "convert", "--from", "ava", "--root", tiny_ava, "--part", "train",
                "--to", "json", content).code == 0  # fmt: skip
    outcome = stad("data", "convert", "--from", "json", "--root", content, "--part", "test",
                   "--to", "boxes", tmp_path / "x.csv")  # fmt: skip
    assert outcome.code == 2
    assert "the test part of the dataset has no video" in outcome.err
    out = tmp_path / "gone" / "x.json"
    outcome = stad("data", "convert", "--from", "ava", "--root", tiny_ava, "--to", "json", out)
    assert outcome.code == 2
    assert "no such folder to write to" in outcome.err


def test_absent_videos_are_refused_or_skipped(stad, tiny_ava, tmp_path):
    convert = ["data", "convert", "--from", "ava", "--root", tiny_ava, "--to", "json"]
    out = tmp_path / "a.json"
    assert stad(*convert, out).code == 0
    content = json.loads(out.read_text())
    gone = content["videos"][0]["video"]
    content["videos"][0]["file"] = "gone.mp4"
    out.write_text(json.dumps(content))
    outcome = stad("data", "check", out, "--dataset", "json", "--decode", "nothing")
    assert outcome.code == 2
    assert "error: 1 annotated videos have no file" in outcome.out
    assert gone in outcome.out
    assert "--missing skip" in outcome.out
    skipping = ["data", "check", out, "--dataset", "json", "--missing", "skip"]
    outcome = stad(*skipping, "--decode", "nothing")
    assert outcome.code == 0
    assert "warning: 1 annotated videos have no file" in outcome.out
    sheet = tmp_path / "sheet.png"
    show = ["data", "show", out, "--dataset", "json", "--out", sheet, "--count", 2]
    assert stad(*show).code == 2
    assert stad(*show, "--missing", "skip").code == 0
    assert sheet.exists()


def test_corners_of_acts_pickle_are_named_for_reading_or_for_writing(stad, tmp_path):
    rows, labels = tmp_path / "rows.csv", tmp_path / "labels.txt"
    rows.write_text("v,0000,0.1,0.2,0.5,0.9,0,0\n")
    labels.write_text("0: walk\n")
    pickled, boxes = tmp_path / "a.pkl", tmp_path / "boxes.csv"
    written = stad("data", "convert", "--from", "ava", "--root", rows, "--labels", labels,
                   "--size", "100x50", "--time", "frame", "--corners", "one-based",
                   "--to", "act", pickled)  # fmt: skip
    assert written.code == 0, written.err
    found = {}
    for corners in ("half-open", "inclusive", "one-based"):
        outcome = stad("data", "convert", "--from", "act", "--root", pickled,
                       "--corners", corners, "--to", "boxes", boxes)  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert f"corners of ACT's pickle: {corners}" in outcome.out
        found[corners] = boxes.read_text().splitlines()[1]
    assert found == {
        "half-open": "v,0,walk,0,11,11,50,45",
        "inclusive": "v,0,walk,0,11,11,51,46",
        "one-based": "v,0,walk,0,10,10,50,45",
    }

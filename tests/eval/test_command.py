"""The command `stad-eval`, from files to JSON, messages and exit codes."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import stad_eval
from stad_eval import (
    Boxes,
    detections_json,
    frame_map,
    read_act_truth,
    read_ava_csv,
    read_ava_frames,
    read_multisports_tubes,
    read_tubes_json,
    write_act_truth,
    write_act_tubes,
    write_ava_csv,
    write_tubes_json,
    write_tubes_npz,
)
from stad_eval.cli import COMMANDS, main

AVA = {"+activitynet": "anet", "+pyslowfast": "slowfast", "+mmaction2": "mma"}


@pytest.fixture
def ava(golden):
    def arguments(name="ava_tiny", *, exclude=True):
        folder = golden / "eval" / name
        found = ["--groundtruth", folder / "gt.csv", "--detections", folder / "det.csv"]
        found += ["--labelmap", golden / "eval" / "ava_labelmap.pbtxt"]
        return [str(each) for each in found + (["--exclude", folder / "excl.csv"] * exclude)]

    return arguments


@pytest.fixture
def tubes(golden):
    def arguments(name="ucf24_tiny", *, frames=True, found=True):
        folder = golden / "eval" / "tubes" / name / "native"
        given = ["--groundtruth", next(folder.glob("*-GT.pkl"))]
        if frames:
            given += ["--frame-detections", folder / "frame_detections.pkl"]
        if found:
            given += ["--tube-detections", folder / "video_detections.pkl"]
        return [str(each) for each in given]

    return arguments


@pytest.fixture
def run(capsys):
    def result(*arguments, code=0):
        got = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        assert got == code, captured.err
        assert "Traceback" not in captured.err
        return captured

    return result


def metrics(golden, name, evaluator):
    path = golden / "eval" / "tubes" / name / f"expected_{evaluator}.json"
    return json.loads(path.read_text())["metrics"]


@pytest.mark.parametrize("variant", AVA)
@pytest.mark.parametrize("name", ["ava_tiny", "ava_tiny_ties"])
def test_ava_gives_what_public_evaluators_give(run, ava, golden, name, variant):
    content = json.loads(
        run("ava", *ava(name), "--protocol", f"ava-v2.2{variant}", "--json", "-").out
    )
    expected = json.loads((golden / "eval" / name / f"expected_{AVA[variant]}.json").read_text())
    assert content["mAP"] == pytest.approx(expected["mAP"], abs=1e-9)


def test_ava_json_has_its_documented_keys(run, ava, tmp_path):
    path = tmp_path / "result.json"
    out = run("ava", *ava(), "--json", path)
    assert out.out == ""
    content = json.loads(path.read_text())
    assert list(content) == ["protocol", "iou", "mAP", "per_class", "counts", "version"]
    assert content["version"] == stad_eval.__version__
    assert len(content["per_class"]) == 60
    assert None in content["per_class"].values()
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]


def test_ava_without_json_is_a_table(run, ava):
    out = run("ava", *ava("ava_tiny_edge"), "--protocol", "ava-v2.2+activitynet")
    assert out.out.splitlines()[0].startswith("ava-v2.2+activitynet, IoU 0.5")
    assert "note: 1 detection(s) have an inverted box" in out.err
    assert "note: 1 row(s) of the detections have an action that the label map lacks" in out.err


def test_force_scores_what_the_protocol_would_refuse(run, ava):
    assert "inverted box" in run("ava", *ava("ava_tiny_edge"), code=2).err
    out = run("ava", *ava("ava_tiny_edge"), "--force", "--json", "-")
    assert "count as false positives" in out.err
    assert 0.0 < json.loads(out.out)["mAP"] < 1.0


def test_actions_counted_from_zero_are_a_mistake(run, ava, golden, tmp_path):
    rows = [line.split(",") for line in (golden / "eval/ava_tiny/det.csv").read_text().splitlines()]
    lines = [",".join([*row[:6], str(int(row[6]) - 1), *row[7:]]) for row in rows]
    path = tmp_path / "det.csv"
    path.write_text("\n".join(lines))
    arguments = ava()
    arguments[3] = str(path)
    out = run("ava", *arguments, code=2)
    assert "count from 0?" in out.err
    run("ava", *arguments, "--force")


def test_other_videos_stop(run, ava, golden, tmp_path):
    text = (golden / "eval" / "ava_tiny" / "det.csv").read_text()
    path = tmp_path / "det.csv"
    path.write_text("\n".join(f"x{line}" for line in text.splitlines()))
    arguments = ava()
    arguments[3] = str(path)
    out = run("ava", *arguments, code=2)
    assert "looks like a mistake" in out.err
    assert json.loads(run("ava", *arguments, "--force", "--json", "-").out)["mAP"] == 0.0


@pytest.mark.parametrize("name", ["ucf24_tiny", "jhmdb_tiny"])
@pytest.mark.parametrize(
    ("protocol", "file", "frame", "video", "whole"),
    [
        ("ucf24+moc", "moc_cached", "frameAP@", "videoAP@", "0.50:0.95"),
        ("dense+act", "moc_cached", "frameAP@", "videoAP@", "0.50:0.95"),
        ("multisports+multisports2021", "multisports", "old/frameAP@", "old/videoAP@", "0.5:0.95"),
        ("multisports+multisports", "multisports", "new/frameAP@", "new/videoAP@", "0.5:0.95"),
    ],
)
def test_tubes_give_what_public_evaluators_give(
    run, tubes, golden, name, protocol, file, frame, video, whole
):
    content = json.loads(run("tubes", *tubes(name), "--protocol", protocol, "--json", "-").out)
    expected = metrics(golden, name, file)
    for key, value in content["frame_mAP"].items():
        assert value == pytest.approx(expected[f"{frame}{key}"] / 100, abs=1e-6)
    for key, value in content["video_mAP"].items():
        named = whole if key == "0.5:0.95" else key
        assert value == pytest.approx(expected[f"{video}{named}"] / 100, abs=1e-6)


def test_tubes_json_has_its_documented_keys(run, tubes, golden):
    content = json.loads(run("tubes", *tubes(), "--protocol", "dense", "--json", "-").out)
    assert list(content) == [
        *("protocol", "frame_mAP", "video_mAP", "v_mabo"),
        *("per_class", "errors", "counts", "version"),
    ]
    assert list(content["video_mAP"]) == ["0.2", "0.5", "0.75", "0.5:0.95"]
    assert set(content["v_mabo"]) == {"class_agnostic", "class_aware"}
    assert content["per_class"]["video_mAP"]["0.5"].keys() == {"class00", "class01", "class02"}
    assert set(content["errors"]["tubes"]) == {"types", "breakdown", "gains"}


def test_tubelets_are_linked_as_moc_links_them(run, tubes, golden, tmp_path):
    folder = golden / "eval" / "tubelets" / "jhmdb_tiny"
    truth = tubes("jhmdb_tiny", frames=False, found=False)
    arguments = [*truth, "--tubelets", folder / "tubelets.npz", "--protocol", "jhmdb21-split1+moc"]
    content = json.loads(run("tubes", *arguments, "--json", "-").out)
    expected = metrics(golden, "jhmdb_tiny", "moc_tubelets")
    for key, value in content["frame_mAP"].items():
        assert value == pytest.approx(expected[f"frameAP@{key}"] / 100, abs=1e-6)
    for key, value in content["video_mAP"].items():
        named = key.replace("0.5:", "0.50:")
        assert value == pytest.approx(expected[f"videoAP@{named}"] / 100, abs=1e-6)
    viterbi = json.loads(run("tubes", *arguments, "--linker", "viterbi", "--json", "-").out)
    assert viterbi["frame_mAP"] == content["frame_mAP"]
    assert viterbi["video_mAP"] != content["video_mAP"]
    path = tmp_path / "tubes.json"
    run("link", *arguments, "--output", path)
    linked = json.loads(
        run(
            "tubes", *truth, "--tube-detections", path, "--protocol", "dense+moc", "--json", "-"
        ).out
    )
    assert linked["video_mAP"] == content["video_mAP"]
    assert linked["frame_mAP"] == {"0.2": None, "0.5": None, "0.75": None}
    assert linked["errors"]["frames"] is None


def test_boxes_are_linked_as_mmaction2_links_them(run, tubes, golden):
    path = golden / "eval" / "tubes" / "mmaction2_multisports.json"
    expected = json.loads(path.read_text())["jhmdb_tiny"]
    arguments = [*tubes("jhmdb_tiny", found=False), "--protocol", "multisports+mmaction2"]
    content = json.loads(run("tubes", *arguments, "--json", "-").out)
    assert content["frame_mAP"]["0.5"] == pytest.approx(expected["frameAP@0.5"] / 100, abs=1e-11)
    for key in ("0.2", "0.5"):
        value = expected[f"videoAP@{key} own linking"] / 100
        assert content["video_mAP"][key] == pytest.approx(value, abs=1e-11)


@pytest.mark.parametrize("ending", ["json", "npz", "pkl"])
def test_boxes_are_linked_and_written(run, tubes, tmp_path, ending):
    path = tmp_path / f"tubes.{ending}"
    truth = tubes(found=False)
    out = run("link", *truth, "--linker", "viterbi", "--output", path)
    assert out.out == ""
    direct = run("tubes", *truth, "--linker", "viterbi", "--protocol", "dense", "--json", "-")
    read = run("tubes", *truth, "--tube-detections", path, "--protocol", "dense", "--json", "-")
    assert json.loads(read.out)["video_mAP"] == pytest.approx(json.loads(direct.out)["video_mAP"])


def test_all_forms_of_tubes_give_one_number(run, tubes, golden, tmp_path):
    native = golden / "eval" / "tubes" / "ucf24_tiny" / "native"
    truth = read_act_truth(native / "UCF101v2-GT.pkl")
    names = {"videos": truth.tubes.videos, "classes": truth.tubes.classes}
    found = read_multisports_tubes(native / "video_detections.pkl", **names)
    write_tubes_json(tmp_path / "truth.json", truth)
    write_tubes_npz(tmp_path / "truth.npz", truth)
    write_tubes_json(tmp_path / "found.json", found)
    write_tubes_npz(tmp_path / "found.npz", found)
    write_act_tubes(tmp_path / "found", found)
    rows = np.column_stack([found.frame + 1, found.box, found.row_score])
    columns = {name: getattr(found, name) for name in ("video", "label", "score")}
    np.savez(tmp_path / "plain.npz", **columns, length=found.lengths(), rows=rows)
    plain = {
        "labels": list(names["classes"]),
        "test_videos": list(names["videos"]),
        "train_videos": [[]],
        "nframes": dict(truth.frame_counts),
        "resolution": {name: [240, 320] for name in names["videos"]},
        "gttubes": {
            name: {
                str(label): [
                    np.column_stack([tube.frames + 1, tube.boxes]).tolist()
                    for tube in truth.tubes
                    if tube.video == name and tube.label == label
                ]
                for label in range(3)
            }
            for name in names["videos"]
        },
    }
    (tmp_path / "plain.json").write_text(json.dumps(plain))
    expected = run("tubes", *tubes(frames=False), "--protocol", "dense", "--json", "-").out
    for one in ("truth.json", "truth.npz", "plain.json"):
        for other in ("found.json", "found.npz", "found", "plain.npz"):
            files = ["--groundtruth", tmp_path / one, "--tube-detections", tmp_path / other]
            got = run("tubes", *files, "--protocol", "dense", "--json", "-").out
            assert json.loads(got)["video_mAP"] == json.loads(expected)["video_mAP"], (one, other)


def test_files_of_3d_retinanet(run, golden):
    native = golden / "eval" / "tubes" / "jhmdb_tiny" / "native"
    files = ["--groundtruth", native / "pyannot.pkl"]
    files += ["--frame-detections", native / "retina_frames.pkl"]
    files += ["--tube-detections", native / "retina_tubes.pkl"]
    out = run("tubes", *files, "--protocol", "ucf24+3d-retinanet", "--json", "-").out
    expected = metrics(golden, "jhmdb_tiny", "retina_rtad")
    content = json.loads(out)
    assert content["frame_mAP"]["0.5"] == pytest.approx(
        expected["frames/action@0.5"] / 100, abs=1e-6
    )
    assert content["video_mAP"]["0.5"] == pytest.approx(expected["tubes/stiou@0.5"] / 100, abs=1e-6)


def test_classes_that_a_protocol_has_never_heard_of_are_scored_and_said(run, tubes):
    known = run("tubes", *tubes(), "--protocol", "dense", "--json", "-")
    named = run("tubes", *tubes(), "--protocol", "ucf24", "--json", "-")
    assert "knows none of the classes" not in known.err
    assert named.err.count("knows none of the classes of the ground truth (class00, ...)") == 1
    a, b = json.loads(known.out), json.loads(named.out)
    for key in ("frame_mAP", "video_mAP", "v_mabo", "per_class"):
        assert a[key] == b[key]


def test_other_commands_score_such_classes_too(run, tubes, golden, tmp_path):
    said, truth = "knows none of the classes", tubes(frames=False, found=False)
    found = golden / "eval" / "tubes" / "ucf24_tiny" / "native" / "video_detections.pkl"
    pair = [found, found, *truth, "--metric", "video", "--samples", 5, "--json", "-"]
    numbers = []
    for protocol in ("dense", "ucf24"):
        out = run("compare", *pair, "--protocol", protocol)
        assert out.err.count(said) == (protocol == "ucf24")
        numbers.append(json.loads(out.out)["A"])
        text = run("explain", protocol, f"{protocol}+moc", *tubes(frames=False)).out
        assert "57.78" in text.splitlines()[0]
    assert numbers[0] == numbers[1]
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    path = tmp_path / "page.html"
    assert said in run("report", *tubes(), "--protocol", "ucf24", "--output", path).err
    assert "57.78" in path.read_text()


def test_frames_only_protocols(run, tubes, golden):
    out = run("tubes", *tubes(), "--protocol", "ucf24+realtime", "--json", "-").out
    content = json.loads(out)
    expected = metrics(golden, "ucf24_tiny", "retina_rtad")["rtad/frame_mAP@0.5"] / 100
    assert content["frame_mAP"]["0.5"] == pytest.approx(expected, abs=1e-9)
    assert content["video_mAP"]["0.5"] is None
    only_tubes = [*tubes(frames=False), "--protocol", "ucf24+realtime"]
    assert "scores single frames" in run("tubes", *only_tubes, code=2).err


def test_detections_of_our_own_json(run, tubes, golden, tmp_path):
    native = golden / "eval" / "tubes" / "ucf24_tiny" / "native"
    truth = read_act_truth(native / "UCF101v2-GT.pkl")
    boxes = truth.boxes()
    path = tmp_path / "found.json"
    detections_json.write(path, boxes, sizes=truth.sizes)
    files = ["--groundtruth", native / "UCF101v2-GT.pkl", "--frame-detections", path]
    out = run("tubes", *files, "--protocol", "dense", "--json", "-").out
    assert json.loads(out)["frame_mAP"] == {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0}


def test_boxes_from_elsewhere_against_corners_that_count_from_one(run, golden, tmp_path):
    native = golden / "eval" / "tubes" / "ucf24_tiny" / "native"
    truth = read_act_truth(native / "UCF101v2-GT.pkl")
    write_act_truth(tmp_path / "truth.pkl", truth, corners="one-based")
    write_tubes_json(tmp_path / "same.json", truth)
    arguments = ["tubes", "--groundtruth", tmp_path / "truth.pkl", "--tube-detections",
                 tmp_path / "same.json", "--protocol", "dense", "--json", "-"]  # fmt: skip
    found = {
        corners: json.loads(run(*arguments, "--corners", corners).out)["v_mabo"]["class_aware"]
        for corners in ("half-open", "one-based")
    }
    assert json.loads(run(*arguments).out)["v_mabo"]["class_aware"] == found["half-open"] < 1
    assert found["one-based"] == 1


def test_the_table_of_tubes(run, tubes):
    out = run("tubes", *tubes(), "--protocol", "dense").out
    assert "dense: frame-mAP by IoU" in out
    assert "v-MABO" in out
    assert out.count("errors in per cent") == 2


def test_masks(run, golden):
    folder = golden / "eval" / "davis_tiny"
    files = ["--groundtruth", folder / "Annotations", "--results", folder / "res"]
    content = json.loads(run("masks", *files, "--json", "-").out)
    expected = json.loads((folder / "expected_semi-supervised.json").read_text())
    assert json.dumps(expected).count("J") > 0
    assert content["protocol"] == "davis2017"
    assert 0.0 < content["J&F"] < 1.0
    assert "J&F" in run("masks", *files, "--videos", "seq00", "--workers", 1).out
    assert "have no ground truth" in run("masks", *files, "--videos", "nope", code=2).err
    assert (
        "no such folder"
        in run("masks", "--groundtruth", folder / "none", "--results", folder, code=2).err
    )


def test_explain(run, ava):
    out = run("explain", "ava-v2.2", "ava-v2.2+pyslowfast").out
    assert "match_order" in out
    assert "do not differ" in run("explain", "ucf24", "ucf24").out
    files = ava()
    scored = json.loads(
        run("explain", "ava-v2.2", "ava-v2.2+pyslowfast", *files, "--json", "-").out
    )
    first, second = scored["mAP"]
    moved = {each["option"]: each["moves_first"] for each in scored["options"]}
    assert moved["match_order"] == pytest.approx(second - first)
    assert moved["max_per_frame"] == 0.0
    assert "moves A by" in run("explain", "ava-v2.2", "ava-v2.2+pyslowfast", *files).out
    plain = json.loads(run("explain", "ava-v2.2", "ava-v2.2+activitynet", "--json", "-").out)
    assert plain["mAP"] == [None, None]
    assert "different files" in run("explain", "ava-v2.2", "ucf24", code=2).err


def test_explain_tubes(run, tubes):
    files = tubes(frames=False)
    out = run("explain", "dense", "dense+moc", *files).out
    assert out.startswith("dense: 57.78 and dense+moc: 50.35")
    rows = [line.split("  ")[0] for line in out.splitlines()]
    assert rows[-1] == "order, ties"  # neither can be changed alone
    assert out.splitlines()[-1].split()[-2:] == ["+0.00", "+0.00"]
    frames = tubes(found=False)
    scored = json.loads(run("explain", "dense", "dense+moc", *frames, "--json", "-").out)
    assert {each["option"] for each in scored["options"]} >= {"convention", "average"}


def test_explain_masks(run, golden):
    names = ("davis2017-unsupervised", "davis2017")
    plain = json.loads(run("explain", *names, "--json", "-").out)
    assert plain["mAP"] == [None, None]
    options = [each["option"] for each in plain["options"]]
    assert options == ["pairing", "frames", "void", "most_found"]
    folder = golden / "eval" / "davis_tiny"
    files = ["--groundtruth", folder / "Annotations", "--detections", folder / "res"]
    scored = json.loads(run("explain", *names, *files, "--json", "-").out)
    assert [each["option"] for each in scored["options"]] == options
    for name, value in zip(names, scored["mAP"], strict=True):
        masks = ["--groundtruth", folder / "Annotations", "--results", folder / "res"]
        alone = json.loads(run("masks", *masks, "--protocol", name, "--json", "-").out)
        assert alone["J&F"] == value
    assert "no ground truth" in run("explain", *names, *files[2:], code=2).err
    assert "read different files" in run("explain", "davis2017", "ucf24", code=2).err


def test_compare(run, ava, tubes, golden):
    files = ava()
    truth = [*files[:2], *files[4:]]
    arguments = [files[3], files[3], *truth, "--protocol", "ava-v2.2", "--samples", 50]
    content = json.loads(run("compare", *arguments, "--json", "-").out)
    assert content["p"] == 1.0
    assert content["difference"] == {"mAP": 0.0, "low": 0.0, "high": 0.0}
    result = json.loads(run("ava", *files, "--json", "-").out)
    assert content["A"]["mAP"] == result["mAP"]
    native = golden / "eval" / "tubes" / "ucf24_tiny" / "native"
    both = [native / "video_detections.pkl", native / "retina_tubes.pkl"]
    dense = [*both, *tubes(frames=False, found=False), "--protocol", "dense", "--metric", "video"]
    assert "no difference beyond chance" in run("compare", *dense).out
    frames = [native / "frame_detections.pkl"] * 2
    dense = [*frames, *tubes(frames=False, found=False), "--protocol", "dense"]
    assert "frame-mAP at IoU 0.5, 6 videos" in run("compare", *dense).out
    assert (
        "needs a label map"
        in run("compare", files[3], files[3], *files[:2], "--protocol", "ava-v2.2", code=2).err
    )
    assert "has no tubes" in run("compare", *arguments, "--metric", "video", code=2).err


def test_report(run, ava, tubes, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    path = tmp_path / "report.html"
    run("report", *ava(), "--protocol", "ava-v2.2", "--output", path)
    text = path.read_text()
    assert "Worst videos, frame" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    run("report", *tubes(), "--protocol", "dense", "--output", path, "--title", "Tubes <1>")
    text = path.read_text()
    assert "Errors, video" in text
    assert "Tubes &lt;1&gt;" in text
    bad = run("report", *tubes(), "--protocol", "ava-v2.2", "--output", path, code=2)
    assert "unrecognized" in bad.err or "needs more files" in bad.err
    dense = ["--detections", ava()[3], *tubes(), "--protocol", "dense", "--output", path]
    assert "is for AVA's files" in run("report", *dense, code=2).err


def test_report_without_its_extra(run, ava, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stad_eval.result_page", None)
    out = run("report", *ava(), "--protocol", "ava-v2.2", "--output", tmp_path / "r.html", code=2)
    assert "stad-eval[report]" in out.err


def test_persons(run, ava, tubes):
    pytest.importorskip("pycocotools")
    content = json.loads(run("persons", *ava(), "--json", "-").out)
    assert list(content) == ["protocol", "AP", "recall", "counts", "version"]
    assert 0.0 < content["AP"]["0.5:0.95"] < content["AP"]["0.5"] < 1.0
    files = tubes(found=False)
    files[2] = "--detections"
    assert "AP 0.75" in run("persons", *files).out


def test_persons_without_the_extra(run, ava, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    assert "pip install 'stad-eval[coco]'" in run("persons", *ava(), code=2).err


@pytest.mark.parametrize("command", [each.NAME for each in COMMANDS])
def test_help_shows_an_example(run, command):
    out = run(command, "--help").out
    assert f"Example:\n  stad-eval {command} " in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: COMMAND"),
        (["nope"], "invalid choice"),
        (["ava"], "required"),
        (["tubes", "--groundtruth", "none.pkl", "--protocol", "dense"], "no such file"),
        (["tubes", "--groundtruth", "x", "--protocol", "ava-v2.2"], "unknown protocol of tubes"),
        (["tubes", "--groundtruth", "x", "--protocol", "dense+mok"], "Did you mean"),
        (["explain", "ava-v2.2", "nothing"], "unknown protocol"),
        (["link", "--groundtruth", "x", "--tubelets", "y", "--output", "z.txt"], "ends in .json"),
    ],
)
def test_mistakes_of_users_end_with_2(run, arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert text in run(*arguments, code=2).err


def test_more_mistakes_of_users(run, ava, tubes, tmp_path):
    arguments = ava()
    assert "no such folder" in run("ava", *arguments, "--json", tmp_path / "a/b.json", code=2).err
    assert "is a folder" in run("ava", *arguments[:3], tmp_path, *arguments[4:], code=2).err
    assert "0 < iou" in run("ava", *arguments, "--iou", 2, code=2).err
    truth = tubes(frames=False, found=False)
    assert "no detections" in run("tubes", *truth, "--protocol", "dense", code=2).err
    assert (
        "no such split" in run("tubes", *tubes(), "--protocol", "dense", "--split", 3, code=2).err
    )
    assert "no such split" in run("tubes", *tubes(), "--protocol", "jhmdb21-split2+moc", code=2).err


def test_an_old_result_survives_a_failure(run, ava, tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    run("ava", *ava("ava_tiny_edge"), "--json", path, code=2)
    assert path.read_text() == "old"


def test_failures_of_the_machine_end_with_1(run, ava, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device", "result.json")

    monkeypatch.setattr("stad_eval.commands.ava.write_result", fail)
    assert "No space left" in run("ava", *ava(), code=1).err

    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("stad_eval.commands.ava.write_result", broken)
    assert "RuntimeError: a bug" in run("ava", *ava(), code=1).err
    monkeypatch.setenv("STAD_DEBUG", "1")
    with pytest.raises(RuntimeError, match="a bug"):
        main(["ava", *ava()])

    def full(*_, **__):
        raise MemoryError

    monkeypatch.delenv("STAD_DEBUG")
    monkeypatch.setattr("stad_eval.commands.ava.write_result", full)
    assert "not enough memory" in run("ava", *ava(), code=1).err

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("stad_eval.commands.ava.write_result", stopped)
    run("ava", *ava(), code=130)


def test_a_reader_that_has_seen_enough(ava):
    command = [sys.executable, "-m", "stad_eval", "ava", *ava(), "--json", "-"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_version(run):
    assert run("--version").out.strip() == f"stad-eval {stad_eval.__version__}"


def test_preflight_passes_every_golden(run, ava, tubes):
    for name in ("ava_tiny", "ava_tiny_ties"):
        run("ava", *ava(name))
        run("ava", *ava(name, exclude=False))
    for name in ("ava_tiny_edge",):
        for variant in ("+activitynet", "+pyslowfast"):
            run("ava", *ava(name), "--protocol", f"ava-v2.2{variant}")
    for name in ("ucf24_tiny", "jhmdb_tiny"):
        for protocol in ("dense", "ucf24+moc", "ucf24+act"):
            run("tubes", *tubes(name), "--protocol", protocol)


def test_the_command_is_the_api(run, ava, golden):
    folder = golden / "eval" / "ava_tiny"
    truth = read_ava_csv(
        folder / "gt.csv", classes=golden / "eval" / "ava_labelmap.pbtxt", unlisted="skipped"
    )
    found = read_ava_csv(folder / "det.csv", classes=truth.classes, unlisted="skipped")
    exclude = read_ava_frames(folder / "excl.csv")
    result = frame_map(truth, found, "ava-v2.2", exclude=exclude)
    assert run("ava", *ava(), "--json", "-").out == f"{result.to_json()}\n"


def test_written_detections_read_back(run, golden, tmp_path):
    labelmap = golden / "eval" / "ava_labelmap.pbtxt"
    truth = read_ava_csv(golden / "eval" / "ava_tiny" / "gt.csv", classes=labelmap)
    found = Boxes(
        videos=truth.videos,
        classes=truth.classes,
        video=truth.video,
        frame=truth.frame,
        label=truth.label,
        box=truth.box,
        score=np.full(len(truth), 0.5),
    )
    write_ava_csv(tmp_path / "det.csv", found)
    shutil.copy(golden / "eval" / "ava_tiny" / "gt.csv", tmp_path / "gt.csv")
    files = ["--groundtruth", tmp_path / "gt.csv", "--detections", tmp_path / "det.csv"]
    out = run("ava", *files, "--labelmap", labelmap, "--json", "-").out
    assert json.loads(out)["mAP"] == 1.0


def test_tubes_that_were_linked_keep_sizes_and_lengths(run, tubes, tmp_path):
    path = tmp_path / "tubes.json"
    run("link", *tubes(found=False), "--output", path)
    content = read_tubes_json(path)
    assert set(content.sizes.values()) == {(320, 240)}
    assert set(content.frame_counts) == set(content.tubes.videos)

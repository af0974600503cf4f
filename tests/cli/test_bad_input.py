"""What the user can get wrong: each gives one clear message, an exit code, and harms nothing."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

OLD = b"what was here before"


@pytest.fixture
def out(tmp_path):
    """A folder that holds the results of an earlier run."""
    folder = tmp_path / "found"
    folder.mkdir()
    for name in ("film.json", "film.mp4", "bad.json", "bad.mp4"):
        (folder / name).write_bytes(OLD)
    return folder


def assert_unharmed(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "bad.json",
        "bad.mp4",
        "film.json",
        "film.mp4",
    ]
    assert all(path.read_bytes() == OLD for path in folder.iterdir())


def assert_told(outcome, code, *words):
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        # `stad data check` reports on stdout; every other command complains on stderr.
        assert word in outcome.err + outcome.out, outcome


# --- videos ------------------------------------------------------------------------------------


def missing(path, film):
    return "no such file"


def empty(path, film):
    path.touch()
    return "empty"


def folder(path, film):
    path.mkdir()
    return "folder"


def sound(path, film):
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return "only audio"


def text(path, film):
    path.write_text("this is no video\n" * 100)
    return "video"


def cut_off(path, film):
    whole = film("whole.mp4", frames=200, size=(160, 120)).read_bytes()
    # The index of an MP4 stands at its end here, so half a file has none.
    path.write_bytes(whole[: len(whole) // 2])
    return "cut off"


def damaged(path, film):
    import av

    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(60):
            image = noise.integers(0, 255, (120, 160, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return "damaged"


KINDS = [missing, empty, folder, sound, text, cut_off, damaged]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_video_that_cannot_be_read(stad, film, checkpoint, out, tmp_path, kind):
    path = tmp_path / "bad.mp4"
    word = kind(path, film)
    outcome = stad("detect", path, "--checkpoint", checkpoint, "--out", out)
    assert_told(outcome, 2, str(path), word)
    assert_unharmed(out)


def test_the_frames_before_the_damage_can_be_used(stad, checkpoint, out, tmp_path):
    path = tmp_path / "bad.mp4"
    damaged(path, None)
    outcome = stad(
        "detect", path, "--checkpoint", checkpoint, "--out", out, "--until-damage", "--json"
    )
    assert outcome.code == 0, outcome.err
    (summary,) = json.loads(outcome.out)
    assert 20 < summary["frames"] < 60
    assert (out / "bad.mp4").read_bytes() != OLD


def test_the_other_videos_are_done_all_the_same(stad, film, checkpoint, out, tmp_path):
    good = film("film.mp4", frames=6)
    bad = tmp_path / "bad.mp4"
    bad.touch()
    outcome = stad("detect", bad, good, "--checkpoint", checkpoint, "--out", out)
    assert_told(outcome, 2, str(bad), "1 of 2 videos done")
    assert (out / "bad.json").read_bytes() == (out / "bad.mp4").read_bytes() == OLD
    assert (out / "film.json").read_bytes().startswith(b'{"format": "stad-detections"')
    assert (out / "film.mp4").read_bytes() != OLD
    assert "film.mp4" in outcome.out


# --- checkpoints -------------------------------------------------------------------------------


def no_checkpoint(path, checkpoint):
    return "no such checkpoint"


def no_torch_file(path, checkpoint):
    path.write_text("weights")
    return "checkpoint"


def half_a_checkpoint(path, checkpoint):
    whole = checkpoint.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return "checkpoint"


def weights_of_something_else(path, checkpoint):
    import torch

    torch.save({"conv1.weight": torch.zeros(3)}, path)
    return "something else than a checkpoint"


def code(path, checkpoint):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(path.with_name("pwned")),)

    path.write_bytes(pickle.dumps(Evil()))
    return "refused"


def another_model(path, checkpoint):
    import torch

    from stad_cli.engine import checkpoint as checkpoints

    state = checkpoints.load(checkpoint)
    state["model"] = {
        name: value if value.ndim != 5 else torch.zeros(value.shape[0], 1, *value.shape[2:])
        for name, value in state["model"].items()
    }
    checkpoints.save(path, {k: v for k, v in state.items() if k not in ("format", "version")})
    return "another network"


@pytest.mark.parametrize(
    "kind",
    [
        no_checkpoint,
        no_torch_file,
        half_a_checkpoint,
        weights_of_something_else,
        code,
        another_model,
    ],
    ids=lambda kind: kind.__name__,
)
def test_a_checkpoint_that_is_none(stad, film, checkpoint, out, tmp_path, kind):
    path = tmp_path / "weights.pt"
    word = kind(path, checkpoint)
    outcome = stad("detect", film(), "--checkpoint", path, "--out", out)
    assert_told(outcome, 2, str(path), word)
    assert_unharmed(out)
    assert not (tmp_path / "pwned").exists()


def test_a_folder_that_is_no_run(stad, film, out, tmp_path):
    outcome = stad("detect", film(), "--checkpoint", tmp_path, "--out", out)
    assert_told(outcome, 2, str(tmp_path), "checkpoints/best.pt")
    assert_unharmed(out)
    outcome = stad("eval", tmp_path)
    assert_told(outcome, 2, str(tmp_path), "checkpoints/best.pt")
    outcome = stad("report", tmp_path)
    assert_told(outcome, 2, str(tmp_path), "recipe.toml")


# --- outputs -----------------------------------------------------------------------------------


def test_an_output_folder_that_is_a_file(stad, film, checkpoint, tmp_path):
    target = tmp_path / "file"
    target.write_bytes(OLD)
    outcome = stad("detect", film(), "--checkpoint", checkpoint, "--out", target)
    assert_told(outcome, 2, str(target), "--out")
    assert target.read_bytes() == OLD


def test_an_output_folder_that_cannot_be_written(stad, film, checkpoint, tmp_path):
    closed = Path("/proc")  # closed to root too, for whom modes mean nothing
    if os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o555)
    outcome = stad("detect", film(), "--checkpoint", checkpoint, "--out", closed / "found")
    assert_told(outcome, 2, str(closed / "found"), "--out")


def test_the_overlay_may_not_replace_its_own_video(stad, film, checkpoint, tmp_path):
    video = film("film.mp4")
    before = video.read_bytes()
    outcome = stad("detect", video, "--checkpoint", checkpoint, "--out", tmp_path)
    assert_told(outcome, 2, str(video), "--out")
    assert video.read_bytes() == before


LIMITED = """
import json, resource, sys
from stad_cli.main import main

codes = []
for size, arguments in json.loads(sys.argv[1]):
    sys.stderr.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    codes.append(main(arguments))
print(json.dumps(codes))
"""


def test_a_full_disk(film, checkpoint, out, tiny_ava, tmp_path):
    """Files may not grow over some size: what a full disk is to a program, for root as well."""
    video = film("film.mp4", frames=60, size=(320, 240))
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(OLD)
    detect = ["detect", str(video), "--checkpoint", str(checkpoint), "--out", str(out)]
    show = ["data", "show", str(tiny_ava), "--dataset", "ava", "--out", str(sheet)]
    quiet = [*detect, "--no-overlay"]
    runs = json.dumps([(512, quiet), (4096, detect), (2000, show)])
    done = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED, runs], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == [1, 1, 1], done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("File too large") == 3, done.stderr
    for name in ("film.json", "film.mp4", "sheet.png"):
        assert name in done.stderr
    assert_unharmed(out)
    assert sheet.read_bytes() == OLD
    assert [path.name for path in tmp_path.iterdir() if "sheet" in path.name] == ["sheet.png"]


# --- recipes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optim.learning_rat=1", ["optim.learning_rat"]),
        ("optim.stepz=1", ["optim.stepz", "steps"]),
        ("optim.steps=many", ["optim.steps", "many"]),
        ("model.options.depht=2", ["depht", "depth"]),
        ('model.name="se_stad_tinny"', ["se_stad_tinny", "se_stad_tiny"]),
    ],
)
def test_a_recipe_that_cannot_be(stad, tmp_path, tiny_ava, change, words):
    out = tmp_path / "run"
    outcome = stad("train", "se_stad_tiny_demo", "--data", tiny_ava, "--out", out, "--set", change)
    assert_told(outcome, 2, *words)
    assert not out.exists()


def test_an_unknown_recipe(stad, tmp_path, tiny_ava):
    outcome = stad("train", "se_stad_tiny_dem", "--data", tiny_ava, "--out", tmp_path / "run")
    assert_told(outcome, 2, "se_stad_tiny_dem", "se_stad_tiny_demo")


# --- annotation --------------------------------------------------------------------------------


def rewrite(path: Path, old: str, new: str):
    lines = path.read_text().splitlines()
    lines[0] = (
        ",".join(new if value == old else value for value in lines[0].split(",")) if old else new
    )
    path.write_text("\n".join(lines) + "\n")


def first_row(path):
    return path.read_text().splitlines()[0].split(",")


def no_video(root):
    train = root / "annotations" / "train.csv"
    name = first_row(train)[0]
    next((root / "videos").glob(f"{name}.*")).unlink()
    return [name, "video"]


def outside(root):
    train = root / "annotations" / "train.csv"
    row = first_row(train)
    row[4] = "1.7"
    rewrite(train, "", ",".join(row))
    return [str(train), "row 1", "1.7"]


def no_area(root):
    train = root / "annotations" / "train.csv"
    row = first_row(train)
    row[4] = row[2]
    rewrite(train, "", ",".join(row))
    return [str(train), "row 1", "area"]


def unknown_label(root):
    train = root / "annotations" / "train.csv"
    row = first_row(train)
    row[6] = "77"
    rewrite(train, "", ",".join(row))
    return [str(train), "row 1", "77"]


@pytest.mark.parametrize(
    "harm", [no_video, outside, no_area, unknown_label], ids=lambda harm: harm.__name__
)
@pytest.mark.parametrize("command", ["check", "train", "eval"])
def test_annotation_that_cannot_be(stad, tmp_path, tiny_ava, checkpoint, command, harm):
    words = harm(tiny_ava)
    arguments = {
        "check": ["data", "check", tiny_ava, "--dataset", "ava"],
        "train": ["train", "se_stad_tiny_demo", "--data", tiny_ava, "--out", tmp_path / "run"],
        "eval": ["eval", checkpoint, "--data", tiny_ava, "--dataset", "ava"],
    }[command]
    outcome = stad(*arguments)
    assert_told(outcome, 2, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "check", "nowhere", "--dataset", "jhmdb"], ["nowhere"]),
        (["eval", "x.json"], ["--data", "--dataset"]),
        (["eval", "x.docx"], ["x.docx", ".json"]),
        (["eval", "x.json", "--data", ".", "--dataset", "ava"], ["x.json"]),
        (["data", "make", "synthetic", "x", "--layouts", "coco"], ["coco", "jhmdb"]),
        (["data", "show", ".", "--dataset", "ava", "--out", "sheet.jpg"], ["sheet.jpg", "png"]),
    ],
)
def test_paths_and_names_that_are_none(stad, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert_told(stad(*arguments), 2, *words)
    assert list(tmp_path.iterdir()) == []

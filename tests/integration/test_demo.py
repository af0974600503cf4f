"""`stad demo` end to end on a few videos and steps: what it leaves, and that it runs again."""

import json

from stad_cli.main import main
from stad_data import VideoReader

SMALL = ("--videos", 2, "--test-videos", 1, "--steps", 2, "--device", "cpu")


def test_the_demo_runs_and_runs_again(tmp_path, capsys):
    out = tmp_path / "demo"

    def demo(*options):
        code = main(["demo", "--out", str(out), *map(str, SMALL), *options])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured

    first = demo()
    lines = dict(line.split(None, 1) for line in first.out.splitlines()[-6:])
    assert list(lines) == ["frame-mAP", "actor", "checkpoint", "overlay", "report", "time"]
    overlay = out / "run" / "overlay" / "synth-test-0000.mp4"
    assert lines["overlay"] == str(overlay)
    assert lines["report"] == str(out / "run" / "report.html")
    assert "%" in lines["frame-mAP"]
    with (
        VideoReader(overlay) as drawn,
        VideoReader(out / "data-0-2-1" / "ava" / "videos" / "synth-test-0000.mp4") as original,
    ):
        assert drawn.num_frames == original.num_frames
        assert drawn.size == original.size
    assert "<h2>Confusion</h2>" in (out / "run" / "report.html").read_text()

    again = demo("--frame-only")
    assert "reused" in again.err
    recipe = (out / "frame-only" / "recipe.toml").read_text()
    assert "repeat_keyframe = true" in recipe

    # A run of the same recipe that was interrupted is gone on with; a finished one is left alone.
    (out / "run" / "detections" / "test.json").unlink()
    resumed = demo()
    assert "resumed at step 2" in resumed.err
    assert not (out / "run-2").exists()
    third = demo()
    assert f"{out / 'run-2' / 'report.html'}" in third.out
    logs = [(out / name / "log.jsonl").read_text().splitlines() for name in ("run", "run-2")]
    scores = [json.loads(log[-1])["eval"] for log in logs]
    assert scores[0] == scores[1]

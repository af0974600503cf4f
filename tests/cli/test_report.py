"""`stad report`: one page that needs nothing else, and the numbers of the run."""

import json
import re
import shutil

import numpy as np
import pytest

from stad_cli.engine.run_log import read_log
from stad_cli.keyframe_picture import FOUND, TRUTH, WIDTH, picture
from stad_cli.keyframe_quality import Actors, KeyframeQuality
from stad_data import VideoAnnotation


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_the_page_holds_everything_and_needs_nothing(stad, run, tiny_ava):
    outcome = stad("report", run, "--data", tiny_ava)
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip() == str(run / "report.html")
    page = (run / "report.html").read_text()
    for heading in (
        "Losses",
        "Score while training",
        "Precision and recall",
        "Average precision",
        "Confusion",
        "Worst clips",
        "Recipe",
    ):
        assert f"<h2>{heading}</h2>" in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) >= 6
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.findall(r'(?:href|url\()\s*=?\s*["\']?(?!data:)[a-z]+:', page)
    assert "<script" not in page
    final = [entry["eval"] for entry in read_log(run) if entry.get("final")][-1]
    for value in final.values():
        assert f"{100 * value:.2f} %" in page
    assert "channels = 8" in page


def test_the_data_is_remembered(stad, run, tiny_ava):
    assert stad("report", run).code == 2
    assert not (run / "report.html").exists()
    assert stad("report", run, "--data", tiny_ava).code == 0
    before = (run / "report.html").read_text()
    assert stad("report", run).code == 0
    assert (run / "report.html").read_text() == before
    shutil.rmtree(tiny_ava)
    outcome = stad("report", run)
    assert outcome.code == 2
    assert str(tiny_ava) in outcome.err
    assert (run / "report.html").read_text() == before


def test_a_run_that_was_not_evaluated_has_no_report(stad, run, tiny_ava):
    shutil.rmtree(run / "detections")
    outcome = stad("report", run, "--data", tiny_ava)
    assert outcome.code == 2
    assert "--resume" in outcome.err


def test_eval_of_the_run_gives_the_number_of_its_end(stad, run, tiny_ava):
    assert stad("report", run, "--data", tiny_ava).code == 0
    outcome = stad("eval", run, "--json")
    assert outcome.code == 0, outcome.err
    scored = json.loads(outcome.out)
    best = max(
        (entry["eval"] for entry in read_log(run) if "eval" in entry),
        key=lambda numbers: numbers["frame_mAP"],
    )
    assert scored["mAP"] == pytest.approx(best["frame_mAP"], abs=1e-6)
    found = stad(
        "eval", run / "detections" / "test.json", "--data", tiny_ava, "--dataset", "ava", "--json"
    )
    final = [entry["eval"] for entry in read_log(run) if entry.get("final")][-1]
    scored = json.loads(found.out)
    assert scored["mAP"] == pytest.approx(final["frame_mAP"], abs=1e-6)
    assert scored["actor_AP"] == pytest.approx(final["actor_AP"], abs=1e-6)


def test_the_picture_shows_truth_and_detection(film):
    video = film("a.mp4", frames=12, size=(160, 120))
    annotation = VideoAnnotation(
        video="a",
        path=video,
        num_frames=12,
        size=(160, 120),
        fps=30.0,
        tracks=(),
        keyframes=np.arange(12),
        num_classes=2,
    )

    def actors(*boxes):
        return Actors(boxes=np.array(boxes, float).reshape(-1, 4), scores=np.ones((len(boxes), 2)))

    def drawn(truth, found):
        scored = KeyframeQuality(video="a", frame=6, quality=0.5, truth=truth, found=found)
        image = picture(annotation, scored, ("walk", "wave"), length=8, stride=2)
        assert image.shape[1] == WIDTH
        assert image.shape[0] > WIDTH * 3 / 4
        return [(image == color).all(axis=2).sum() for color in (TRUTH, FOUND)]

    box = [20, 30, 60, 100]
    assert drawn(actors(), actors()) == [0, 0]
    green, orange = drawn(actors(box), actors())
    assert green > 500
    assert orange == 0
    green, orange = drawn(actors(), actors(box))
    assert green == 0
    assert orange > 500

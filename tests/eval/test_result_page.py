import numpy as np
import pytest

from stad_eval import frame_errors, frame_evidence, frame_map

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from stad_eval.result_page import Scored, error_bars, gain_bars, result_page, worst_videos

A, B = (0, 0, 10, 10), (20, 0, 30, 10)


@pytest.fixture
def part(table):
    names = {"videos": ("good", "bad", "<odd>"), "classes": ("walk", "run", "never")}
    truth = table([("good", 0, "walk", A), ("bad", 0, "walk", A), ("bad", 1, "run", B)], **names)
    found = table([("good", 0, "walk", A, 0.9), ("bad", 0, "walk", B, 0.8)], **names)
    return Scored(
        name="frame",
        result=frame_map(truth, found, "dense"),
        errors=frame_errors(truth, found, "dense"),
        evidence=frame_evidence(truth, found, "dense"),
    )


def test_bars_of_errors_add_up_to_100(part):
    axes = error_bars(part.errors).axes[0]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["run", "walk", "mean"]
    ends = np.sum([[bar.get_width() for bar in each] for each in axes.containers], axis=0)
    np.testing.assert_allclose(ends, 100.0)
    assert axes.get_legend().get_texts()[0].get_text() == "AP"


def test_bars_of_gains_name_every_kind(part):
    axes = gain_bars(part.errors).axes[0]
    names = [each.get_text() for each in axes.get_yticklabels()]
    assert names[::-1] == list(part.errors.gains.gains)


def test_worst_videos_come_first(part):
    text = str(worst_videos(part.evidence))
    assert text.index("bad") < text.index("good")
    assert "odd" not in text  # no ground truth
    assert "good" not in str(worst_videos(part.evidence, most=1))
    assert "<td>bad</td><td>0.00</td><td>2</td><td>0</td><td>1</td>" in text


def test_the_page_needs_nothing_else(part):
    text = result_page("<Title>", [part], samples=20)
    assert "&lt;Title&gt;" in text
    assert "95 % over videos" in text
    assert "<script" not in text
    assert 'src="http' not in text
    assert result_page("<Title>", [part], samples=20) == text


def test_without_ground_truth_or_with_one_video(table):
    none = table([], annotated=[])
    empty = Scored(
        name="frame",
        result=frame_map(none, none, "dense"),
        errors=frame_errors(none, none, "dense"),
        evidence=frame_evidence(none, none, "dense"),
    )
    assert "frame-mAP at IoU 0.5" in result_page("t", [empty])

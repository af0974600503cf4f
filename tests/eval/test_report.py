import math
import re
import subprocess
import sys

import numpy as np
import pytest

from stad_eval import InputError, confusion, frame_map

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from markupsafe import Markup
from matplotlib.figure import Figure

from stad_eval import report

A, B = (0, 0, 10, 10), (20, 0, 30, 10)


@pytest.fixture
def scored(table):
    classes = ("walk", "run", "never")
    truth = table([("v", 0, "walk", A), ("v", 1, "walk", A), ("v", 0, "run", B)], classes=classes)
    rows = [("v", 0, "walk", A, 0.9), ("v", 1, "walk", B, 0.7), ("v", 0, "run", B, 0.6)]
    found = table(rows, classes=classes)
    return frame_map(truth, found, "dense"), confusion(truth, found), classes


def texts(figure):
    axes = figure.axes[0]
    legend = axes.get_legend()
    return (
        [each.get_text() for each in axes.texts],
        [each.get_text() for each in axes.get_yticklabels()],
        [] if legend is None else [each.get_text() for each in legend.get_texts()],
    )


def test_bars_are_sorted_with_the_best_on_top(scored):
    values, names, _ = texts(report.ap_bars(scored[0]))
    assert names == ["walk", "run"]  # matplotlib counts upwards; "never" has no AP
    assert values == ["50.0", "100.0"]


def test_curves_name_classes_with_their_ap(scored):
    _, _, legend = texts(report.pr_curves(scored[0]))
    assert legend == ["walk (50.0)", "run (100.0)", "mean of 2 (75.0)"]


def test_only_the_largest_classes_are_named(scored):
    _, _, legend = texts(report.pr_curves(scored[0], highlight=1))
    assert legend == ["walk (50.0)", "mean of 2 (75.0)"]


def test_mean_curve_is_the_best_precision_at_that_recall_or_more(scored):
    curves = {line.get_label(): line for line in report.pr_curves(scored[0]).axes[0].lines}
    mean = curves["mean of 2 (75.0)"]
    # run: precision 1 throughout; walk: 1 up to recall 1/2, 0 beyond.
    at = dict(zip(np.round(mean.get_xdata(), 2), mean.get_ydata(), strict=True))
    assert (at[0.5], at[0.51], at[1.0]) == (1.0, 0.5, 0.5)


def test_confusion_shows_counts(scored):
    values, names, _ = texts(report.confusion_matrix(scored[1], scored[2]))
    assert names == ["walk", "run", "never", "background"]
    assert sorted(values) == ["1", "1", "1", "1"]
    with pytest.raises(InputError, match="3 names"):
        report.confusion_matrix(np.zeros((3, 3)), scored[2])


def test_large_confusion_leaves_out_classes_that_never_occur():
    counts = np.zeros((81, 81), dtype=np.int64)
    counts[3, 3], counts[80, 5] = 4, 1
    _, names, _ = texts(report.confusion_matrix(counts, [f"c{n}" for n in range(80)]))
    assert names == ["c3", "c5", "background"]


def test_losses_bridge_no_gaps_and_fit_their_steps():
    figure = report.loss_curves([1, 2, 3], {"box": [1.0, math.nan, 0.5]})
    assert texts(figure)[2] == ["box (0.5)"]
    with pytest.raises(InputError, match="loss 'box'"):
        report.loss_curves([1, 2], {"box": [1.0]})


def test_strip_holds_images_with_escaped_captions():
    strip = report.image_strip([np.zeros((8, 12, 3), dtype=np.uint8)], ["a < b"])
    assert strip.count("data:image/jpeg;base64,") == 1
    assert "<figcaption>a &lt; b</figcaption>" in strip
    with pytest.raises(InputError, match="captions"):
        report.image_strip([], ["a"])
    with pytest.raises(InputError, match="uint8"):
        report.image_strip([np.zeros((8, 12, 3))], ["a"])


def test_page_needs_nothing_from_outside(scored):
    result, counts, names = scored
    strip = report.image_strip([np.full((8, 12, 3), 200, dtype=np.uint8)], ["best"])
    sections = [
        report.Section(
            title="Curves & bars",
            content=[report.pr_curves(result), report.ap_bars(result)],
            text="Per class.",
        ),
        ("Confusion", report.confusion_matrix(counts, names)),
        ("Losses", [report.loss_curves([1, 2], {"box": [1.0, 0.5]})]),
        ("Clips", [strip, "plain <text>"]),
        ("Code", Markup("<pre>a = 1</pre>")),
    ]
    html = report.page("A run", sections, headline={"frame-mAP": 0.75, "time": "3 min"})
    assert html.startswith("<!doctype html>")
    assert "<h2>Curves &amp; bars</h2>" in html
    assert "75.00 %" in html
    assert "<p>plain &lt;text&gt;</p>" in html
    assert "<pre>a = 1</pre>" in html
    assert html.count("data:image/svg+xml;base64,") == 4
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', html)
    assert sources
    assert all(each.startswith("data:") for each in sources)
    assert "http" not in re.sub(r"data:[^\"]*", "", html)
    assert "url(" not in html


def test_pages_are_the_same_every_time(scored):
    pages = {report.page("A", [("Bars", report.ap_bars(scored[0]))]) for _ in range(2)}
    assert len(pages) == 1


def test_results_without_ground_truth_still_plot(table):
    result = frame_map(table([]), table([]), "dense")
    for figure in (report.pr_curves(result), report.ap_bars(result)):
        assert isinstance(figure, Figure)
    assert "<img" in report.page("Empty", [("Bars", report.ap_bars(result))])


def test_plots_leave_pyplot_alone():
    code = (
        "import sys; from stad_eval import report;"
        "report.page('A', [('Losses', report.loss_curves([1, 2], {'box': [1.0, 0.5]}))]);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

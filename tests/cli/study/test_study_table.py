"""Tables: means, intervals and differences by hand; their texts and their plot."""

import json
import math

import pytest

from stad_cli.study.conduct import Wishes, tabulate, write_tables
from stad_cli.study.plot import draw
from stad_cli.study.results import read_results
from stad_cli.study.statistics import estimate
from stad_cli.study.study_file import load_study
from stad_cli.study.study_run import study_runs
from stad_cli.study.table import make_table
from stad_cli.study.table_text import escape_latex, latex, markdown
from stad_eval import InputError

# Student's t at 97.5 % with 1 and 2 degrees of freedom, from printed tables.
T1, T2 = 12.706, 4.3027


def table_of(study):
    return make_table(study, read_results(study, study_runs(study)).fresh)


def test_intervals_by_hand():
    # 1, 2, 6: mean 3, sum of squares 4 + 1 + 9 = 14, s^2 = 7, half = t * sqrt(7 / 3)
    found = estimate([1.0, 2.0, 6.0])
    assert found.mean == 3.0
    assert found.half == pytest.approx(T2 * math.sqrt(7 / 3), rel=1e-4)
    assert not found.leaves_out_zero  # 3 against 6.57
    pair = estimate([1.0, 1.2])
    assert pair.half == pytest.approx(T1 * math.sqrt(0.02 / 2), rel=1e-4)
    assert estimate([1.0]).half is None
    assert not estimate([1.0]).leaves_out_zero
    assert estimate([]) is None
    same = estimate([-0.5, -0.5])
    assert (same.mean, same.half, same.leaves_out_zero) == (-0.5, 0.0, True)


@pytest.fixture
def study(study_file, finished):
    """Two rows: three seeds of "slow", of "fast" the last two only, and one without a number."""
    study = load_study(study_file())
    for seed, value, actor in ((0, 0.20, 0.5), (1, 0.22, 0.6), (2, 0.27, 0.7)):
        finished(study, "slow", seed, frame_mAP=value, actor_AP=actor)
    finished(study, "fast", 1, frame_mAP=0.25, actor_AP=0.6)
    finished(study, "fast", 2, frame_mAP=0.31, actor_AP=float("nan"))
    return study


def test_levels_and_paired_differences_by_hand(study):
    slow, fast = table_of(study).rows
    level = slow.entries["frame_mAP"].level
    assert level.mean == pytest.approx(0.23)
    # deviations -3, -1, 4: sum of squares 26, s^2 = 13, half = t * sqrt(13 / 3) hundredths
    assert level.half == pytest.approx(0.01 * T2 * math.sqrt(13 / 3), rel=1e-4)
    assert slow.entries["frame_mAP"].difference is None
    entry = fast.entries["frame_mAP"]
    assert entry.by_seed == {1: 0.25, 2: 0.31}
    assert entry.level.mean == pytest.approx(0.28)
    # over seeds 1 and 2 alone: 0.03 and 0.04
    assert entry.difference.mean == pytest.approx(0.035)
    assert entry.difference.half == pytest.approx(T1 * 0.005, rel=1e-4)
    actor = fast.entries["actor_AP"]
    assert actor.by_seed == {1: 0.6}
    assert (actor.difference.mean, actor.difference.half) == (0.0, None)


def test_markdown(study):
    lines = markdown(table_of(study)).splitlines()
    assert lines[0] == "### What the learning rate does"
    assert lines[2:6] == [
        "|  | seeds | frame mAP, % | Δ | actor AP, % | Δ | paper |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| slow | 3 | 23.0 ± 9.0 |  | 60.0 ± 24.8 |  | 25.5 |",
        "| ten times \\| faster | 2 | 28.0 ± 38.1 | +3.5 ± 6.4 | 60.0 | +0.0 | 26.9 |",
    ]
    assert "1 of the study's runs are missing" in lines[7]
    assert lines[9] == "`stad study rates.toml`"


def test_differences_beyond_their_interval_are_bold(study_file, finished):
    study = load_study(study_file())
    for seed, low in enumerate((0.2, 0.3, 0.4)):
        finished(study, "slow", seed, frame_mAP=low, actor_AP=0.5)
        finished(study, "fast", seed, frame_mAP=low + 0.1 + 0.001 * seed, actor_AP=0.4)
    table = table_of(study)
    assert "| **+10.1 ± 0.2** |" in markdown(table)
    assert "| **-10.0 ± 0.0** |" in markdown(table)
    assert r"\textbf{+10.1 $\pm$ 0.2}" in latex(table)
    assert "missing" not in markdown(table)


def test_another_row_may_be_the_reference(study_file, finished):
    study = load_study(study_file("metrics =", 'reference = "fast"\nmetrics ='))
    finished(study, "slow", 0, frame_mAP=0.2, actor_AP=0.5)
    finished(study, "fast", 0, frame_mAP=0.5, actor_AP=0.5)
    slow, fast = table_of(study).rows
    assert slow.entries["frame_mAP"].difference.mean == pytest.approx(-0.3)
    assert fast.entries["frame_mAP"].difference is None


def test_latex_is_escaped(study):
    text = latex(table_of(study))
    assert r"frame mAP, \% & $\Delta$ &" in text
    assert r"slow & 3 & 23.0 $\pm$ 9.0 &  &" in text
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(row.count(" & ") + 1 == len(columns) for row in rows)
    assert escape_latex(r"a_b & 50% {x} \y^~#$") == (
        r"a\_b \& 50\% \{x\} \textbackslash{}y\textasciicircum{}\textasciitilde{}\#\$"
    )


def test_paper_columns_of_several_metrics(study_file, finished):
    study = load_study(
        study_file("paper = 25.5", 'paper = { mAP = 25.5, "AR@10" = "70.1" }',
                   "paper = 26.9", "paper = { mAP = 26.9 }")
    )  # fmt: skip
    finished(study, "slow", 0, frame_mAP=0.2, actor_AP=0.5)
    lines = markdown(table_of(study)).splitlines()
    assert lines[2].endswith("| mAP | AR@10 |")
    assert lines[4].endswith("| 25.5 | 70.1 |")
    assert lines[5] == "| ten times \\| faster | 0 | - |  | - |  | 26.9 |  |"


def test_seconds_are_a_metric(study_file, finished):
    study = load_study(study_file('"actor_AP"]', '"seconds"]'))
    finished(study, "slow", 0, frame_mAP=0.2, seconds=61.4)
    finished(study, "fast", 0, frame_mAP=0.2, seconds=50.0)
    text = markdown(table_of(study))
    assert "| time, s | Δ |" in text
    assert "| 61 |  |" in text
    assert "| 50 | -11 |" in text


def test_a_metric_that_no_result_has_is_named(study_file, finished):
    study = load_study(study_file('"actor_AP"]', '"actor_PA"]'))
    assert table_of(study).rows[0].entries["actor_PA"].level is None  # nothing can be said yet
    finished(study, "slow", 0, frame_mAP=0.2, actor_AP=0.5)
    with pytest.raises(InputError, match=r"no result has the metric 'actor_PA'\. did you mean act"):
        table_of(study)


def test_tables_are_written_beside_the_results_and_only_change_with_them(study):
    runs = study_runs(study)
    _, files = write_tables(study, runs)
    assert [path.name for path in files] == ["table.md", "table.tex", "table.json", "table.png"]
    before = [path.read_bytes() for path in files]
    assert before[3].startswith(b"\x89PNG")
    write_tables(study, runs)
    assert [path.read_bytes() for path in files] == before
    content = json.loads(before[2])
    assert content["reference"] == "slow"
    fast = content["rows"][1]["metrics"]["frame_mAP"]
    assert fast["by_seed"] == {"1": 0.25, "2": 0.31}
    assert fast["difference"] == pytest.approx(0.035)
    assert content["rows"][1]["metrics"]["actor_AP"]["half"] is None


def test_the_plot_of_rows_shows_levels_and_seeds(study):
    figure = draw(table_of(study))
    panel, other = figure.axes
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["slow", "ten times | faster"]
    assert panel.get_xlabel() == "frame mAP, %"
    assert other.get_xlabel() == "actor AP, %"
    dots = {round(x, 6) for line in panel.lines for x in line.get_xdata()}
    assert {20.0, 22.0, 27.0, 23.0, 25.0, 31.0, 28.0} <= dots


def test_the_plot_of_curves_sorts_by_x_and_has_a_line_per_group(study_file, finished):
    study = load_study(
        study_file("paper = 25.5", 'x = 20\ngroup = "ours"', "paper = 26.9",
                   'x = 5\ngroup = "ours"\n[[rows]]\nname = "b"\nx = 5\ngroup = "theirs"',
                   'metrics = ["frame_mAP", "actor_AP"]',
                   'metrics = ["frame_mAP"]\nx_label = "labels, %"\nx_scale = "log"')
    )  # fmt: skip
    for row, value in (("slow", 0.3), ("fast", 0.2), ("b", 0.1)):
        finished(study, row, 0, frame_mAP=value)
    (panel,) = draw(table_of(study)).axes
    assert (panel.get_xlabel(), panel.get_xscale()) == ("labels, %", "log")
    lines = [container.lines[0] for container in panel.containers]
    assert [list(line.get_xdata()) for line in lines] == [[5, 20], [5]]
    assert [list(line.get_ydata()) for line in lines] == [[20.0, 30.0], [10.0]]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["ours", "theirs"]


def test_a_study_without_results_has_a_table_without_numbers(study_file):
    study = load_study(study_file())
    table, _ = write_tables(study, study_runs(study))
    assert [row.seeds for row in table.rows] == [0, 0]
    assert "6 of the study's runs are missing" in markdown(table)


def test_a_row_that_another_study_has_run_is_taken_from_there(study_file, finished, tmp_path):
    first = load_study(study_file())
    finished(first, "slow", 0, frame_mAP=0.20, actor_AP=0.5)
    finished(first, "fast", 1, frame_mAP=0.25, actor_AP=0.6)
    # "base" has the settings of the first study's "slow"; its "fast" learns at another rate.
    other = load_study(
        study_file('name = "slow"', 'name = "base"', "lr=0.1", "lr=0.2", name="other.toml")
    )
    said = []
    found = tabulate(other, Wishes(out=tmp_path / "out", cache=tmp_path), said.append)
    assert found.left == ("fast-seed0", "base-seed1", "fast-seed1", "base-seed2", "fast-seed2")
    assert [row.entries["frame_mAP"].by_seed for row in found.table.rows] == [{0: 0.20}, {}]
    (line,) = said
    assert "base-seed0" in line
    assert "rates/results/slow-seed0.json" in line
    again = []
    tabulate(other, Wishes(out=tmp_path / "out", cache=tmp_path), again.append)
    assert again == []
    assert read_results(first, study_runs(first)).fresh.keys() == {"slow-seed0", "fast-seed1"}

"""Study files: what they say, what they refuse, and what makes a result theirs no longer."""

import json
import threading
import time

import pytest

from stad_cli.config import load_recipe
from stad_cli.recipe_settings import chosen, differences, settings
from stad_cli.study.conduct import parse_budget, trial
from stad_cli.study.data_source import alone, find_data
from stad_cli.study.results import read_result, read_results
from stad_cli.study.study_file import load_study
from stad_cli.study.study_run import select, study_runs
from stad_eval import InputError


def test_rows_and_seeds_become_runs_seed_by_seed(study_file):
    study = load_study(study_file())
    runs = study_runs(study)
    assert [run.name for run in runs] == [
        "slow-seed0", "fast-seed0", "slow-seed1", "fast-seed1", "slow-seed2", "fast-seed2",
    ]  # fmt: skip
    assert [run.recipe.optim.lr for run in runs[:2]] == [0.01, 0.1]
    assert {run.recipe.optim.steps for run in runs} == {4}
    assert [run.recipe.run.seed for run in runs] == [0, 0, 1, 1, 2, 2]
    assert study.folder == study.path.with_suffix("")
    assert study.reference == "slow"
    picked = select(study, runs, rows=["fast"], seeds=[2, 0])
    assert [run.name for run in picked] == ["fast-seed0", "fast-seed2"]


def test_a_row_may_have_a_recipe_of_its_own(study_file, tmp_path):
    path = study_file('set = ["optim.lr=0.1"]', 'recipe = "other.toml"')
    (tmp_path / "other.toml").write_text((tmp_path / "tiny.toml").read_text() + 'x = "y"\n')
    with pytest.raises(InputError, match=r"row fast: .*other\.toml: unknown recipe key run\.x"):
        study_runs(load_study(path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["title =", "titel ="], "unknown study key titel. did you mean title"),
        (["label =", "lable ="], r"unknown study key rows.1.lable. did you mean label"),
        (["synthetic =", "synthetik ="], "data.synthetik. did you mean synthetic"),
        (["recipe =", "# recipe ="], "the study lacks recipe"),
        (["seeds = [0, 1, 2]", "seeds = []"], "seeds has a value"),
        (["seeds = [0, 1, 2]", "seeds = [0, 1, 0]"], "every seed once, not 0 twice"),
        (['"fast"', '"slow"'], "every row once, not slow twice"),
        (['name = "fast"', 'name = "a/b"'], "rows.1.name has a value"),
        (["metrics =", 'reference = "slwo"\nmetrics ='], "reference names no row: 'slwo'; did"),
        (["paper = 25.5", "x = 1"], "every row needs an x, or none; fast has none"),
        (["synthetic = {", 'folder = "jhmdb"\nsynthetic = {'], "one of synthetic"),
        (["paper = 25.5", 'weights_of = "fast"'], "move the row fast before slow"),
        (["seeds = [0, 1, 2]", "seeds = [0, 1, 2"], "no valid TOML"),
    ],
)
def test_what_a_study_file_must_not_say(changes, words, study_file):
    with pytest.raises(InputError) as caught:
        load_study(study_file(*changes))
    assert words in str(caught.value)
    assert "rates.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["optim.lr=0.1", "optim.lrr=0.1"], "row fast: "),
        (["optim.lr=0.1", "optim.lrr=0.1"], "unknown recipe key optim.lrr. did you mean lr"),
        (["optim.lr=0.1", "model.options.chanels=8"], "did you mean channels"),
        (['recipe = "tiny.toml"', 'recipe = "se_stad_tiny_dem"'], "se_stad_tiny_demo"),
        (["test_videos = 1", "test_vidoes = 1"], "did you mean test_videos"),
        (["{ videos = 1", '{ layout = "avaa", videos = 1'], "one of ava, jhmdb"),
        (["{ videos = 1", '{ videos = "two"'], "data.synthetic.videos has a value"),
    ],
)
def test_what_no_run_can_be_made_of(changes, words, study_file):
    with pytest.raises(InputError) as caught:
        study_runs(load_study(study_file(*changes)))
    assert words in str(caught.value)


def test_no_such_study_row_or_seed(study_file, tmp_path):
    with pytest.raises(InputError, match=r"gone\.toml: no such study file"):
        load_study(tmp_path / "gone.toml")
    study = load_study(study_file())
    with pytest.raises(InputError, match=r"no row 'slo'\. did you mean slow"):
        select(study, [], rows=["slo"], seeds=[])
    with pytest.raises(InputError, match="no seed 7: expected some of 0, 1, 2"):
        select(study, [], rows=[], seeds=[7])


def test_settings_tell_what_changes_a_result_and_nothing_else(recipe_like):
    first = recipe_like()
    for free in ("run.threads=7", "run.workers=3", "run.log_every=9", "run.compile=model"):
        other = recipe_like(free)
        assert differences(settings(first), settings(other), chosen(other)) == []
    other = recipe_like("optim.lr=0.5", "model.options.depth=2", "augment.crop=8",
                        "augment.short_side=[8, 9]", "data.size=null")  # fmt: skip
    found = differences(settings(first), settings(other), chosen(other))
    assert [one.key for one in found] == [
        "augment.crop", "augment.short_side", "data.short_side", "data.size",
        "model.options.depth", "optim.lr",
    ]  # fmt: skip
    assert found[-1] == ("optim.lr", 0.01, 0.5)
    # and back: what is no longer said counts too
    back = differences(settings(other), settings(first), chosen(first))
    assert [one.key for one in back] == [one.key for one in found]


@pytest.fixture
def recipe_like(study_file, tmp_path):
    study_file()

    def load(*overrides):
        changes = [text for text in overrides if not text.endswith("null")]
        text = (tmp_path / "tiny.toml").read_text()
        if len(changes) < len(overrides):
            text = text.replace("size = [64, 48]", "short_side = 48")
        (tmp_path / "changed.toml").write_text(text)
        return load_recipe(tmp_path / "changed.toml", changes)

    return load


def test_recipes_may_gain_keys_without_making_results_stale(study_file, finished):
    study = load_study(study_file())
    finished(study, "slow", 0, frame_mAP=0.2)
    path = study.results / "slow-seed0.json"
    content = json.loads(path.read_text())
    assert content["settings"].pop("optim.nesterov") is False  # of an earlier version
    path.write_text(json.dumps(content))
    assert set(read_results(study, study_runs(study)).fresh) == {"slow-seed0"}
    changed = load_study(study_file("steps=4", 'steps=4", "optim.nesterov=true'))
    results = read_results(changed, study_runs(changed))
    assert results.fresh == {}
    assert results.stale["slow-seed0"] == [("optim.nesterov", None, True)]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (["optim.steps=4", "optim.steps=5"], "optim.steps"),
        (["test_videos = 1", "test_videos = 3"], "study.data.test_videos"),
        (["synthetic =", 'folder = "x"  # synthetic ='], "study.data.folder"),
    ],
)
def test_a_changed_setting_makes_a_result_stale(changes, key, study_file, finished):
    study = load_study(study_file())
    finished(study, "fast", 1, frame_mAP=0.2)
    changed = load_study(study_file(*changes))
    results = read_results(changed, study_runs(changed))
    assert key in [one.key for one in results.stale["fast-seed1"]]
    assert results.fresh == {}


def test_weights_to_begin_with_are_a_setting(study_file, finished):
    begins = ('set = ["optim.lr=0.1"]', 'set = ["optim.lr=0.1"]\nweights_of = "slow"')
    study = load_study(study_file(*begins))
    runs = {run.name: run for run in study_runs(study)}
    assert runs["fast-seed2"].begins_with == "slow-seed2"
    finished(study, "fast", 0, frame_mAP=0.2)
    slower = ('name = "slow"', 'name = "slow"\nset = ["optim.momentum=0.8"]')
    changed = load_study(study_file(*begins, *slower))
    stale = read_results(changed, study_runs(changed)).stale
    assert stale == {"fast-seed0": [("weights_of.optim.momentum", 0.9, 0.8)]}


def test_results_of_other_rows_and_damaged_ones_are_told(study_file, finished):
    study = load_study(study_file())
    finished(study, "slow", 0, frame_mAP=0.2)
    path = study.results / "slow-seed0.json"
    path.rename(study.results / "quick-seed0.json")
    runs = study_runs(study)
    assert [one.name for one in read_results(study, runs).foreign] == ["quick-seed0.json"]
    content = json.loads((study.results / "quick-seed0.json").read_text())
    path.write_text(json.dumps({**content, "seed": 1}))
    with pytest.raises(InputError, match=r"another run: expected slow-seed0, found slow, seed 1"):
        read_results(study, runs)
    for text, words in (
        ("{", "no JSON"),
        ("[]", "no result of a study"),
        (json.dumps({**content, "version": 2}), "no result of a study"),
        (json.dumps({**content, "steps": "many"}), "damaged: expected steps"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_results(study, runs)


def test_results_survive_the_file(study_file, finished):
    study = load_study(study_file())
    finished(study, "slow", 0, frame_mAP=0.1 + 0.2, actor_AP=float("nan"))
    text = (study.results / "slow-seed0.json").read_text()
    assert "NaN" not in text
    result = read_result(study.results / "slow-seed0.json")
    assert result.number("frame_mAP") == 0.1 + 0.2
    assert result.number("actor_AP") is None
    assert result.number("seconds") == 60.0


def test_a_synthetic_set_is_made_once(study_file, tmp_path):
    study = load_study(study_file())
    cache = tmp_path / "cache"
    first = find_data(study, given=None, cache=cache, workers=1)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert (first.name, first.parent.parent) == ("ava", cache)
    assert len(before) > 4
    assert find_data(study, given=None, cache=cache, workers=1) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    longer = load_study(study_file("[4, 4]", "[4, 5]"))
    other = find_data(longer, given=None, cache=cache, workers=1)
    assert other.parent != first.parent


def test_a_lock_is_waited_for_and_that_is_said(tmp_path):
    said, order = [], []

    def second():
        with alone(tmp_path / "lock", busy=lambda: said.append("busy")):
            order.append("second")

    with alone(tmp_path / "lock"):
        other = threading.Thread(target=second)
        other.start()
        while not said:
            time.sleep(0.01)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_real_data_is_found_here_or_below_stad_data(study_file, tmp_path, monkeypatch):
    real = 'folder = "jhmdb"'
    study = load_study(
        study_file(
            "synthetic = { videos = 1, test_videos = 1, seconds = [4, 4], size = [64, 48] }", real
        )
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STAD_DATA", raising=False)
    with pytest.raises(InputError, match=r"not here: expected jhmdb\. .*--data.*STAD_DATA"):
        find_data(study, given=None, cache=tmp_path)
    (tmp_path / "sets" / "jhmdb").mkdir(parents=True)
    monkeypatch.setenv("STAD_DATA", str(tmp_path / "sets"))
    assert find_data(study, given=None, cache=tmp_path) == tmp_path / "sets" / "jhmdb"
    (tmp_path / "mine").mkdir()
    assert find_data(study, given=tmp_path / "mine", cache=tmp_path) == tmp_path / "mine"
    with pytest.raises(InputError, match="no such data folder"):
        find_data(study, given=tmp_path / "gone", cache=tmp_path)


def test_a_trial_is_short_and_keeps_to_itself(study_file, tmp_path):
    study = trial(load_study(study_file()), 2, tmp_path / "out")
    assert [run.recipe.optim.steps for run in study_runs(study)] == [2, 2]
    assert study.results == tmp_path / "out" / "try" / "results"


@pytest.mark.parametrize(("steps", "burn_in"), [(9, [4, 3]), (6, [3, 3]), (1, [0, 0])])
def test_a_trial_leaves_the_burn_in(steps, burn_in, study_file, tmp_path):
    taught = ["method.name=pseudo_labels", "method.burn_in=400"]
    path = study_file(
        'set = ["optim.steps=4"]',
        f"set = {json.dumps([*taught, 'optim.steps=900'])}",
        'set = ["optim.lr=0.1"]',
        'set = ["method.burn_in=3"]',
    )
    study = trial(load_study(path), steps, tmp_path / "out")
    assert [run.recipe.method.burn_in for run in study_runs(study)] == burn_in
    assert [run.recipe.optim.steps for run in study_runs(study)] == [steps, steps]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("1h30m", 5400), ("45s", 45), ("0.5h", 1800)]
)
def test_budgets(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "1d", "1h 30m", "-5m"])
def test_budgets_without_a_unit_are_refused(text):
    with pytest.raises(InputError, match="90m or 1h30m"):
        parse_budget(text)

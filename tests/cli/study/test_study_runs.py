"""Studies with real runs: parallel, stopped, killed, failing, stale; each goes on where it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = ["slow-seed0", "fast-seed0", "slow-seed1", "fast-seed1"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What `forked_studies.py` saw, scene by scene."""
    from stad_data.synthetic import make

    folder = tmp_path_factory.mktemp("studies")
    made = make(folder / "set", videos=1, test_videos=1, seconds=(4, 4), size=(64, 48),
                layouts=("ava",), workers=1)  # fmt: skip
    here = Path(__file__).parent
    source = here.joinpath("conftest.py").read_text()
    recipe, study = (
        source.split(f'{name} = """')[1].split('"""')[0] for name in ("RECIPE", "STUDY")
    )
    (folder / "tiny.toml").write_text(recipe)
    path = folder / "rates.toml"
    path.write_text(study.replace("seeds = [0, 1, 2]", "seeds = [0, 1]"))
    command = [
        sys.executable,
        here / "forked_studies.py",
        path,
        folder / "scenes",
        made.root / "ava",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_row_runs_with_every_seed(told):
    whole = told["whole"]
    assert sorted(whole["finished"]) == sorted(ROWS)
    assert (whole["failed"], whole["left"]) == ({}, [])
    assert whole["begun"] == ROWS
    assert list(whole["results"]) == sorted(ROWS)
    for result in whole["results"].values():
        assert result["steps"] == 4
        assert set(result["metrics"]) >= {"frame_mAP", "actor_AP"}
        assert result["machine"]["threads"] >= 1
    assert [Path(path).name for path in whole["tables"]] == [
        "table.md", "table.tex", "table.json", "table.png",
    ]  # fmt: skip
    assert all("OMP_NUM_THREADS" in environment for environment in told["environments"])


def test_what_is_finished_is_not_run_again(told):
    assert told["again"]["begun"] == []
    assert told["again"]["results"] == told["whole"]["results"]
    assert told["plan"][:4] == [f"{name}: not begun" for name in ROWS]
    assert told["plan"][4].startswith("4 of 4 runs to do, 1 at a time; how long is not known")
    assert told["plan_after"] == [
        *(f"{name}: finished" for name in ROWS),
        "0 of 4 runs to do, 1 at a time",
    ]


def test_a_result_that_was_not_kept_is_collected_from_the_run(told):
    assert told["collected"]["results"] == told["whole"]["results"]


def test_a_changed_row_is_run_anew_and_its_old_run_kept_aside(told):
    words = "fast-seed0: stale: optim.lr was 0.1, is 0.2, about "
    assert any(line.startswith(words) for line in told["stale_plan"])
    stale = told["stale"]
    assert stale["finished"] == ["fast-seed0"]
    left_out = "its result is stale and left out: optim.lr was 0.1, is 0.2"
    assert f"fast-seed0: {left_out}" in stale["said"]
    assert f"fast-seed1: {left_out}" in stale["said"]
    assert "fast-seed0.stale-1" in told["aside"]
    before, after = told["whole"]["results"], stale["results"]
    assert after["fast-seed0"]["metrics"] != before["fast-seed0"]["metrics"]
    assert after["slow-seed0"] == before["slow-seed0"]


def test_a_budget_stops_within_a_run_and_the_same_command_ends_as_the_undisturbed_one(told):
    late = told["late"]
    assert late["finished"] == []
    assert sorted(late["stopped"]) == ["fast-seed0", "slow-seed0"]
    assert not late["interrupted"]
    assert "the budget is spent: 1 runs are saved" in late["said"]
    assert any(line.startswith("slow-seed0: stopped at step ") for line in told["budget_plan"])
    resumed = told["resumed"]
    assert sorted(resumed["finished"]) == ["fast-seed0", "slow-seed0"]
    assert any("slow-seed0: begun, from step" in line for line in resumed["said"])
    for name in ("slow-seed0", "fast-seed0"):
        assert resumed["results"][name]["metrics"] == told["whole"]["results"][name]["metrics"]


def test_a_signal_stops_runs_and_is_told(told):
    found = told["interrupted"]
    assert found["interrupted"]
    assert found["finished"] == []
    assert sorted(found["stopped"]) == ["fast-seed0", "slow-seed0"]
    assert found["begun"] == ["slow-seed0"]
    assert any(line.startswith("slow-seed0: stopped at step") for line in found["said"])


def test_runs_that_lose_their_study_save_themselves(told):
    found = told["orphaned"]
    assert "stopped at step" in found["log"]
    assert found["finished"] == ["slow-seed0"]
    assert (
        found["results"]["slow-seed0"]["metrics"]
        == told["whole"]["results"]["slow-seed0"]["metrics"]
    )


def test_one_failure_is_told_with_its_log_and_the_others_go_on(told):
    found = told["failing"]
    assert found["finished"] == ["slow-seed0", "slow-seed1"]
    assert set(found["failed"]) == {"fast-seed0", "fast-seed1"}
    why = found["failures"]["fast-seed0"]
    assert why.startswith("exit code 2; the end of ")
    assert "training diverged by step" in why
    assert found["left"] == ["fast-seed0", "fast-seed1"]


def test_a_row_begins_with_the_weights_of_another(told):
    found = told["begins"]
    assert found["begun"] == ["slow-seed0", "fast-seed0"]
    alone = told["whole"]["results"]["slow-seed0"]["metrics"]
    assert found["results"]["slow-seed0"]["metrics"] == alone
    assert found["results"]["fast-seed0"]["metrics"] != alone
    again = told["begins_again"]
    assert again["begun"] == ["slow-seed0", "fast-seed0"]
    assert again["results"]["fast-seed0"]["metrics"] == found["results"]["fast-seed0"]["metrics"]

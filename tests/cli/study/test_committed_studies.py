"""The studies of this repository can be run as they stand, and their results are theirs."""

from pathlib import Path

import pytest

from stad_cli.study.results import read_results
from stad_cli.study.study_file import load_study
from stad_cli.study.study_run import study_runs
from stad_cli.study.table import make_table

STUDIES = sorted((Path(__file__).parents[3] / "benchmarks" / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_committed_study_is_whole(path):
    study = load_study(path)
    runs = study_runs(study)
    assert len(runs) == len(study.file.rows) * len(study.file.seeds)
    results = read_results(study, runs)
    assert results.foreign == (), "results of rows that the study no longer has"
    assert results.stale == {}, "results of other settings: run the study again"
    make_table(study, results.fresh)

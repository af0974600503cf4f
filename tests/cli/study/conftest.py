"""Study files with a recipe that trains in a second, and results as runs would have left them."""

from collections.abc import Callable
from pathlib import Path

import pytest

RECIPE = """
[model]
name = "se_stad_tiny"
[model.options]
channels = 8
depth = 1
test_score = 0.0
max_actors = 3
[model.options.trunk]
stem_width = 4
widths = [4, 8, 8, 8]

[data]
dataset = "synthetic"
size = [64, 48]

[clip]
length = 4
stride = 2

[optim]
lr = 0.01
steps = 6
batch = 2

[run]
workers = 0
threads = 1
log_every = 1
"""

STUDY = """
title = "What the learning rate does"
recipe = "tiny.toml"
seeds = [0, 1, 2]
metrics = ["frame_mAP", "actor_AP"]
set = ["optim.steps=4"]

[data]
synthetic = { videos = 1, test_videos = 1, seconds = [4, 4], size = [64, 48] }

[[rows]]
name = "slow"
paper = 25.5

[[rows]]
name = "fast"
label = "ten times | faster"
set = ["optim.lr=0.1"]
paper = 26.9
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """`study_file(old, new, ...)`: the study with parts of its text replaced, as a file."""

    def write(*changes: str, name: str = "rates.toml") -> Path:
        (tmp_path / "tiny.toml").write_text(RECIPE)
        text = STUDY
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def finished() -> Callable[..., None]:
    """`finished(study, "slow", 0, frame_mAP=0.2)`: leave the result that a run would leave."""
    from stad_cli.study.results import Result, write_result
    from stad_cli.study.study_run import study_runs

    def leave(study, row: str, seed: int, *, seconds: float = 60.0, **metrics) -> None:
        (run,) = [run for run in study_runs(study) if (run.row, run.seed) == (row, seed)]
        result = Result(
            study=study.name,
            row=row,
            seed=seed,
            metrics=metrics,
            steps=run.recipe.optim.steps,
            seconds=seconds,
            settings=run.settings,
        )
        write_result(run.result_path(study), result)

    return leave

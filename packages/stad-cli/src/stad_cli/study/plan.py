"""What of a study is still to be run, in which order, and about how long that takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from stad_cli.recipe_settings import Difference, differences
from stad_cli.study.results import Result, Results, read_result, write_result
from stad_cli.study.run_cell import Cell
from stad_cli.study.study_file import Study
from stad_cli.study.study_run import StudyRun
from stad_eval import InputError


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run that is to be done.

    Attributes:
        run: Which.
        why: What is there of it.
        seconds: How long it may take, from finished runs; None where none tells.
        begun: The step that it goes on from.
    """

    run: StudyRun
    why: str
    seconds: float | None
    begun: int = 0


def cells(runs: Iterable[StudyRun], out: Path) -> dict[str, Cell]:
    """The folder of every run below `out`, by the run's name."""
    return {run.name: Cell(path=out / run.name, run=run) for run in runs}


def collect(study: Study, wanted: Mapping[str, Cell], results: Results) -> list[str]:
    """Keep the results of runs that finished when nobody was there to do it; their names.

    Raises:
        OSError: A result cannot be written.
    """
    found: list[str] = []
    for name, cell in wanted.items():
        outcome = cell.outcome() if name not in results.fresh else None
        if outcome is not None:
            write_result(cell.run.result_path(study), result_of(study, cell.run, outcome))
            found.append(name)
    return found


def adopt(study: Study, runs: Iterable[StudyRun], results: Results) -> dict[str, Path]:
    """Take results of the same settings and seed from the studies beside this one.

    Tables often share a row, the full model say: it is trained once.

    Returns:
        Of every run that got its result so, the file that it was taken from.

    Raises:
        OSError: A result cannot be written.
    """
    lacking = [run for run in runs if run.name not in results.fresh]
    folders = sorted(study.folder.parent.glob("*/results")) if lacking else []
    paths = [
        path for folder in folders if folder != study.results for path in folder.glob("*.json")
    ]
    found: dict[str, Path] = {}
    for path in sorted(paths):
        try:
            result = read_result(path)
        except InputError:  # its own study tells
            continue
        for run in lacking:
            if run.name in found or run.seed != result.seed:
                continue
            if not differences(result.settings, run.settings, run.chosen):
                own = replace(result, study=study.name, row=run.row)
                write_result(run.result_path(study), own)
                found[run.name] = path
    return found


def result_of(study: Study, run: StudyRun, outcome: Mapping[str, object]) -> Result:
    """The result that an outcome of this run makes."""
    return Result(
        study=study.name,
        row=run.row,
        seed=run.seed,
        settings=run.settings,
        **outcome,  # pyright: ignore[reportArgumentType] - what study.child wrote
    )


def make_plan(
    selected: Sequence[StudyRun], results: Results, every: Mapping[str, Cell]
) -> list[Planned]:
    """The selected runs without a fresh result, each after the run whose weights it begins with.

    Args:
        selected: In the order to run them.
        results: What is finished.
        every: Cells of all runs of the study.
    """
    needed: dict[str, str] = {}
    for run in selected:
        if run.name not in results.fresh:
            _need(run, _why(run, results, every[run.name]), every, needed)
    planned: list[Planned] = []
    for name, why in needed.items():
        cell = every[name]
        step = cell.step
        whole = _seconds(cell.run, results.fresh.values())
        left = 1 - min(step / cell.run.recipe.optim.steps, 1.0)
        planned.append(
            Planned(
                run=cell.run,
                why=why,
                seconds=None if whole is None else whole * left,
                begun=step,
            )
        )
    return planned


def describe(differing: Sequence[Difference]) -> str:
    """The first settings that changed, in words."""
    parts = [f"{key} was {before!r}, is {now!r}" for key, before, now in differing[:3]]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return "; ".join(parts) + more


def _need(run: StudyRun, why: str, every: Mapping[str, Cell], needed: dict[str, str]) -> None:
    """Add a run, and before it those without whose weights it cannot begin."""
    if run.name in needed:
        return
    if run.begins_with is not None:
        before = every[run.begins_with]
        # A committed result does not hold the weights.
        if not before.has_weights():
            _need(before.run, f"{run.name} begins with its weights", every, needed)
    needed[run.name] = why


def _why(run: StudyRun, results: Results, cell: Cell) -> str:
    if cell.step:
        return f"stopped at step {cell.step} of {run.recipe.optim.steps}"
    if run.name in results.stale:
        return f"stale: {describe(results.stale[run.name])}"
    return "not begun"


def _seconds(run: StudyRun, results: Iterable[Result]) -> float | None:
    """Seconds of a whole run: the median of its row's, else of any row's, scaled by steps."""
    rates = [(one.row, one.seconds / one.steps) for one in results if one.steps]
    own = [rate for row, rate in rates if row == run.row] or [rate for _, rate in rates]
    return median(own) * run.recipe.optim.steps if own else None

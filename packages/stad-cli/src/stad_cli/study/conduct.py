"""A study from its file to its tables: run what is missing, then put together what is there."""

import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from stad_cli.json_file import write_json
from stad_cli.progress import progress
from stad_cli.study.data_source import alone, find_data
from stad_cli.study.plan import Planned, adopt, cells, collect, describe, make_plan
from stad_cli.study.plot import write_plot
from stad_cli.study.results import Results, read_results
from stad_cli.study.runs import Ended, Runs, Say
from stad_cli.study.slots import make_slots
from stad_cli.study.study_file import Row, Study
from stad_cli.study.study_run import StudyRun, row_recipe, select, study_runs
from stad_cli.study.table import Table, make_table
from stad_cli.study.table_text import latex, markdown, plain
from stad_cli.whole_file import naming, whole_file
from stad_eval import InputError

_UNITS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is wanted of a study.

    Attributes:
        out: Holds the run folders.
        cache: Holds synthetic sets.
        data: A dataset folder instead of the study's own.
        rows: Only these rows; all where none is named.
        seeds: Only these seeds; all where none is named.
        jobs: Runs at a time; None for one per CUDA device, else one.
        device: Where to compute.
        budget: Seconds after which to stop; None for no limit.
    """

    out: Path
    cache: Path
    data: Path | None = None
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    jobs: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    budget: float | None = None


@dataclass(frozen=True, kw_only=True)
class Conducted:
    """What a study has come to.

    Attributes:
        table: Of everything that is there.
        files: The tables that were written.
        ended: How the runs of this time ended.
        left: Names of the wanted runs that have no result yet.
    """

    table: Table
    files: tuple[Path, ...]
    ended: Ended = field(default_factory=Ended)
    left: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """For a program to read."""
        return {
            "finished": self.ended.finished,
            "failed": self.ended.failed,
            "left": list(self.left),
            "tables": [str(path) for path in self.files],
        }


def conduct(study: Study, wishes: Wishes, say: Say) -> Conducted:
    """Run what has no result yet, then write the tables.

    Raises:
        InputError: The study, its data or the wishes cannot be used; nothing has run.
        OSError: Something cannot be written.
    """
    runs = study_runs(study)
    selected = select(study, runs, rows=wishes.rows, seeds=wishes.seeds)
    slots = make_slots(wishes.jobs, wishes.device)
    deadline = None if wishes.budget is None else time.monotonic() + wishes.budget
    wishes.out.mkdir(parents=True, exist_ok=True)

    def busy() -> None:
        say(f"another process runs this study in {wishes.out}: waiting for it")

    with alone(wishes.out / "lock", busy=busy):
        results = _collected(study, runs, wishes, say)
        planned = make_plan(selected, results, cells(runs, wishes.out))
        ended = Ended()
        if planned:
            data = find_data(study, given=wishes.data, cache=wishes.cache)
            say(f"{len(planned)} of {len(selected)} runs to do, {_time(planned, len(slots))}")
            steps = sum(one.run.recipe.optim.steps - one.begun for one in planned)
            with progress(study.name, steps, unit="steps") as advance:
                ended = Runs(
                    study,
                    planned,
                    cells(runs, wishes.out),
                    data=data,
                    slots=slots,
                    deadline=deadline,
                    say=say,
                    advance=advance,
                ).run()
        fresh = read_results(study, runs).fresh
        table, files = write_tables(study, runs)
    left = tuple(run.name for run in selected if run.name not in fresh)
    return Conducted(table=table, files=files, ended=ended, left=left)


def tabulate(study: Study, wishes: Wishes, say: Say) -> Conducted:
    """Write the tables of what is there, and run nothing.

    Raises:
        InputError: The study cannot be used, or a result is damaged.
        OSError: A table cannot be written.
    """
    runs = study_runs(study)
    fresh = _collected(study, runs, wishes, say).fresh
    table, files = write_tables(study, runs)
    left = tuple(run.name for run in runs if run.name not in fresh)
    return Conducted(table=table, files=files, left=left)


def preview(study: Study, wishes: Wishes) -> list[str]:
    """What `conduct` would do, one line per wanted run and one for all; nothing is written.

    Raises:
        InputError: As `conduct`.
    """
    runs = study_runs(study)
    selected = select(study, runs, rows=wishes.rows, seeds=wishes.seeds)
    results, every = read_results(study, runs), cells(runs, wishes.out)
    planned = {one.run.name: one for one in make_plan(selected, results, every)}
    lines: list[str] = []
    for name in dict.fromkeys([*planned, *(run.name for run in selected)]):
        one = planned.get(name)
        if one is None:
            lines.append(f"{name}: finished")
        elif every[name].has_weights():
            lines.append(f"{name}: finished, its result is to be collected")
        else:
            about = "" if one.seconds is None else f", about {_clock(one.seconds)}"
            lines.append(f"{name}: {one.why}{about}")
    jobs = len(make_slots(wishes.jobs, wishes.device))
    total = _time(list(planned.values()), jobs)
    return [*lines, f"{len(planned)} of {len(selected)} runs to do, {total}"]


def write_tables(study: Study, runs: list[StudyRun]) -> tuple[Table, tuple[Path, ...]]:
    """Write table.md, .tex, .json and .png beside the results; give the table and the paths.

    Raises:
        InputError: A damaged result, or a metric that no result has.
        OSError: One cannot be written.
    """
    table = make_table(study, read_results(study, runs).fresh)
    study.folder.mkdir(parents=True, exist_ok=True)
    files = tuple(study.folder / f"table.{kind}" for kind in ("md", "tex", "json", "png"))
    _write_text(files[0], markdown(table))
    _write_text(files[1], latex(table))
    write_json(files[2], plain(table))
    write_plot(files[3], table)
    return table, files


def trial(study: Study, steps: int, out: Path) -> Study:
    """The same study to see whether it runs: few steps, the first seed, results in `out`.

    A burn-in ends after half of the steps, so that what comes after it is tried too.

    Raises:
        InputError: A row has no recipe that can be used.
    """

    def shortened(row: Row) -> Row:
        short = [f"optim.steps={steps}", "eval.every=0"]
        if row_recipe(study, row, study.file.seeds[0]).method.burn_in > steps // 2:
            short.append(f"method.burn_in={steps // 2}")
        return row.model_copy(update={"set": (*row.set, *short)})

    rows = tuple(shortened(row) for row in study.file.rows)
    update: dict[str, Any] = {"rows": rows, "seeds": study.file.seeds[:1]}
    return replace(study, file=study.file.model_copy(update=update), folder=out / "try")


def parse_budget(text: str) -> float:
    """Seconds of "90m", "1h30m" or "45s".

    Raises:
        InputError: No such time.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InputError(
            "the budget is no time", expected="a time such as 90m or 1h30m", found=repr(text)
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _collected(study: Study, runs: list[StudyRun], wishes: Wishes, say: Say) -> Results:
    """What is there, the results of runs that finished alone among it; what is not used is told."""
    results = read_results(study, runs)
    if collect(study, cells(runs, wishes.out), results):
        results = read_results(study, runs)
    adopted = adopt(study, runs, results)
    for name, path in adopted.items():
        say(
            f"{name}: has the settings of {path.relative_to(study.folder.parent)}, taken from there"
        )
    if adopted:
        results = read_results(study, runs)
    for name, differing in results.stale.items():
        say(f"{name}: its result is stale and left out: {describe(differing)}")
    for path in results.foreign:
        say(f"{path}: left out, the study has no such run")
    return results


def _write_text(path: Path, text: str) -> None:
    with whole_file(path, "text") as file, naming(path):
        file.write(text)


def _time(planned: list[Planned], jobs: int) -> str:
    known = [one.seconds for one in planned if one.seconds is not None]
    at_once = f"{jobs} at a time"
    if not planned or len(known) < len(planned):
        return f"{at_once}; how long is not known before a run has finished" if planned else at_once
    # No shorter than the longest run, nor than an even share.
    return f"{at_once}, about {_clock(max(max(known), sum(known) / jobs))}"


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

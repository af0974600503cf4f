"""`stad study`: rows of settings, each with several seeds, and the table they make."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLE = (
    "Examples:  stad study benchmarks/studies/NAME.toml --jobs 2 --budget 90m\n\n"
    "           stad study benchmarks/studies/NAME.toml --table"
)


def study(  # noqa: PLR0913 - one parameter per option of the command
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    out: Annotated[
        Path | None, typer.Option(help="Holds the run folders.", show_default="runs/studies/NAME")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset folder.", show_default="what the study names")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Holds synthetic sets.")] = Path("runs/synthetic"),
    jobs: Annotated[
        int | None,
        typer.Option(help="Runs at a time.", show_default="one per CUDA device, or one"),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after, e.g. 90m or 1h30m.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ROW", help="Run this row only; may be repeated.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="SEEDS", help="Run these seeds only, e.g. 0,1.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Run nothing: only write the tables.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and how long it takes.")
    ] = False,
    trial: Annotated[
        int | None,
        typer.Option(
            "--try", min=1, metavar="STEPS", help="Try every row, with one seed, in OUT/try."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run what has no result yet, and write the table of what is there.

    Results are small JSON files beside the study, STUDY/results/; the tables STUDY/table.md, .tex,
    .json and .png. Stopped by the budget, by Ctrl-C or by force, the same command goes on. Ends
    with 1 where a run failed, with 130 where it was stopped by a signal.
    """
    from stad_cli.study import conduct
    from stad_cli.study.study_file import load_study
    from stad_cli.study.table_text import markdown

    found = load_study(file)
    runs = out or Path("runs") / "studies" / found.name
    if trial is not None:
        found = conduct.trial(found, trial, runs)
        runs = runs / "try" / "runs"
    wishes = conduct.Wishes(
        out=runs,
        cache=cache,
        data=data,
        rows=tuple(only or ()),
        seeds=_seeds(seeds),
        jobs=jobs,
        device=device,
        budget=None if budget is None else conduct.parse_budget(budget),
    )
    if dry_run:
        typer.echo("\n".join(conduct.preview(found, wishes)))
        return
    outcome = (conduct.tabulate if table else conduct.conduct)(found, wishes, _say)
    typer.echo(json.dumps(outcome.to_plain()) if as_json else markdown(outcome.table))
    if outcome.left:
        _say(f"{len(outcome.left)} runs have no result yet: {', '.join(outcome.left)}")
    if outcome.ended.interrupted:
        raise typer.Exit(130)
    if outcome.ended.failed:
        raise typer.Exit(1)


def _seeds(text: str | None) -> tuple[int, ...]:
    from stad_eval import InputError

    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if (text is not None and not parts) or not all(part.isdigit() for part in parts):
        raise InputError("--seeds is no list of seeds", expected="such as 0,1", found=repr(text))
    return tuple(map(int, parts))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

"""`stad report`: the HTML page of a run."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  stad report runs/se_stad_tiny_jhmdb"


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, as `stad train` leaves it.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the dataset.", show_default="where the run was trained on"),
    ] = None,
) -> None:
    """Write RUN/report.html: numbers, curves, confusion, best and worst clips, in one file."""
    from stad_cli.run_report import write_report

    typer.echo(str(write_report(run, data=data)))

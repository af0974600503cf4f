"""`stad train`: a recipe and a data folder in, a run folder out."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLE = (
    "Example:  stad train se_stad_tiny_jhmdb --data JHMDB --set optim.steps=2000\n\n"
    "Several processes:  torchrun --nproc-per-node 8 -m stad_cli train "
    "se_stad_slowfast_r50_ava --data AVA"
)


def train(  # noqa: PLR0913 - one parameter per option of the command
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a .toml file.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/RECIPE")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="What to begin with: a checkpoint of the same model, or public weights of its "
            "backbone (see: stad models load)."
        ),
    ] = None,
    clip_weights: Annotated[
        Path | None,
        typer.Option(
            help="Public weights of the 3D trunk of a detector that has one beside (STMA)."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. optim.lr=0.01."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Root of all randomness.")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train a detector, evaluate it, and keep weights, log and detections in a run folder."""
    from stad_cli.commands.evaluate import print_scores
    from stad_cli.config import load_recipe
    from stad_cli.engine.train import TrainOutcome
    from stad_cli.engine.train import train as run
    from stad_cli.run_report import write_report

    changes = [*(overrides or ()), *([] if seed is None else [f"run.seed={seed}"])]
    resolved = load_recipe(recipe, changes)
    outcome: TrainOutcome = run(
        resolved,
        data=data,
        out=out or Path("runs") / resolved.name,
        resume=resume,
        weights=weights,
        clip_weights=clip_weights,
        device=device,
        say=_say,
        quiet=False,
    )
    if not outcome.leads:
        return
    page = write_report(outcome.run, data=data, evaluation=outcome.evaluation)
    if as_json:
        typer.echo(json.dumps(outcome.to_plain() | {"report": str(page)}))
        return
    print_scores(outcome.evaluation, as_json=False)
    typer.echo(f"run         {outcome.run}\ncheckpoint  {outcome.best}\nreport      {page}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

"""`stad demo`: the whole road in one command, on synthetic data."""

from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLE = "Example:  stad demo --out demo"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data and runs.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the data and of the training.")] = 0,
    frame_only: Annotated[
        bool,
        typer.Option("--frame-only", help="Show the model the keyframe alone, repeated."),
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps.", show_default="the recipe's")
    ] = None,
    videos: Annotated[int, typer.Option(min=1, help="Training videos to make.")] = 90,
    test_videos: Annotated[int, typer.Option(min=1, help="Held-out videos to make.")] = 36,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")
    ] = "auto",
) -> None:
    """Make data, train a small SE-STAD, score it, and draw what it sees on a video.

    The actions of the synthetic data can be told apart by motion only: compare with --frame-only,
    which trains the same model for as long. Run again, it reuses the data and trains in a new
    folder, or goes on with a run that was interrupted.
    """
    from stad_cli.demonstration import demonstrate
    from stad_cli.engine.mask_evaluation import MaskEvaluation

    found = demonstrate(
        out,
        seed=seed,
        frame_only=frame_only,
        overrides=() if steps is None else (f"optim.steps={steps}",),
        videos=videos,
        test_videos=test_videos,
        device=device,
    )
    scored = found.outcome.evaluation
    if isinstance(scored, MaskEvaluation):
        raise TypeError("the demo's recipe finds actors at keyframes")
    lines = (
        ("frame-mAP", f"{100 * scored.result.mean:.2f} % at IoU {scored.iou:g}, held-out videos"),
        ("actor AP", f"{100 * scored.actor_result.mean:.2f} %"),
        ("checkpoint", str(found.outcome.best)),
        ("overlay", str(found.detection.overlay)),
        ("report", str(found.report)),
        ("time", f"{found.seconds:.0f} s"),
    )
    typer.echo(scored.result.table() + "\n")
    for name, value in lines:
        typer.echo(f"{name:12}{value}")

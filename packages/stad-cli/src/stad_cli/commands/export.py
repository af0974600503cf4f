"""`stad export`: a detector's networks as torch.export and ONNX graphs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stad_cli.export.exporting import Form

EXAMPLE = (
    "Examples:  stad export runs/se_stad_tiny_jhmdb --out exported\n\n"
    "           stad export se_stad_slowfast_r50_8x8 --size 256 256 --out exported --format onnx"
)


def export(
    source: Annotated[str, typer.Argument(metavar="CHECKPOINT|RUN|MODEL", help="What to export.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="WIDTH HEIGHT", help="Of clips, pixels.", show_default="the recipe's"),
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option("--format", help="pt2, onnx; may be repeated.", show_default="both"),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Actions, of a model by its name.")] = 80,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write a detector's networks as graphs that run without this program, for any batch size.

    Boxes, suppression and scores stay outside: `stad_cli.export.running.load_exported(OUT)` puts
    them around the graphs again. Every graph is run and compared with the detector; the largest
    relative difference is printed.
    """
    from stad_cli.export.exporting import export_detector
    from stad_cli.export.sources import open_source

    forms = _forms(form)
    found = export_detector(open_source(source, size=size, classes=classes), out, forms)
    if as_json:
        files = [str(path) for path in found.files]
        typer.echo(json.dumps({"files": files, "differences": found.differences}))
        return
    for name, difference in found.differences.items():
        typer.echo(f"{found.folder / name}  differs by {difference:.1e} from the detector")
    typer.echo(f"{found.folder / 'export.json'}  says what goes in and comes out")


def _forms(given: list[str] | None) -> "list[Form]":
    from stad_eval import InputError

    known: list[Form] = ["pt2", "onnx"]
    wrong = [name for name in given or () if name not in known]
    if wrong:
        raise InputError("no format of this name", expected="pt2 or onnx", found=", ".join(wrong))
    return [name for name in known if not given or name in given]

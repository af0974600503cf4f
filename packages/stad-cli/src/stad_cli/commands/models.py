"""`stad models`: the named models, what they cost, and what public weights fill of them."""

import inspect
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from stad_models.flops import Cost

app = typer.Typer(no_args_is_help=True)


class Rule(StrEnum):
    """What counts as a multiply-add."""

    MAC = "mac"
    PAPER = "paper"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Named:
    """A model on the meta device, and the clip that it was made for."""

    name: str
    model: "nn.Module"
    length: int
    stride: int


@app.command("list", epilog="Example:  stad models list --size 256")
def list_models(
    size: Annotated[int, typer.Option(min=32, help="Side of the square clip, pixels.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models with their clip, parameters and multiply-adds per clip.

    A model that cannot take clips of this size has no costs.
    """
    from rich.console import Console
    from rich.table import Table

    from stad_models import zoo

    rows = [(named, _cost(named, size)) for named in map(_build, sorted(zoo.__all__))]
    if as_json:
        typer.echo(json.dumps([_json(named, cost) for named, cost in rows], indent=1))
        return
    table = Table(title=f"Models (multiply-adds per clip of {size}x{size})", title_justify="left")
    table.add_column("model", no_wrap=True)
    for column in ("frames x stride", "M parameters", "G multiply-adds"):
        table.add_column(column, justify="right", no_wrap=True)
    for named, cost in rows:
        table.add_row(
            named.name,
            f"{named.length} x {named.stride}",
            "-" if cost is None else f"{cost.params['total'] / 1e6:.2f}",
            "-" if cost is None else f"{cost.macs['total'] / 1e9:.2f}",
        )
    Console(width=None if Console().is_terminal else 100).print(table)


@app.command(
    "flops", epilog="Example:  stad models flops se_stad_slowfast_r50_8x8 --size 256 --json"
)
def count_flops(
    model: Annotated[str, typer.Argument(help="Name of a model; see: stad models list.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the square clip, pixels.")] = 256,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of the clip; default: the model's own.")
    ] = None,
    rule: Annotated[
        Rule,
        typer.Option(
            help="mac: one per multiply-add, each layer once. paper: as SE-STAD's tables count "
            "(normalisation, ReLU and pooling too, the localisation head twice)."
        ),
    ] = Rule.MAC,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, in units of one.")] = False,
) -> None:
    """Count multiply-adds and parameters of a model, part by part."""
    from stad_eval import InputError
    from stad_models import flops

    named = _build(model)
    try:
        cost = flops.count(named.model, size, frames or named.length, rule.value)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{model} cannot take a clip of {frames or named.length} frames at {size}x{size}",
            found=str(error).splitlines()[0],
            remedy="leave --frames and --size at their defaults, or take multiples of them",
        ) from error
    if as_json:
        typer.echo(json.dumps(_json(named, cost)))
        return
    typer.echo(f"{model}: {frames or named.length} frames of {size}x{size}, rule {rule.value}")
    typer.echo(f"{'part':20}{'G multiply-adds':>18}{'M parameters':>16}")
    for part in sorted(cost.macs, key="total".__eq__):  # the total last
        macs, params = cost.macs[part] / 1e9, cost.params[part] / 1e6
        typer.echo(f"{part:20}{macs:18.3f}{params:16.3f}")


@app.command(
    "load",
    epilog="Example:  stad models load slowfast_r50_8x8 --from SLOWFAST_8x8_R50.pkl "
    "--out slowfast.safetensors",
)
def load_weights(
    model: Annotated[str, typer.Argument(help="Name of a model; see: stad models list.")],
    source: Annotated[
        Path, typer.Option("--from", help="Weights: .pyth, .pth, .pt, .pkl, .npz, .safetensors.")
    ],
    layout: Annotated[
        str, typer.Option(help="Whose names the file uses; auto tells it by them.")
    ] = "auto",
    classes: Annotated[int, typer.Option(min=1, help="Classes of a detector.")] = 80,
    inference: Annotated[
        bool, typer.Option("--inference", help="Refuse what does not fill the whole model.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write what was loaded, under our names: *.safetensors.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Load public weights into a model, and say what was loaded, skipped and mismatched."""
    from stad_cli.engine.public_weights import load_public
    from stad_eval import InputError
    from stad_models import weights, zoo

    _check_name(model, zoo.__all__)
    if out is not None and out.suffix != ".safetensors":
        raise InputError("--out must end in .safetensors", found=out.name)
    builder = getattr(zoo, model)
    built = builder(classes) if _is_detector(builder) else builder()
    required = "all" if inference else "backbone"
    report = load_public(built, source, layout=layout, require=required)
    if out is not None:
        weights.save(built, out, names={one.name for one in report.loaded})
    if as_json:
        typer.echo(json.dumps({"model": model, **report.to_plain()}))
        return
    typer.echo(str(report))
    if out is not None:
        typer.echo(f"wrote {out}: {len(report.loaded)} tensors")


def _json(named: _Named, cost: "Cost | None") -> dict[str, object]:
    if cost is None:
        return {"model": named.name, "macs": None, "params": None}
    return {"model": named.name, "macs": cost.macs, "params": cost.params}


def _cost(named: _Named, size: int) -> "Cost | None":
    """What a model costs for its own clip; None where that is too small for it."""
    from stad_models import flops

    try:
        return flops.count(named.model, size, named.length)
    except (ValueError, RuntimeError):  # of torch: a kernel larger than its map
        return None


def _build(name: str) -> _Named:
    """A named model without weights: nothing is initialised and no memory is taken."""
    import torch

    from stad_models import zoo

    _check_name(name, zoo.__all__)
    builder = getattr(zoo, name)
    detector = _is_detector(builder)
    with torch.device("meta"):
        model = builder(80) if detector else builder()
    length, stride = (model.clip_length, model.clip_stride) if detector else _trunk_clip(name)
    return _Named(name=name, model=model, length=length, stride=stride)


def _is_detector(builder: "Callable[..., nn.Module]") -> bool:
    return "num_classes" in inspect.signature(builder).parameters


def _check_name(name: str, known: list[str]) -> None:
    from difflib import get_close_matches

    from stad_eval import InputError

    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        raise InputError(
            "no model of this name",
            found=name,
            expected="one of " + ", ".join(near or sorted(known)),
            remedy="see all of them with: stad models list",
        )


_FAMILY_CLIPS = {"i3d": (64, 1), "mvit": (16, 4), "swin3d": (32, 2), "vivit": (16, 4)}


def _trunk_clip(name: str) -> tuple[int, int]:
    """Frames and stride of a trunk: those of its family, or from its name.

    In a name ``4x16`` are those of the (slow) pathway. SlowFast samples every 2nd frame for its
    fast pathway, so its clip has A * B / 2 of them.
    """
    family = name.split("_", 1)[0]
    if family in _FAMILY_CLIPS:
        return _FAMILY_CLIPS[family]
    found = re.search(r"_(\d+)x(\d+)", name)
    if found is None:
        raise ValueError(f"{name}: a trunk's name must say its clip, such as ..._8x8")
    frames, stride = int(found[1]), int(found[2])
    return (frames * stride // 2, 2) if name.startswith("slowfast") else (frames, stride)

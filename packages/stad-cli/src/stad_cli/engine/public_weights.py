"""Weights that this program did not train: of public checkpoints, or as safetensors."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from stad_cli.engine.checkpoint import FORMAT
from stad_eval import InputError
from stad_models import weights
from stad_models.weights import LoadReport
from stad_models.weights.report import Required


def is_own_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of this program; one that is missing is taken for one.

    Only the table of its content is read. A file that cannot be read so is none.
    """
    if not path.is_file():
        return True
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever is wrong with it, `load_public` will say
        return False
    return isinstance(content, dict) and cast("dict[str, Any]", content).get("format") == FORMAT


def clip_trunk(model: nn.Module) -> nn.Module:
    """The 3D trunk that a detector has beside its backbone.

    Raises:
        InputError: It has none.
    """
    trunk = getattr(model, "clip_backbone", None)
    if not isinstance(trunk, nn.Module):
        raise InputError(
            f"{type(model).__name__} has no 3D trunk beside its backbone, as it is set up",
            remedy="leave --clip-weights out, or set model.options.aggregation=true",
        )
    return trunk


def load_public(
    model: nn.Module, path: Path, *, layout: str = "auto", require: Required = "backbone"
) -> LoadReport:
    """Fill a model as `stad_models.weights.load` does.

    Raises:
        InputError: The file cannot be used, or does not fill what it has to; the model is as it
            was.
    """
    try:
        return weights.load(model, path, layout, require=require)
    except ValueError as error:
        raise InputError(str(error).removeprefix("weights: ")) from None

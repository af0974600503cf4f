"""How a network computes: memory format, compiled code, normalisation over processes, TF32.

None of it changes what is computed, but for the rounding of sums (and TF32's shorter mantissa).
"""

import importlib.util
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine.distributed import Processes
from stad_cli.engine.thin_maps import refuse_thin_maps
from stad_eval import InputError


def prepare(model: nn.Module, recipe: Recipe, group: Processes) -> nn.Module:
    """The network as the recipe wants it computed, with the same weights by the same names.

    It is changed in place where that can be; go on with what is returned.

    Args:
        model: On the group's device.
        recipe: `model.batch_norm`, `optim.amp`, `run.channels_last`, `run.compile`.
        group: The processes that train it.

    Raises:
        InputError: Statistics over processes without CUDA, no compiler, or a model without a part
            named "backbone" where that alone is to be compiled.
    """
    if recipe.model.batch_norm == "sync":
        if group.ranks > 1 and group.device.type != "cuda":
            raise InputError(
                "model.batch_norm sync needs CUDA devices",
                found=f"{group.ranks} processes on the {group.device.type}",
                remedy='use --set model.batch_norm=frozen, or "local"',
            )
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if recipe.optim.amp == "bf16" and group.device.type == "cpu":
        refuse_thin_maps(model)
    if recipe.run.channels_last:
        channels_last(model)
    if recipe.run.compile != "none":
        _compile(model, recipe.run.compile, group.device)
    return model


def channels_last(model: nn.Module) -> None:
    """Lay out the weights of convolutions with the channels innermost; outputs follow them."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


@contextmanager
def multiplication(*, tf32: bool) -> Generator[None]:
    """Inside, CUDA multiplies float32 matrices and convolves them in TF32, or in full."""
    convolution: Any = torch.backends.cudnn.conv  # pyright: ignore[reportAttributeAccessIssue]
    places: tuple[Any, ...] = (convolution, torch.backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


def require_compiler(device: torch.device, *, wish: str, remedy: str) -> None:
    """See that what torch.compile needs is there.

    Args:
        device: Where the code will run.
        wish: What asks for it.
        remedy: What else to do without it.

    Raises:
        InputError: It is not.
    """
    if device.type == "cuda":
        missing = None if importlib.util.find_spec("triton") else "the package triton"
    else:
        found = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
        missing = None if found else "a C++ compiler"
    if missing is not None:
        raise InputError(f"{wish} needs {missing}", remedy=f"install {missing}, or {remedy}")


def _compile(model: nn.Module, part: str, device: torch.device) -> None:
    """Have a part compiled when it is first called. In place: names stay, and copies are eager."""
    require_compiler(device, wish="run.compile", remedy="use --set run.compile=none")
    # Random layers draw what they would draw without it.
    options = {"fallback_random": True}
    if part == "model":
        model.compile(options=options)
        return
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(
            f"{type(model).__name__} has no part named backbone",
            remedy="use --set run.compile=model, or none",
        )
    backbone.compile(options=options)

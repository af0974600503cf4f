"""Networks as machine code of their own, with their weights built in, for inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from stad_models.folding import fold_batch_norm

P = ParamSpec("P")
R = TypeVar("R")

_PARTS = ("backbone", "neck", "localisation_head")
"""What takes the time of a detector; what is around it (boxes, suppression) stays as it is."""


def compile_for_inference(model: nn.Module) -> nn.Module:
    """A copy of a model for inference, compiled with constant weights when it is first called.

    Batch normalisation is folded (`fold_batch_norm`). Then torch.compile turns backbone, neck and
    localisation head, or a model without these as a whole, into code into which the weights are
    built: on a CPU they need no new layout at every call, and additions and ReLUs are done with the
    convolution before them. The maps are those of the model but for the rounding of sums.

    The first call takes tens of seconds, and so does the first one with clips of another size,
    number or precision. Weights are kept twice. Under autocast they are narrowed once, not at
    every call.

    Args:
        model: Of any kind, on its device. It is not changed.

    Returns:
        The copy, in evaluation mode. It must not be trained, moved or given other weights.

    Raises:
        torch._dynamo.exc.BackendCompilerFailed: At the first call, where no C++ compiler (CUDA:
            Triton) is there.
    """
    found = fold_batch_norm(model).requires_grad_(requires_grad=False)
    parts = [getattr(found, name, None) for name in _PARTS]
    chosen = [part for part in parts if isinstance(part, nn.Module)] or [found]
    for part in chosen:
        part.forward = _frozen(part.forward)
    return found


def _frozen(forward: Callable[P, R]) -> Callable[P, R]:
    """The forward pass compiled with constant weights."""
    # The setting has to hold while a graph is traced as well: as an option of torch.compile it is
    # known to the code generator only, and changes nothing.
    from torch._inductor import config

    compiled = torch.compile(forward, dynamic=False)

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad(), config.patch(freezing=True):
            return compiled(*args, **kwargs)

    return run

"""Activations that are computed a second time in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`run(x)`, of whose inner activations none are kept; values and gradients are the same.

    The second computation leaves the running statistics of batch normalisation alone, which would
    else see every batch twice. Without gradients it is `run(x)` itself.

    Args:
        module: whose layers `run` calls.
        run: from the input to the output; random layers draw the same numbers both times.
        x: the input, which is kept.

    Source: Training deep nets with sublinear memory cost.
    """
    if not torch.is_grad_enabled():
        return run(x)
    return checkpoint(
        run,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _without_statistics(module)),
    )


def recompute_stages(backbone: nn.Module) -> None:
    """Have every part of a backbone that can do so compute its activations again.

    Those are the modules with an attribute `recompute`, such as the stages of 3D ResNets.

    Raises:
        ValueError: there is none.
    """
    stages = [part for part in backbone.modules() if hasattr(part, "recompute")]
    if not stages:
        raise ValueError(
            f"recompute: no part of {type(backbone).__name__} can compute its activations again; "
            "leave recompute = false"
        )
    for stage in stages:
        setattr(stage, "recompute", True)  # noqa: B010 - a module's attribute by its contract


@contextmanager
def _without_statistics(module: nn.Module) -> Generator[None]:
    """Batch normalisation of the module that trains moves its running statistics by nothing."""
    norms = [
        part
        for part in module.modules()
        if isinstance(part, _BatchNorm) and part.training and part.track_running_stats
    ]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count

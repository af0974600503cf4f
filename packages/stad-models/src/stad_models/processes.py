"""Numbers that all processes of a distributed training run must agree on."""

from __future__ import annotations

import torch.distributed
from torch import Tensor, nn


def shared_normaliser(count: Tensor) -> Tensor:
    """The count summed over all processes, at least 1, divided by the number of processes.

    Gradients are averaged over processes, so a sum of losses divided by this gives the same update
    for any split of a batch. Without `torch.distributed` it is the count itself, at least 1.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return count.clamp(min=1)
    total = count.detach().clone()
    torch.distributed.all_reduce(total)
    return total.clamp(min=1) / torch.distributed.get_world_size()


def with_unused(loss: Tensor, *modules: nn.Module) -> Tensor:
    """The loss itself, as if it depended on modules that this step does without.

    DistributedDataParallel waits for a gradient of every parameter. Without `torch.distributed`
    the modules get none, so that an optimiser leaves them as they are.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return loss
    for module in modules:
        for parameter in module.parameters():
            loss = loss + 0 * parameter.sum()
    return loss

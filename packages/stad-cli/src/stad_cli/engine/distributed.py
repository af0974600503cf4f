"""Several processes training one network: what torchrun's environment says, and what follows."""

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from stad_eval import InputError

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that train together; one alone is rank 0 of 1.

    Attributes:
        rank: Number of this process.
        ranks: How many there are.
        local_ranks: How many of them run on this machine.
        device: Where this process computes.
    """

    rank: int
    ranks: int
    local_ranks: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.ranks > 1:
            torch.distributed.barrier()

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - any value that pickles
        """The values of all processes in order of rank, for every process."""
        if self.ranks == 1:
            return [value]
        values: list[Any] = [None] * self.ranks
        torch.distributed.all_gather_object(values, value)
        return values


@contextmanager
def processes(device: Device = "auto") -> Generator[Processes]:
    """Join the processes that torchrun started (gloo on CPU, nccl on CUDA), and part cleanly.

    Without torchrun's variables RANK and WORLD_SIZE this process is alone.

    Raises:
        InputError: CUDA asked for and not there, or variables of torchrun that make no sense.
    """
    ranks, rank, local_ranks, local_rank = (
        _number(name, default)
        for name, default in (
            ("WORLD_SIZE", 1),
            ("RANK", 0),
            ("LOCAL_WORLD_SIZE", 1),
            ("LOCAL_RANK", 0),
        )
    )
    chosen = _device(device, local_rank)
    found = Processes(rank=rank, ranks=ranks, local_ranks=local_ranks, device=chosen)
    if ranks == 1:
        yield found
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        torch.distributed.init_process_group("nccl", device_id=chosen)
    else:
        torch.distributed.init_process_group("gloo")
    try:
        yield found
    finally:
        torch.distributed.destroy_process_group()


def wrap(model: nn.Module, group: Processes) -> nn.Module:
    """The network as all processes train it: itself when alone, else DistributedDataParallel.

    Buffers (BatchNorm statistics) stay each process's own; rank 0's are saved.
    """
    if group.ranks == 1:
        return model
    devices = [group.device] if group.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def without_sync(network: nn.Module) -> AbstractContextManager[None]:
    """Inside, backward passes keep gradients local: all but the last of an accumulation."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise InputError(
            f"the environment variable {name} is no number",
            found=repr(text),
            remedy="start several processes with torchrun, or unset it",
        )
    return int(text) if text else default


def _device(device: Device, local_rank: int) -> torch.device:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise InputError("no CUDA device is usable here", remedy="use --device cpu")
    if device == "cpu" or not there:
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise InputError(
            "more processes than CUDA devices",
            expected=f"at most {torch.cuda.device_count()} per machine",
            found=f"local rank {local_rank}",
            remedy="start fewer processes, or use --device cpu",
        )
    return torch.device("cuda", local_rank)

"""Where the runs of a study compute: so many at a time, each with its cores or its CUDA device."""

import os
from dataclasses import dataclass
from typing import Literal

from stad_cli.machine import usable_cores
from stad_eval import InputError

Where = Literal["cpu", "cuda"]

# Several processes of one training would be taken for ranks of it.
_OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_OF_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Room for one run at a time.

    Attributes:
        device: Where it computes.
        threads: Of torch on the CPU.
        visible: The one CUDA device that it sees; None on the CPU.
    """

    device: Where
    threads: int
    visible: str | None = None

    def environment(self) -> dict[str, str]:
        """The environment of a process in this slot."""
        found = {key: value for key, value in os.environ.items() if key not in _OF_TORCHRUN}
        found |= dict.fromkeys(_OF_THREADS, str(self.threads))
        if self.visible is not None:
            found["CUDA_VISIBLE_DEVICES"] = self.visible
        return found


def make_slots(jobs: int | None, device: Literal["auto", "cpu", "cuda"]) -> list[Slot]:
    """Share what is there among `jobs` runs at a time; by default one per CUDA device, else one.

    More jobs than CUDA devices share these in turn. Each gets an equal part of the cores.

    Raises:
        InputError: CUDA is asked for and not there, or fewer than one job.
    """
    if jobs is not None and jobs < 1:
        raise InputError("a study needs room for a run", expected="--jobs from 1", found=str(jobs))
    devices = [] if device == "cpu" else _cuda_devices()
    if device == "cuda" and not devices:
        raise InputError("no CUDA device is usable here", remedy="use --device cpu")
    count = jobs or max(1, len(devices))
    threads = max(1, usable_cores() // count)
    if not devices:
        return [Slot(device="cpu", threads=threads)] * count
    return [
        Slot(device="cuda", threads=threads, visible=devices[number % len(devices)])
        for number in range(count)
    ]


def _cuda_devices() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES of the devices that this process sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return [name.strip() for name in named.split(",")][: torch.cuda.device_count()]
    return [str(number) for number in range(torch.cuda.device_count())]

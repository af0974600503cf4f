"""The seeds and states of everything random, and what else makes a run repeat to the bit."""

import os
import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic as _deterministic

from stad_cli.engine.distributed import Processes


@contextmanager
def reproducible(*, seed: int, threads: int, group: Processes) -> Generator[None]:
    """Seed torch and Python, fix the number of threads, prefer deterministic kernels.

    On the CPU equal recipes then give equal weights, bit for bit. CUDA's RoIAlign adds gradients in
    any order, so there weights agree only up to rounding. What was set before is restored.
    """
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warning = torch.is_deterministic_algorithms_warn_only_enabled()
    cores = os.cpu_count() or 1
    torch.set_num_threads(max(1, min(threads, cores) // group.local_ranks))
    seed_all(seed)
    memory: Any = _deterministic  # a module whose attribute is a property
    fills = memory.fill_uninitialized_memory
    if group.device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Nothing here reads memory before writing it, and filling it takes a tenth of a step.
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warning)
        memory.fill_uninitialized_memory = fills
        torch.set_num_threads(before)


def seed_all(seed: int) -> None:
    """Seed torch (CPU and CUDA) and Python. numpy's generators here have seeds of their own."""
    torch.manual_seed(seed)
    random.seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of all generators that a training step may draw from, as plain types."""
    state: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Restore what `random_state` gave."""
    torch.set_rng_state(state["torch"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

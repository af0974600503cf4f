"""What a result was measured on: the machine and the versions of what ran."""

import os
import platform
import re
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "numpy", "stad-cli", "stad-data", "stad-eval", "stad-models")


def usable_cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine(device: str, threads: int) -> dict[str, Any]:
    """Processor, cores, and the CUDA device where a run used one."""
    import torch

    found: dict[str, Any] = {"cpu": _cpu(), "cores": usable_cores(), "threads": threads}
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["gpu_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return found | {"memory_mib": _peak_memory() // 2**20}


def describe_versions() -> dict[str, str]:
    """Python's and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()


def _peak_memory() -> int:
    """Bytes that this process held at most; macOS counts in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""What the benchmarks of stad-eval share: the machine, times, peak memory, tables of growth.

Linux tells a process its peak memory in `VmHWM`, which can be reset; `getrusage` counts what the
parent had before the fork too, and cannot.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy

import stad_eval


def machine() -> str:
    """Machine, load and versions."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"machine: {model}, {os.cpu_count()} cores, load {load}, {platform.system()}\n"
        f"python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"stad-eval {stad_eval.__version__}"
    )


def peak_memory() -> float:
    """MiB that this process held at most since it began, or since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def forget_peak() -> float:
    """Let the peak start anew; MiB that the process holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def timed(work: Callable[[], object], repeats: int) -> dict[str, list[float]]:
    """Wall time and time of the processor of every run, in seconds."""
    wall: list[float] = []
    processor: list[float] = []
    for _ in range(repeats):
        start, before = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - before)
    return {"wall": wall, "processor": processor}


def in_words(times: dict[str, list[float]]) -> str:
    """Median and spread of the wall time, and the least time of the processor."""
    wall = times["wall"]
    return (
        f"median {statistics.median(wall):.3f} s ({min(wall):.3f} to {max(wall):.3f}), "
        f"processor at least {min(times['processor']):.3f} s"
    )


def child(script: str, *options: object) -> dict:
    """What a run of `script` in a process of its own prints last, as JSON."""
    command = [sys.executable, script, *(str(each) for each in options)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def growth_table(rows: Sequence[dict]) -> str:
    """Rows of scale, rows, seconds, processor, peak (MiB) and tables (MiB), with costs per row.

    These are of the processor's time, which other work on the machine disturbs least.
    """
    head = (
        f"{'scale':>6}{'rows':>13}{'seconds':>10}{'processor':>11}{'per million':>13}"
        f"{'of 1x':>8}{'peak MiB':>10}{'of it tables':>14}"
    )
    lines = [head, "-" * len(head)]
    first = rows[0]["processor"] / rows[0]["rows"]
    for row in rows:
        each = row["processor"] / row["rows"]
        lines.append(
            f"{row['scale']:>5}x{row['rows']:>13,}{row['seconds']:>10.2f}{row['processor']:>11.2f}"
            f"{1e6 * each:>13.3f}{each / first:>8.2f}{row['peak']:>10.0f}{row['tables']:>14.0f}"
        )
    return "\n".join(lines)

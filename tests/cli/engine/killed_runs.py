"""Train with a real SIGKILL at a chosen point, then resume: run as a script, prints JSON.

    killed_runs.py RECIPE DATA FOLDER POINT...

One process imports everything once and forks for every run, so each run is a process of its own
that dies for real. A point is NAME:COUNT: die at the COUNT-th time that NAME is about to happen.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

# Imported here once, not by each of the runs.
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

from stad_cli.config import load_recipe
from stad_cli.engine import checkpoint, loop, run_log
from stad_cli.engine.train import train


def dying_at(owner, name: str, count: int, *, after: bool = False):
    """Make the COUNT-th call of a function this process's last act."""
    real = getattr(owner, name)
    calls = 0

    def call(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if calls == count and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)


def arm(point: str) -> None:
    name, _, count = point.partition(":")
    number = int(count)
    {
        # amid the bytes of a checkpoint
        "write": lambda: dying_at(checkpoint._Spool, "write", number, after=True),
        # all bytes written, none of them certain
        "sync": lambda: dying_at(os, "fsync", number),
        # certain, and not yet under its name
        "rename": lambda: dying_at(Path, "replace", number),
        # renamed, and the run does not know it yet
        "renamed": lambda: dying_at(checkpoint, "_sync_folder", number),
        # between two updates
        "update": lambda: dying_at(loop.Optimisation, "update", number),
        # in an evaluation's or step's line of the log
        "log": lambda: dying_at(run_log.RunLog, "write", number),
        # no death: the kernel refuses to let a file grow beyond COUNT bytes, as a full disk would
        "full": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (number, number)),
    }[name]()


def in_a_process_of_its_own(action) -> int:
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(recipe_path: str, data: str, folder: str, *points: str) -> None:
    recipe = load_recipe(Path(recipe_path))
    ends = {}
    for point in ("undisturbed", *points):
        out = Path(folder) / point.replace(":", "-")

        def run(resume: bool, out: Path = out, point: str = point) -> None:
            if not resume and point != "undisturbed":
                arm(point)
            train(recipe, data=Path(data), out=out, resume=resume, device="cpu")

        ends[point] = [in_a_process_of_its_own(lambda run=run: run(False))]
        if point != "undisturbed":
            ends[point].append(in_a_process_of_its_own(lambda run=run: run(True)))
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    main(*sys.argv[1:])

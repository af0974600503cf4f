"""Conduct a study with real processes, disturbed in many ways: run as a script, prints JSON.

    forked_studies.py STUDY.toml FOLDER

One process imports everything once and forks for every run, so each run is a process of its own
that does what `python -m stad_cli.study.child` does, without the seconds that imports take.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Imported here once, not by each of the runs.
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

from stad_cli.engine import loop
from stad_cli.study import child, runs
from stad_cli.study.conduct import Conducted, Wishes, conduct, preview, tabulate
from stad_cli.study.data_source import alone
from stad_cli.study.study_file import load_study


class Forked:
    """A forked process with the face of subprocess.Popen."""

    def __init__(self, action: Callable[[], int], log: Path, environment: dict[str, str]) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with log.open("ab", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.environ.update(environment)
            code = action()
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        while self.poll() is None:
            time.sleep(0.02)
        return self.returncode

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


begun: list[tuple[str, dict[str, str]]] = []
slow = {"seconds": 0.0}


def start(cell: Any, slot: Any) -> Forked:
    """In the place of `runs.start`."""
    environment = slot.environment()
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    begun.append(
        (cell.run.name, {name: environment[name] for name in names if name in environment})
    )
    return Forked(lambda: child.main(cell.path), cell.log, environment)


update = loop.Optimisation.update


def slow_update(self: Any, step: int) -> None:
    update(self, step)
    time.sleep(slow["seconds"])


runs.start = start  # type: ignore[assignment]
runs.POLL = 0.05
loop.Optimisation.update = slow_update  # type: ignore[method-assign]


class Scene:
    """One study in a folder of its own."""

    def __init__(self, study: Path, folder: Path, data: Path, *changes: str) -> None:
        folder.mkdir(parents=True)
        shutil.copy(study.with_name("tiny.toml"), folder)
        text = study.read_text()
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new)
        self.path = folder / study.name
        self.path.write_text(text)
        self.wishes = Wishes(out=folder / "out", cache=folder, data=data, device="cpu")
        self.said: list[str] = []

    def conduct(self, **wishes: Any) -> Conducted:
        return conduct(load_study(self.path), replace(self.wishes, **wishes), self.said.append)

    def told(self, found: Conducted) -> dict[str, Any]:
        study = load_study(self.path)
        results = {
            path.stem: json.loads(path.read_text()) for path in sorted(study.results.glob("*.json"))
        }
        return {
            **found.to_plain(),
            "stopped": found.ended.stopped,
            "failures": found.ended.failed,
            "interrupted": found.ended.interrupted,
            "results": {
                name: {key: one[key] for key in ("metrics", "steps", "curve", "machine")}
                for name, one in results.items()
            },
            "said": self.said,
            "begun": [name for name, _ in begun],
        }


def orphaned(scene: Scene) -> dict[str, Any]:
    """The study's process is killed by force; its runs end by themselves, then it goes on."""
    slow["seconds"] = 0.2
    parent = os.fork()
    if not parent:
        os.setsid()
        scene.conduct(rows=("slow",), seeds=(0,))
        os._exit(0)
    cell = scene.wishes.out / "slow-seed0"
    while not (cell / "run" / "log.jsonl").exists():
        time.sleep(0.02)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    with alone(cell / "lock"):  # free once the run has seen that it is alone, and saved itself
        log = (cell / "log.txt").read_text()
    slow["seconds"] = 0.0
    return {"log": log, **scene.told(scene.conduct(rows=("slow",), seeds=(0,)))}


def interrupted(scene: Scene) -> dict[str, Any]:
    """SIGTERM to the study itself, once a run is under way."""
    slow["seconds"] = 0.2
    teller = os.fork()
    if not teller:
        while not (scene.wishes.out / "slow-seed0" / "run" / "log.jsonl").exists():
            time.sleep(0.02)
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(0)
    found = scene.told(scene.conduct(seeds=(0,)))
    os.waitpid(teller, 0)
    slow["seconds"] = 0.0
    return found


def main(study: Path, folder: Path, data: Path) -> None:
    told: dict[str, Any] = {}

    def scene(name: str, *changes: str) -> Scene:
        begun.clear()
        return Scene(study, folder / name, data, *changes)

    whole = scene("whole")
    told["plan"] = preview(load_study(whole.path), whole.wishes)
    told["whole"] = whole.told(whole.conduct(jobs=2))
    told["environments"] = [environment for _, environment in begun]
    begun.clear()
    told["again"] = whole.told(whole.conduct())
    told["plan_after"] = preview(load_study(whole.path), whole.wishes)

    # a result that nobody was there to keep
    (load_study(whole.path).results / "slow-seed1.json").unlink()
    told["collected"] = whole.told(tabulate(load_study(whole.path), whole.wishes, print_nothing))

    # a setting changes
    text = whole.path.read_text()
    whole.path.write_text(text.replace("optim.lr=0.1", "optim.lr=0.2"))
    whole.said.clear()
    told["stale_plan"] = preview(load_study(whole.path), whole.wishes)
    told["stale"] = whole.told(whole.conduct(seeds=(0,)))
    told["aside"] = sorted(path.name for path in whole.wishes.out.iterdir())

    budget = scene("budget")
    slow["seconds"] = 0.2
    told["late"] = budget.told(budget.conduct(budget=0.6, seeds=(0,)))
    slow["seconds"] = 0.0
    told["budget_plan"] = preview(load_study(budget.path), replace(budget.wishes, seeds=(0,)))
    told["resumed"] = budget.told(budget.conduct(seeds=(0,)))

    told["interrupted"] = interrupted(scene("interrupted"))
    told["orphaned"] = orphaned(scene("orphaned"))

    failing = scene("failing", "optim.lr=0.1", "optim.lr=1e30")
    told["failing"] = failing.told(failing.conduct(seeds=(0, 1), jobs=1))

    begins = scene("begins", 'set = ["optim.lr=0.1"]', 'set = []\nweights_of = "slow"')
    told["begins"] = begins.told(begins.conduct(rows=("fast",), seeds=(0,)))
    shutil.rmtree(begins.wishes.out)  # a committed result does not hold the weights
    begun.clear()
    (load_study(begins.path).results / "fast-seed0.json").unlink()
    told["begins_again"] = begins.told(begins.conduct(rows=("fast",), seeds=(0,)))

    sys.stdout.write(json.dumps(told))


def print_nothing(_: str) -> None:
    """Nobody listens."""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))

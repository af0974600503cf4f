"""The process of one run of a study: `python -m stad_cli.study.child FOLDER`.

It trains what FOLDER/order.json says in FOLDER/run and leaves FOLDER/outcome.json. Asked to end
(SIGTERM), or left alone by the process that started it, it saves the run after the update that it
is at. Exit codes: 0 done, 75 stopped and to be resumed, 1 and 2 as `stad train`.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from stad_cli.main import explain

STOPPED = 75
"""What sysexits.h calls a temporary failure: try again."""


def main(folder: Path) -> int:
    """Do what the folder's order says, and give the exit code."""
    from stad_cli.engine.loop import Stopped
    from stad_cli.study.data_source import alone

    try:
        order: dict[str, Any] = json.loads((folder / "order.json").read_text(encoding="utf-8"))
        # A run that lost its parent a moment ago may still be saving here.
        with alone(folder / "lock"):
            try:
                outcome = _train(folder, order, stop=_stop(order["parent"]))
            except Stopped as stopped:  # told before the folder is free for the next run
                _say(f"stopped at step {stopped.step}")
                return STOPPED
        _write(folder / "outcome.json", outcome)
    except Exception as error:
        if os.environ.get("STAD_DEBUG") == "1":
            raise
        message, code = explain(error)
        _say(f"stad: {message}")
        return code
    return 0


def _train(folder: Path, order: dict[str, Any], *, stop: Callable[[], bool]) -> dict[str, Any]:
    import torch

    from stad_cli.config import load_recipe
    from stad_cli.engine.run_log import read_log
    from stad_cli.engine.train import train
    from stad_cli.machine import describe_machine, describe_versions
    from stad_cli.run_source import remember_data

    threads = int(order["threads"])
    recipe = load_recipe(Path(order["recipe"]), [f"run.threads={threads}"])
    data, run = Path(order["data"]), folder / "run"
    found = train(
        recipe,
        data=data,
        out=run,
        resume=True,
        weights=None if order["weights"] is None else Path(order["weights"]),
        device=order["device"],
        say=_say,
        stop=stop,
    )
    remember_data(run, data)
    cuda = order["device"] != "cpu" and torch.cuda.is_available()
    return {
        "metrics": found.evaluation.metrics(),
        "steps": found.steps,
        "seconds": round(found.seconds, 1),
        "curve": [
            {"step": entry["step"], **entry["eval"]}
            for entry in read_log(run)
            if "eval" in entry and not entry.get("final")
        ],
        "versions": describe_versions(),
        "machine": describe_machine("cuda" if cuda else "cpu", threads),
    }


def _stop(parent: int) -> Callable[[], bool]:
    """Ask this after every update: whether somebody said stop, or the parent is gone."""
    asked = False

    def hear(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, hear)
    return lambda: asked or os.getppid() != parent


def _write(path: Path, outcome: dict[str, Any]) -> None:
    from stad_cli.json_file import write_json

    write_json(path, outcome)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

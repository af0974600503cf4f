"""Running the runs of a study: several processes at a time, stopped cleanly, told as they end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from stad_cli.study.child import STOPPED
from stad_cli.study.plan import Planned, result_of
from stad_cli.study.results import Result, write_result
from stad_cli.study.run_cell import Cell
from stad_cli.study.slots import Slot
from stad_cli.study.study_file import Study

POLL = 0.2
"""Seconds between two looks at the processes."""
TELL = 5.0
"""Seconds between two looks at how far they are."""
GRACE = 60.0
"""Seconds that a run has to save itself before it is killed: one update, or an evaluation's end."""

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Ended:
    """How the runs ended.

    Attributes:
        finished: Names of the runs that gave a result.
        failed: Names of those that did not, and why.
        stopped: Names of those that were stopped, or never begun.
        interrupted: Somebody pressed Ctrl-C, or sent SIGTERM.
    """

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class _Active:
    run: Planned
    cell: Cell
    process: subprocess.Popen[bytes]


def start(cell: Cell, slot: Slot) -> subprocess.Popen[bytes]:
    """Begin the process of a run, of which the folder is prepared."""
    with cell.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stad_cli.study.child", str(cell.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=slot.environment(),
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
        )


class Runs:
    """The planned runs of a study, until they have ended.

    Args:
        study: Keeps their results.
        planned: In the order to begin them.
        every: The folders of all runs.
        data: The dataset's folder.
        slots: Where they compute.
        deadline: `time.monotonic()` at which to stop; None for never.
        say: Told one line at a time what happens.
        advance: Told how many more updates are done, over all runs.
    """

    def __init__(
        self,
        study: Study,
        planned: Sequence[Planned],
        every: Mapping[str, Cell],
        *,
        data: Path,
        slots: Sequence[Slot],
        deadline: float | None,
        say: Say,
        advance: Callable[[int], None],
    ) -> None:
        self._study, self._every, self._data = study, every, data
        self._waiting = list(planned)
        self._free = list(slots)
        self._active: dict[Slot, list[_Active]] = {slot: [] for slot in slots}
        self._steps = {one.run.name: one.begun for one in planned}
        self._deadline, self._say, self._advance = deadline, say, advance
        self._told = time.monotonic()
        self._ended = Ended()

    def run(self) -> Ended:
        """Run until all have ended, the deadline has come, or somebody stops it.

        Raises:
            OSError: A folder or a result cannot be written; all processes have ended.
            KeyboardInterrupt: Stopped twice: the processes are killed.
        """
        try:
            with _interruption() as interrupted:
                while self._waiting or self._processes():
                    if interrupted() or self._is_late():
                        self._stop("the budget is spent" if not interrupted() else "stopping")
                        break
                    self._begin()
                    time.sleep(POLL)
                    self._look()
                self._ended.interrupted = interrupted()
        finally:
            self._kill()
        self._ended.stopped += [one.run.name for one in self._waiting]
        return self._ended

    def _processes(self) -> list[tuple[Slot, _Active]]:
        return [(slot, one) for slot, running in self._active.items() for one in running]

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _begin(self) -> None:
        """Fill the free slots with runs that need not wait for another one's weights."""
        for planned in list(self._waiting):
            if not self._free:
                return
            before = planned.run.begins_with
            if before in self._pending():
                continue
            self._waiting.remove(planned)
            if before is None or self._every[before].has_weights():
                self._launch(planned, self._free.pop(0))
            elif before in self._ended.failed:
                self._fail(planned, f"{before} failed, whose weights it begins with")
            else:
                self._ended.stopped.append(planned.run.name)

    def _pending(self) -> set[str]:
        active = [one.run for _, one in self._processes()]
        return {planned.run.name for planned in (*self._waiting, *active)}

    def _launch(self, planned: Planned, slot: Slot) -> None:
        run, cell = planned.run, self._every[planned.run.name]
        weights = None if run.begins_with is None else self._every[run.begins_with].folder.last
        aside = cell.prepare(
            {
                "data": str(self._data),
                "weights": None if weights is None else str(weights),
                "device": slot.device,
                "threads": slot.threads,
                "parent": os.getpid(),
            }
        )
        if aside is not None:
            self._say(f"{run.name}: a run of other settings is kept as {aside}")
        self._active[slot].append(_Active(run=planned, cell=cell, process=start(cell, slot)))
        where = f" on CUDA device {slot.visible}" if slot.visible is not None else ""
        begun = f", from step {planned.begun}" if planned.begun else ""
        self._say(f"{run.name}: begun{where}{begun}")

    def _look(self) -> None:
        """See who has ended, and now and then how far the others are."""
        now = time.monotonic()
        tell = now - self._told >= TELL
        self._told = now if tell else self._told
        for slot, one in self._processes():
            code = one.process.poll()
            if tell or code is not None:
                self._tell(one)
            if code is None:
                continue
            self._active[slot].remove(one)
            self._free.append(slot)
            self._settle(one, code)

    def _tell(self, one: _Active) -> None:
        name, step = one.run.run.name, one.cell.step
        self._advance(max(0, step - self._steps[name]))
        self._steps[name] = max(step, self._steps[name])

    def _settle(self, one: _Active, code: int, *, stopping: bool = False) -> None:
        name = one.run.run.name
        outcome = one.cell.outcome() if code == 0 else None
        if outcome is not None:
            result = result_of(self._study, one.run.run, outcome)
            write_result(one.run.run.result_path(self._study), result)
            self._ended.finished.append(name)
            self._say(f"{name}: {_numbers(self._study, result)}")
        elif code == STOPPED or stopping:
            self._ended.stopped.append(name)
            at = f" at step {one.cell.step}" if one.cell.step else ""
            self._say(f"{name}: stopped{at}; the same command goes on with it")
        else:
            how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            self._fail(one.run, f"{how}; the end of {one.cell.log}:\n{one.cell.tail()}")

    def _fail(self, planned: Planned, why: str) -> None:
        self._ended.failed[planned.run.name] = why
        self._say(f"{planned.run.name}: failed, {why}")

    def _stop(self, why: str) -> None:
        """Ask all processes to save themselves, and kill those that take too long."""
        running = [one for _, one in self._processes()]
        self._say(f"{why}: {len(running)} runs are saved")
        for one in running:
            one.process.terminate()
        end = time.monotonic() + GRACE
        for slot, one in self._processes():
            try:
                code = one.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue  # killed in the end; it goes on from its last checkpoint
            self._active[slot].remove(one)
            self._settle(one, code, stopping=True)

    def _kill(self) -> None:
        for slot, one in self._processes():
            with suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
            self._active[slot].remove(one)
            self._settle(one, one.process.returncode, stopping=True)


def _numbers(study: Study, result: Result) -> str:
    parts = []
    for metric in study.file.metrics:
        value = result.number(metric)
        if metric != "seconds":
            parts.append(f"{metric} " + ("none" if value is None else f"{100 * value:.2f} %"))
    return ", ".join([*parts, f"{result.seconds:.0f} s"])


@contextmanager
def _interruption() -> Generator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM are noted; a second one interrupts at once."""
    count = 0

    def hear(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals reach the main thread only
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, hear) for number in numbers]
    try:
        yield lambda: count > 0
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

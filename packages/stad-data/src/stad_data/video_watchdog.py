"""Waiting for a decoder or a disk, but not for ever.

FFmpeg runs on a thread of its own while the caller waits for it, since nothing else gives control
back from a system call that blocks or a decoder that loops. What the watchdog can do is to stop
*waiting*. It cannot stop the *work*: Python has no means to end a thread. A read from a dead
network file system stays where it is, with its file open, until the system lets it go; a decoder in
an endless loop goes on burning its core until the process ends. Such threads are daemons, so they
do not keep the process from ending.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from stad_eval import InputError

R = TypeVar("R")

_SLICES = 4  # a process that was stopped for a while must not see its whole time as spent


class Progress:
    """Counts what was done, so that long work can be told from none."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def advance(self) -> None:
        """Note that one more packet, picture or frame was dealt with."""
        self.count += 1


class Watchdog:
    """Runs steps one after the other on a thread and gives up when nothing moves.

    Args:
        path: the video, for the message.
        timeout: seconds without progress after which a step is given up; the wait may last a
            quarter longer.
        progress: what the steps count up.

    Attributes:
        abandoned: True once a step was given up, or its wait was broken by an exception such as
            KeyboardInterrupt. The thread may then still be at work on what the step uses: nobody
            else may touch that again.
    """

    def __init__(self, path: Path, *, timeout: float, progress: Progress) -> None:
        self.path = path
        self.timeout = timeout
        self.abandoned = False
        self._progress = progress
        self._worker = _idle_worker()

    def run(self, step: Callable[[], R]) -> R:
        """Run one step on the thread and wait for what it gives or raises.

        Raises:
            InputError: no progress within the timeout.
        """
        self._worker.steps.put(step)
        try:
            succeeded, outcome = self._wait()
        except BaseException:
            self.abandoned = True
            raise
        if succeeded:
            return cast("R", outcome)
        try:
            raise outcome
        finally:
            del outcome  # or its traceback would hold this frame, and this frame it

    def _wait(self) -> tuple[bool, Any]:
        seen, idle = self._progress.count, 0
        while True:
            try:
                return self._worker.results.get(timeout=self.timeout / _SLICES)
            except Empty:
                idle = idle + 1 if self._progress.count == seen else 0
                seen = self._progress.count
                if idle >= _SLICES:
                    raise stalled(self.path, self.timeout) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.abandoned:
            _idle.append(self._worker)


def stalled(path: Path, timeout: float) -> InputError:
    """The complaint about a video that does not come."""
    return InputError(
        "reading the video made no progress",
        path=path,
        expected=f"a packet or picture within {timeout:g} s",
        found="none",
        remedy="check the disk or network behind it, copy the file to a local disk, or give more "
        "time with timeout=",
    )


class _Worker:
    """A thread that runs steps one after the other, and waits for more when it has none."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.steps: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        work = threading.Thread(target=self._work, name="stad-video", daemon=True)
        work.start()

    def _work(self) -> None:
        while True:
            step = self.steps.get()
            try:
                outcome = True, step()
            except BaseException as error:  # the caller's thread raises it
                outcome = False, error
            del step  # what it holds may be waiting to be closed
            self.results.put(outcome)
            del outcome


# Threads are kept for the next step: starting one costs as much as decoding a small picture. There
# are as many as were ever busy at once. A forked child has none of its parent's.
_idle: list[_Worker] = []


def _idle_worker() -> _Worker:
    while _idle:
        worker = _idle.pop()
        if worker.process == os.getpid():
            return worker
    return _Worker()

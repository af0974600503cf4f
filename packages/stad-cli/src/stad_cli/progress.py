"""Progress of long work on stderr: a bar on a terminal, now and then a plain line elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

LINE_EVERY = 15.0  # seconds between two plain lines


@contextmanager
def progress(
    what: str, total: int | None, *, unit: str = "frames", quiet: bool = False
) -> Generator[Callable[[int], None]]:
    """Give a function that is told how many more units are done.

    Args:
        what: What is being done, e.g. the file's name.
        total: Units in all; None where nobody knows.
        unit: The word for one unit, in the plural.
        quiet: Show nothing.
    """
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _lines(what, total, unit)


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Generator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "  {task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate=0.0)

        def advance(count: int) -> None:
            bar.update(
                task, advance=count, rate=bar.tasks[0].finished_speed or bar.tasks[0].speed or 0.0
            )

        yield advance


def _lines(what: str, total: int | None, unit: str) -> Callable[[int], None]:
    start = said = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        now = time.monotonic()
        if now - said >= LINE_EVERY:
            said = now
            rate = done / (now - start)
            left = f", {(total - done) / rate:.0f} s left" if total and rate > 0 else ""
            of = f" of {total}" if total else ""
            sys.stderr.write(f"{what}: {done}{of} {unit}, {rate:.1f}/s{left}\n")
            sys.stderr.flush()

    return advance

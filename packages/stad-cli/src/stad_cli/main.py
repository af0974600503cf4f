"""The `stad` command: its parts, and the one place where failures become messages and exit codes.

Exit codes: 0 done, 1 the run failed, 2 what the user gave was wrong, 130 stopped by Ctrl-C.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from stad_cli import __version__
from stad_cli.commands import data, demo, detect, evaluate, export, models, report, study, train

app = typer.Typer(
    name="stad",
    help="Find people in video and say what they do: train, evaluate and run action detectors.",
    epilog="Start with:  stad demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("eval", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("detect", epilog=detect.EXAMPLE)(detect.detect)
app.command("export", epilog=export.EXAMPLE)(export.export)
app.add_typer(data.app, name="data", help="Make, check and look at datasets.")
app.add_typer(models.app, name="models", help="List the models and count what they cost.")
app.command("report", epilog=report.EXAMPLE)(report.report)
app.command("study", epilog=study.EXAMPLE)(study.study)

# The path that was given cannot be used: the user can mend that. Everything else (a full disk, a
# broken pipe, a read error) is the machine's doing.
_USERS_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stad {__version__}")
        raise typer.Exit


@app.callback()
def _stad(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and give its exit code.

    No exception leaves this function, unless the environment says STAD_DEBUG=1.
    """
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        _drop_stdout()
        return 1
    except Exception as error:
        if os.environ.get("STAD_DEBUG") == "1":
            raise
        message, code = explain(error)
        sys.stderr.write(f"stad: {message}\n")
        if isinstance(error, OSError):
            _drop_stdout()
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        app(None if arguments is None else list(arguments), prog_name="stad")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _drop_stdout() -> None:
    """Send what is still buffered nowhere: Python would fail on it once more when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def explain(error: Exception) -> tuple[str, int]:
    """The message and the exit code that a failure of any command ends in."""
    from stad_eval import InputError

    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        reason = error.strerror or str(error) or type(error).__name__
        if isinstance(error, PermissionError):
            return f"no permission{where} ({reason}); choose another path, or mend its rights", 2
        if isinstance(error, _USERS_PATH):
            return f"cannot use this path{where} ({reason})", 2
        return f"the system refused to read or write{where} ({reason})", 1
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller --batch, a smaller model or a smaller clip", 1
    return (
        f"unexpected {type(error).__name__}: {error}\n"
        "This is a fault of the program. Run it again with STAD_DEBUG=1 to see where it happened.",
        1,
    )

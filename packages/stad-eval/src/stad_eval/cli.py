"""The `stad-eval` command: its parts, and the place where failures become messages and exit codes.

Exit codes: 0 done, 1 failed, 2 what the user gave was wrong, 130 stopped by Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from stad_eval.commands import ava, compare, explain, link, masks, persons, report, tubes
from stad_eval.failures import drop_output, explained
from stad_eval.version import __version__

COMMANDS = (ava, tubes, masks, link, persons, explain, compare, report)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="stad-eval",
        description="Score spatio-temporal action detection by named protocols.",
        epilog="Each command shows an example: stad-eval ava --help",
    )
    whole.add_argument("--version", action="version", version=f"stad-eval {__version__}")
    parts = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        part = parts.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP,
            epilog=f"Example:\n{command.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(part)
        part.set_defaults(run=command.run)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and give its exit code.

    No exception leaves this function, unless the environment says STAD_DEBUG=1.
    """
    try:
        options = parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse: 0 after --help, 2 on a bad option
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        drop_output()
        return 1
    except Exception as error:
        if os.environ.get("STAD_DEBUG") == "1":
            raise
        message, code = explained(error)
        sys.stderr.write(f"stad-eval: {message}\n")
        return code
    return 0

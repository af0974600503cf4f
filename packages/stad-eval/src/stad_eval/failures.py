"""What a failure of a command is: a message for a person, and an exit code.

Exit codes: 1 failed, 2 what the user gave was wrong.
"""

import os
import sys

from stad_eval.input_error import InputError

# The path that was given cannot be used: the user can mend that. Everything else (a full disk, a
# read error) is the machine's doing.
USERS_PATH = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)


def explained(error: Exception) -> tuple[str, int]:
    """The message and the exit code that an exception ends in."""
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, OSError):
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return named, 2 if isinstance(error, USERS_PATH) else 1
    if isinstance(error, MemoryError):
        return "not enough memory", 1
    text = f"{type(error).__name__}: {error}"
    return f"this should not have happened ({text}); STAD_DEBUG=1 shows where", 1


def drop_output() -> None:
    """Let nothing more be written to a standard output that is closed, at exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

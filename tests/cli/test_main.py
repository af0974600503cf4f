"""The command line as a whole: help, version, exit codes, and how failures are told."""

import errno
import os
import subprocess
import sys

import pytest

from stad_cli import __version__
from stad_cli.main import explain, main
from stad_eval import InputError

COMMANDS = [
    ["demo"],
    ["train"],
    ["eval"],
    ["detect"],
    ["export"],
    ["report"],
    ["study"],
    ["data", "make", "synthetic"],
    ["data", "check"],
    ["data", "show"],
    ["models", "list"],
    ["models", "flops"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_shows_an_example(stad, command):
    outcome = stad(*command, "--help")
    assert outcome.code == 0
    assert "stad " + " ".join(command) in outcome.out.replace("Usage: ", "")
    assert "Example" in outcome.out


def test_help_lists_the_commands(stad):
    outcome = stad("--help")
    assert outcome.code == 0
    for command in ("demo", "train", "eval", "detect", "data", "models", "report"):
        assert command in outcome.out


def test_version(stad):
    outcome = stad("--version")
    assert (outcome.code, outcome.out.strip()) == (0, f"stad {__version__}")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["detect"], ["detect", "a.mp4"], ["models", "flops", "--size", "x"]]
)
def test_wrong_usage_ends_with_2(stad, arguments):
    assert stad(*arguments).code == 2


def test_help_needs_no_torch():
    code = (
        "import sys; from stad_cli.main import main; code = main(['--help']); "
        "sys.exit(code or ('torch' in sys.modules) * 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "stad_cli", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"stad {__version__}")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("bad box", path="a.csv", row=7, remedy="mend it"), 2, "a.csv, row 7: bad box"),
        (OSError(errno.ENOSPC, "No space left on device", "/full/x"), 1, "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "/root/x"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), 2, "a/b"),
        (MemoryError(), 1, "memory"),
        (RuntimeError("surprise"), 1, "STAD_DEBUG=1"),
    ],
)
def test_every_failure_has_a_message_and_a_code(error, code, words):
    message, given = explain(error)
    assert given == code
    assert words in message


def test_a_fault_of_the_program_is_no_traceback_unless_asked_for(monkeypatch, capsys):
    from stad_cli.commands import models

    def fail(name):
        raise RuntimeError("surprise")

    monkeypatch.setattr(models, "_build", fail)
    assert main(["models", "flops", "x"]) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert "surprise" in captured.err
    monkeypatch.setenv("STAD_DEBUG", "1")
    with pytest.raises(RuntimeError, match="surprise"):
        main(["models", "flops", "x"])


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    from stad_cli.commands import models

    def stop(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "_build", stop)
    assert main(["models", "flops", "x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_stdout_on_a_full_disk_is_a_message():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "stad_cli", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr

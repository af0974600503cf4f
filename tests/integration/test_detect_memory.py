"""`stad detect` holds a window of the video and no more, however long the video is."""

import subprocess
import sys

import pytest

MIB = 1 << 20

MEASURED = """
import sys
from pathlib import Path
from stad_cli.main import main

code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
sys.exit(code)
"""
"""Prints its own peak in KiB; getrusage would count what the parent held when it forked."""


def peak(video, weights, out):
    """Peak resident memory of `stad detect` on a video, bytes."""
    arguments = ["detect", video, "--checkpoint", weights, "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_is_flat_with_length(film, untrained, tmp_path):
    size = (1280, 720)
    short = film(tmp_path / "short.mp4", frames=120, size=size)
    long = film(tmp_path / "long.mp4", frames=1200, size=size)
    peaks = [peak(video, untrained(), tmp_path / "out") for video in (short, long)]
    # Ten times the frames are 3 GiB of pixels more; the margin is what allocators keep.
    assert peaks[1] - peaks[0] < 60 * MIB, [f"{value / MIB:.0f} MiB" for value in peaks]
    assert peaks[1] < 2048 * MIB

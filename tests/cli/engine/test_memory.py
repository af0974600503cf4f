"""What a process keeps of the memory that its tensors leave."""

import subprocess
import sys

import pytest

MIB = 2**20
SCRIPT = """
import sys
import numpy as np
from stad_cli.engine.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident()
block = np.ones(100 * 2**20, dtype=np.uint8)
del block
print(resident() - before)
"""


def grown(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_freed_blocks_stay_with_the_process():
    assert grown("free") < 20 * MIB
    assert grown("keep") > 90 * MIB

"""How the C library keeps the memory that tensors on the CPU leave."""

import ctypes
import sys

# Names and values of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let this process keep memory that was freed, for the next step's tensors.

    A training step asks for the same large blocks again and again. By default glibc maps each one
    anew and the kernel fills it with zeros, page by page: writing to such a block took four times
    as long as writing to one that was used before. In return the process stays as large as its
    largest step. No value ever depends on it. Does nothing where the C library is not glibc.

    Returns:
        Whether the library took the setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all([mallopt(name, value) == 1 for name, value in settings])

"""The memory allocator of the process: a setting that makes training faster, and the return of memory after it."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST = 2**30
LARGEST_OF_OLD = 2**25  # of glibc before 2.35


def keep_freed_memory() -> bool:
    """Keep freed memory for the next request instead of returning it to the system.

    A training step frees and asks for the same hundreds of megabytes again and again. By default glibc returns every
    large block at once, and the system clears each of its pages again at the next use.

    Returns:
        Whether the C library took the setting; others than glibc have none.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    large = mallopt(M_MMAP_THRESHOLD, LARGEST) or mallopt(M_MMAP_THRESHOLD, LARGEST_OF_OLD)
    return bool(mallopt(M_TRIM_THRESHOLD, LARGEST)) and bool(large)


def return_freed_memory() -> bool:
    """Return freed memory to the system, which `keep_freed_memory` kept.

    Returns:
        Whether the C library returned some; others than glibc have no such function.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):
        return False

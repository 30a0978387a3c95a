"""The process's memory allocator: a setting for faster training, and the return of memory afterwards.

Open this if training takes too much memory.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants of glibc's malloc.h
LARGEST = 2**30
LARGEST_OF_OLD = 2**25  # largest value that glibc before 2.35 accepts


def keep_freed_memory() -> bool:
    """Keep freed memory for the next request instead of returning it to the system.

    Every training step requests and frees the same hundreds of megabytes. By default glibc returns every large block at
    once, and the system clears each of its pages at the next use.

    Returns:
        Whether the C library accepted the setting; only glibc has it.
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
    """Return the freed memory that `keep_freed_memory` kept to the system.

    Returns:
        Whether the C library returned some; only glibc has this function.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):
        return False

"""Memory that a process keeps instead of giving it back to the system between two images."""

import contextlib
import ctypes
import os
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT = 2**28  # bytes of free memory, of each thread's pool
_LARGEST = 2**25  # bytes of blocks that come from there: the most that glibc allows


@cache  # once in a process
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next image; nothing on other systems.

    Otherwise it gives activations back and maps them anew for each group of images, page by page.
    Whoever has set MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ keeps that.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library without it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)

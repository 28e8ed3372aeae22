"""Memory that a process keeps instead of giving it back to the system between two images."""

import contextlib
import ctypes
import os
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_KEPT = 2**28  # bytes of free memory
_LARGEST = 2**25  # bytes of blocks that come from there: the most that glibc allows
_VARIABLES = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX"}


@cache  # once in a process
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next image; nothing on other systems.

    Otherwise it gives activations back and maps them anew for each group of images, page by page.
    Threads that begin later share one pool: those of their own hold 64 MB, and are unmapped when
    empty, whatever the threshold. Whoever has set one of glibc's variables keeps what they say.
    """
    if _VARIABLES & os.environ.keys():
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library without it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_ARENA_MAX, 1)

"""Memory that a process keeps instead of giving it back to the system between two images."""

import contextlib
import ctypes
import os
from functools import cache

# By the environment variable that sets the same: the number in glibc's malloc.h, and our value.
_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": (-3, 2**25),  # bytes of the largest block kept: the most allowed
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**28),  # bytes of free memory kept
    "MALLOC_TOP_PAD_": (-2, 2**26),  # bytes at a pool's end that stay: all of its last piece
    "MALLOC_ARENA_MAX": (-8, 1),  # pools
}


@cache  # once in a process
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next image; nothing on other systems.

    It holds for the whole process, so the program that owns it calls this: `engine.set_up` for
    training and evaluation, `ctmasknet predict`, the benchmark. A notebook or a service may, too.

    Otherwise it gives activations back and maps them anew for each microbatch, page by page.
    Threads that begin later share the pools there are. Those that began before may have pools of
    their own, in pieces of 64 MB, which glibc unmaps when they are empty unless a whole piece is to
    stay. What glibc's variables (MALLOC_ARENA_MAX, ...) say is left alone.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library without it
        mallopt = ctypes.CDLL(None).mallopt
        for variable, (parameter, value) in _SETTINGS.items():
            if not {variable, "GLIBC_TUNABLES"} & os.environ.keys():
                mallopt(parameter, value)

import os
import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource
from threading import Event, Thread
import torch
from ctmasknet.fast.malloc import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def measure():
    for repeat in range(20):
        if repeat == 10:  # warm
            before = faults()
        activations = [torch.ones(24 * 2**20, dtype=torch.uint8) for _ in range(5)]
        while activations:  # the oldest first: then the last piece of a pool falls empty
            del activations[0]
    print(faults() - before)

"""
MAIN = "keep_freed_memory(); measure()"
OTHER = """
has_a_pool, settings_made = Event(), Event()

def other():
    torch.ones(2**20, dtype=torch.uint8)
    has_a_pool.set()
    settings_made.wait()
    measure()

thread = Thread(target=other)
thread.start()
has_a_pool.wait()
keep_freed_memory()
settings_made.set()
thread.join()
"""

POOLS = """
import ctypes, sys
from pathlib import Path
from threading import Thread
import torch
from ctmasknet.fast.malloc import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()
libc, path = ctypes.CDLL(None), sys.argv[1]
libc.fopen.restype = ctypes.c_void_p

def report():
    torch.ones(2**22, dtype=torch.uint8)
    file = ctypes.c_void_p(libc.fopen(path.encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)

thread = Thread(target=report)
thread.start()
thread.join()
print(Path(path).read_text().count("<heap nr="))
"""
WITHOUT = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
glibc_alone = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


def faults(code, **variables):
    found = subprocess.run(
        [sys.executable, "-c", FAULTS + code],
        capture_output=True,
        text=True,
        check=True,
        env=WITHOUT | variables,
    )
    return int(found.stdout)


@glibc_alone
@pytest.mark.parametrize(
    ("code", "variable"), [(MAIN, "MALLOC_MMAP_THRESHOLD_"), (OTHER, "MALLOC_TOP_PAD_")]
)
def test_freed_memory_is_not_mapped_anew_unless_a_variable_says_so(code, variable):
    pages = 10 * 5 * 24 * 2**20 // resource.getpagesize()
    assert faults(code) < pages / 100
    # Of a pool of its own it is the last piece alone.
    assert faults(code, **{variable: "65536"}) > pages / 20


@glibc_alone
def test_threads_share_a_pool(tmp_path):
    def pools(*args):
        command = [sys.executable, "-c", POOLS, str(tmp_path / "malloc.xml"), *args]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=WITHOUT)
        return int(found.stdout)

    assert pools("keep") == 1 < pools()
